"""A `WrongType` is a bug: nothing that survives a `ValueError` survives it (lesson R13)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from voicecore import CommandQueue, InvalidArgument, Scheduler, Session, WrongType, tasks
from voicecore.errors import survivable
from voicecore.tasks import VirtualClock

Wrong = Callable[[Any], Awaitable[object]]

WRONG: list[tuple[str, Wrong]] = [
    ("a number as a command", lambda queue: queue.enqueue(5)),
    ("a text as a claim", lambda queue: queue.ack("nonsense")),
    ("a text as a limit", lambda queue: queue.claim("x")),
]


async def ended(scheduler: Scheduler) -> BaseException | None:
    async with asyncio.timeout(5):
        try:
            await scheduler.wait()
        except TypeError as bug:
            return bug
    return None


@pytest.mark.parametrize("wrong", [call for _, call in WRONG], ids=[name for name, _ in WRONG])
async def test_a_wrong_type_in_a_handler_ends_the_scheduler(tmp_path: Path, wrong: Wrong) -> None:
    async with CommandQueue(tmp_path / "q.db", role="worker") as queue:
        scheduler = Scheduler(None, queue, schedule=False)

        @scheduler.handler("job")
        async def job(_command: object) -> None:
            await wrong(queue)

        scheduler.start()
        number = await queue.enqueue("job")
        assert isinstance(await ended(scheduler), WrongType)
        assert not scheduler.healthy
        assert (await queue.wait_result(number, 5)).state == "failed"
        await scheduler.shutdown()


@pytest.mark.parametrize("where", ["before_loop", "_drain_commands", "_check_schedule", "session"])
async def test_a_wrong_type_anywhere_else_ends_it_too(tmp_path: Path, where: str) -> None:
    async def wrong(*_: object) -> None:
        raise WrongType("x: got 5, expected a text")

    async def load(entry_id: int) -> object:
        return SimpleNamespace(id=entry_id)

    async with CommandQueue(tmp_path / "q.db", role="worker") as queue:
        kind = type("Own", (Scheduler,), {} if where == "session" else {where: wrong})
        scheduler = kind(None, queue, schedule=False, play_session=wrong, load_entry=load)
        scheduler.start()
        await queue.enqueue("play", 1)
        assert isinstance(await ended(scheduler), WrongType)
        await scheduler.shutdown()


async def test_a_value_out_of_range_in_a_handler_is_survived(tmp_path: Path) -> None:
    async with CommandQueue(tmp_path / "q.db", role="worker") as queue:
        scheduler = Scheduler(None, queue, schedule=False)

        @scheduler.handler("job")
        async def job(_command: object) -> None:
            await queue.enqueue("job", delay=-1)

        scheduler.start()
        outcome = await queue.wait_result(await queue.enqueue("job"), 5)
        assert outcome.text.startswith("failed: delay: got -1")
        assert scheduler.healthy
        await scheduler.shutdown()


async def test_an_entry_with_a_key_of_another_type_fails_its_command(tmp_path: Path) -> None:
    async def load(entry_id: int) -> object:
        return SimpleNamespace(id=entry_id, key=1.5)

    async def play(_session: Session) -> None:
        raise AssertionError

    async with CommandQueue(tmp_path / "q.db", role="worker") as queue:
        scheduler = Scheduler(None, queue, schedule=False, play_session=play, load_entry=load)
        scheduler.start()
        outcome = await queue.wait_result(await queue.enqueue("play", 1), 5)
        assert outcome.text.startswith("failed: key: got 1.5")
        assert scheduler.healthy
        await scheduler.shutdown()


@pytest.mark.parametrize(("error", "runs"), [(InvalidArgument, 2), (WrongType, 1)])
async def test_a_loop_that_retries_value_errors_does_not_retry_a_wrong_type(
    error: type[Exception], runs: int
) -> None:
    ran: list[int] = []
    clock = VirtualClock()

    @tasks.loop(seconds=1, count=1, clock=clock)
    async def body() -> None:
        ran.append(1)
        if len(ran) == 1:
            raise error("x: got 5")

    body.add_exception_type(ValueError)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    task = body.start()
    for _ in range(5):
        await clock.advance(0.5)
    await asyncio.wait([task])
    assert len(ran) == runs
    assert body.failed() is (error is WrongType)


def test_who_lists_a_type_error_gets_it() -> None:
    error = WrongType("x")
    assert not survivable(error, (OSError, ValueError, InvalidArgument))
    assert survivable(error, (OSError, TypeError))
    assert survivable(error, (Exception,))
    assert survivable(InvalidArgument("x"), (ValueError,))


def test_there_is_one_such_class() -> None:
    assert tasks.WrongType is WrongType
