"""A year in virtual time, over six zones with gaps and overlaps, with restarts."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schedule.clock import Clock, at
from schedule.plain_queue import NativeQueue
from voicecore.schedule import (
    Due,
    FixedTimes,
    MemoryScheduleStore,
    ScheduleEntry,
    ScheduleStore,
    SqliteScheduleStore,
    next_occurrences,
)
from voicecore.schedule.zones import changes, zone_of

Run = Callable[[Coroutine[Any, Any, Any]], Any]

# In 2018 all of these but the last changed their clocks; Sao Paulo did so at midnight, Lord Howe by
# half an hour, and Casablanca around Ramadan too.
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "America/Sao_Paulo",
    "Asia/Ho_Chi_Minh",
]
# In the gaps and overlaps of all of them, and one ordinary time.
TIMES = {"00:00": 0, "01:45": 0, "02:30": 7, "08:00": 0, "23:30": 0}  # and their reminders
FIRST, LAST = date(2018, 1, 1), date(2018, 12, 31)
DATES = [FIRST + timedelta(days=n) for n in range(365)]


@dataclass
class Year:
    fired: Counter[tuple[int, str]]
    reminded: Counter[tuple[int, str]]
    dues: list[Due]
    restarts: int


def entries(zones: list[str]) -> list[ScheduleEntry]:
    return [
        ScheduleEntry(
            zone, FixedTimes([clock], first=FIRST, last=LAST), zone, remind_minutes=remind
        )
        for zone in zones
        for clock, remind in TIMES.items()
    ]


async def live(store: ScheduleStore, seed: int, zones: list[str]) -> Year:
    """The bot's year: it sleeps until shortly before something happens, then ticks unevenly; it is
    stopped at random moments and comes back within the grace."""
    chance = random.Random(seed)
    clock = Clock("2017-12-30 00:00")
    stored = [await store.add(entry, now=clock.wall) for entry in entries(zones)]
    year = Year(Counter(), Counter(), [], 0)
    checker = clock.checker(store)
    upcoming = sorted(
        {
            moment
            for entry in stored
            for one in next_occurrences(entry, 400, clock.wall)
            for moment in {one.due, one.due - entry.remind_minutes * 60}
        }
    )
    for moment in upcoming:
        if clock.wall < moment - 60:
            # Nothing is due before it, so the ticks until then are left out.
            clock.pass_time(moment - clock.wall - chance.uniform(0, 60))
        while clock.wall <= moment:
            if chance.random() < 0.03:
                # An outage, shorter than the grace of 120 s.
                clock.pass_time(chance.uniform(1, 110))
                checker = clock.checker(store)
                year.restarts += 1
            else:
                clock.pass_time(chance.uniform(1, 20))
            for due in await checker.check():
                counter = year.fired if due.kind == "start" else year.reminded
                counter[(due.occurrence.entry_id or 0, due.occurrence.slot)] += 1
                year.dues.append(due)
    return year


def assert_each_date_fired_once(year: Year, zones: list[str]) -> None:
    wanted = {
        (number, f"{day} {clock}")
        for number, clock in enumerate((c for _ in zones for c in TIMES), 1)
        for day in DATES
    }
    assert set(year.fired) == wanted
    assert set(year.fired.values()) == {1}
    assert set(year.reminded) == {(number, slot) for number, slot in wanted if "02:30" in slot}
    assert set(year.reminded.values()) == {1}
    assert year.restarts > 100


@pytest.fixture(scope="module")
def year() -> Year:
    return asyncio.run(live(MemoryScheduleStore(), 1, ZONES))


def test_each_local_date_of_a_year_fires_exactly_once(year: Year) -> None:
    assert_each_date_fired_once(year, ZONES)


@pytest.mark.slow
def test_each_local_date_of_a_year_fires_exactly_once_from_a_file(
    native: NativeQueue, run: Run
) -> None:
    zones = ["America/Sao_Paulo"]  # its gap is at midnight
    assert_each_date_fired_once(run(live(SqliteScheduleStore(native), 3, zones)), zones)


def test_the_year_has_gaps_and_overlaps_in_five_of_the_zones() -> None:
    start, end = int(at("2018-01-01 00:00")), int(at("2019-01-01 00:00"))
    numbers = [len(list(changes(zone_of(zone), start, end))) for zone in ZONES]
    assert numbers == [2, 2, 2, 3, 2, 0]


def test_each_start_of_the_year_is_at_its_local_time_or_at_the_end_of_a_gap(year: Year) -> None:
    shifted = Counter[str]()
    for due in year.dues:
        one, zone = due.occurrence, due.entry.zone
        local = datetime.fromtimestamp(one.due, UTC).astimezone(zone_of(zone))
        if one.shifted:
            if due.kind == "start":
                shifted[zone] += 1
            assert f"{local:%Y-%m-%d %H:%M}" > one.slot
        else:
            assert f"{local:%Y-%m-%d %H:%M}" == one.slot
            assert local.fold == 0
        assert due.late <= 120
    assert set(shifted) == set(ZONES) - {"Asia/Ho_Chi_Minh", "Australia/Lord_Howe"}


WORKER = """
import asyncio, sys
sys.path.insert(0, sys.argv[3])
from schedule.clock import Clock
from schedule.plain_queue import NativeQueue
from voicecore.schedule import ScheduleChecker, SqliteScheduleStore

async def main():
    clock = Clock(sys.argv[2])
    checker = clock.checker(SqliteScheduleStore(NativeQueue(sys.argv[1])))
    for _ in range(300):
        clock.pass_time(1)
        for due in await checker.check():
            print(due.kind, due.entry.id, due.occurrence.slot, flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
def test_three_processes_on_one_file_fire_each_occurrence_once(
    native: NativeQueue, tmp_path: Path, run: Run
) -> None:
    from voicecore.schedule import Interval

    async def prepare() -> None:
        store = SqliteScheduleStore(native)
        for number in range(3):
            entry = ScheduleEntry(f"entry {number}", Interval(2, 0), remind_minutes=1)
            await store.add(entry, now=at("2026-06-01 00:00"))

    run(prepare())
    here = str(Path(__file__).resolve().parent.parent)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path / "queue.db"), "2026-06-01 00:00", here],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    lines = [line for one in processes for line in one.communicate(timeout=50)[0].splitlines()]
    assert [one.returncode for one in processes] == [0, 0, 0]
    counts = Counter(lines)
    assert set(counts.values()) == {1}
    # The processes are not in step: what one finds late, it coalesces. Nothing is left undecided.
    decided = run(SqliteScheduleStore(native).history(None, 10_000))
    assert {row.state for row in decided} <= {"fired", "coalesced", "reminded"}
    by_entry = Counter(row.entry_id for row in decided if row.state != "reminded")
    assert by_entry == {1: 151, 2: 151, 3: 151}
    fired = {f"start {row.entry_id} {row.slot}" for row in decided if row.state == "fired"}
    assert fired == {line for line in counts if line.startswith("start")}
