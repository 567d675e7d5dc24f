"""How the drain, the ticks and the schedule share the loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from voicecore import Command, CommandQueue, InvalidArgument, Scheduler, Session
from voicecore.schedule import Interval, Policy, ScheduleEntry, SqliteScheduleStore

JOBS = 150
JOB_SECONDS = 0.01


class Checking(Scheduler):
    """Notes when it looks at the schedule."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.checks: list[float] = []

    async def _check_schedule(self) -> None:
        self.checks.append(time.monotonic())
        await super()._check_schedule()


@contextlib.asynccontextmanager
async def running(
    queue: CommandQueue, kind: type[Checking] = Checking, **settings: Any
) -> AsyncIterator[Checking]:
    scheduler = kind(None, queue, **settings)

    @scheduler.handler("job")
    async def job(_command: Command) -> None:
        await asyncio.sleep(JOB_SECONDS)

    try:
        yield scheduler
    finally:
        await scheduler.shutdown()


async def send_jobs(queue: CommandQueue, number: int = JOBS) -> None:
    await queue.enqueue_many([{"command": "job", "key": f"k{one}"} for one in range(number)])


def queue_at(path: Path) -> CommandQueue:
    return CommandQueue(path, role="worker", synchronous="normal")


async def until_done(queue: CommandQueue, number: int) -> None:
    async with asyncio.timeout(30):
        while (await queue.statistics()).history.get("done", 0) < number:
            await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timing
async def test_a_backlog_leaves_the_schedule_its_turn(tmp_path: Path) -> None:
    async with (
        queue_at(tmp_path / "q.db") as queue,
        running(queue, period=0.1, turn=0.03, budget=8) as scheduler,
    ):
        await send_jobs(queue)
        scheduler.start()
        await until_done(queue, JOBS)
        ended = time.monotonic()
        # The backlog takes 1.5 seconds at least.
        assert len([one for one in scheduler.checks if one < ended]) >= 7
        gaps = [b - a for a, b in zip(scheduler.checks, scheduler.checks[1:], strict=False)]
        assert max(gaps) < 0.6


@pytest.mark.slow
@pytest.mark.timing
async def test_a_class_starts_in_time_behind_a_backlog(tmp_path: Path) -> None:
    begun: list[float] = []

    async def play(_session: Session) -> None:
        begun.append(time.time())

    async with (
        queue_at(tmp_path / "q.db") as queue,
        running(queue, period=0.1, play_session=play) as scheduler,
    ):
        at = int(time.time()) + 2
        await SqliteScheduleStore(queue).add(
            ScheduleEntry(
                "class", Interval(3600, at), key="z", policy=Policy(misfire_grace_time=1)
            ),
            now=time.time(),
        )
        scheduler.start()
        await scheduler.wait_started()
        await send_jobs(queue, 400)
        async with asyncio.timeout(10):
            while not (begun or time.time() > at + 2):
                await asyncio.sleep(0.02)
        assert begun
        assert (await queue.statistics()).ready > 20  # there still is a backlog
        rows = await queue.execute("SELECT state FROM schedule_occurrences")
        assert rows == [("fired",)]


async def test_what_is_in_hand_between_two_turns_goes_back_at_a_shutdown(tmp_path: Path) -> None:
    async with queue_at(tmp_path / "q.db") as queue:
        async with running(queue, turn=0.001, schedule=False) as scheduler:
            await send_jobs(queue)
            scheduler.start()
            await until_done(queue, 3)
        counted = await queue.statistics()
        assert counted.claimed == 0
        assert counted.ready + counted.history["done"] == JOBS


async def test_what_is_urgent_does_not_wait_for_what_is_in_hand(tmp_path: Path) -> None:
    order: list[str | None] = []
    async with (
        queue_at(tmp_path / "q.db") as queue,
        running(queue, turn=0.001, schedule=False) as scheduler,
    ):

        @scheduler.handler("job")
        async def job(command: Command) -> None:
            order.append(command.key)
            if len(order) == 5:
                await queue.enqueue("job", key="urgent", priority=1)
            await asyncio.sleep(JOB_SECONDS)

        await send_jobs(queue, 50)
        scheduler.start()
        await until_done(queue, 51)
        assert order.index("urgent") < 20


@pytest.mark.parametrize("turn", [0, -1, float("nan"), 4000])
def test_a_turn_of_no_use_is_refused(tmp_path: Path, turn: float) -> None:
    with pytest.raises(InvalidArgument, match="turn: got"):
        Scheduler(None, CommandQueue(tmp_path / "q.db"), turn=turn)


@pytest.mark.slow
@pytest.mark.timing
async def test_periods_of_a_blocked_loop_are_counted_as_missed(tmp_path: Path) -> None:
    async with queue_at(tmp_path / "q.db") as queue, running(queue, period=0.05) as scheduler:
        scheduler.start()
        await scheduler.wait_started()
        await asyncio.sleep(0.2)
        ticks, before, began = len(scheduler.checks), scheduler.statistics(), time.monotonic()
        time.sleep(1.0)  # the loop stands still
        await asyncio.sleep(0.2)
        answered, after = len(scheduler.checks) - ticks, scheduler.statistics()
        periods = (time.monotonic() - began) / 0.05
        missed = after.missed - before.missed
        assert missed >= 15
        # Each period is answered for or missed; at either look one may be under way.
        assert answered + missed == pytest.approx(periods, abs=4)


@pytest.mark.slow
@pytest.mark.timing
async def test_ticks_never_overlap_and_those_of_a_slow_body_are_missed(tmp_path: Path) -> None:
    under_way: list[int] = []
    bodies: list[int] = []

    class Slow(Checking):
        async def _check_schedule(self) -> None:
            assert not under_way
            under_way.append(1)
            await asyncio.sleep(0.25)
            under_way.clear()
            bodies.append(1)

    async with queue_at(tmp_path / "q.db") as queue, running(queue, Slow, period=0.05) as scheduler:
        scheduler.start()
        async with asyncio.timeout(20):
            while len(bodies) < 4:
                await asyncio.sleep(0.01)
        assert scheduler.healthy
        assert scheduler.statistics().missed >= 3 * 3
