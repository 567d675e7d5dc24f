"""The schedule in the queue's SQLite file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from voicecore.errors import InvalidArgument
from voicecore.schedule.edits import plan_edit
from voicecore.schedule.entries import DamagedEntry, Policy, ScheduleEntry
from voicecore.schedule.occurrences import Occurrence
from voicecore.schedule.rules import rule_from_dict
from voicecore.schedule.sent import SentPlays
from voicecore.schedule.store import (
    Database,
    Mark,
    OccurrenceRecord,
    Row,
    State,
    Step,
    UnknownEntry,
    chosen_id,
    conflict,
    occurrence_key,
    stored_id,
    taken,
)
from voicecore.schedule.zones import LATEST

_COLUMNS = (
    "id, name, key, rule, zone, remind_minutes, voice_channel_id, text_channel_id, files, "
    "enabled, policy, generation, created_at, updated_at"
)
_INSERT = (
    "INSERT INTO schedule_entries(id, name, key, rule, zone, remind_minutes, voice_channel_id, "
    "text_channel_id, files, enabled, policy, generation, created_at, updated_at) "
    "SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE true"
)
_GUARD = "EXISTS (SELECT 1 FROM schedule_entries WHERE id = ? AND generation = ?)"
# The missing name ends the transaction.
_REFUSE_CHANGED = f"INSERT INTO schedule_entries(name) SELECT NULL WHERE NOT {_GUARD}"
_SKIP = (
    "INSERT INTO schedule_occurrences(entry_id, slot, due_at, state) "
    f"SELECT ?, ?, ?, 'skipped' WHERE {_GUARD}"
)
_SKIP_MOVED = (
    "INSERT INTO schedule_occurrences(entry_id, slot, due_at, state, fired_at) "
    "SELECT entry_id, ?, ?, 'skipped', coalesce(fired_at, due_at) FROM schedule_occurrences "
    "WHERE entry_id = ? AND slot = ? AND (state IN ('fired', 'busy', 'coalesced') "
    f"OR state = 'skipped' AND fired_at IS NOT NULL) AND {_GUARD} ON CONFLICT DO NOTHING"
)
_ENTRY_LIVES = (
    "EXISTS (SELECT 1 FROM schedule_entries WHERE id = ? AND generation = ? AND enabled + 0 <> 0)"
)
_OLD = "FROM schedule_occurrences WHERE due_at < CASE WHEN slot >= 'I' THEN ? ELSE ? END"

_AHEAD = "FROM schedule_occurrences WHERE coalesce(reminded_at, due_at) > ?"


class SqliteScheduleStore:
    """Entries in `schedule_entries`, decided occurrences in `schedule_occurrences`.

    The row of an occurrence is inserted once and only once, whatever number of processes try:
    that is what makes it fire once. Errors are those of the queue.

    Args:
        queue: a `CommandQueue`, or anything with its `execute` and `transaction`.
    """

    def __init__(self, queue: Database) -> None:
        self._queue = queue
        self._plays = SentPlays(queue)
        self._parsed: dict[int, tuple[Row, ScheduleEntry | DamagedEntry]] = {}

    async def read(self) -> tuple[list[ScheduleEntry], list[DamagedEntry]]:
        """See `ScheduleStore`. Rows that did not change are not parsed again."""
        rows = await self._queue.execute(f"SELECT {_COLUMNS} FROM schedule_entries ORDER BY id")
        parsed: dict[int, tuple[Row, ScheduleEntry | DamagedEntry]] = {}
        for row in rows:
            known = self._parsed.get(row[0])
            parsed[row[0]] = (
                known if known is not None and known[0] == row else (row, entry_of(row))
            )
        self._parsed = parsed
        found = [one for _, one in parsed.values()]
        return (
            [one for one in found if isinstance(one, ScheduleEntry)],
            [one for one in found if isinstance(one, DamagedEntry)],
        )

    async def get(self, number: int) -> ScheduleEntry:
        """See `ScheduleStore`; a damaged row is an `InvalidArgument` that says why."""
        rows = await self._queue.execute(
            f"SELECT {_COLUMNS} FROM schedule_entries WHERE id = ?", (number,)
        )
        if not rows:
            raise UnknownEntry(number)
        entry = entry_of(rows[0])
        if isinstance(entry, DamagedEntry):
            raise InvalidArgument(f"entry {number}: {entry.error}")
        return entry

    async def add(self, entry: ScheduleEntry, *, now: float) -> ScheduleEntry:
        """See `ScheduleStore`."""
        number = chosen_id(entry)
        rows = await self._queue.execute(
            f"{_INSERT} ON CONFLICT(id) DO NOTHING RETURNING id", _new_row(entry, number, now)
        )
        if not rows:
            raise taken(stored_id(entry))
        return entry.with_id(rows[0][0], entry.generation, _milliseconds(now) / 1000)

    async def add_many(
        self, entries: Sequence[ScheduleEntry], *, now: float
    ) -> list[ScheduleEntry]:
        """See `ScheduleStore`."""
        if not entries:
            return []
        rows = await self._queue.transaction(
            [(f"{_INSERT} RETURNING id", _new_row(one, None, now)) for one in entries]
        )
        since = _milliseconds(now) / 1000
        return [
            one.with_id(number[0][0], one.generation, since)
            for one, number in zip(entries, rows, strict=True)
        ]

    async def update(
        self, entry: ScheduleEntry, *, now: float, refire: bool = False
    ) -> ScheduleEntry:
        """See `ScheduleStore`."""
        old = await self.get(stored_id(entry))
        if old.generation != entry.generation:
            raise conflict(entry)
        steps, edited = _edit(old, entry, now, refire)
        if not (await self._queue.transaction(steps))[-1]:
            raise conflict(entry)
        return edited

    async def merge(
        self, entries: Sequence[ScheduleEntry], *, now: float, refire: bool = False
    ) -> list[ScheduleEntry]:
        """Update the entries whose ids are stored and add the others, all or none.

        Ids are kept; what generation is stored does not matter.

        Raises:
            InvalidArgument: two entries of one id, an id out of range, or a stored row that is
                damaged; the message says which entry.
            EditConflict: somebody else changed one of them meanwhile.
        """
        rows = await self._queue.execute(f"SELECT {_COLUMNS} FROM schedule_entries")
        stored = {row[0]: row for row in rows}
        old = {one.id: entry_of(stored[one.id]) for one in entries if one.id in stored}
        _check_merge(entries, old)
        done: list[ScheduleEntry | None] = [None] * len(entries)
        added: list[int] = []
        guards: list[Step] = []
        steps: list[Step] = []
        # Ids that are given come before ids that the file chooses, which could be the same.
        for place, one in sorted(enumerate(entries), key=lambda pair: pair[1].id is None):
            before = old.get(one.id)
            if isinstance(before, ScheduleEntry):
                guards.append((_REFUSE_CHANGED, (one.id, before.generation)))
                edits, done[place] = _edit(before, one, now, refire)
                steps += edits
            else:
                added.append(place)
        inserts = [
            (f"{_INSERT} RETURNING id", _new_row(entries[place], entries[place].id, now))
            for place in added
        ]
        try:
            results = await self._queue.transaction([*guards, *steps, *inserts])
        except Exception:
            await self._refuse_changed(entries, stored)
            raise
        since = _milliseconds(now) / 1000
        for place, number in zip(added, results[len(guards) + len(steps) :], strict=True):
            one = entries[place]
            done[place] = one.with_id(number[0][0], one.generation, since)
        return [one for one in done if one is not None]

    async def _refuse_changed(
        self, entries: Sequence[ScheduleEntry], stored: Mapping[int, Row]
    ) -> None:
        rows = await self._queue.execute(f"SELECT {_COLUMNS} FROM schedule_entries")
        now = {row[0]: row for row in rows}
        for one in entries:
            if one.id is not None and now.get(one.id) != stored.get(one.id):
                raise conflict(one)

    async def begin(self, entries: Sequence[ScheduleEntry], *, now: float) -> None:
        """See `ScheduleStore`."""
        at = _milliseconds(now)
        await self._queue.transaction(
            [
                (
                    "UPDATE schedule_entries SET updated_at = ? WHERE id = ? AND generation = ?",
                    (at, one.id, one.generation),
                )
                for one in entries
            ]
        )

    async def remove(self, number: int) -> None:
        """See `ScheduleStore`."""
        gone = await self._queue.transaction(
            [
                ("DELETE FROM schedule_entries WHERE id = ? RETURNING id", (number,)),
                ("DELETE FROM schedule_occurrences WHERE entry_id = ?", (number,)),
            ]
        )
        if not gone[0]:
            raise UnknownEntry(number)

    async def states(self, entry_id: int, slots: Sequence[str]) -> dict[str, State]:
        """See `ScheduleStore`."""
        rows = await self._queue.execute(
            "SELECT slot, state FROM schedule_occurrences WHERE entry_id = ? "
            f"AND slot IN ({_marks(slots)})",
            (entry_id, *slots),
        )
        return dict(rows)

    async def mark(self, marks: Sequence[Mark], *, owner: str, now: float) -> list[bool]:
        """See `ScheduleStore`."""
        if not marks:
            return []
        steps = [_mark_step(one, owner, now) for one in marks]
        plays = [one for one in marks if one.play_until is not None]
        steps += [_play_step(one, owner, now) for one in plays]
        done = await self._queue.transaction(steps)
        for one, rows in zip(plays, done[len(marks) :], strict=True):
            if rows:
                self._plays.add(occurrence_key(one.occurrence, one.state), rows[0][0])
        return [bool(rows) for rows in done[: len(marks)]]

    async def settle(self, since: float) -> list[State]:
        """Record what became of occurrences that were sent as commands.

        Args:
            since: seconds since 1970 UTC: how far back the first call looks at the commands of
                earlier runs.

        Returns:
            What became of those that have ended since the last call: "fired" if carried out.
        """
        return await self._plays.settle(_milliseconds(since))

    async def record(self, occurrence: Occurrence, state: State) -> None:
        """See `ScheduleStore`."""
        entry_id, slot = occurrence_key(occurrence, state)
        await self._queue.transaction(
            [
                (
                    "UPDATE schedule_occurrences SET state = ? WHERE entry_id = ? AND slot = ?",
                    (state, entry_id, slot),
                )
            ]
        )

    async def history(
        self, entry_id: int | None = None, limit: int = 100
    ) -> list[OccurrenceRecord]:
        """See `ScheduleStore`."""
        rows = await self._queue.execute(
            "SELECT entry_id, slot, due_at, state, reminded_at, fired_at, owner "
            "FROM schedule_occurrences WHERE ? IS NULL OR entry_id = ? "
            "ORDER BY due_at DESC, entry_id, slot LIMIT ?",
            (entry_id, entry_id, limit),
        )
        return [
            OccurrenceRecord(
                number, slot, due / 1000, state, _seconds(reminded), _seconds(fired), owner
            )
            for number, slot, due, state, reminded, fired, owner in rows
        ]

    async def forget_after(self, instant: float) -> int:
        """See `ScheduleStore`. Looks before it writes."""
        at = (_milliseconds(instant),)
        if not await self._queue.execute(f"SELECT 1 {_AHEAD} LIMIT 1", at):
            return 0
        gone = await self._queue.transaction([(f"DELETE {_AHEAD} RETURNING 1", at)])
        return len(gone[0])

    async def prune(self, fixed_before: float, elapsed_before: float, limit: int = 1000) -> int:
        """See `ScheduleStore`. Looks before it writes."""
        at = (_milliseconds(elapsed_before), _milliseconds(fixed_before))
        if not await self._queue.execute(f"SELECT 1 {_OLD} LIMIT 1", at):
            return 0
        gone = await self._queue.transaction(
            [
                (
                    "DELETE FROM schedule_occurrences WHERE (entry_id, slot) IN "
                    f"(SELECT entry_id, slot {_OLD} LIMIT ?) RETURNING 1",
                    (*at, limit),
                )
            ]
        )
        return len(gone[0])


def entry_of(row: Row) -> ScheduleEntry | DamagedEntry:
    """An entry from its row; a row that is none becomes a `DamagedEntry` instead of an error."""
    number, name, key, rule, zone, remind, voice, text, files, enabled, policy = row[:11]
    generation, created, updated = row[11:]
    try:
        if not isinstance(enabled, (int, float)):
            raise InvalidArgument(f"enabled: got {enabled!r}, expected 1 or 0")
        return ScheduleEntry(
            name=name,
            rule=rule_from_dict(_json("rule", rule)),
            zone=zone,
            remind_minutes=remind,
            key=key,
            voice_channel_id=voice,
            text_channel_id=text,
            files=tuple(_json("files", files, list)),
            enabled=enabled != 0,
            policy=Policy.from_dict(_json("policy", policy)),
            id=number,
            generation=generation,
            since=_since(updated, created),
        )
    except (InvalidArgument, TypeError) as error:
        return DamagedEntry(number, str(name), str(error))


def _since(*times: object) -> float:
    """The first that is an instant, in seconds; 0.0, unknown, when none is: typed by hand."""
    for one in times:
        if isinstance(one, (int, float)) and 0 < one < 1000 * LATEST:
            return one / 1000
    return 0.0


def _check_merge(
    entries: Sequence[ScheduleEntry], old: Mapping[int | None, ScheduleEntry | DamagedEntry]
) -> None:
    seen = set()
    for place, one in enumerate(entries, 1):
        before = old.get(one.id)
        try:
            if one.id is not None and one.id in seen:
                raise InvalidArgument(f"id: got {one.id} twice, expected different ones")
            seen.add(one.id)
            if isinstance(before, DamagedEntry):
                raise InvalidArgument(
                    f"the stored entry {one.id} is damaged: {before.error}; remove it first"
                )
            if before is None:
                chosen_id(one)
        except InvalidArgument as error:
            raise InvalidArgument(f"entry {place} ({one.name}): {error}") from None


def _edit(
    old: ScheduleEntry, entry: ScheduleEntry, now: float, refire: bool
) -> tuple[list[Step], ScheduleEntry]:
    """What replaces `old`, if it is still what is stored, and what is stored then.

    The last step has a row if it was.
    """
    number = old.id
    assert number is not None
    plan = plan_edit(old, entry, now, refire)
    guard = (number, old.generation)
    steps: list[Step] = []
    for slot, coming in plan.moved:
        steps.append((_SKIP_MOVED, (coming.slot, _milliseconds(coming.due), number, slot, *guard)))
    if plan.stale:
        steps.append(
            (
                "DELETE FROM schedule_occurrences WHERE entry_id = ? AND state = 'reminded' "
                f"AND slot NOT IN ({_marks(plan.reminded)}) AND {_GUARD}",
                (number, *plan.reminded, *guard),
            )
        )
    for one in plan.skipped:
        steps.append(
            (
                f"{_SKIP} ON CONFLICT DO NOTHING",
                (number, one.slot, _milliseconds(one.due), *guard),
            )
        )
    for slot in plan.forgotten:
        steps.append(
            (
                f"DELETE FROM schedule_occurrences WHERE entry_id = ? AND slot = ? AND {_GUARD}",
                (number, slot, *guard),
            )
        )
    since = _milliseconds(plan.since)
    steps.append(
        (
            "UPDATE schedule_entries SET name = ?, key = ?, rule = ?, zone = ?, "
            "remind_minutes = ?, voice_channel_id = ?, text_channel_id = ?, files = ?, "
            "enabled = ?, policy = ?, generation = generation + 1, updated_at = ? "
            "WHERE id = ? AND generation = ? RETURNING generation",
            (*_values(entry), since, *guard),
        )
    )
    return steps, entry.with_id(number, old.generation + 1, since / 1000)


def _mark_step(mark: Mark, owner: str, now: float) -> Step:
    entry_id, slot = occurrence_key(mark.occurrence, mark.state)
    due, at = _milliseconds(mark.occurrence.due), _milliseconds(now)
    lives = (entry_id, mark.generation)
    if mark.state == "reminded":
        return (
            "INSERT INTO schedule_occurrences(entry_id, slot, due_at, state, reminded_at) "
            f"SELECT ?, ?, ?, 'reminded', ? WHERE {_ENTRY_LIVES} "
            "ON CONFLICT DO NOTHING RETURNING 1",
            (entry_id, slot, due, at, *lives),
        )
    return (
        "INSERT INTO schedule_occurrences(entry_id, slot, due_at, state, fired_at, owner) "
        f"SELECT ?, ?, ?, ?, ?, ? WHERE {_ENTRY_LIVES} "
        "ON CONFLICT(entry_id, slot) DO UPDATE SET state = excluded.state, "
        "due_at = excluded.due_at, fired_at = excluded.fired_at, owner = excluded.owner "
        "WHERE schedule_occurrences.state = 'reminded' RETURNING 1",
        (entry_id, slot, due, mark.state, at, owner, *lives),
    )


def _play_step(mark: Mark, owner: str, now: float) -> Step:
    """A `play` for an occurrence, if it is this call that has claimed it."""
    entry_id, slot = occurrence_key(mark.occurrence, mark.state)
    assert mark.play_until is not None
    name, at = f"schedule:{entry_id}:{slot}", _milliseconds(now)
    return (
        "INSERT INTO bot_commands(command, entry_id, key, args, requested_by, created_at, "
        "dedup_key, expires_at, priority) SELECT 'play', id, key, ?, 'schedule', ?, ?, ?, 1 "
        "FROM schedule_entries WHERE id = ? AND generation = ? "
        "AND EXISTS (SELECT 1 FROM schedule_occurrences "
        "WHERE entry_id = ? AND slot = ? AND owner = ? AND fired_at = ? AND state = 'fired') "
        "AND NOT EXISTS (SELECT 1 FROM bot_commands WHERE dedup_key = ?) RETURNING id",
        (
            _text({"slot": slot, "busy": mark.busy}),
            at,
            name,
            _milliseconds(mark.play_until),
            entry_id,
            mark.generation,
            entry_id,
            slot,
            owner,
            at,
            name,
        ),
    )


def _new_row(entry: ScheduleEntry, number: int | None, now: float) -> tuple[Any, ...]:
    at = _milliseconds(now)
    return (number, *_values(entry), entry.generation, at, at)


def _values(entry: ScheduleEntry) -> tuple[Any, ...]:
    """Name to policy, in the order of the columns."""
    return (
        entry.name,
        entry.key,
        _text(entry.rule.to_dict()),
        entry.zone,
        entry.remind_minutes,
        entry.voice_channel_id,
        entry.text_channel_id,
        _text(list(entry.files)),
        int(entry.enabled),
        _text(entry.policy.to_dict()),
    )


def _marks(values: Sequence[str]) -> str:
    """As many placeholders; the lists are bounded by the callers."""
    return ", ".join("?" * len(values))


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json(name: str, text: str, kind: type = dict) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise InvalidArgument(f"{name}: got {text!r}, expected JSON of a {kind.__name__}")
    return value


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
