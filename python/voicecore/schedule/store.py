"""Where entries and their occurrences are kept: the port, and a store in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

from voicecore.errors import InvalidArgument, VoicecoreError
from voicecore.schedule.edits import plan_edit
from voicecore.schedule.entries import Busy, DamagedEntry, ScheduleEntry
from voicecore.schedule.occurrences import Occurrence

State = Literal["reminded", "fired", "missed", "skipped", "busy", "coalesced"]
"""What became of an occurrence; "reminded" is announced and still to come, "fired" was given to
whoever starts it, also while it waits there for its key (the queue has its `play` then), and is
corrected to "busy", "missed" or "skipped" when nothing came of it."""
STATES: tuple[str, ...] = get_args(State)

MAX_CHOSEN_ID = 2**62
"""The largest id that a new entry may bring along; stores count on from the largest one."""


Row = tuple[Any, ...]
Step = tuple[str, Sequence[Any]]


class Database(Protocol):
    """What a store needs of a `CommandQueue`."""

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """One statement; all its rows."""

    async def transaction(self, steps: Sequence[Step]) -> list[list[Row]]:
        """Several statements in one immediate transaction; the rows of each."""


class UnknownEntry(InvalidArgument):
    """No entry with this id (D08)."""

    def __init__(self, number: int) -> None:
        super().__init__(f"entry {number}: there is none with this id")
        self.entry_id = number


class EditConflict(VoicecoreError, RuntimeError):
    """Somebody else changed the entry between reading and writing it; read it again."""


@dataclass(frozen=True, slots=True)
class Mark:
    """An attempt to be the one that decides about an occurrence."""

    occurrence: Occurrence
    state: State
    generation: int
    """Of the entry it was computed from; it takes only while that is the stored one."""
    play_until: float | None = None
    """Send a `play` that expires then, in the same step; only stores in a queue's file can."""
    busy: Busy = "drop"
    """What that `play` is to do when its key already plays."""


@dataclass(frozen=True, slots=True)
class OccurrenceRecord:
    """What is stored of an occurrence."""

    entry_id: int
    slot: str
    due: float
    """Seconds since 1970 UTC."""
    state: State
    reminded_at: float | None = None
    """When its reminder was given."""
    fired_at: float | None = None
    """When it was decided, in time or late; of a skipped one, when the time fired that was moved
    here."""
    owner: str | None = None
    """Who decided."""


class ScheduleStore(Protocol):
    """Entries, and one row per decided occurrence. Times are seconds since 1970 UTC.

    Every method is one step that other processes see whole or not at all.
    """

    async def read(self) -> tuple[list[ScheduleEntry], list[DamagedEntry]]:
        """Every entry by id, and the rows that are none."""

    async def get(self, number: int) -> ScheduleEntry:
        """One entry; `UnknownEntry` when there is none."""

    async def add(self, entry: ScheduleEntry, *, now: float) -> ScheduleEntry:
        """Store a new entry; under its own id if it has one that is free. Due from now on.

        Raises:
            InvalidArgument: its id is another entry's, or more than `MAX_CHOSEN_ID`.
        """

    async def add_many(
        self, entries: Sequence[ScheduleEntry], *, now: float
    ) -> list[ScheduleEntry]:
        """Store several, all or none, under ids of the store's choice."""

    async def update(
        self, entry: ScheduleEntry, *, now: float, refire: bool = False
    ) -> ScheduleEntry:
        """Replace the entry of this id and generation, with what `plan_edit` asks for.

        Raises:
            UnknownEntry: no such id.
            EditConflict: its generation is another by now.
        """

    async def begin(self, entries: Sequence[ScheduleEntry], *, now: float) -> None:
        """Entries whose `since` is 0.0, unknown, are due from now on; no edit."""

    async def remove(self, number: int) -> None:
        """Delete an entry, valid or damaged, and its occurrences."""

    async def states(self, entry_id: int, slots: Sequence[str]) -> dict[str, State]:
        """What is stored of these slots."""

    async def mark(self, marks: Sequence[Mark], *, owner: str, now: float) -> list[bool]:
        """Decide about occurrences, all in one step; True where this call was the first.

        A slot that is only "reminded" can still be decided, once. Nothing takes for an entry that
        is disabled, gone, or of another generation by now.
        """

    async def record(self, occurrence: Occurrence, state: State) -> None:
        """Change what became of a decided occurrence: "busy" after all, for example."""

    async def history(
        self, entry_id: int | None = None, limit: int = 100
    ) -> list[OccurrenceRecord]:
        """The latest decided occurrences, latest first."""

    async def forget_after(self, instant: float) -> int:
        """Delete what was decided for instants after this one; how many. For wrong clocks.

        A reminder counts by when it was given, since it may speak of next week.
        """

    async def prune(self, fixed_before: float, elapsed_before: float, limit: int = 1000) -> int:
        """Delete old occurrences, `limit` at most; how many. Interval slots have their own age."""


class MemoryScheduleStore:
    """A store for tests and for schedules that live in code; gone with the process.

    Safe within one event loop: no method waits in its middle.
    """

    def __init__(self) -> None:
        self._entries: dict[int, ScheduleEntry] = {}
        self._occurrences: dict[tuple[int, str], OccurrenceRecord] = {}
        self._last_id = 0

    async def read(self) -> tuple[list[ScheduleEntry], list[DamagedEntry]]:
        """See `ScheduleStore`."""
        return [self._entries[number] for number in sorted(self._entries)], []

    async def get(self, number: int) -> ScheduleEntry:
        """See `ScheduleStore`."""
        if number not in self._entries:
            raise UnknownEntry(number)
        return self._entries[number]

    async def add(self, entry: ScheduleEntry, *, now: float) -> ScheduleEntry:
        """See `ScheduleStore`."""
        number = chosen_id(entry) or self._last_id + 1
        if number in self._entries:
            raise taken(number)
        self._last_id = max(self._last_id, number)
        self._entries[number] = entry.with_id(number, entry.generation, now)
        return self._entries[number]

    async def add_many(
        self, entries: Sequence[ScheduleEntry], *, now: float
    ) -> list[ScheduleEntry]:
        """See `ScheduleStore`."""
        return [await self.add(replace(one, id=None), now=now) for one in entries]

    async def update(
        self, entry: ScheduleEntry, *, now: float, refire: bool = False
    ) -> ScheduleEntry:
        """See `ScheduleStore`."""
        number = stored_id(entry)
        old = await self.get(number)
        if old.generation != entry.generation:
            raise conflict(entry)
        plan = plan_edit(old, entry, now, refire)
        rows = self._occurrences
        for slot, coming in plan.moved:
            before = rows.get((number, slot))
            if before is not None and _was_given(before):
                self._skip(number, coming, before.fired_at)
        if plan.stale:
            for key, row in list(rows.items()):
                if key[0] == number and row.state == "reminded" and key[1] not in plan.reminded:
                    del rows[key]
        for one in plan.skipped:
            self._skip(number, one)
        for slot in plan.forgotten:
            rows.pop((number, slot), None)
        self._entries[number] = entry.with_id(number, old.generation + 1, plan.since)
        return self._entries[number]

    async def begin(self, entries: Sequence[ScheduleEntry], *, now: float) -> None:
        """See `ScheduleStore`."""
        for one in entries:
            if one.id is not None and self._entries.get(one.id) is one:
                self._entries[one.id] = replace(one, since=now)

    async def remove(self, number: int) -> None:
        """See `ScheduleStore`."""
        await self.get(number)
        del self._entries[number]
        for key in [key for key in self._occurrences if key[0] == number]:
            del self._occurrences[key]

    async def states(self, entry_id: int, slots: Sequence[str]) -> dict[str, State]:
        """See `ScheduleStore`."""
        rows = {slot: self._occurrences.get((entry_id, slot)) for slot in slots}
        return {slot: row.state for slot, row in rows.items() if row is not None}

    async def mark(self, marks: Sequence[Mark], *, owner: str, now: float) -> list[bool]:
        """See `ScheduleStore`."""
        if any(one.play_until is not None for one in marks):
            raise InvalidArgument("play_until: this store has no queue, expected None")
        return [self._mark(one, owner, now) for one in marks]

    async def record(self, occurrence: Occurrence, state: State) -> None:
        """See `ScheduleStore`."""
        key = occurrence_key(occurrence, state)
        if key in self._occurrences:
            self._occurrences[key] = replace(self._occurrences[key], state=state)

    async def history(
        self, entry_id: int | None = None, limit: int = 100
    ) -> list[OccurrenceRecord]:
        """See `ScheduleStore`."""
        rows = [row for row in self._occurrences.values() if entry_id in (None, row.entry_id)]
        rows.sort(key=lambda row: (-row.due, row.entry_id, row.slot))
        return rows[:limit]

    async def forget_after(self, instant: float) -> int:
        """See `ScheduleStore`."""
        return self._delete(
            [
                key
                for key, row in self._occurrences.items()
                if (row.due if row.reminded_at is None else row.reminded_at) > instant
            ]
        )

    async def prune(self, fixed_before: float, elapsed_before: float, limit: int = 1000) -> int:
        """See `ScheduleStore`."""
        old = [
            key
            for key, row in self._occurrences.items()
            if row.due < (elapsed_before if key[1].startswith("I") else fixed_before)
        ]
        return self._delete(old[:limit])

    def _mark(self, mark: Mark, owner: str, now: float) -> bool:
        one = mark.occurrence
        key = occurrence_key(one, mark.state)
        entry = self._entries.get(key[0])
        if entry is None or not entry.enabled or entry.generation != mark.generation:
            return False
        row = self._occurrences.get(key)
        if row is not None and (row.state != "reminded" or mark.state == "reminded"):
            return False
        if mark.state == "reminded":
            row = OccurrenceRecord(key[0], key[1], one.due, mark.state, reminded_at=now)
        else:
            reminded = None if row is None else row.reminded_at
            row = OccurrenceRecord(key[0], key[1], one.due, mark.state, reminded, now, owner)
        self._occurrences[key] = row
        return True

    def _skip(self, number: int, one: Occurrence, fired_at: float | None = None) -> None:
        row = OccurrenceRecord(number, one.slot, one.due, "skipped", fired_at=fired_at)
        self._occurrences.setdefault((number, one.slot), row)

    def _delete(self, keys: list[tuple[int, str]]) -> int:
        for key in keys:
            del self._occurrences[key]
        return len(keys)


def _was_given(row: OccurrenceRecord) -> bool:
    """It was its day's class, or its day's class was moved here."""
    return row.state in ("fired", "busy", "coalesced") or (
        row.state == "skipped" and row.fired_at is not None
    )


def stored_id(entry: ScheduleEntry) -> int:
    """The id of an entry that must have one."""
    if entry.id is None:
        raise InvalidArgument(f"entry {entry.name!r}: got no id, expected one that the store gave")
    return entry.id


def chosen_id(entry: ScheduleEntry) -> int | None:
    """The id that a new entry brings along; refuses one that leaves too few for later entries."""
    if entry.id is not None and entry.id > MAX_CHOSEN_ID:
        raise InvalidArgument(
            f"id: got {entry.id:,}, expected 1 to {MAX_CHOSEN_ID:,}: later entries count on from it"
        )
    return entry.id


def occurrence_key(occurrence: Occurrence, state: str) -> tuple[int, str]:
    """What makes an occurrence unique; refuses one of an entry that is not stored."""
    if state not in STATES:
        raise InvalidArgument(f"state: got {state!r}, expected one of {', '.join(STATES)}")
    if occurrence.entry_id is None:
        raise InvalidArgument("occurrence: its entry is not stored, so there is no id")
    return occurrence.entry_id, occurrence.slot


def taken(number: int) -> InvalidArgument:
    """The error for an id that is in use."""
    return InvalidArgument(
        f"id: got {number}, which another entry has; expected a free one or none"
    )


def conflict(entry: ScheduleEntry) -> EditConflict:
    """The error for an entry that changed meanwhile."""
    return EditConflict(
        f"entry {entry.id}: generation {entry.generation} is no longer the stored one; "
        "read it again"
    )
