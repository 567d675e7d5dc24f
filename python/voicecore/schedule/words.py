"""An entry in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from cronsim import CronSim

from voicecore.schedule.entries import ScheduleEntry
from voicecore.schedule.occurrences import Occurrence, next_occurrences
from voicecore.schedule.rules import (
    DAYS,
    CronLine,
    FixedTimes,
    Interval,
    Rule,
    plain_line,
    time_text,
    without_step,
)
from voicecore.schedule.zones import instant

_NAMES = dict(
    zip(
        DAYS,
        ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        strict=True,
    )
)
_ORDINAL = re.compile(r"\b(\d+)th\b")
_SOME_DAY = datetime(2024, 1, 1)
_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def explain(entry: ScheduleEntry, after: float | datetime | None = None) -> str:
    """What an entry does, in sentences for people.

    Args:
        entry: stored or not.
        after: the instant from which on the next occurrence is named; None is now.

    Returns:
        Some lines without an end of line after the last.

    Raises:
        InvalidArgument: `after` is no instant from 1970 to 2199.
    """
    begin = instant("after", after)
    lines = [f"{entry.name}: {rule_words(entry.rule)}, time zone {entry.zone}."]
    lines.append(_plays(entry))
    if entry.remind_minutes:
        lines.append(f"A reminder goes out {length(entry.remind_minutes * 60)} before.")
    lines.append(_awkward(entry))
    lines.append(_late(entry))
    if not entry.enabled:
        lines.append("It is disabled: it is never due until it is enabled.")
    upcoming = next_occurrences(entry, 1, begin)
    if not upcoming:
        lines.append("It never comes again.")
    else:
        word = "Next" if entry.enabled else "Next if it were enabled"
        lines.append(f"{word}: {occurrence_words(entry, upcoming[0])}.")
    return "\n".join(line for line in lines if line)


def rule_words(rule: Rule) -> str:
    """Every Monday and Friday at 08:00."""
    match rule:
        case FixedTimes():
            text = f"{_days(rule.days)} at {listed([time_text(one) for one in rule.times])}"
        case Interval():
            start = datetime.fromtimestamp(rule.anchor, UTC)
            every = length(rule.every)
            if every.count(" ") == 1:
                every = every.removeprefix("1 ")
            text = f"every {every} of elapsed time"
            if rule.anchor:
                text += f" from {start:%Y-%m-%d %H:%M:%S} UTC on"
            return text
        case CronLine():
            text = _cron_words(rule.line)
    if rule.first is not None:
        text += f", from {rule.first}"
    if rule.last is not None:
        text += f", until {rule.last}"
    return text


def occurrence_words(entry: ScheduleEntry, one: Occurrence) -> str:
    """Monday 2026-03-30 08:00 CEST (06:00 UTC)."""
    local = one.local(entry.zone)
    when = time_text(local.time().replace(microsecond=0, fold=0))
    there = datetime.fromtimestamp(one.due, UTC)
    text = f"{local:%A %Y-%m-%d} {when} {local:%Z} ({time_text(there.time())} UTC)"
    if one.shifted:
        text += f", shifted from {one.slot[11:]}, which the clocks jump over"
    return text


def length(seconds: float) -> str:
    """1 hour 30 minutes."""
    parts, rest = [], seconds
    for size, unit in _UNITS:
        number = rest // size if size > 1 else rest
        rest -= number * size
        if number:
            parts.append(f"{number:g} {unit}{'' if number == 1 else 's'}")
    return " ".join(parts) or "0 seconds"


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _ordinal(found: re.Match[str]) -> str:
    """31st for the 31th of `cronsim`, which knows endings only up to ten."""
    number = int(found[1])
    last = 0 if 10 < number % 100 < 20 else number % 10
    return f"{number}{('th', 'st', 'nd', 'rd')[last] if last < 4 else 'th'}"


def _cron_words(line: str) -> str:
    fields = plain_line(line).split()
    day, weekday = fields[-3], fields[-1]
    # As in Debian's cron, either day will do unless one of them begins with a star.
    either = not day.startswith("*") and not weekday.startswith("*")
    read = CronSim(" ".join(fields), _SOME_DAY)
    every_weekday = {one % 7 for one in read.weekdays if isinstance(one, int)} == set(range(7))
    if either and (every_weekday or read.days.issuperset(range(1, 32))):
        fields[-3] = fields[-1] = "*"
    elif _misleads(day, 3) or _misleads(weekday, 5):
        return f"by the cron line {line}"
    told = _ORDINAL.sub(_ordinal, CronSim(" ".join(fields), _SOME_DAY).explain())
    if either:
        told = told.replace(" and on ", " or on ")
    return f"{told[:1].lower()}{told[1:]} (cron {line})"


def _misleads(field: str, place: int) -> bool:
    """Every 31st day, which is the first: it is told as it is written."""
    return any(without_step(term, place) != term for term in field.split(","))


def _days(days: tuple[str, ...]) -> str:
    if days == DAYS:
        return "every day"
    if days == DAYS[:5]:
        return "Monday to Friday"
    return f"every {listed([_NAMES[day] for day in days])}"


def _plays(entry: ScheduleEntry) -> str:
    number = len(entry.files)
    text = f"Plays {number} file{'' if number == 1 else 's'}" if number else "Plays nothing"
    if entry.voice_channel_id is not None:
        text += f" in voice channel {entry.voice_channel_id}"
    if entry.key is not None:
        text += f" under the key {entry.key}"
    busy = {
        "drop": "is dropped and recorded as busy",
        "replace": "replaces what plays",
        "queue": f"waits for the other to end, {length(entry.policy.misfire_grace_time)} at most",
    }[entry.policy.busy]
    return f"{text}; when the key already plays, it {busy}."


def _awkward(entry: ScheduleEntry) -> str:
    if isinstance(entry.rule, Interval):
        return ""
    if isinstance(entry.rule, CronLine) and not entry.rule.fixed:
        return "It follows elapsed time when clocks change: nothing in a gap, twice in an overlap."
    gap = {
        "shift": "at the first valid instant after it",
        "skip": "not at all",
    }[entry.policy.gap]
    return (
        f"A time that clocks jump over comes {gap}; one that comes twice, on the "
        f"{entry.policy.overlap} pass only."
    )


def _late(entry: ScheduleEntry) -> str:
    text = f"Up to {length(entry.policy.misfire_grace_time)} late it still starts, "
    text += "then it is recorded as missed"
    if entry.policy.coalesce == "latest":
        return text + "; of several due at once only the latest starts."
    return text + "; of several due at once all start."
