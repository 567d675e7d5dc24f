"""What is due, once, whatever the clocks and the processes do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from schedule.clock import Clock, at
from schedule.plain_queue import NativeQueue, PlainQueue
from voicecore.errors import InvalidArgument
from voicecore.schedule import (
    ClockEvent,
    Due,
    FixedTimes,
    Interval,
    Mark,
    MemoryScheduleStore,
    OccurrenceRecord,
    Policy,
    ScheduleChecker,
    ScheduleEntry,
    ScheduleStore,
    SqliteScheduleStore,
    next_occurrences,
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]
CLASS = ScheduleEntry("Yoga", FixedTimes(["08:00"]), "UTC", files=("a.mp3",))


def told(dues: list[Due]) -> list[tuple[str, str]]:
    """Kind and slot."""
    return [(due.kind, due.occurrence.slot) for due in dues]


def states(rows: list[OccurrenceRecord]) -> dict[str, str]:
    return {row.slot: row.state for row in rows}


async def ticks(checker: ScheduleChecker, clock: Clock, until: str, period: float = 2.0) -> Any:
    """Checks every period until then."""
    found: list[Due] = []
    while clock.wall < at(until):
        clock.pass_time(period)
        found += await checker.check()
    return found


def test_a_class_starts_at_its_time_and_not_before(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        await store.add(CLASS, now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-06-01 07:59:59.999")
        assert await checker.check() == []
        clock.go_to("2026-06-01 08:00")
        (due,) = await checker.check()
        assert (due.kind, due.late, due.entry.name) == ("start", 0.0, "Yoga")
        assert await checker.check() == []

    run(scenario())


def test_a_restart_one_second_after_the_hour_still_plays_the_class_once(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        await store.add(CLASS, now=clock.wall)
        before = clock.checker(store)
        clock.go_to("2026-06-01 07:59:58")
        assert await before.check() == []
        clock.go_to("2026-06-01 08:00:01")
        after = clock.checker(store)
        (due,) = await after.check()
        assert (due.occurrence.slot, due.late) == ("2026-06-01 08:00", 1.0)
        clock.pass_time(1)
        assert await clock.checker(store).check() == []
        assert await before.check() == []

    run(scenario())


def test_two_checkers_on_one_store_start_it_once(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        await store.add(CLASS, now=clock.wall)
        pair = [clock.checker(store), clock.checker(store)]
        clock.go_to("2026-06-01 08:00")
        found = [due for checker in pair for due in await checker.check()]
        assert told(found) == [("start", "2026-06-01 08:00")]

    run(scenario())


def test_a_claim_lost_to_another_process_is_not_given_out(plain: PlainQueue, run: Run) -> None:
    # The other one claims between this one's look and its claim.
    clock = Clock()

    async def scenario() -> None:
        store = SqliteScheduleStore(plain)
        added = await store.add(CLASS, now=clock.wall)

        class Raced(SqliteScheduleStore):
            async def states(self, entry_id: int, slots: Any) -> Any:
                found = await super().states(entry_id, slots)
                await clock.checker(store).check()
                return found

        clock.go_to("2026-06-01 08:00")
        checker = clock.checker(Raced(plain))
        assert await checker.check() == []
        assert checker.statistics().lost_races == 1
        assert states(await store.history(added.id)) == {"2026-06-01 08:00": "fired"}
        assert await checker.check() == []

    run(scenario())


def test_a_reminder_goes_out_once_before_each_start(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    # R62
    async def scenario() -> None:
        await store.add(replace(CLASS, remind_minutes=10), now=clock.wall)
        clock.go_to("2026-06-01 07:49")
        found = await ticks(clock.checker(store), clock, "2026-06-01 07:55")
        found += await ticks(clock.checker(store), clock, "2026-06-01 08:05")
        assert told(found) == [("reminder", "2026-06-01 08:00"), ("start", "2026-06-01 08:00")]
        assert found[0].late <= 2

    run(scenario())


def test_a_reminder_that_would_be_wrong_is_left_out(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        await store.add(replace(CLASS, remind_minutes=10), now=clock.wall)
        clock.go_to("2026-06-01 07:52:01")
        assert await clock.checker(store).check() == []
        clock.go_to("2026-06-01 08:00")
        assert told(await clock.checker(store).check()) == [("start", "2026-06-01 08:00")]

    run(scenario())


def test_a_reminder_a_week_ahead_survives_a_restart(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        weekly = replace(CLASS, rule=FixedTimes(["08:00"], ["wed"]), remind_minutes=7 * 1440 - 60)
        await store.add(weekly, now=clock.wall)
        clock.go_to("2026-06-03 09:00")
        assert told(await clock.checker(store).check()) == [("reminder", "2026-06-10 08:00")]
        clock.pass_time(60)
        assert await clock.checker(store).check() == []

    run(scenario())


@pytest.mark.parametrize(("late", "plays"), [(120.0, True), (120.001, False)])
def test_within_the_grace_it_starts_and_beyond_it_is_missed(
    store: ScheduleStore, clock: Clock, run: Run, late: float, plays: bool
) -> None:
    async def scenario() -> None:
        added = await store.add(CLASS, now=clock.wall)
        clock.wall = at("2026-06-01 08:00") + late
        checker = clock.checker(store)
        assert len(await checker.check()) == plays
        expected = "fired" if plays else "missed"
        assert states(await store.history(added.id)) == {"2026-06-01 08:00": expected}
        assert checker.statistics().missed == (not plays)

    run(scenario())


def test_of_several_due_at_once_only_the_latest_starts(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        minutely = replace(CLASS, rule=Interval(60))
        await store.add(minutely, now=clock.wall)
        checker = clock.checker(store)
        await checker.check()
        clock.pass_time(150)
        (due,) = await checker.check()
        assert due.occurrence.due == at("2026-06-01 00:02")
        assert due.coalesced == 1
        clock.suspend(600)
        (due,) = await checker.check()
        assert due.occurrence.due == at("2026-06-01 00:12")
        counts = checker.statistics()
        assert (counts.started, counts.coalesced, counts.missed) == (3, 2, 8)

    run(scenario())


def test_all_of_them_start_if_the_policy_says_so(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        await store.add(
            replace(CLASS, rule=Interval(30), policy=Policy(coalesce="all")), now=clock.wall
        )
        checker = clock.checker(store)
        await checker.check()
        clock.pass_time(95)
        assert [due.occurrence.due - clock.wall for due in await checker.check()] == [-65, -35, -5]

    run(scenario())


def test_times_that_a_gap_shifts_together_start_once(store: ScheduleStore, run: Run) -> None:
    clock = Clock("2026-03-28 12:00")

    async def scenario() -> None:
        times = FixedTimes(["02:00", "02:30", "03:00"])
        added = await store.add(replace(CLASS, rule=times, zone="Europe/Berlin"), now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-03-29 01:00")
        assert told(await checker.check()) == [("start", "2026-03-29 03:00")]
        assert states(await store.history(added.id)) == {
            "2026-03-29 02:00": "coalesced",
            "2026-03-29 02:30": "coalesced",
            "2026-03-29 03:00": "fired",
        }

    run(scenario())


def test_after_a_long_outage_the_last_day_is_recorded_as_missed(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        added = await store.add(CLASS, now=clock.wall)
        clock.go_to("2026-06-05 12:00")
        assert await clock.checker(store).check() == []
        assert states(await store.history(added.id)) == {"2026-06-05 08:00": "missed"}

    run(scenario())


def test_a_clock_set_back_an_hour_does_not_play_the_class_again(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        await store.add(replace(CLASS, remind_minutes=5), now=clock.wall)
        checker = clock.checker(store)
        found = await ticks(checker, clock, "2026-06-01 08:10", 10)
        assert told(found) == [("reminder", "2026-06-01 08:00"), ("start", "2026-06-01 08:00")]
        clock.step(-3600)
        assert await ticks(checker, clock, "2026-06-01 09:00", 10) == []
        assert checker.take_clock_event() == ClockEvent("step", -3600.0, at("2026-06-01 07:10:10"))
        assert checker.take_clock_event() is None

    run(scenario())


def test_a_clock_set_back_an_hour_does_not_stop_an_interval_for_longer(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    # discord.ext.tasks sleeps until the old time comes again and then goes on.
    async def scenario() -> None:
        await store.add(replace(CLASS, rule=Interval(60)), now=clock.wall)
        checker = clock.checker(store)
        assert len(await ticks(checker, clock, "2026-06-01 02:00", 30)) == 121
        clock.step(-3600)
        # Those instants have had their run; the first new one is not missed.
        assert await ticks(checker, clock, "2026-06-01 02:00", 30) == []
        assert len(await ticks(checker, clock, "2026-06-01 02:05", 30)) == 5

    run(scenario())


def test_a_clock_set_forward_an_hour_records_a_miss_and_runs_an_interval_once(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    # discord.ext.tasks runs 1,801 times in a second.
    async def scenario() -> None:
        class_ = await store.add(CLASS, now=clock.wall)
        await store.add(replace(CLASS, rule=Interval(2)), now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-06-01 07:30")
        assert len(await checker.check()) == 1
        clock.step(3600)
        (due,) = await checker.check()
        assert due.entry.rule == Interval(2)
        assert states(await store.history(class_.id)) == {"2026-06-01 08:00": "missed"}
        event = checker.take_clock_event()
        assert event == ClockEvent("step", 3600.0, at("2026-06-01 08:30"))

    run(scenario())


def test_a_clock_that_was_a_year_ahead_does_not_use_up_that_year(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        added = await store.add(replace(CLASS, remind_minutes=5), now=clock.wall)
        checker = clock.checker(store)
        clock.step(365 * 86_400)
        await ticks(checker, clock, "2027-06-01 07:00", 60)
        assert len(await store.history(added.id)) > 0
        clock.step(-365 * 86_400)
        await checker.check()
        assert [row for row in await store.history() if row.due > clock.wall + 86_400] == []
        clock.go_to("2026-06-01 08:00")  # an hour later
        assert told(await checker.check()) == [("start", "2026-06-01 08:00")]

    run(scenario())


def test_an_absurd_clock_makes_the_schedule_wait(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        await store.add(CLASS, now=clock.wall)
        checker = clock.checker(store)
        right = clock.wall
        for wrong in (-5.0, 1e12):
            clock.wall = wrong
            assert await checker.check() == []
        clock.wall = right
        clock.go_to("2026-06-01 08:00")
        assert len(await checker.check()) == 1

    run(scenario())


def test_a_suspend_is_told_from_a_step_and_jumps_are_summed_up(clock: Clock, run: Run) -> None:
    async def scenario() -> None:
        checker = clock.checker(MemoryScheduleStore())
        await checker.check()
        clock.suspend(1800)
        await checker.check()
        assert checker.take_clock_event() == ClockEvent("suspend", 1800.0, clock.wall)
        for _ in range(3):
            clock.step(10)
            await checker.check()
        assert checker.take_clock_event() == ClockEvent("step", 30.0, clock.wall, 3)
        assert checker.statistics().clock_jumps == 4

    run(scenario())


def test_a_slow_correction_is_no_step(clock: Clock, run: Run) -> None:
    async def scenario() -> None:
        checker = clock.checker(MemoryScheduleStore())
        for _ in range(2000):  # 500 ppm, for more than an hour
            clock.pass_time(2.0)
            clock.step(0.001)
            await checker.check()
        assert checker.take_clock_event() is None

    run(scenario())


def test_an_entry_added_after_todays_time_waits_for_tomorrow(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        checker = clock.checker(store)
        clock.go_to("2026-06-01 08:00:30")
        await store.add(CLASS, now=clock.wall)
        assert await checker.check() == []
        assert await clock.checker(store).check() == []
        clock.go_to("2026-06-02 08:00")
        assert told(await checker.check()) == [("start", "2026-06-02 08:00")]

    run(scenario())


NINE = ["01 09:00", "02 08:00", "02 09:00"]
MOVED = ["01 09:00", "02 08:30", "02 09:00"]
EDITS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("the name", {"name": "Yoga 2"}, ["02 08:00"]),
    ("the files", {"files": ("b.mp3",)}, ["02 08:00"]),
    ("its time to later today", {"rule": FixedTimes(["09:00"])}, ["02 09:00"]),
    ("its time to earlier", {"rule": FixedTimes(["07:00"])}, ["02 07:00"]),
    ("a time added today", {"rule": FixedTimes(["08:00", "09:00"])}, NINE),
    ("moved and one added", {"rule": FixedTimes(["08:30", "09:00"])}, MOVED),
    ("its zone to the west", {"zone": "America/New_York"}, ["02 08:00"]),
    ("days of the week", {"rule": FixedTimes(["08:00"], ["tue"])}, ["02 08:00"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "slots"), [e[1:] for e in EDITS], ids=[e[0] for e in EDITS])
def test_an_entry_that_fired_today_is_not_fired_again_by_editing(
    store: ScheduleStore, clock: Clock, run: Run, change: dict[str, Any], slots: list[str]
) -> None:
    async def scenario() -> None:
        added = await store.add(CLASS, now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-06-01 08:00")
        assert len(await checker.check()) == 1
        clock.pass_time(30)
        await store.update(replace(added, **change), now=clock.wall)
        found = await ticks(checker, clock, "2026-06-02 14:00", 60)
        assert [due.occurrence.slot[8:] for due in found] == slots

    run(scenario())


@pytest.mark.parametrize(
    "path",
    [
        ["08:30", "08:40"],
        ["08:30", "08:00", "08:40"],
        ["07:00", "08:40"],
        ["08:30"] * 2 + ["09:00"],
    ],
)
def test_a_class_that_fired_today_stays_fired_over_any_number_of_moves(
    store: ScheduleStore, clock: Clock, run: Run, path: list[str]
) -> None:
    async def scenario() -> None:
        entry = await store.add(CLASS, now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-06-01 08:00")
        assert len(await checker.check()) == 1
        for moved in path:
            clock.pass_time(30)
            entry = await store.update(replace(entry, rule=FixedTimes([moved])), now=clock.wall)
            assert await checker.check() == []
        found = await ticks(checker, clock, "2026-06-02 07:59", 60)
        assert [due.occurrence.slot for due in found if due.occurrence.slot < "2026-06-02"] == []
        found += await ticks(checker, clock, "2026-06-02 14:00", 60)
        assert len(found) == 1

    run(scenario())


def test_a_time_that_never_fired_fires_where_it_is_moved_to(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    # 08:00:20 is skipped because it was added when it had passed; nobody has heard that class.
    async def scenario() -> None:
        entry = await store.add(CLASS, now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-06-01 08:00:30")
        both = replace(entry, rule=FixedTimes(["08:00", "08:00:20"]))
        entry = await store.update(both, now=clock.wall)
        assert told(await checker.check()) == [("start", "2026-06-01 08:00")]
        await store.update(replace(entry, rule=FixedTimes(["08:00", "08:40"])), now=clock.wall)
        found = await ticks(checker, clock, "2026-06-01 14:00", 60)
        assert told(found) == [("start", "2026-06-01 08:40")]

    run(scenario())


def test_refire_plays_it_again_today(store: ScheduleStore, clock: Clock, run: Run) -> None:
    async def scenario() -> None:
        added = await store.add(CLASS, now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-06-01 08:00")
        await checker.check()
        clock.pass_time(30)
        again = await store.update(replace(added, files=("b.mp3",)), now=clock.wall, refire=True)
        (due,) = await checker.check()
        assert (due.occurrence.slot, due.entry.files) == ("2026-06-01 08:00", ("b.mp3",))
        moved = replace(again, rule=FixedTimes(["09:00"]))
        await store.update(moved, now=clock.wall, refire=True)
        clock.go_to("2026-06-01 09:00")
        assert told(await checker.check()) == [("start", "2026-06-01 09:00")]

    run(scenario())


def test_an_edit_does_not_lose_a_start_that_is_due_and_not_yet_claimed(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        added = await store.add(CLASS, now=clock.wall)
        clock.go_to("2026-06-01 08:00:10")  # the bot is down
        both = FixedTimes(["08:00", "08:00:05", "20:00"])
        await store.update(replace(added, rule=both), now=clock.wall)
        assert told(await clock.checker(store).check()) == [("start", "2026-06-01 08:00")]

    run(scenario())


def test_a_reminder_is_given_anew_only_for_a_time_that_moved(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        rule = FixedTimes(["08:00", "08:20"])
        added = await store.add(replace(CLASS, rule=rule, remind_minutes=30), now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-06-01 07:49")
        found = await ticks(checker, clock, "2026-06-01 07:50:30", 10)
        assert told(found) == [("reminder", "2026-06-01 08:20")]
        moved = replace(added, rule=FixedTimes(["08:20", "08:22"]))
        await store.update(moved, now=clock.wall)
        found = await ticks(checker, clock, "2026-06-01 07:53", 10)
        assert told(found) == [("reminder", "2026-06-01 08:22")]

    run(scenario())


def test_a_reminder_is_given_anew_when_another_zone_moves_its_start(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        added = await store.add(replace(CLASS, remind_minutes=30), now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-06-01 07:30")
        assert told(await checker.check()) == [("reminder", "2026-06-01 08:00")]
        await store.update(replace(added, zone="Atlantic/Azores"), now=clock.wall)  # UTC in summer
        assert await checker.check() == []
        moved = replace(await store.get(added.id or 0), zone="Atlantic/Cape_Verde")
        await store.update(moved, now=clock.wall)
        clock.go_to("2026-06-01 08:30")  # an hour behind UTC
        assert told(await checker.check()) == [("reminder", "2026-06-01 08:00")]

    run(scenario())


def test_an_entry_enabled_again_starts_with_its_next_time(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        added = await store.add(CLASS, now=clock.wall)
        checker = clock.checker(store)
        await checker.check()
        off = await store.update(replace(added, enabled=False), now=clock.wall)
        clock.go_to("2026-06-01 08:00:30")
        assert await checker.check() == []
        await store.update(replace(off, enabled=True), now=clock.wall)
        assert await checker.check() == []
        assert await store.history() == []
        clock.go_to("2026-06-02 08:00")
        assert len(await checker.check()) == 1

    run(scenario())


def test_busy_is_recorded_over_the_start(store: ScheduleStore, clock: Clock, run: Run) -> None:
    async def scenario() -> None:
        await store.add(CLASS, now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-06-01 08:00")
        (due,) = await checker.check()
        await checker.record(due.occurrence, "busy")
        assert states(await store.history()) == {"2026-06-01 08:00": "busy"}
        assert await clock.checker(store).check() == []

    run(scenario())


def test_a_failing_database_loses_nothing(plain: PlainQueue, run: Run) -> None:
    clock = Clock()

    async def scenario() -> None:
        store = SqliteScheduleStore(plain)
        await store.add(CLASS, now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-06-01 08:00")
        plain.connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON schedule_occurrences "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(Exception, match="no"):
            await checker.check()
        plain.connection.execute("DROP TRIGGER refuse")
        clock.pass_time(2)
        (due,) = await checker.check()
        assert due.late == 2.0

    run(scenario())


def test_a_damaged_row_is_reported_and_the_others_play(
    plain: PlainQueue, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()

    async def scenario() -> None:
        store = SqliteScheduleStore(plain)
        await store.add(CLASS, now=clock.wall)
        await store.add(replace(CLASS, name="broken"), now=clock.wall)
        plain.connection.execute("UPDATE schedule_entries SET zone = 'Mars' WHERE id = 2")
        checker = clock.checker(store)
        clock.go_to("2026-06-01 08:00")
        assert len(await checker.check()) == 1
        await checker.check()
        assert [one.name for one in checker.damaged()] == ["broken"]
        assert checker.statistics().damaged == 1
        assert caplog.text.count("broken") == 1  # said once, not every tick

    run(scenario())


def test_a_quiet_tick_reads_once_and_writes_nothing(plain: PlainQueue, run: Run) -> None:
    clock = Clock()

    async def scenario() -> None:
        store = SqliteScheduleStore(plain)
        await store.add(CLASS, now=clock.wall)
        checker = clock.checker(store)
        await checker.check()
        before, reads = (plain.connection.total_changes, plain.transactions), plain.reads
        await ticks(checker, clock, "2026-06-01 00:05")
        assert (plain.connection.total_changes, plain.transactions) == before
        assert plain.reads - reads == 150  # one each

    run(scenario())


def test_a_start_that_failed_comes_again_until_its_grace_ends(
    store: ScheduleStore, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        added = await store.add(CLASS, now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-06-01 08:00")
        (due,) = await checker.check()
        checker.give_back(due)
        clock.pass_time(2)
        (again,) = await checker.check()
        assert again == replace(due, late=2.0)
        assert await checker.check() == []
        checker.give_back(again)
        clock.pass_time(119)
        assert await checker.check() == []
        assert states(await store.history(added.id)) == {"2026-06-01 08:00": "missed"}

    run(scenario())


@pytest.mark.parametrize(
    ("change", "names", "state"),
    [({"name": "Tai chi"}, ["Tai chi"], "fired"), ({"enabled": False}, [], "skipped")],
)
def test_a_start_that_waits_comes_again_as_its_entry_is_by_then(
    store: ScheduleStore,
    clock: Clock,
    run: Run,
    change: dict[str, Any],
    names: list[str],
    state: str,
) -> None:
    async def scenario() -> None:
        added = await store.add(CLASS, now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-06-01 08:00")
        (due,) = await checker.check()
        checker.give_back(due)
        await store.update(replace(added, **change), now=clock.wall)
        clock.pass_time(2)
        assert [again.entry.name for again in await checker.check()] == names
        assert states(await store.history()) == {"2026-06-01 08:00": state}

    run(scenario())


def test_a_start_that_waits_is_not_lost_by_a_failing_database(plain: PlainQueue, run: Run) -> None:
    clock = Clock()

    async def scenario() -> None:
        store = SqliteScheduleStore(plain)
        await store.add(CLASS, now=clock.wall)
        await store.add(replace(CLASS, rule=FixedTimes(["08:01"])), now=clock.wall)
        checker = clock.checker(store)
        clock.go_to("2026-06-01 08:00")
        (due,) = await checker.check()
        checker.give_back(due)
        plain.connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON schedule_occurrences "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        clock.go_to("2026-06-01 08:01")
        with pytest.raises(Exception, match="no"):
            await checker.check()
        plain.connection.execute("DROP TRIGGER refuse")
        assert [due.entry.id for due in await checker.check()] == [1, 2]

    run(scenario())


def test_a_start_as_a_command_is_in_the_queue_with_its_claim(
    native: NativeQueue, clock: Clock, run: Run
) -> None:
    # Nothing is lost if the process is killed right after the claim; nothing is sent twice.
    async def scenario() -> None:
        store = SqliteScheduleStore(native)
        policy = Policy(misfire_grace_time=60, busy="queue")
        added = await store.add(
            replace(CLASS, key="guild", remind_minutes=1, policy=policy), now=clock.wall
        )
        pair = [
            ScheduleChecker(store, lambda: clock.wall, lambda: clock.monotonic, as_commands=True)
            for _ in range(2)
        ]
        clock.go_to("2026-06-01 07:59")
        found = [due.kind for checker in pair for due in await checker.check()]
        clock.go_to("2026-06-01 08:00:01")
        found += [due.kind for checker in pair for due in await checker.check()]
        assert found == ["reminder"]
        (row,) = await native.execute(
            "SELECT command, entry_id, key, args, requested_by, dedup_key, expires_at, state "
            "FROM bot_commands"
        )
        assert row == (
            "play",
            added.id,
            "guild",
            '{"slot":"2026-06-01 08:00","busy":"queue"}',
            "schedule",
            f"schedule:{added.id}:2026-06-01 08:00",
            1000 * at("2026-06-01 08:01"),
            "ready",
        )

    run(scenario())


def test_only_the_claim_that_took_sends_a_command(
    native: NativeQueue, clock: Clock, run: Run
) -> None:
    async def scenario() -> None:
        store = SqliteScheduleStore(native)
        added = await store.add(CLASS, now=clock.wall)
        (one,) = next_occurrences(added, 1, clock.wall)
        mark = Mark(one, "fired", 1, one.due + 120)
        assert await store.mark([mark], owner="a", now=one.due) == [True]
        await native.transaction([("DELETE FROM bot_commands", ())])  # it was carried out
        assert await store.mark([mark], owner="b", now=one.due) == [False]
        assert await native.execute("SELECT id FROM bot_commands") == []

    run(scenario())


def test_a_schedule_without_a_queue_cannot_send_commands(clock: Clock) -> None:
    with pytest.raises(InvalidArgument, match="as_commands"):
        ScheduleChecker(MemoryScheduleStore(), as_commands=True)


BY_HAND = (
    "INSERT INTO schedule_entries(name, rule, zone, files, created_at) "
    """VALUES ('Yoga', '{"times": ["08:00"]}', 'UTC', '["a.mp3"]', ?)"""
)


@pytest.mark.parametrize("created", [None, "2026-05-31 10:00:00", 9e18, -1, float("inf")])
def test_an_entry_typed_into_the_shell_is_due_from_when_it_is_first_seen(
    plain: PlainQueue, run: Run, created: object
) -> None:
    clock = Clock("2026-06-01 08:01")

    async def scenario() -> None:
        store = SqliteScheduleStore(plain)
        checker = clock.checker(store)
        await checker.check()
        plain.connection.execute(BY_HAND, [created])
        clock.pass_time(2)
        assert await checker.check() == []
        clock.go_to("2026-06-01 12:00")
        assert await clock.checker(store).check() == []
        assert await store.history() == []
        clock.go_to("2026-06-02 08:00:01")
        assert told(await clock.checker(store).check()) == [("start", "2026-06-02 08:00")]

    run(scenario())


def test_an_entry_that_says_when_it_was_made_is_believed(plain: PlainQueue, run: Run) -> None:
    clock = Clock("2026-06-01 08:01")

    async def scenario() -> None:
        plain.connection.execute(BY_HAND, [1000 * (clock.wall - 120)])
        checker = clock.checker(SqliteScheduleStore(plain))
        assert told(await checker.check()) == [("start", "2026-06-01 08:00")]

    run(scenario())
