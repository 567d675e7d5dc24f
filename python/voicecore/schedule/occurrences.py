"""From entries to instants: pure functions.

A slot names an occurrence for good: the local date and time that was wanted ("2026-03-29 08:00",
also when a gap shifted the instant), or the instant itself for what follows elapsed time
("I1774767600").
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim

from voicecore import _validate
from voicecore.errors import InvalidArgument
from voicecore.schedule.entries import ScheduleEntry
from voicecore.schedule.rules import DAYS, CronLine, FixedTimes, Interval, plain_line
from voicecore.schedule.zones import (
    LATEST,
    changes,
    instant,
    local_of,
    naive_at,
    naive_seconds,
    offset_at,
    resolve,
    zone_of,
)

# A gap delays a fixed time by a day at most, so what may be due at an instant begins that early.
_REACH = timedelta(hours=25)
_YEAR = 366 * 86_400


@dataclass(frozen=True, slots=True, order=True)
class Occurrence:
    """One instant at which an entry is due. Ordered by instant."""

    due: float
    """Seconds since 1970 UTC."""
    slot: str
    """What makes it unique within its entry."""
    entry_id: int | None = None
    """The entry's id; None for one that is not stored."""
    shifted: bool = False
    """Moved to the end of a gap."""

    def local(self, zone: str) -> datetime:
        """The instant as local time."""
        return local_of(self.due, zone_of(zone))


def iterate(entry: ScheduleEntry, start: float) -> Iterator[Occurrence]:
    """Every occurrence from an instant on, itself included, in order; ends in the year 2199.

    Args:
        entry: enabled or not, that is the caller's business.
        start: seconds since 1970 UTC.

    Cost: proportional to what is taken; some microseconds each.
    """
    begin = math.ceil(start)
    match entry.rule:
        case Interval() as rule:
            found = _interval(rule, begin)
        case CronLine(fixed=False) as rule:
            found = _elapsed_cron(rule, entry.tz, begin)
        case FixedTimes() | CronLine() as rule:
            found = _fixed(entry, rule, begin)
    for due, slot, shifted in found:
        if due >= LATEST:
            return
        yield Occurrence(float(due), slot, entry.id, shifted)


def occurrences(
    entry: ScheduleEntry, start: float | datetime, end: float | datetime
) -> list[Occurrence]:
    """Every occurrence in [start, end), in order.

    Args:
        entry: enabled or not.
        start: seconds since 1970 UTC, or an aware datetime.
        end: likewise; not included.

    Raises:
        InvalidArgument: not instants from 1970 to 2199.
    """
    begin, stop = instant("start", start), instant("end", end)
    return list(_until(iterate(entry, begin), stop))


def last_occurrences(entry: ScheduleEntry, start: float, end: float, n: int) -> list[Occurrence]:
    """The last `n` of [start, end), in order; for an interval without visiting the others."""
    if isinstance(entry.rule, Interval):
        start = max(start, end - (n + 1) * entry.rule.every)
    return list(deque(_until(iterate(entry, start), end), n))


def next_occurrences(
    entry: ScheduleEntry, n: int = 1, after: float | datetime | None = None
) -> list[Occurrence]:
    """The next `n` occurrences.

    Args:
        entry: enabled or not.
        n: 1 to 100,000.
        after: an instant, not included; None is now.

    Returns:
        Fewer than `n` when the rule ends.

    Raises:
        InvalidArgument: out of range.
    """
    n = _validate.whole("n", n, 1, 100_000)
    begin = instant("after", after)
    return list(islice((one for one in iterate(entry, begin) if one.due > begin), n))


def slots_on(entry: ScheduleEntry, day: date) -> list[Occurrence]:
    """The fixed-time occurrences of a local date, in order; none for what follows elapsed time."""
    if isinstance(entry.rule, Interval) or (
        isinstance(entry.rule, CronLine) and not entry.rule.fixed
    ):
        return []
    prefix = day.isoformat()
    middle = naive_seconds(datetime(day.year, day.month, day.day, 12))
    near = occurrences(entry, max(0, middle - 3 * 86_400), middle + 3 * 86_400)
    return [one for one in near if one.slot.startswith(prefix)]


def _until(found: Iterator[Occurrence], end: float) -> Iterator[Occurrence]:
    for one in found:
        if one.due >= end:
            return
        yield one


def _interval(rule: Interval, begin: int) -> Iterator[tuple[int, str, bool]]:
    steps = max(0, -(-(begin - rule.anchor) // rule.every))
    due = rule.anchor + steps * rule.every
    while due < LATEST:
        yield due, f"I{due}", False
        due += rule.every


def _fixed(
    entry: ScheduleEntry, rule: FixedTimes | CronLine, begin: int
) -> Iterator[tuple[int, str, bool]]:
    """Local times in order give instants in order: a gap shifts all of its own to its end."""
    zone, policy = entry.tz, entry.policy
    from_local = local_of(begin, zone).replace(tzinfo=None, fold=0) - _REACH
    if rule.first is not None:
        from_local = max(from_local, datetime.combine(rule.first, datetime.min.time()))
    wanted = _cron(rule, from_local) if isinstance(rule, CronLine) else _days(rule, from_local)
    for naive in wanted:
        if rule.last is not None and naive.date() > rule.last:
            return
        placed = resolve(naive, zone, policy.gap, policy.overlap)
        if placed is not None and placed[0] >= begin:
            yield placed[0], _slot(naive), placed[1]


def _days(rule: FixedTimes, start: datetime) -> Iterator[datetime]:
    weekdays = {DAYS.index(day) for day in rule.days}
    day = start.date()
    while day.year < 2200:
        if day.weekday() in weekdays:
            for clock in rule.times:
                naive = datetime.combine(day, clock)
                if naive >= start:
                    yield naive
        day += timedelta(days=1)


def _cron(rule: CronLine, start: datetime) -> Iterator[datetime]:
    """Local times of a cron line, from `start` on, itself included."""
    return CronSim(plain_line(rule.line), start - timedelta(seconds=1))


def _elapsed_cron(rule: CronLine, zone: ZoneInfo, begin: int) -> Iterator[tuple[int, str, bool]]:
    """Between two changes of the clocks local time is elapsed time plus a constant."""
    while begin < LATEST:
        end = min(begin + _YEAR, LATEST)
        pieces = [change for change, _, _ in changes(zone, begin, end)]
        for stop in (*pieces, end):
            offset = offset_at(begin, zone)
            first_out, from_local = naive_at(stop, offset), naive_at(begin, offset)
            if rule.first is not None:
                from_local = max(from_local, datetime.combine(rule.first, datetime.min.time()))
            for naive in _cron(rule, from_local):
                if naive >= first_out:
                    break
                if rule.last is not None and naive.date() > rule.last:
                    return
                due = naive_seconds(naive) - offset
                yield due, f"I{due}", False
            else:
                return  # the line never comes again
            begin = stop


def _slot(naive: datetime) -> str:
    return naive.isoformat(" ", "seconds" if naive.second else "minutes")


def check_never(entry: ScheduleEntry, after: float) -> bool:
    """Whether it has no occurrence after an instant."""
    if not 0 <= after < LATEST:
        raise InvalidArgument(f"after: got {after!r}, expected an instant from 1970 to 2199")
    return next(iterate(entry, after), None) is None
