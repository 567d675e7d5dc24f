"""The schedule: what is due when, once, in which time zone."""

from __future__ import annotations

from voicecore.schedule.checker import Due, ScheduleChecker, ScheduleStatistics
from voicecore.schedule.clocks import ClockEvent, ClockWatch, boottime
from voicecore.schedule.entries import DamagedEntry, Policy, ScheduleEntry
from voicecore.schedule.formats import from_json, from_toml, to_json, to_toml
from voicecore.schedule.lint import Finding, lint
from voicecore.schedule.occurrences import Occurrence, next_occurrences, occurrences
from voicecore.schedule.rrule import NotRepresentable, from_icalendar
from voicecore.schedule.rules import CronLine, FixedTimes, Interval, Rule
from voicecore.schedule.sqlite_store import SqliteScheduleStore
from voicecore.schedule.store import (
    EditConflict,
    Mark,
    MemoryScheduleStore,
    OccurrenceRecord,
    ScheduleStore,
    UnknownEntry,
)
from voicecore.schedule.words import explain
from voicecore.schedule.zones import UnknownZone

__all__ = [
    "ClockEvent",
    "ClockWatch",
    "CronLine",
    "DamagedEntry",
    "Due",
    "EditConflict",
    "Finding",
    "FixedTimes",
    "Interval",
    "Mark",
    "MemoryScheduleStore",
    "NotRepresentable",
    "Occurrence",
    "OccurrenceRecord",
    "Policy",
    "Rule",
    "ScheduleChecker",
    "ScheduleEntry",
    "ScheduleStatistics",
    "ScheduleStore",
    "SqliteScheduleStore",
    "UnknownEntry",
    "UnknownZone",
    "boottime",
    "explain",
    "from_icalendar",
    "from_json",
    "from_toml",
    "lint",
    "next_occurrences",
    "occurrences",
    "to_json",
    "to_toml",
]
