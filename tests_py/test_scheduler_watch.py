"""What goes wrong in silence is warned of, once."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from voicecore import CommandQueue, Scheduler


@contextlib.asynccontextmanager
async def scheduler_at(path: Path) -> AsyncIterator[Scheduler]:
    async with CommandQueue(path, role="worker", synchronous="normal") as queue:
        scheduler = Scheduler(None, queue, schedule=False, period=0.03, poll=0.01)

        @scheduler.handler("job")
        async def job(_command: object) -> None: ...

        scheduler.start()
        await scheduler.wait_started()
        try:
            yield scheduler
        finally:
            await scheduler.shutdown()


async def send(scheduler: Scheduler, *, rings: bool) -> None:
    if rings:
        number = await scheduler.queue.enqueue("job")
    else:
        sql = "INSERT INTO bot_commands(command) VALUES ('job') RETURNING id"
        number = int(str((await scheduler.queue.execute(sql))[0][0]))
    await scheduler.queue.wait_result(number, 10)


async def a_tick(scheduler: Scheduler) -> None:
    ticks = scheduler._turns._answered
    while scheduler._turns._answered < ticks + 2:
        await scheduler.queue.peek(1)


def warnings_of(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [one.getMessage() for one in caplog.records if words in one.getMessage()]


@pytest.mark.slow
async def test_a_dead_doorbell_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="voicecore.scheduler")
    async with scheduler_at(tmp_path / "q.db") as scheduler:
        await send(scheduler, rings=True)
        (bell,) = tmp_path.glob("*-bell-*")
        bell.unlink()
        for _ in range(25):
            await send(scheduler, rings=True)
        await a_tick(scheduler)
        assert scheduler.statistics().wakes["doorbell"] <= 1
    assert len(warnings_of(caplog, "found by looking at the file")) == 1


@pytest.mark.slow
async def test_a_doorbell_that_rings_now_and_then_is_alive(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="voicecore.scheduler")
    async with scheduler_at(tmp_path / "q.db") as scheduler:
        for number in range(25):
            await send(scheduler, rings=number % 5 == 0)
            await a_tick(scheduler)
        wakes = scheduler.statistics().wakes
        assert wakes["data_version"] + wakes["tick"] >= 15
    assert warnings_of(caplog, "found by looking at the file") == []
