"""Times of day in their zones, as instants. Pure arithmetic; seconds since 1970 UTC as float.

The daylight-saving rules: once per local date; a time inside a gap means the first valid instant
after the gap; a time that comes twice means the first pass.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from voicecore.errors import InvalidArgument
from voicecore.tasks._errors import WrongType

_DAY = dt.timedelta(days=1)
_UTC = dt.UTC
_EPOCH = dt.datetime(1970, 1, 1)


class Slot(NamedTuple):
    """A time of day in a zone. Two equal times in two zones are two slots."""

    time: dt.time
    zone: dt.tzinfo


class Occurrence(NamedTuple):
    """One instant at which a slot is due; a slot has one for each local date."""

    instant: float
    slot: Slot
    date: dt.date

    @property
    def local(self) -> dt.datetime:
        """The instant in the slot's zone."""
        return dt.datetime.fromtimestamp(self.instant, self.slot.zone)


def slots_of(time: dt.time | Sequence[dt.time]) -> tuple[Slot, ...]:
    """The distinct slots of a `time=` argument, by what their clocks show; a naive time is UTC.

    Raises:
        WrongType: not a time or a sequence of times, or a zone of pytz, whose offsets are wrong
            unless localised.
        InvalidArgument: an empty sequence.
    """
    given = [time] if isinstance(time, dt.time) else time
    if not isinstance(given, Sequence):
        raise WrongType(f"time: got {time!r}, expected datetime.time or a sequence of them")
    if not given:
        raise InvalidArgument("time: got an empty sequence, expected at least one time")
    slots: dict[Slot, None] = {}
    for index, one in enumerate(given):
        if not isinstance(one, dt.time):
            raise WrongType(f"time: got {one!r} at index {index}, expected datetime.time")
        if hasattr(one.tzinfo, "localize"):
            raise WrongType(f"time: got the pytz zone {one.tzinfo} at index {index}, use zoneinfo")
        slots[Slot(one.replace(tzinfo=None, fold=0), one.tzinfo or _UTC)] = None
    return tuple(sorted(slots, key=lambda slot: slot.time))


def first_valid(naive: dt.datetime, zone: dt.tzinfo) -> float:
    """The first instant at which clocks in `zone` show `naive` or, inside a gap, more than that."""
    early = naive.replace(tzinfo=zone, fold=0).utcoffset() or dt.timedelta()
    late = naive.replace(tzinfo=zone, fold=1).utcoffset() or dt.timedelta()
    instant = (naive - early - _EPOCH).total_seconds()
    if early >= late:  # an ordinary time, or the first pass of two
        return instant
    # In a gap, which ends between the two readings. Transitions happen at whole seconds.
    low, high = int((naive - late - _EPOCH).total_seconds()) - 1, int(instant) + 1
    while high - low > 1:
        middle = (low + high) // 2
        shown = dt.datetime.fromtimestamp(middle, zone).replace(tzinfo=None)
        low, high = (low, middle) if shown >= naive else (middle, high)
    return float(high)


def occurrence(slot: Slot, date: dt.date) -> Occurrence | None:
    """When `slot` is due on the local `date`; None when that date was skipped as a whole."""
    midnight = first_valid(dt.datetime.combine(date, dt.time()), slot.zone)
    if dt.datetime.fromtimestamp(midnight, slot.zone).date() != date:
        return None  # Samoa had no 30 December 2011
    return Occurrence(first_valid(dt.datetime.combine(date, slot.time), slot.zone), slot, date)


def _dates(slot: Slot, after: float) -> Iterator[dt.date]:
    # Of earlier dates none is later: clocks showed all of them by then.
    date = dt.datetime.fromtimestamp(after, slot.zone).date()
    while True:
        yield date
        date += _DAY


def between(slots: Iterable[Slot], after: float, until: float) -> list[Occurrence]:
    """What is due in (after, until], in order of time."""
    found = []
    for slot in slots:
        for date in _dates(slot, after):
            one = occurrence(slot, date)
            if one is None or one.instant <= after:
                continue
            if one.instant > until:
                break
            found.append(one)
    return sorted(found, key=lambda one: one.instant)


def upcoming(slot: Slot, after: float) -> Iterator[Occurrence]:
    """Every occurrence of one slot later than `after`, without end."""
    for date in _dates(slot, after):
        one = occurrence(slot, date)
        if one is not None and one.instant > after:
            yield one
