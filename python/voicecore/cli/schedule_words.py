"""Entries of the schedule as JSON records and as lines; times that are typed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from voicecore.cli.exits import one_line
from voicecore.errors import InvalidArgument
from voicecore.schedule import Occurrence, ScheduleEntry
from voicecore.schedule.zones import instant


def instant_of(option: str, text: str | None) -> float:
    """A time that was typed, seconds since 1970; None: now.

    Raises:
        InvalidArgument: not ISO 8601 with an offset.
    """
    if text is None:
        return time.time()
    try:
        return instant(option, datetime.fromisoformat(text))
    except ValueError as error:
        if isinstance(error, InvalidArgument):
            raise
        raise InvalidArgument(
            f"{option}: got {text!r}, expected a time such as 2026-03-29T08:00+02:00"
        ) from None


def entry_record(entry: ScheduleEntry) -> dict[str, Any]:
    """Every field, also those at their default: scripts should not need to know the defaults."""
    return {
        "id": entry.id,
        "name": entry.name,
        "rule": entry.rule.to_dict(),
        "zone": entry.zone,
        "remind_minutes": entry.remind_minutes,
        "key": entry.key,
        "voice_channel_id": entry.voice_channel_id,
        "text_channel_id": entry.text_channel_id,
        "files": list(entry.files),
        "enabled": entry.enabled,
        "policy": {
            "gap": entry.policy.gap,
            "overlap": entry.policy.overlap,
            "misfire_grace_time": entry.policy.misfire_grace_time,
            "coalesce": entry.policy.coalesce,
            "busy": entry.policy.busy,
        },
        "generation": entry.generation,
    }


def occurrence_records(entry: ScheduleEntry, found: Sequence[Occurrence]) -> list[dict[str, Any]]:
    """Each with its slot, its instant in UTC, and what the entry's own clocks show then."""
    return [
        {
            "slot": one.slot,
            "due": one.due,
            "utc": utc(one.due),
            "local": one.local(entry.zone).isoformat(),
            "shifted": one.shifted,
        }
        for one in found
    ]


def utc(seconds: float) -> str:
    """ISO 8601, with a Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def echo_lines(text: str) -> None:
    """Print a text that may hold what somebody typed."""
    for line in text.splitlines():
        click.echo(one_line(line))
