"""`voicecore.testing`: what tests of bots rely on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from voicecore import CommandQueue, Scheduler
from voicecore.errors import InvalidArgument
from voicecore.testing import VirtualTime


@contextlib.asynccontextmanager
async def queue_in(folder: Path, time: VirtualTime) -> AsyncIterator[CommandQueue]:
    file = folder / "bot.db"
    async with CommandQueue(
        file, synchronous="normal", role="worker", wall_clock=time.time
    ) as queue:
        yield queue


async def started(queue: CommandQueue, time: VirtualTime) -> Scheduler:
    scheduler = Scheduler(None, queue, time=time, schedule=False)
    scheduler.start()
    await scheduler.wait_started()
    return scheduler


async def test_time_goes_on_after_a_scheduler_was_shut_down(tmp_path: Path) -> None:
    time = VirtualTime()
    async with queue_in(tmp_path, time) as queue, asyncio.timeout(20):  # it never returned
        for now in (10.0, 20.0):
            scheduler = await started(queue, time)
            await time.advance(10)
            assert time.monotonic() == now
            assert scheduler.statistics().ticks == 6  # the first at once
            await scheduler.shutdown()
        await time.advance(10)
        await time.wake()
    assert time.monotonic() == 30.0


async def test_time_goes_on_after_a_bug_has_ended_a_scheduler(tmp_path: Path) -> None:
    time = VirtualTime()
    async with queue_in(tmp_path, time) as queue, asyncio.timeout(20):
        scheduler = await started(queue, time)

        @scheduler.handler("fail")
        async def fail(_command: object) -> None:
            raise KeyError("a bug")

        await queue.enqueue("fail")
        await time.advance(10)
        assert not scheduler.healthy
        await time.advance(10)
        assert time.monotonic() == 20.0
        await scheduler.shutdown()


@pytest.mark.parametrize("wrong", [-5.0, float("nan"), float("inf"), "1", None])
async def test_time_does_not_go_back(wrong: float) -> None:
    time = VirtualTime()
    with pytest.raises(InvalidArgument, match="seconds"):
        await time.advance(wrong)
    assert time.monotonic() == 0.0


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1e300, "1"])
def test_a_wall_clock_shows_a_time(wrong: float) -> None:
    with pytest.raises(InvalidArgument, match="start"):
        VirtualTime(wrong)
    time = VirtualTime(100.0)
    with pytest.raises(InvalidArgument, match="seconds"):
        time.step_wall(wrong)
    time.step_wall(-60)
    assert time.time() == 40.0
