"""iCalendar events in, as far as an entry can say the same.

A parser of our own: general libraries expand a rule into instants, but here the rule itself must be
understood, so that what an entry cannot say is refused by name instead of approximated.

Read are SUMMARY, DTSTART, RRULE and STATUS of each VEVENT (RFC 5545, 3.3.10 and 3.8.5.3). One
difference remains, in the gap of a clock change: the RFC reads a missing local time with the offset
before it, an entry starts at the gap's end.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, product

from voicecore.errors import InvalidArgument
from voicecore.schedule.entries import ScheduleEntry
from voicecore.schedule.occurrences import Occurrence, iterate
from voicecore.schedule.rules import DAYS, CronLine, FixedTimes, Interval, Rule
from voicecore.schedule.zones import LATEST, resolve, zone_of


class NotRepresentable(InvalidArgument):
    """A valid iCalendar rule that no entry can express."""


_DAY_CODES = dict(zip(("MO", "TU", "WE", "TH", "FR", "SA", "SU"), DAYS, strict=True))
_ELAPSED = {"SECONDLY": 1, "MINUTELY": 60, "HOURLY": 3600}
_CALENDAR = {"DAILY": 86_400, "WEEKLY": 7 * 86_400, "MONTHLY": 0, "YEARLY": 0}
_PARTS = {
    "FREQ", "INTERVAL", "UNTIL", "COUNT", "WKST",
    "BYSECOND", "BYMINUTE", "BYHOUR", "BYDAY", "BYMONTHDAY", "BYMONTH",
}  # fmt: skip
_MOST_TIMES = 24 * 60  # of one day; an edit goes through a week of them
_REFUSED_PARTS = ("BYSETPOS", "BYWEEKNO", "BYYEARDAY")
_REFUSED_LINES = ("EXDATE", "RDATE", "EXRULE", "RECURRENCE-ID")
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(Z?)")
# A parameter's value is a list of texts, and what is quoted may hold any separator.
_LINE = re.compile(r"([A-Za-z0-9-]+)((?:;(?:[^\";:]++|\"[^\"]*+\")++)*+):(.*)", re.DOTALL)
_PARAMETER = re.compile(r";([^\";:=]+)=((?:[^\";:]++|\"[^\"]*+\")*+)")


def from_icalendar(text: str | bytes, *, zone: str | None = None) -> list[ScheduleEntry]:
    """Entries from the events of a calendar.

    Args:
        text: an iCalendar file, or only the lines DTSTART and RRULE of one event. As bytes in UTF-8
            lines may also be folded within a character, as the RFC allows.
        zone: for times without a zone of their own; None refuses them.

    Returns:
        One entry per event, named by its SUMMARY, without files; disabled if it was cancelled.

    Raises:
        NotRepresentable: an event that an entry cannot express, and why.
        InvalidArgument: not iCalendar, no event in it, or a value of the wrong shape.
    """
    if not isinstance(text, (str, bytes)):
        raise InvalidArgument(f"text: got {type(text).__name__}, expected iCalendar text")
    events = _events(text)
    if not events:
        raise InvalidArgument("iCalendar: got no event, expected DTSTART and RRULE lines")
    return [_entry(lines, place, zone) for place, lines in enumerate(events, 1)]


Lines = list[tuple[str, dict[str, str], str]]


def _lines(text: str | bytes) -> list[str]:
    """Unfolded; a line ends with CRLF, LF or CR, and with nothing else that Unicode knows."""
    if isinstance(text, str):
        unfolded = re.sub(r"(?:\r\n|\r|\n)[ \t]", "", text)
    else:
        # Folding counts bytes, so that a fold may lie within a character.
        try:
            unfolded = re.sub(rb"(?:\r\n|\r|\n)[ \t]", b"", text).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InvalidArgument("iCalendar: not UTF-8") from None
    return re.split(r"\r\n|\r|\n", unfolded)


def _events(text: str | bytes) -> list[Lines]:
    events: list[Lines] = []
    bare: Lines = []
    inside: list[str] = []
    for line in _lines(text):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line.strip(" \t"))
        if found is None:
            raise InvalidArgument(f"iCalendar: got the line {line!r}, expected NAME:VALUE")
        name, value = found[1].upper(), found[3]
        parameters = {key.upper(): one.strip('"') for key, one in _PARAMETER.findall(found[2])}
        if name == "BEGIN":
            inside.append(value.upper())
            if value.upper() == "VEVENT":
                events.append([])
        elif name == "END":
            if not inside or inside.pop() != value.upper():
                raise InvalidArgument(f"iCalendar: got END:{value} without its BEGIN")
        elif inside and inside[-1] == "VEVENT":
            events[-1].append((name, parameters, value))
        elif not inside:
            bare.append((name, parameters, value))
    if inside:
        raise InvalidArgument(f"iCalendar: {inside[-1]} does not end")
    return [*events, bare] if bare else events


def _entry(lines: Lines, place: int, zone: str | None) -> ScheduleEntry:
    by_name: dict[str, tuple[dict[str, str], str]] = {}
    for name, parameters, value in lines:
        if name in _REFUSED_LINES:
            raise NotRepresentable(f"event {place}: {name} cannot be expressed by an entry")
        if name in by_name and name in ("DTSTART", "RRULE"):
            raise NotRepresentable(f"event {place}: several {name} cannot be expressed")
        by_name[name] = (parameters, value)
    title = _title(by_name.get("SUMMARY", ({}, f"event {place}"))[1])
    enabled = by_name.get("STATUS", ({}, ""))[1].strip().upper() != "CANCELLED"
    if "DTSTART" not in by_name:
        raise InvalidArgument(f"event {place}: got no DTSTART, expected one")
    try:
        start, name = _start(*by_name["DTSTART"], zone)
        rrule = by_name["RRULE"][1] if "RRULE" in by_name else None
        whole = ScheduleEntry(title, FixedTimes([start.time()]), name, enabled=enabled)
        return _with_rule(whole, start, rrule)
    except InvalidArgument as error:
        raise type(error)(f"event {place} ({title}): {error}") from None


def _title(value: str) -> str:
    """The text that is meant (RFC 5545, 3.3.11), on one line."""
    text = re.sub(r"\\(.)", lambda found: "\n" if found[1] in "nN" else found[1], value)
    return " ".join(text.splitlines()).strip()


def _start(parameters: dict[str, str], value: str, zone: str | None) -> tuple[datetime, str]:
    if parameters.get("VALUE", "DATE-TIME").upper() != "DATE-TIME" or "T" not in value:
        raise NotRepresentable("an event of a whole day has no time to start at")
    stamp, is_utc = _stamp("DTSTART", value)
    if is_utc:
        return stamp, "UTC"
    name = parameters.get("TZID", zone)
    if name is None:
        raise InvalidArgument("DTSTART has no zone: expected TZID, a Z, or a zone given for it")
    zone_of(name)
    return stamp, name


def _stamp(name: str, value: str) -> tuple[datetime, bool]:
    found = _STAMP.fullmatch(value.strip())
    try:
        if found is not None:
            numbers = [int(one) for one in found.groups()[:6]]
            return datetime(*numbers), bool(found[7])  # type: ignore[arg-type]
    except ValueError:
        pass
    raise InvalidArgument(f"{name}: got {value!r}, expected a time such as 20260302T080000")


def _with_rule(entry: ScheduleEntry, start: datetime, rrule: str | None) -> ScheduleEntry:
    if rrule is None:
        return replace(
            entry, rule=FixedTimes([start.time()], first=start.date(), last=start.date())
        )
    parts = _parts(rrule)
    step = _number(parts, "INTERVAL", 1, 10_000)
    frequency = parts["FREQ"]
    limits = {name for name in ("UNTIL", "COUNT") if name in parts}
    if len(limits) == 2:
        raise InvalidArgument("RRULE: got UNTIL and COUNT, expected one of them")
    if frequency in _ELAPSED or (step > 1 and _CALENDAR.get(frequency)):
        rule: Rule = _interval(entry, start, parts, frequency, step)
        if limits:
            raise NotRepresentable(f"{limits.pop()} of an interval cannot be expressed")
        return replace(entry, rule=rule)
    whole = replace(entry, rule=_calendar(parts, frequency, step, start))
    _check_start(whole, start)
    if not limits:
        return whole
    return _limited(whole, parts, start)


def _parts(rrule: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in rrule.strip().split(";"):
        name, equals, value = part.partition("=")
        name = name.strip().upper()
        if name in _REFUSED_PARTS:
            raise NotRepresentable(f"{name} cannot be expressed by an entry")
        if not equals or name not in _PARTS or name in parts or not value.strip():
            raise InvalidArgument(f"RRULE: got {part!r}, expected NAME=VALUE of RFC 5545, once")
        parts[name] = value.strip().upper()
    if parts.get("FREQ") not in {*_ELAPSED, *_CALENDAR}:
        raise InvalidArgument(f"RRULE: got FREQ {parts.get('FREQ')!r}, expected DAILY, WEEKLY, ...")
    return parts


def _interval(
    entry: ScheduleEntry, start: datetime, parts: dict[str, str], frequency: str, step: int
) -> Interval:
    by = [name for name in parts if name.startswith("BY")]
    if by:
        raise NotRepresentable(f"{by[0]} with FREQ={frequency};INTERVAL={step} cannot be expressed")
    if frequency not in _ELAPSED and entry.zone != "UTC":
        raise NotRepresentable(
            f"FREQ={frequency};INTERVAL={step} in {entry.zone} cannot be expressed: an interval "
            "follows elapsed time, not the local clock"
        )
    anchor = resolve(start, entry.tz)
    if anchor is None:
        raise InvalidArgument(f"DTSTART: {start} does not exist in {entry.zone}")
    return Interval(step * (_ELAPSED.get(frequency) or _CALENDAR[frequency]), anchor[0])


def _calendar(
    parts: dict[str, str], frequency: str, step: int, start: datetime
) -> FixedTimes | CronLine:
    seconds = _numbers(parts, "BYSECOND", 0, 59, [start.second])
    minutes = _numbers(parts, "BYMINUTE", 0, 59, [start.minute])
    hours = _numbers(parts, "BYHOUR", 0, 23, [start.hour])
    months = _numbers(parts, "BYMONTH", 1, 12, [])
    days = [_by_day(one) for one in parts["BYDAY"].split(",")] if "BYDAY" in parts else []
    month_days = _numbers(parts, "BYMONTHDAY", -31, 31, [])
    if frequency in ("DAILY", "WEEKLY"):
        if any(nth for nth, _ in days):
            raise InvalidArgument(f"BYDAY: got a number with FREQ={frequency}, expected none")
        if frequency == "WEEKLY" and not days:
            days = [(0, DAYS[start.weekday()])]
        if not months and not month_days:
            number = len(hours) * len(minutes) * len(seconds)
            if number > _MOST_TIMES:
                raise NotRepresentable(
                    f"{number:,} times a day cannot be expressed: {_MOST_TIMES:,} can"
                )
            times = [time(h, m, s) for h, m, s in product(hours, minutes, seconds)]
            return FixedTimes(times, [day for _, day in days] or DAYS, first=start.date())
    elif frequency == "YEARLY":
        if step > 1:
            raise NotRepresentable(f"every {step} years cannot be expressed")
        if not months and (days or month_days):
            raise NotRepresentable("FREQ=YEARLY with days but without BYMONTH cannot be expressed")
        months = months or [start.month]
    elif step > 1:
        if months or 12 % step:
            raise NotRepresentable(f"FREQ=MONTHLY;INTERVAL={step} cannot be expressed here")
        months = sorted({(start.month - 1 + step * k) % 12 + 1 for k in range(12)})
    if days and month_days:
        raise NotRepresentable("BYDAY together with BYMONTHDAY cannot be expressed")
    if not days and not month_days and frequency in ("MONTHLY", "YEARLY"):
        month_days = [start.day]
    fields = [
        _field(minutes),
        _field(hours),
        ",".join(_month_day(day) for day in month_days) or "*",
        _field(months) or "*",
        ",".join(_week_day(nth, day) for nth, day in days) or "*",
    ]
    if seconds != [0]:
        fields.insert(0, _field(seconds))
    return CronLine(" ".join(fields), first=start.date())


def _check_start(entry: ScheduleEntry, start: datetime) -> None:
    placed = resolve(start, entry.tz)
    day_before = datetime(start.year, start.month, start.day, tzinfo=UTC) - timedelta(days=2)
    first = next(iterate(entry, max(0.0, day_before.timestamp())), None)
    if first is None or placed is None or first.due != placed[0]:
        raise NotRepresentable("DTSTART is not the first time of its RRULE, as an entry needs it")


def _limited(entry: ScheduleEntry, parts: dict[str, str], start: datetime) -> ScheduleEntry:
    """With the last date; the limit must fall between two dates."""
    rule = entry.rule
    assert isinstance(rule, FixedTimes | CronLine)
    placed = resolve(start, entry.tz)
    assert placed is not None
    if "COUNT" in parts:
        number = _number(parts, "COUNT", 1, 100_000)
        ahead = iterate(entry, placed[0])
        taken = list(islice(ahead, number))
        following = next(ahead, None)
        last = date.fromisoformat(taken[-1].slot[:10])
    else:
        before, following = _around(entry, placed[0], _until(parts["UNTIL"], entry))
        if before is None:
            raise InvalidArgument("UNTIL lies before DTSTART")
        last = date.fromisoformat(before.slot[:10])
    if following is not None and following.slot[:10] == last.isoformat():
        raise NotRepresentable("an end in the middle of a day's times cannot be expressed")
    return replace(entry, rule=_ending(rule, last))


def _around(
    entry: ScheduleEntry, start: float, until: float
) -> tuple[Occurrence | None, Occurrence | None]:
    """The last occurrence up to an instant and the one after it, looked for from the end."""
    reach = 86_400
    while True:
        begin = max(start, min(until, LATEST) - reach)
        before = following = None
        for one in iterate(entry, begin):
            if one.due > until:
                following = one
                break
            before = one
        if before is not None or begin == start:
            return before, following
        reach *= 4


def _ending(rule: FixedTimes | CronLine, last: date) -> FixedTimes | CronLine:
    if isinstance(rule, CronLine):
        return replace(rule, last=last)
    return FixedTimes(rule.times, rule.days, rule.first, last)


def _until(value: str, entry: ScheduleEntry) -> float:
    if re.fullmatch(r"\d{8}", value):
        value += "T235959"
    stamp, is_utc = _stamp("UNTIL", value)
    zone = zone_of("UTC") if is_utc else entry.tz
    return stamp.replace(tzinfo=zone).timestamp()


def _number(parts: dict[str, str], name: str, low: int, high: int) -> int:
    text = parts.get(name, "1")
    if text.isascii() and text.isdigit() and low <= int(text) <= high:
        return int(text)
    raise InvalidArgument(f"{name}: got {text!r}, expected {low} to {high}")


def _numbers(
    parts: dict[str, str], name: str, low: int, high: int, default: list[int]
) -> list[int]:
    if name not in parts:
        return default
    numbers = set()
    for text in parts[name].split(","):
        if not re.fullmatch(r"[+-]?\d{1,2}", text) or not low <= int(text) <= high:
            raise InvalidArgument(f"{name}: got {text!r}, expected {low} to {high}")
        numbers.add(int(text))
    return sorted(numbers)


def _by_day(text: str) -> tuple[int, str]:
    found = re.fullmatch(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)", text)
    if found is None:
        raise InvalidArgument(f"BYDAY: got {text!r}, expected MO to SU with a number before it")
    nth = int(found[1] or 0)
    if not -1 <= nth <= 5:
        raise NotRepresentable(f"BYDAY={text} cannot be expressed: 1 to 5 and -1 can")
    return nth, _DAY_CODES[found[2]]


def _field(numbers: list[int]) -> str:
    return ",".join(str(one) for one in numbers)


def _month_day(day: int) -> str:
    if day == -1:
        return "L"
    if day < 1:
        raise NotRepresentable(f"BYMONTHDAY={day} cannot be expressed: 1 to 31 and -1 can")
    return str(day)


def _week_day(nth: int, day: str) -> str:
    if nth == -1:
        return f"{DAYS.index(day) + 1}L"
    return f"{day.upper()}#{nth}" if nth else day.upper()
