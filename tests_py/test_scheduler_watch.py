"""What goes wrong in silence is warned of, once."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from voicecore import CommandQueue, Scheduler
from voicecore.scheduler import watch
from voicecore.testing import VirtualTime


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


SENDER = """
import sys
from voicecore import SyncCommandQueue
with SyncCommandQueue(sys.argv[1]) as queue:
    queue.enqueue("job")
    print("sent", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("faulty", [True, False])
async def test_a_sender_with_a_faulty_sqlite_that_comes_later_is_warned_of_once(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    faulty: bool,
) -> None:
    monkeypatch.setattr(watch, "has_wal_race", lambda _version: faulty)
    caplog.set_level(logging.WARNING, logger="voicecore.scheduler")
    time = VirtualTime(datetime.now(UTC).timestamp())
    path = tmp_path / "q.db"
    async with CommandQueue(path, role="worker", wall_clock=time.time) as queue:
        scheduler = Scheduler(None, queue, schedule=False, time=time)
        scheduler.start()
        await scheduler.wait_started()
        await time.advance(10)
        command = [sys.executable, "-c", SENDER, str(path)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as sender:
            assert sender.stdout is not None
            assert sender.stdout.readline() == "sent\n"
            await time.advance(120)
            pid = sender.pid
            sender.communicate()
        await scheduler.shutdown()
    told = warnings_of(caplog, f"Process {pid} has the queue file open")
    assert len(told) == (1 if faulty else 0)
