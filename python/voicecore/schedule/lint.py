"""What is allowed but probably not meant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import combinations, islice, pairwise
from typing import Literal

from voicecore import _validate
from voicecore.queue import DEFAULT_KEY
from voicecore.schedule.entries import DamagedEntry, ScheduleEntry
from voicecore.schedule.occurrences import (
    Occurrence,
    check_never,
    iterate,
    next_occurrences,
)
from voicecore.schedule.rules import CronLine, Interval
from voicecore.schedule.words import length, occurrence_words
from voicecore.schedule.zones import LATEST, changes, instant, local_of, naive_at, resolve

DAYS_AHEAD = 731
SPACING = 60.0
_MOST = 3000

Code = Literal[
    "damaged",
    "never",
    "gap",
    "overlap",
    "collision",
    "no-files",
    "same-name",
    "long-reminder",
    "grace-overlaps",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at."""

    code: Code
    """What kind of thing; scripts may rely on it."""
    severity: Literal["error", "warning"]
    """An error never does what was meant; a warning may not."""
    entries: tuple[int | None, ...]
    """The ids of the entries concerned."""
    message: str
    """One sentence."""
    at: float | None = None
    """The first instant concerned, if there is one."""


def lint(
    entries: Iterable[ScheduleEntry | DamagedEntry],
    *,
    after: float | datetime | None = None,
    days: int = DAYS_AHEAD,
    spacing: float = SPACING,
    default_key: str = DEFAULT_KEY,
) -> list[Finding]:
    """Look for entries that will surprise somebody.

    Times that clocks jump over or repeat within the coming two years, occurrences of one key
    closer together than `spacing` (both cannot play), rules that never come, entries without
    files, rows that are no valid entries (an unknown zone, say), equal names, reminders longer
    than the time between two occurrences, and a grace that reaches into the next occurrence.

    Args:
        entries: of one schedule; disabled ones are only checked for damage.
        after: from when on; None is now.
        days: how far ahead, 1 to 3,660; two years by default, so that each change of the clocks
            is met whatever the date. At most 3,000 occurrences of each entry are compared.
        spacing: seconds, 0 to 86,400; two starts of one key closer than this collide.
        default_key: of entries that name none, as the queue has it.

    Returns:
        Errors first.

    Raises:
        InvalidArgument: out of range.
    """
    begin = instant("after", after)
    days = _validate.whole("days", days, 1, 3660)
    spacing = _validate.number("spacing", spacing, 0.0, 86_400.0, "seconds")
    end = min(begin + days * 86_400.0, LATEST - 1.0)
    found: list[Finding] = []
    live: list[ScheduleEntry] = []
    for entry in entries:
        if isinstance(entry, DamagedEntry):
            text = f"{entry.name} is ignored: {entry.error}"
            found.append(Finding("damaged", "error", (entry.id,), text))
        elif entry.enabled:
            live.append(entry)
            found += _one(entry, begin, end)
    found += _same_names(live)
    found += _collisions(live, begin, end, spacing, default_key)
    return sorted(found, key=lambda one: one.severity)


def _one(entry: ScheduleEntry, begin: float, end: float) -> Iterator[Finding]:
    if check_never(entry, begin):
        yield Finding("never", "error", (entry.id,), f"{entry.name} never comes again")
        return
    if not entry.files:
        yield Finding("no-files", "warning", (entry.id,), f"{entry.name} has no files to play")
    yield from _clock_changes(entry, begin, end)
    ahead = next_occurrences(entry, 50, begin)
    between = min((b.due - a.due for a, b in pairwise(ahead)), default=None)
    if between is None:
        return
    lead = entry.remind_minutes * 60
    if lead >= between > 0:
        yield Finding(
            "long-reminder",
            "warning",
            (entry.id,),
            f"{entry.name} reminds {length(lead)} before, but comes every {length(between)}",
        )
    grace = entry.policy.misfire_grace_time
    if entry.policy.coalesce == "all" and grace >= between > 0:
        yield Finding(
            "grace-overlaps",
            "warning",
            (entry.id,),
            f"{entry.name} may be {length(grace)} late but comes every {length(between)}: "
            "late ones start together",
        )


def _clock_changes(entry: ScheduleEntry, begin: float, end: float) -> Iterator[Finding]:
    """The first gap and the first overlap that meets one of its times."""
    if isinstance(entry.rule, Interval) or (
        isinstance(entry.rule, CronLine) and not entry.rule.fixed
    ):
        return
    told: set[str] = set()
    for change, before, after in changes(entry.tz, int(begin), int(end)):
        kind: Literal["gap", "overlap"] = "gap" if after > before else "overlap"
        if kind in told:
            continue
        # The local times concerned lie between the two readings of the clock at the change.
        low, high = sorted((naive_at(change, before), naive_at(change, after)))
        hit = _wanted(entry, change, low, high)
        if hit is None:
            continue
        told.add(kind)
        when = f"{hit:%Y-%m-%d} {hit:%H:%M}"
        if kind == "overlap":
            text = (
                f"{when} comes twice in {entry.zone}; it starts on the {entry.policy.overlap} pass"
            )
        elif resolve(hit, entry.tz, entry.policy.gap) is None:  # also for a date left out
            text = f"{when} does not exist in {entry.zone}; it is skipped that day"
        else:
            text = f"{when} does not exist in {entry.zone}; it starts at {high:%H:%M}"
        yield Finding(kind, "warning", (entry.id,), f"{entry.name}: {text}", float(change))


def _wanted(entry: ScheduleEntry, change: int, low: datetime, high: datetime) -> datetime | None:
    """The first local time of the entry's in [low, high), as if clocks did not change."""
    # UTC has no changes: what the rule wants there is what it wants here.
    plain = replace(entry, zone="UTC")
    start = (low - datetime(1970, 1, 1)) / timedelta(seconds=1)
    one = next(iterate(plain, max(0.0, start)), None)
    if one is None:
        return None
    wanted = local_of(one.due, plain.tz).replace(tzinfo=None)
    return wanted if wanted < high else None


def _same_names(entries: Sequence[ScheduleEntry]) -> Iterator[Finding]:
    by_name: dict[str, list[ScheduleEntry]] = defaultdict(list)
    for entry in entries:
        by_name[entry.name.casefold()].append(entry)
    for group in by_name.values():
        if len(group) > 1:
            ids = tuple(entry.id for entry in group)
            text = f"{len(group)} entries are called {group[0].name}"
            yield Finding("same-name", "warning", ids, text)


def _collisions(
    entries: Sequence[ScheduleEntry], begin: float, end: float, spacing: float, default_key: str
) -> Iterator[Finding]:
    by_key: dict[str, list[ScheduleEntry]] = defaultdict(list)
    for entry in entries:
        by_key[default_key if entry.key is None else entry.key].append(entry)
    for group in by_key.values():
        if len(group) < 2:
            continue
        ahead = {
            place: list(islice(_until(entry, begin, end), _MOST))
            for place, entry in enumerate(group)
        }
        for (i, one), (j, other) in combinations(enumerate(group), 2):
            hits = list(_close(ahead[i], ahead[j], spacing))
            if not hits:
                continue
            first = hits[0]
            at = occurrence_words(one, first)
            times = "once" if len(hits) == 1 else f"{len(hits):,} times"
            text = f"{one.name} and {other.name} collide {times}, first on {at}"
            yield Finding("collision", "warning", (one.id, other.id), text, first.due)


def _until(entry: ScheduleEntry, begin: float, end: float) -> Iterator[Occurrence]:
    for one in iterate(entry, begin):
        if one.due >= end:
            return
        yield one


def _close(
    left: Sequence[Occurrence], right: Sequence[Occurrence], spacing: float
) -> Iterator[Occurrence]:
    """Those of `left` that have one of `right` at the same instant or closer than `spacing`."""
    place = 0
    for one in left:
        while place < len(right) and right[place].due <= one.due - spacing:
            if spacing == 0 and right[place].due == one.due:
                break
            place += 1
        if place == len(right):
            return
        apart = abs(right[place].due - one.due)
        if apart < spacing or apart == 0:
            yield one
