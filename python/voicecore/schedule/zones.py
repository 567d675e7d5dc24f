"""Local times and instants: the only place of the schedule where time zones are resolved.

Everything is added up in UTC and converted last; a local time becomes an instant by the two rules
for the days on which clocks change, and by no other way.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from voicecore import _validate
from voicecore.errors import InvalidArgument

Gap = Literal["shift", "skip"]
Overlap = Literal["first", "second"]

EARLIEST = 0
LATEST = 7_258_118_400
"""2200-01-01 in UTC; beyond it no zone rule is worth computing with."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_STEP = 12 * 3600


class UnknownZone(InvalidArgument):
    """A time zone that this machine's database does not have."""


def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Args:
        name: "Europe/Berlin", "Asia/Ho_Chi_Minh", "UTC".

    Raises:
        UnknownZone: no such zone here.
    """
    if isinstance(name, str) and name and name.isprintable():
        try:
            return _zone(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    raise UnknownZone(f"zone: got {name!r}, expected an IANA name such as 'Europe/Berlin'")


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def instant(name: str, value: float | datetime | None) -> float:
    """Seconds since 1970 UTC, from themselves, from an aware datetime, or from now (None).

    Raises:
        InvalidArgument: a naive datetime, or before 1970 or after 2199.
    """
    if value is None:
        return time.time()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidArgument(f"{name}: got {value!r} without a zone, expected an aware one")
        value = (value - _EPOCH) / _SECOND
    seconds = _validate.real(value)
    if seconds is None:
        raise InvalidArgument(f"{name}: got {value!r}, expected seconds since 1970 or a datetime")
    if not EARLIEST <= seconds < LATEST:
        raise InvalidArgument(f"{name}: got {value!r}, expected an instant from 1970 to 2199")
    return float(seconds)


def local_of(seconds: float, zone: ZoneInfo) -> datetime:
    """The aware local time at an instant."""
    return (_EPOCH + timedelta(seconds=seconds)).astimezone(zone)


def offset_at(seconds: int, zone: ZoneInfo) -> int:
    """Seconds that local time is ahead of UTC at an instant."""
    offset = local_of(seconds, zone).utcoffset()
    assert offset is not None
    return offset // _SECOND


def naive_seconds(naive: datetime) -> int:
    """A local time as if it were UTC: the scale on which local times are compared."""
    return (naive.replace(tzinfo=UTC) - _EPOCH) // _SECOND


def naive_at(seconds: int, offset: int) -> datetime:
    """The local time at an instant with this offset, without its zone."""
    return (_EPOCH + timedelta(seconds=seconds + offset)).replace(tzinfo=None)


def resolve(
    naive: datetime, zone: ZoneInfo, gap: Gap = "shift", overlap: Overlap = "first"
) -> tuple[int, bool] | None:
    """The instant of a local time, by the rules for gaps and overlaps.

    Args:
        naive: a local time of whole seconds.
        zone: where.
        gap: for a local time that clocks jump over: "shift" takes the first valid instant after
            the gap, "skip" none.
        overlap: for one that comes twice: its "first" or "second" pass.

    Returns:
        Seconds since 1970 UTC and whether it was shifted; None when skipped. A date that a zone
        jumps over as a whole (Samoa had no 30 December 2011) has no instants at all.
    """
    wanted = naive_seconds(naive)
    earlier = wanted - _offset(naive, zone, 0)
    later = wanted - _offset(naive, zone, 1)
    if later >= earlier:
        # Valid once (both are the same) or twice.
        return (earlier if overlap == "first" else later), False
    # In a gap the two readings lie on the wrong sides of the change, which is between them.
    change = _change_between(later, earlier, zone)
    if gap == "skip":
        return None
    midnight = datetime.combine(naive.date(), datetime.min.time())
    starts = change + offset_at(change - 1, zone)
    ends = change + offset_at(change, zone)
    if starts <= naive_seconds(midnight) and naive_seconds(midnight) + 86_400 <= ends:
        return None
    return change, True


def _offset(naive: datetime, zone: ZoneInfo, fold: int) -> int:
    offset = naive.replace(tzinfo=zone, fold=fold).utcoffset()
    assert offset is not None
    return offset // _SECOND


def _change_between(low: int, high: int, zone: ZoneInfo) -> int:
    """The first instant after `low` that has the offset of `high`."""
    after = offset_at(high, zone)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(middle, zone) == after:
            high = middle
        else:
            low = middle
    return high


def changes(zone: ZoneInfo, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Each change of the offset within (start, end]: the instant, the offset before, and after.

    Two changes less than twelve hours apart that cancel each other are not seen; no zone has them.
    """
    before, place = offset_at(start, zone), start
    while place < end:
        following = min(place + _STEP, end)
        after = offset_at(following, zone)
        if after != before:
            change = _change_between(place, following, zone)
            # A second change within the same step is found from here on.
            after = offset_at(change, zone)
            yield change, before, after
            following = change
        before, place = after, following


def local_date(seconds: float, zone: ZoneInfo) -> date:
    """The calendar date at an instant."""
    return local_of(seconds, zone).date()
