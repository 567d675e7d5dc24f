"""Entries in memory and in a file: the same promises."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from schedule.clock import at
from schedule.plain_queue import PlainQueue
from voicecore.errors import InvalidArgument
from voicecore.schedule import (
    CronLine,
    EditConflict,
    FixedTimes,
    Interval,
    Mark,
    MemoryScheduleStore,
    Occurrence,
    Policy,
    ScheduleEntry,
    ScheduleStore,
    SqliteScheduleStore,
    UnknownEntry,
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]
NOW = at("2026-06-01 12:00")
YOGA = ScheduleEntry(
    "Yoga 🧘",
    FixedTimes(["08:00"], ["mon", "fri"], last="2027-01-01"),
    "Asia/Ho_Chi_Minh",
    remind_minutes=10,
    key="guild",
    voice_channel_id=2**62,
    text_channel_id=7,
    files=("a.mp3", "b ü.mp3"),
    policy=Policy(gap="skip", coalesce="all", misfire_grace_time=90.5),
)


def occurrence(entry: ScheduleEntry, slot: str = "2026-06-01 08:00") -> Occurrence:
    return Occurrence(NOW, slot, entry.id)


@pytest.mark.parametrize("rule", [YOGA.rule, Interval(90, 7), CronLine("0 8 * * *")])
def test_what_was_added_is_read_back_whole(store: ScheduleStore, run: Run, rule: Any) -> None:
    async def scenario() -> None:
        added = await store.add(replace(YOGA, rule=rule), now=NOW)
        assert added == replace(YOGA, rule=rule, id=added.id)
        assert added.since == NOW
        assert await store.read() == ([added], [])
        assert added.id is not None
        assert (await store.get(added.id)).since == NOW

    run(scenario())


def test_an_id_is_kept_if_it_is_free_and_refused_if_not(store: ScheduleStore, run: Run) -> None:
    async def scenario() -> None:
        assert (await store.add(replace(YOGA, id=7), now=NOW)).id == 7
        with pytest.raises(InvalidArgument, match="another entry"):
            await store.add(replace(YOGA, id=7), now=NOW)
        assert (await store.add(YOGA, now=NOW)).id == 8

    run(scenario())


def test_an_id_that_would_leave_none_for_later_entries_is_refused(
    store: ScheduleStore, run: Run
) -> None:
    async def scenario() -> None:
        with pytest.raises(InvalidArgument, match="id: got"):
            await store.add(replace(YOGA, id=2**63 - 1), now=NOW)
        assert (await store.add(replace(YOGA, id=2**62), now=NOW)).id == 2**62
        assert (await store.add(YOGA, now=NOW)).id == 2**62 + 1

    run(scenario())


def test_an_id_is_not_used_again_after_its_entry_was_removed(
    store: ScheduleStore, run: Run
) -> None:
    async def scenario() -> None:
        first = await store.add(YOGA, now=NOW)
        assert first.id is not None
        await store.remove(first.id)
        assert (await store.add(YOGA, now=NOW)).id == first.id + 1

    run(scenario())


def test_an_unknown_id_is_a_value_error_that_names_it(store: ScheduleStore, run: Run) -> None:
    # D08: recoverable, not a TypeError.
    for call in (
        lambda: store.get(9),
        lambda: store.remove(9),
        lambda: store.update(replace(YOGA, id=9), now=NOW),
    ):
        with pytest.raises(UnknownEntry, match="entry 9") as caught:
            run(call())
        assert isinstance(caught.value, ValueError)


def test_an_edit_of_an_outdated_generation_is_refused(store: ScheduleStore, run: Run) -> None:
    async def scenario() -> None:
        added = await store.add(YOGA, now=NOW)
        edited = await store.update(replace(added, name="first"), now=NOW)
        assert edited.generation == 2
        with pytest.raises(EditConflict, match="generation 1"):
            await store.update(replace(added, name="second"), now=NOW)
        assert (await store.read())[0] == [edited]

    run(scenario())


def test_two_editors_at_once_cannot_both_win(plain: PlainQueue, run: Run) -> None:
    # Both have read generation 1 before either writes.
    class Slow(PlainQueue):
        def __init__(self) -> None:
            self.connection = plain.connection
            self.transactions = self.reads = 0

        async def execute(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
            rows = await super().execute(sql, parameters)
            await asyncio.sleep(0)
            return rows

    async def scenario() -> None:
        store = SqliteScheduleStore(Slow())
        added = await store.add(YOGA, now=NOW)
        results = await asyncio.gather(
            store.update(replace(added, name="one"), now=NOW),
            store.update(replace(added, name="two"), now=NOW),
            return_exceptions=True,
        )
        assert sorted(type(one).__name__ for one in results) == ["EditConflict", "ScheduleEntry"]

    run(scenario())


@pytest.mark.parametrize(
    "overtaking",
    [
        "UPDATE schedule_entries SET generation = generation + 1 WHERE id = 2",
        "DELETE FROM schedule_entries WHERE id = 2",
        "INSERT INTO schedule_entries(id, name, rule, zone) VALUES (9, 'x', '{}', 'UTC')",
    ],
)
def test_a_merge_that_another_editor_overtakes_changes_nothing(
    plain: PlainQueue, run: Run, overtaking: str
) -> None:
    class Overtaken(PlainQueue):
        def __init__(self) -> None:
            self.connection = plain.connection
            self.transactions = self.reads = 0

        async def transaction(self, steps: Any) -> list[list[tuple[Any, ...]]]:
            self.connection.execute(overtaking)
            return await super().transaction(steps)

    async def scenario() -> None:
        first = await SqliteScheduleStore(plain).add(YOGA, now=NOW)
        second = await SqliteScheduleStore(plain).add(YOGA, now=NOW)
        wanted = [replace(one, name="merged") for one in (first, second)]
        with pytest.raises(EditConflict):
            await SqliteScheduleStore(Overtaken()).merge([*wanted, replace(YOGA, id=9)], now=NOW)
        names = plain.connection.execute("SELECT name FROM schedule_entries").fetchall()
        assert ("merged",) not in names

    run(scenario())


def test_an_occurrence_is_decided_once(store: ScheduleStore, run: Run) -> None:
    async def scenario() -> None:
        added = await store.add(YOGA, now=NOW)
        mark = Mark(occurrence(added), "fired", 1)
        assert await store.mark([mark, mark], owner="a", now=NOW) == [True, False]
        assert await store.mark([mark], owner="b", now=NOW) == [False]
        (row,) = await store.history()
        assert (row.state, row.owner, row.fired_at) == ("fired", "a", NOW)

    run(scenario())


def test_a_reminder_leaves_the_start_to_be_decided(store: ScheduleStore, run: Run) -> None:
    async def scenario() -> None:
        one = occurrence(await store.add(YOGA, now=NOW))
        remind, fire = Mark(one, "reminded", 1), Mark(one, "fired", 1)
        assert await store.mark([remind, remind], owner="a", now=NOW) == [True, False]
        assert await store.mark([fire, fire, remind], owner="a", now=NOW + 9) == [
            True,
            False,
            False,
        ]
        (row,) = await store.history()
        assert (row.state, row.reminded_at, row.fired_at) == ("fired", NOW, NOW + 9)

    run(scenario())


def test_nothing_takes_for_an_entry_that_changed_meanwhile(store: ScheduleStore, run: Run) -> None:
    async def scenario() -> None:
        added = await store.add(YOGA, now=NOW)
        assert added.id is not None
        stale = Mark(occurrence(added), "fired", 1)
        await store.update(replace(added, enabled=False), now=NOW)
        disabled = replace(stale, generation=2)
        assert await store.mark([stale, disabled], owner="a", now=NOW) == [False, False]
        await store.remove(added.id)
        assert await store.mark([disabled], owner="a", now=NOW) == [False]
        assert await store.history() == []

    run(scenario())


def test_what_became_of_a_start_can_be_recorded(store: ScheduleStore, run: Run) -> None:
    # D14: a play while busy is visible afterwards.
    async def scenario() -> None:
        added = await store.add(YOGA, now=NOW)
        one = occurrence(added)
        await store.mark([Mark(one, "fired", 1)], owner="a", now=NOW)
        await store.record(one, "busy")
        assert added.id is not None
        assert await store.states(added.id, [one.slot, "other"]) == {one.slot: "busy"}
        with pytest.raises(InvalidArgument, match="state"):
            await store.record(one, "lost")  # type: ignore[arg-type]

    run(scenario())


def test_old_occurrences_are_pruned_by_age_and_kind(store: ScheduleStore, run: Run) -> None:
    async def scenario() -> None:
        added = await store.add(YOGA, now=NOW)
        slots = ["2026-06-01 08:00", "I100", "I200", "I300"]
        marks = [
            Mark(Occurrence(due, slot, added.id), "fired", 1)
            for due, slot in zip([NOW, 100.0, 200.0, 300.0], slots, strict=True)
        ]
        await store.mark(marks, owner="a", now=NOW)
        assert await store.prune(NOW, 300.0, limit=1) == 1
        assert await store.prune(NOW, 300.0) == 1
        assert await store.prune(NOW, 300.0) == 0
        assert [row.slot for row in await store.history()] == ["2026-06-01 08:00", "I300"]
        assert await store.prune(NOW + 1, 300.0) == 1

    run(scenario())


def test_removing_an_entry_takes_its_occurrences_along(store: ScheduleStore, run: Run) -> None:
    async def scenario() -> None:
        first, other = await store.add(YOGA, now=NOW), await store.add(YOGA, now=NOW)
        marks = [Mark(occurrence(one), "fired", 1) for one in (first, other)]
        await store.mark(marks, owner="a", now=NOW)
        assert first.id is not None
        await store.remove(first.id)
        assert [row.entry_id for row in await store.history()] == [other.id]

    run(scenario())


def test_a_row_typed_into_the_shell_is_an_entry(plain: PlainQueue, run: Run) -> None:
    plain.connection.execute(
        "INSERT INTO schedule_entries(name, rule, zone) "
        """VALUES ('Yoga', '{"times": ["08:00"]}', 'Asia/Ho_Chi_Minh')"""
    )
    entries, damaged = run(SqliteScheduleStore(plain).read())
    assert damaged == []
    assert entries == [ScheduleEntry("Yoga", FixedTimes(["08:00"]), "Asia/Ho_Chi_Minh", id=1)]


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("zone", "Mars/Olympus", "zone"),
        ("rule", "{", "rule"),
        ("rule", "[]", "rule"),
        ("rule", '{"times": ["25:00"]}', "times"),
        ("rule", '{"every": "x"}', "every"),
        ("files", '"a.mp3"', "files"),
        ("files", "[1]", "files"),
        ("policy", '{"gap": 3}', "gap"),
        ("policy", '{"gap": []}', "gap"),
        ("remind_minutes", -1, "remind"),
        ("remind_minutes", "soon", "remind"),
        ("name", "", "name"),
        ("generation", 0, "generation"),
        ("voice_channel_id", "x", "voice"),
        ("enabled", "true", "enabled"),
        ("enabled", "no", "enabled"),
        ("enabled", b"1", "enabled"),
    ],
)
def test_a_damaged_row_does_not_hide_the_others(
    plain: PlainQueue, run: Run, column: str, value: object, words: str
) -> None:
    async def scenario() -> None:
        store = SqliteScheduleStore(plain)
        await store.add(YOGA, now=NOW)
        good = await store.add(YOGA, now=NOW)
        plain.connection.execute(f"UPDATE schedule_entries SET {column} = ? WHERE id = 1", [value])
        entries, (broken,) = await store.read()
        assert entries == [good]
        assert broken.id == 1
        assert words in broken.error
        with pytest.raises(InvalidArgument, match=words):
            await store.get(1)
        await store.remove(1)
        assert (await store.read())[1] == []

    run(scenario())


@pytest.mark.parametrize(
    ("value", "enabled"), [(1, True), (2, True), (-1, True), (0.5, True), (0, False), (0.0, False)]
)
def test_a_number_typed_into_enabled_means_what_it_means_in_sql(
    plain: PlainQueue, run: Run, value: float, enabled: bool
) -> None:
    async def scenario() -> None:
        store = SqliteScheduleStore(plain)
        await store.add(YOGA, now=NOW)
        plain.connection.execute("UPDATE schedule_entries SET enabled = ?", [value])
        (entry,) = (await store.read())[0]
        assert entry.enabled is enabled
        mark = Mark(occurrence(entry), "fired", 1)
        assert await store.mark([mark], owner="a", now=NOW) == [enabled]

    run(scenario())


def test_a_failed_transaction_leaves_nothing_behind(plain: PlainQueue, run: Run) -> None:
    async def scenario() -> None:
        store = SqliteScheduleStore(plain)
        added = await store.add(YOGA, now=NOW)
        plain.connection.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON schedule_entries "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        await store.mark([Mark(occurrence(added), "reminded", 1)], owner="a", now=NOW)
        with pytest.raises(sqlite3.Error):
            await store.update(replace(added, rule=FixedTimes(["09:00"])), now=NOW)
        assert len(await store.history()) == 1  # the reminder was to be forgotten with the edit

    run(scenario())


def test_the_memory_store_is_a_store_for_type_checkers() -> None:
    port: ScheduleStore = MemoryScheduleStore()
    assert port
