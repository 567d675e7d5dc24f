"""When an entry is due: fixed times on weekdays, an interval, or a cron line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from cronsim import CronSim, CronSimError

from voicecore import _validate
from voicecore.errors import InvalidArgument
from voicecore.schedule.zones import LATEST

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_MONDAY = datetime(2024, 1, 1)
_STEPPED = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)/(\d+)")
_LOWS, _HIGHS = (0, 0, 0, 1, 1, 0), (59, 59, 23, 31, 12, 7)  # of a cron line's six fields
_NAMED = {
    name: number
    for first, names in (
        (0, "SUN MON TUE WED THU FRI SAT"),
        (1, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"),
    )
    for number, name in enumerate(names.split(), first)
}


@dataclass(frozen=True, slots=True, init=False)
class FixedTimes:
    """At times of the day, on days of the week, in the entry's zone.

    Args:
        times: `datetime.time` or "08:00" or "08:00:30"; at least one, without a zone.
        days: "mon" to "sun"; all seven by default.
        first: the first date on which it is due; None is any.
        last: the last one, itself included; None is without end.

    Raises:
        InvalidArgument: an empty list, or a value of another shape.
    """

    times: tuple[time, ...]
    days: tuple[str, ...] = DAYS
    first: date | None = None
    last: date | None = None

    def __init__(
        self,
        times: Iterable[time | str],
        days: Iterable[str] = DAYS,
        first: date | str | None = None,
        last: date | str | None = None,
    ) -> None:
        if isinstance(times, str) or isinstance(days, str):
            raise InvalidArgument("times and days: got a single text, expected lists")
        clock = tuple(sorted({_time_of(one) for one in times}))
        given = {_day_of(one) for one in days}
        if not clock:
            raise InvalidArgument("times: got none, expected at least one, such as '08:00'")
        if not given:
            raise InvalidArgument(f"days: got none, expected some of {', '.join(DAYS)}")
        object.__setattr__(self, "times", clock)
        object.__setattr__(self, "days", tuple(day for day in DAYS if day in given))
        _set_dates(self, first, last)

    def to_dict(self) -> dict[str, Any]:
        """As stored: `{"times": ["08:00"], "days": ["mon"]}`."""
        record: dict[str, Any] = {"times": [time_text(one) for one in self.times]}
        if self.days != DAYS:
            record["days"] = list(self.days)
        return record | _dates(self)


@dataclass(frozen=True, slots=True)
class Interval:
    """Every so many seconds of elapsed time, whatever the clocks on the wall do.

    Args:
        every: whole seconds, 1 to 366 days.
        anchor: seconds since 1970 UTC of one occurrence, whole; none is earlier. 0 puts an hourly
            interval on the full hours of UTC.

    Raises:
        InvalidArgument: out of range.
    """

    every: int
    anchor: int = 0

    def __post_init__(self) -> None:
        every = _validate.whole("every", self.every, 1, 366 * 86_400, "seconds")
        anchor = _validate.whole("anchor", self.anchor, 0, LATEST - 1, "seconds since 1970")
        object.__setattr__(self, "every", every)
        object.__setattr__(self, "anchor", anchor)

    def to_dict(self) -> dict[str, Any]:
        """As stored: `{"every": 3600, "anchor": 0}`."""
        return {"every": self.every, "anchor": self.anchor}


@dataclass(frozen=True, slots=True)
class CronLine:
    """A cron line of five fields, or six with seconds first, in the entry's zone.

    As in Debian's cron, a line whose minute or hour (or second) begins with a star follows elapsed
    time, so that an hourly line runs in both passes of a repeated hour; any other line names fixed
    times of the day, which the entry's rules for gaps and overlaps place. When neither day begins
    with a star, either will do: "0 8 1-31 * FRI" is due daily. Parsing is `cronsim`'s:
    small, typed, without dependencies, kept by the people of a cron monitoring service and held to
    Debian's behaviour. Only its calendar is used, on local times without a zone.

    Args:
        line: "30 8 * * MON-FRI"; month and day names, "L", "LW", "MON#1" and "5L" are known.
        first: the first date on which it is due; None is any.
        last: the last one, itself included; None is without end.

    Raises:
        InvalidArgument: not a cron line.
    """

    line: str
    first: date | None = None
    last: date | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.line, str) or not self.line.isascii() or len(self.line) > 500:
            raise InvalidArgument(f"cron: got {self.line!r}, expected five or six fields")
        object.__setattr__(self, "line", " ".join(self.line.split()))
        try:
            CronSim(self.line, _MONDAY)
            CronSim(plain_line(self.line), _MONDAY)
        except (CronSimError, ValueError, AssertionError) as error:
            reason = str(error) or "not a cron line"
            raise InvalidArgument(
                f"cron: got {self.line!r} ({reason}), expected five or six fields "
                "such as '30 8 * * MON-FRI'"
            ) from None
        _set_dates(self, self.first, self.last)

    @property
    def fixed(self) -> bool:
        """Whether it names times of the day rather than follows elapsed time."""
        fields = self.line.split()
        return not any(field.startswith("*") for field in fields[: len(fields) - 3])

    def to_dict(self) -> dict[str, Any]:
        """As stored: `{"cron": "30 8 * * MON-FRI"}`."""
        return {"cron": self.line} | _dates(self)


Rule = FixedTimes | Interval | CronLine


def plain_line(line: str) -> str:
    """A valid cron line with the first value for each step that leads no further: 4 for 4-4/3.

    `cronsim` takes 4-4/3 for 4/3, which goes on; Debian's cron stays within the range.
    """
    if "/" not in line:
        return line
    fields = line.upper().split()
    skipped = 6 - len(fields)  # the seconds
    day, weekday = fields[-3], fields[-1]
    for place, field in enumerate(fields, skipped):
        other = {3: weekday, 5: day}.get(place, "*")
        # A star in front also says how the two days go together.
        if other == "*" or not field.startswith("*"):
            terms = (without_step(term, place) for term in field.split(","))
            fields[place - skipped] = ",".join(terms)
    return " ".join(fields)


def without_step(term: str, place: int) -> str:
    """One term of one of the six fields, or its first value if that is all that it means."""
    stepped = _STEPPED.fullmatch(term)
    if stepped is None or stepped[1] in ("L", "LW"):
        return term
    first = _LOWS[place] if stepped[1] is None else _number(stepped[1])
    last = _HIGHS[place] if stepped[2] is None else _number(stepped[2])
    values = range(first, last + 1, int(stepped[3]))
    same_day = place == 5 and {value % 7 for value in values} == {first % 7}  # Sunday is 0 and 7
    return str(first) if len(values) == 1 or same_day else term


def _number(text: str) -> int:
    return _NAMED[text] if text in _NAMED else int(text)


def rule_from_dict(record: Mapping[str, Any]) -> Rule:
    """A rule from its stored form; its kind is told by its key: times, every or cron.

    Raises:
        InvalidArgument: none or several of these, an unknown key, or a value of the wrong shape.
    """
    if not isinstance(record, Mapping):
        raise InvalidArgument(f"rule: got {record!r}, expected a table")
    kinds = [kind for kind in _KEYS if kind in record]
    if len(kinds) != 1:
        raise InvalidArgument(
            f"rule: got the keys {sorted(map(str, record))}, expected one of times, every and cron"
        )
    refuse_unknown("rule", record, _KEYS[kinds[0]])
    if "every" in record:
        return Interval(record["every"], record.get("anchor", 0))
    first, last = record.get("first"), record.get("last")
    if "cron" in record:
        return CronLine(record["cron"], first, last)
    times, days = record["times"], record.get("days", DAYS)
    if not isinstance(times, (list, tuple)) or not isinstance(days, (list, tuple)):
        raise InvalidArgument("times and days: expected lists")
    return FixedTimes(times, days, first, last)


_KEYS = {
    "times": ("times", "days", "first", "last"),
    "every": ("every", "anchor"),
    "cron": ("cron", "first", "last"),
}


def refuse_unknown(where: str, record: Mapping[str, Any], known: Iterable[str]) -> None:
    """A misspelt setting must not be ignored.

    Raises:
        InvalidArgument: a key that is not known.
    """
    known = tuple(known)
    for key in record:
        if key not in known:
            raise InvalidArgument(f"{where}: got the key {key!r}, expected {', '.join(known)}")


def time_text(value: time) -> str:
    """08:00, and 08:00:30 when there are seconds."""
    return value.isoformat("seconds" if value.second else "minutes")


def _time_of(value: time | str) -> time:
    if isinstance(value, time):
        if value.tzinfo is not None or value.microsecond:
            raise InvalidArgument(
                f"times: got {value!r}, expected whole seconds and no zone (the entry has one)"
            )
        return value.replace(fold=0)
    if isinstance(value, str) and (found := _TIME.fullmatch(value)):
        return time(int(found[1]), int(found[2]), int(found[3] or 0))
    raise InvalidArgument(f"times: got {value!r}, expected HH:MM or HH:MM:SS, 00:00 to 23:59:59")


def _day_of(value: str) -> str:
    if isinstance(value, str) and value.lower() in DAYS:
        return value.lower()
    raise InvalidArgument(f"days: got {value!r}, expected one of {', '.join(DAYS)}")


def _date_of(name: str, value: date | str | None) -> date | None:
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        with contextlib.suppress(ValueError):
            value = date.fromisoformat(value)
    if not isinstance(value, date) or isinstance(value, datetime):
        raise InvalidArgument(f"{name}: got {value!r}, expected a date such as 2026-03-29")
    if not 1970 <= value.year < 2200:
        raise InvalidArgument(f"{name}: got {value}, expected a date from 1970 to 2199")
    return value


def _set_dates(
    rule: FixedTimes | CronLine, first: date | str | None, last: date | str | None
) -> None:
    begin, end = _date_of("first", first), _date_of("last", last)
    if begin is not None and end is not None and end < begin:
        raise InvalidArgument(f"last: got {end}, expected {begin} or later")
    object.__setattr__(rule, "first", begin)
    object.__setattr__(rule, "last", end)


def _dates(rule: FixedTimes | CronLine) -> dict[str, Any]:
    given = {"first": rule.first, "last": rule.last}
    return {name: value.isoformat() for name, value in given.items() if value is not None}
