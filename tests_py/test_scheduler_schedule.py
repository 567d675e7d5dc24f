"""What the scheduler makes of a schedule: whose entries play, and what is recorded of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from voicecore import CommandQueue, Scheduler, Session
from voicecore.schedule import (
    FixedTimes,
    MemoryScheduleStore,
    Policy,
    ScheduleChecker,
    ScheduleEntry,
    SqliteScheduleStore,
)
from voicecore.testing import VirtualTime

EIGHT = datetime(2025, 6, 16, 8, tzinfo=UTC).timestamp()
SLOT = "2025-06-16 08:00"


@dataclass
class Bot:
    """A scheduler ten seconds before eight, and what it played."""

    time: VirtualTime
    queue: CommandQueue
    scheduler: Scheduler
    played: list[tuple[str, str]] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)

    async def play(self, session: Session) -> None:
        self.played.append((session.key, session.entry.name))
        self.sessions[session.key] = session
        await session.wait_stop()

    async def until_eight(self, seconds: float) -> None:
        await self.time.advance(EIGHT + seconds - self.time.time())
        await self.time.settle()

    async def occupy(self, key: str) -> None:
        other = ScheduleEntry("other", FixedTimes(["01:00"]), key=key, id=77)
        assert await self.scheduler._maybe_start(other)
        await self.time.settle()

    async def vacate(self, key: str) -> None:
        self.sessions[key].stop()
        while self.scheduler.session_of(key) is not None:
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def bot_of(
    path: Path,
    store: MemoryScheduleStore | None = None,
    *,
    start: float = EIGHT - 10,
    **more: Any,
) -> Any:
    time = VirtualTime(start)
    async with CommandQueue(path, synchronous="normal", wall_clock=time.time) as queue:
        checker = True if store is None else ScheduleChecker(store, time.time, time.monotonic)

        async def play(session: Session) -> None:
            await bot.play(session)

        scheduler = Scheduler(None, queue, time=time, play_session=play, schedule=checker, **more)
        bot = Bot(time, queue, scheduler)
        scheduler.start()
        await scheduler.wait_started()
        try:
            yield bot
        finally:
            await scheduler.shutdown()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The queue's file."""
    return tmp_path / "bot.db"


def class_of(busy: Any, key: str | None = "g1", grace: float = 60.0) -> ScheduleEntry:
    policy = Policy(busy=busy, misfire_grace_time=grace)
    return ScheduleEntry("class", FixedTimes(["08:00"]), key=key, policy=policy)


@pytest.mark.parametrize("key", ["g1", None])
@pytest.mark.parametrize("busy", ["queue", "replace"])
async def test_a_class_of_a_schedule_in_memory_plays_itself_once_its_key_is_free(
    path: Path, busy: str, key: str | None
) -> None:
    store = MemoryScheduleStore()
    async with bot_of(path, store) as bot:
        of_the_file = ScheduleEntry("not ours", FixedTimes(["03:00"]), key="g9")
        await SqliteScheduleStore(bot.queue).add(of_the_file, now=bot.time.time())
        await store.add(class_of(busy, key), now=bot.time.time())
        place = key or bot.queue.default_key
        await bot.occupy(place)
        await bot.until_eight(4)
        if busy == "queue":
            assert bot.played == [(place, "other")]
            await bot.vacate(place)
        await bot.time.advance(4)
        assert bot.played == [(place, "other"), (place, "class")]
        assert [row.state for row in await store.history()] == ["fired"]
        assert await bot.queue.history() == []


async def test_a_class_in_memory_whose_key_stays_busy_is_missed_after_its_grace(
    path: Path,
) -> None:
    store = MemoryScheduleStore()
    async with bot_of(path, store) as bot:
        await store.add(class_of("queue", grace=10.0), now=bot.time.time())
        await bot.occupy("g1")
        await bot.until_eight(14)
        await bot.vacate("g1")
        await bot.time.advance(10)
        assert bot.played == [("g1", "other")]
        assert [row.state for row in await store.history()] == ["missed"]


async def test_a_scheduler_with_nobody_to_remind_leaves_reminders_to_the_others(
    path: Path,
) -> None:
    async with bot_of(path) as worker:
        store = SqliteScheduleStore(worker.queue)
        await store.add(replace(class_of("drop"), remind_minutes=1), now=worker.time.time() - 3600)
        await worker.time.advance(4)
        assert await store.history() == []
        bot = ScheduleChecker(store, worker.time.time, worker.time.monotonic)
        assert [due.kind for due in await bot.check()] == ["reminder"]


async def states_of(bot: Bot) -> list[str]:
    return [row.state for row in await SqliteScheduleStore(bot.queue).history()]


@pytest.mark.parametrize(
    ("busy", "grace", "state"),
    [("drop", 60.0, "busy"), ("queue", 6.0, "missed"), ("replace", 60.0, "fired")],
)
async def test_what_is_recorded_of_a_class_is_what_became_of_its_play(
    path: Path, busy: str, grace: float, state: str
) -> None:
    async with bot_of(path) as bot:
        store = SqliteScheduleStore(bot.queue)
        await store.add(class_of(busy, grace=grace), now=bot.time.time())
        await bot.occupy("g1")
        await bot.until_eight(4)
        while state == "fired" and ("g1", "class") not in bot.played:
            await asyncio.sleep(0.001)  # it is replaced beside the ticks, in real time
        await bot.time.advance(10)
        assert await states_of(bot) == [state]
        counts = bot.scheduler._due._checker.statistics()
        told = {"fired": counts.started, "busy": counts.busy, "missed": counts.missed}
        assert told == {"fired": 0, "busy": 0, "missed": 0} | {state: 1}


async def test_a_class_that_is_taken_back_while_it_waits_is_recorded_as_skipped(
    path: Path,
) -> None:
    async with bot_of(path) as bot:
        await SqliteScheduleStore(bot.queue).add(class_of("queue"), now=bot.time.time())
        await bot.occupy("g1")
        await bot.until_eight(4)
        assert await states_of(bot) == ["fired"]
        (waiting,) = await bot.queue.peek()
        assert await bot.queue.cancel(waiting.id)
        await bot.time.advance(4)
        assert await states_of(bot) == ["skipped"]


@pytest.mark.parametrize("late", [30.0, 90.0])
async def test_a_class_that_was_sent_before_a_restart_is_recorded_after_it(
    path: Path, late: float
) -> None:
    async with bot_of(path) as bot:
        checker = ScheduleChecker(
            store := SqliteScheduleStore(bot.queue), lambda: EIGHT, lambda: 0.0, as_commands=True
        )
        entry = await store.add(class_of("drop"), now=EIGHT - 60)
        bot.scheduler._close_admission()  # as if it had died with the command in the queue
        await checker.check()
        assert await states_of(bot) == ["fired"]
    async with bot_of(path, start=EIGHT + late) as again:
        await again.time.advance(8)
        assert again.played == ([("g1", entry.name)] if late < 60 else [])
        assert await states_of(again) == ["fired" if late < 60 else "missed"]


async def test_a_class_whose_play_ended_just_before_a_restart_is_recorded_after_it(
    path: Path,
) -> None:
    async with bot_of(path) as bot:
        store = SqliteScheduleStore(bot.queue)
        await store.add(class_of("drop"), now=EIGHT - 60)
        bot.scheduler._close_admission()
        await ScheduleChecker(store, lambda: EIGHT, lambda: 0.0, as_commands=True).check()
        (play,) = await bot.queue.claim(1)
        await bot.queue.ack(play, "busy")
        assert await states_of(bot) == ["fired"]
    async with bot_of(path, start=EIGHT + 20) as again:
        await again.time.advance(4)
        assert again.played == []
        assert await states_of(again) == ["busy"]


async def test_a_class_that_fires_again_is_judged_by_its_last_play(path: Path) -> None:
    async with bot_of(path) as bot:
        store = SqliteScheduleStore(bot.queue)
        entry = await store.add(class_of("drop"), now=bot.time.time())
        await bot.occupy("g1")
        await bot.until_eight(4)
        assert await states_of(bot) == ["busy"]
        await bot.vacate("g1")
        await store.update(replace(entry, name="again"), now=bot.time.time(), refire=True)
        await bot.time.advance(6)
        assert bot.played == [("g1", "other"), ("g1", "again")]
        assert await states_of(bot) == ["fired"]


REMINDED_AT = EIGHT - 600


@contextlib.asynccontextmanager
async def reminding(path: Path, remind: Any) -> AsyncIterator[VirtualTime]:
    """A bot that reminds of a class at 08:00 ten minutes before, from just before that on."""
    time = VirtualTime(REMINDED_AT - 5)
    async with CommandQueue(path, wall_clock=time.time, role="worker") as queue:
        entry = ScheduleEntry("yoga", FixedTimes(["08:00"]), remind_minutes=10)
        await SqliteScheduleStore(queue).add(entry, now=time.time())
        scheduler = Scheduler(None, queue, time=time, remind=remind)
        scheduler.start()
        await scheduler.wait_started()
        try:
            yield time
            assert scheduler.healthy
        finally:
            await scheduler.shutdown()


async def test_a_reminder_that_fails_is_tried_again_with_the_next_tick(tmp_path: Path) -> None:
    tried: list[float] = []  # D15

    async def remind(due: Any) -> None:
        tried.append(time.time())
        if len(tried) < 3:
            raise OSError("the network is away")

    async with reminding(tmp_path / "bot.db", remind) as time:
        await time.advance(60)
        assert [round(one - tried[0]) for one in tried] == [0, 2, 4]


async def test_a_reminder_is_given_up_when_its_grace_is_over(tmp_path: Path) -> None:
    tried: list[float] = []

    async def remind(due: Any) -> None:
        tried.append(due.late)
        raise OSError("the network is away")

    async with reminding(tmp_path / "bot.db", remind) as time:
        await time.advance(300)
        assert len(tried) == pytest.approx(60, abs=2)
        assert 115 < max(tried) <= 120
