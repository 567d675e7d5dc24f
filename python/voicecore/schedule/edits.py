"""What an edit does to today's occurrences: pure, so that every store does the same.

A time that is moved stays the same slot of its day: 08:00 that has fired and becomes 08:30 does not
fire again. A time that is added is a new one and fires. Nothing that lies in the past of the edit
becomes due by it, except what was due already and is still within its grace.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from voicecore.schedule.entries import ScheduleEntry
from voicecore.schedule.occurrences import Occurrence, iterate, occurrences, slots_on
from voicecore.schedule.zones import EARLIEST, local_date

_MOST = 1000  # of an interval's occurrences that are looked at for reminders


@dataclass(frozen=True, slots=True)
class EditPlan:
    """What a store has to do along with the change of the row."""

    since: float
    """From here on the new entry's instants are due."""
    moved: tuple[tuple[str, Occurrence], ...] = ()
    """Record the new occurrence as skipped if the old slot has fired, or was skipped because the
    slot that it once was has: with when that was, which is what tells it from one that nobody ever
    heard."""
    skipped: tuple[Occurrence, ...] = ()
    """Record these as skipped."""
    forgotten: tuple[str, ...] = ()
    """Forget these slots, so that they fire again."""
    stale: bool = False
    """Forget the reminders that were given, except those in `reminded`."""
    reminded: tuple[str, ...] = ()
    """Slots still to come at the instant that their reminder spoke of."""


def plan_edit(old: ScheduleEntry, new: ScheduleEntry, now: float, refire: bool) -> EditPlan:
    """Compare two states of an entry.

    Args:
        old: as stored.
        new: as wanted.
        now: seconds since 1970 UTC.
        refire: let what fired today, or was due within the grace, fire again if the new entry has
            it from now minus the grace on.
    """
    grace_start = max(EARLIEST, now - new.policy.misfire_grace_time)
    if refire:
        ahead = [one.slot for one in occurrences(new, grace_start, now + 1)]
        today = slots_on(new, local_date(now, new.tz))
        ahead += [one.slot for one in today if one.due > now]
        return EditPlan(grace_start, forgotten=tuple(dict.fromkeys(ahead)), stale=True)
    if old.same_times(new):
        return EditPlan(now if new.enabled and not old.enabled else old.since)

    before = occurrences(old, max(old.since, grace_start), now) if old.enabled else []
    known = {one.slot for one in before}
    after = occurrences(new, grace_start, now)
    carried = [one for one in after if one.slot in known]
    since = min((one.due for one in carried), default=now)
    skipped = tuple(one for one in after if one.due >= since and one.slot not in known)

    was = slots_on(old, local_date(now, old.tz))
    will = slots_on(new, local_date(now, new.tz))
    kept = {one.slot for one in was} & {one.slot for one in will}
    leaving = [one.slot for one in was if one.slot not in kept]
    coming = [one for one in will if one.slot not in kept]
    return EditPlan(
        since,
        moved=tuple(zip(leaving, coming, strict=False)),
        skipped=skipped,
        stale=True,
        reminded=_unchanged(old, new, now),
    )


def _unchanged(old: ScheduleEntry, new: ScheduleEntry, now: float) -> tuple[str, ...]:
    """Slots whose reminder may have been given and is still right."""
    horizon = now + old.remind_minutes * 60
    if not old.remind_minutes or not new.remind_minutes:
        return ()
    ahead = [
        {(one.slot, one.due) for one in islice(iterate(entry, now), _MOST) if one.due <= horizon}
        for entry in (old, new)
    ]
    return tuple(sorted(slot for slot, _ in ahead[0] & ahead[1]))
