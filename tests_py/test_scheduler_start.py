"""A scheduler starts once, on one event loop, and whoever waits for that is told how it went."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from voicecore import Closed, CommandQueue, InvalidArgument, Scheduler, _core
from voicecore.errors import IOFailure
from voicecore.testing import VirtualTime

PATIENCE = 10.0


class Broken(Scheduler):
    async def before_loop(self) -> None:
        raise KeyError("a bug")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_scheduler_whose_loop_has_ended_says_so_instead_of_starting(tmp_path: Path) -> None:
    scheduler = Scheduler(None, CommandQueue(tmp_path / "q.db"), schedule=False)

    async def first() -> None:
        scheduler.start()
        await scheduler.wait_started()

    async def second() -> None:
        with pytest.raises(Closed, match="another event loop; make one for each"):
            scheduler.start()
        assert not scheduler.running
        await scheduler.wait()
        await scheduler.shutdown()
        await scheduler.queue.aclose()

    asyncio.run(first())
    asyncio.run(second())


async def test_a_scheduler_that_a_bug_has_ended_does_not_start_again(tmp_path: Path) -> None:
    async with CommandQueue(tmp_path / "q.db") as queue:
        scheduler = Broken(None, queue, schedule=False)
        scheduler.start()
        with pytest.raises(KeyError):
            await asyncio.wait_for(scheduler.wait(), PATIENCE)
        with pytest.raises(Closed, match="ended: of a bug, KeyError; make a new one") as raised:
            scheduler.start()
        assert isinstance(raised.value.__cause__, KeyError)
        await scheduler.shutdown()


async def test_a_scheduler_that_has_no_thread_yet_starts_when_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = _core.Scheduler.start
    refusals = [IOFailure(errno.EAGAIN, "cannot start a thread for the scheduler")]

    def start(native: _core.Scheduler) -> None:
        if refusals:
            raise refusals.pop()
        begin(native)

    monkeypatch.setattr(_core.Scheduler, "start", start)
    async with CommandQueue(tmp_path / "q.db") as queue:
        scheduler = Scheduler(None, queue, schedule=False, period=0.01)
        scheduler.start()
        await asyncio.wait_for(scheduler.wait_started(), PATIENCE)
        assert not refusals
        assert scheduler.healthy
        await scheduler.shutdown()


async def test_a_scheduler_that_was_cancelled_does_not_start_again(tmp_path: Path) -> None:
    async with CommandQueue(tmp_path / "q.db") as queue:
        scheduler = Scheduler(None, queue, schedule=False)
        scheduler.start().cancel()
        await scheduler.wait()
        with pytest.raises(Closed, match="its task was cancelled; make a new one"):
            scheduler.start()
        with pytest.raises(Closed, match="before it had started"):
            await asyncio.wait_for(scheduler.wait_started(), PATIENCE)
        await scheduler.shutdown()


async def test_who_waits_for_the_start_is_told_of_the_bug_that_prevents_it(
    tmp_path: Path,
) -> None:
    async with CommandQueue(tmp_path / "q.db") as queue:
        scheduler = Broken(None, queue, schedule=False)
        scheduler.start()
        with pytest.raises(KeyError, match="a bug"):
            await asyncio.wait_for(scheduler.wait_started(), PATIENCE)
        await scheduler.shutdown()


async def test_who_waits_for_the_start_is_told_of_a_shutdown_before_it(tmp_path: Path) -> None:
    async with CommandQueue(tmp_path / "q.db") as queue:
        scheduler = Scheduler(None, queue, schedule=False)
        waiting = asyncio.ensure_future(scheduler.wait_started())
        await asyncio.sleep(0)
        await scheduler.shutdown()
        with pytest.raises(Closed, match="shut down before it had started"):
            await asyncio.wait_for(waiting, PATIENCE)


async def test_a_scheduler_that_was_shut_down_has_started_all_the_same(tmp_path: Path) -> None:
    async with CommandQueue(tmp_path / "q.db") as queue:
        scheduler = Scheduler(None, queue, schedule=False)
        scheduler.start()
        await scheduler.wait_started()
        await scheduler.shutdown()
        await scheduler.wait_started()


def ahead() -> float:
    return time.time() + 3600


VIRTUAL, OTHER = VirtualTime(), VirtualTime()


@pytest.mark.parametrize(
    ("wall_clock", "virtual"),
    [
        (ahead, None),
        (VIRTUAL.time, None),
        (None, VIRTUAL),
        (OTHER.time, VIRTUAL),  # both begin at the same second
        (lambda: float("nan"), None),
    ],
)
def test_a_scheduler_refuses_a_queue_with_another_clock(
    tmp_path: Path, wall_clock: Callable[[], float] | None, virtual: VirtualTime | None
) -> None:
    queue = CommandQueue(tmp_path / "q.db", wall_clock=wall_clock)
    with pytest.raises(InvalidArgument, match=r"queue: its wall_clock .* is not the scheduler's"):
        Scheduler(None, queue, time=virtual)


@pytest.mark.parametrize(
    ("wall_clock", "virtual"),
    [
        (None, None),
        (lambda: time.time_ns() / 1e9, None),
        (VIRTUAL.time, VIRTUAL),
        (lambda: VIRTUAL.time(), VIRTUAL),
    ],
)
def test_a_scheduler_takes_a_queue_with_its_own_clock(
    tmp_path: Path, wall_clock: Callable[[], float] | None, virtual: VirtualTime | None
) -> None:
    queue = CommandQueue(tmp_path / "q.db", wall_clock=wall_clock)
    assert Scheduler(None, queue, time=virtual).queue is queue
