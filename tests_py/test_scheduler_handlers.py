"""What may be a handler, and what becomes of what it returns."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from voicecore import Command, CommandQueue, Outcome, Scheduler, SyncCommandQueue, WrongType

PATIENCE = 10.0


@contextlib.asynccontextmanager
async def scheduler_of(path: Path, **settings: Any) -> AsyncIterator[Scheduler]:
    async with CommandQueue(path, role="worker") as queue:
        scheduler = Scheduler(None, queue, schedule=False, **settings)
        scheduler.start()
        try:
            yield scheduler
        finally:
            await scheduler.shutdown()


async def outcome(scheduler: Scheduler, verb: str) -> Outcome:
    number = await scheduler.queue.enqueue(verb)
    return await scheduler.queue.wait_result(number, PATIENCE)


def plain(_command: Command) -> str:
    return "served"


def generator(_command: Command) -> Iterator[int]:
    yield 1


async def async_generator(_command: Command) -> AsyncIterator[int]:
    yield 1


async def served(_command: Command) -> str:
    return "served"


@functools.wraps(served)
def wrapper(command: Command) -> Awaitable[str]:
    return served(command)


class Callee:
    def __call__(self, command: Command) -> Awaitable[str]:
        return served(command)

    def method(self, _command: Command) -> str:
        return "served"

    async def other(self, _command: Command) -> str:
        return "served"


NO_HANDLERS = [
    None,
    5,
    plain,
    generator,
    async_generator,
    functools.partial(generator),
    Callee().method,
]


@pytest.mark.parametrize("function", NO_HANDLERS)
def test_what_is_no_async_function_is_refused_as_a_handler(tmp_path: Path, function: Any) -> None:
    scheduler = Scheduler(None, CommandQueue(tmp_path / "q.db"), schedule=False)
    with pytest.raises(WrongType, match=r"the handler of x: got .*, expected an async function"):
        scheduler.handler("x")(function)


async def of_nothing() -> str:
    return "served"


@pytest.mark.parametrize("function", [of_nothing, Callee.other, lambda: served, int.__add__])
def test_what_does_not_take_one_argument_is_refused_as_a_handler(
    tmp_path: Path, function: Any
) -> None:
    scheduler = Scheduler(None, CommandQueue(tmp_path / "q.db"), schedule=False)
    with pytest.raises(WrongType, match=r"the handler of x: got .* of one argument \("):
        scheduler.handler("x")(function)


@pytest.mark.parametrize("name", ["play_session", "load_entry", "remind"])
def test_other_functions_that_are_given_are_async_as_well(tmp_path: Path, name: str) -> None:
    with pytest.raises(WrongType, match=f"{name}: got .*, expected an async function"):
        Scheduler(None, CommandQueue(tmp_path / "q.db"), **{name: plain})  # type: ignore[arg-type]


def test_what_is_to_hear_of_the_end_can_be_called(tmp_path: Path) -> None:
    with pytest.raises(WrongType, match="on_fatal: got 5"):
        Scheduler(None, CommandQueue(tmp_path / "q.db"), on_fatal=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "function",
    [served, wrapper, functools.partial(served), Callee(), Callee().other, lambda c: served(c)],
)
async def test_whatever_gives_something_to_await_is_a_handler(
    tmp_path: Path, function: Callable[[Command], Awaitable[object]]
) -> None:
    async with scheduler_of(tmp_path / "q.db") as scheduler:
        scheduler.handler("x")(function)
        assert (await outcome(scheduler, "x")).result == "served"


@pytest.mark.parametrize("function", [functools.partial(plain), lambda c: plain(c)])
async def test_a_handler_whose_result_cannot_be_awaited_fails_its_command_alone(
    tmp_path: Path, function: Any
) -> None:
    async with scheduler_of(tmp_path / "q.db") as scheduler:
        scheduler.handler("x")(function)
        scheduler.handler("y")(served)
        failed = await outcome(scheduler, "x")
        assert failed.error == (
            "the handler of x: it returned str, expected something to await (async def)"
        )
        assert (await outcome(scheduler, "y")).ok
        assert scheduler.healthy


@pytest.mark.parametrize(
    ("result", "kept"),
    [(None, "done"), (0, "0"), (False, "false"), ("", ""), ([], "[]"), ({}, "{}")],
)
async def test_only_a_handler_that_returns_nothing_is_done(
    tmp_path: Path, result: object, kept: str
) -> None:
    async with scheduler_of(tmp_path / "q.db") as scheduler:

        @scheduler.handler("x")
        async def handle(_command: Command) -> object:
            return result

        assert (await outcome(scheduler, "x")).result == kept


async def test_an_async_on_fatal_is_awaited(tmp_path: Path) -> None:
    heard: list[BaseException] = []
    done = asyncio.Event()

    async def hear(bug: BaseException) -> None:
        await asyncio.sleep(0)
        heard.append(bug)
        done.set()

    async with scheduler_of(tmp_path / "q.db", on_fatal=hear) as scheduler:

        @scheduler.handler("x")
        async def handle(_command: Command) -> None:
            raise KeyError("a bug")

        await scheduler.queue.enqueue("x")
        await asyncio.wait_for(done.wait(), PATIENCE)
        assert [type(bug) for bug in heard] == [KeyError]


async def test_a_bug_in_an_async_on_fatal_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def hear(_bug: BaseException) -> None:
        raise AttributeError("another bug")

    async with scheduler_of(tmp_path / "q.db", on_fatal=hear) as scheduler:

        @scheduler.handler("x")
        async def handle(_command: Command) -> None:
            raise KeyError("a bug")

        await scheduler.queue.enqueue("x")
        with pytest.raises(KeyError):
            await asyncio.wait_for(scheduler.wait(), PATIENCE)
    assert "AttributeError: another bug" in caplog.text


class Lost(BaseException):
    pass


@pytest.mark.parametrize(
    "problem", [Lost("gone"), BaseExceptionGroup("two", [Lost()]), GeneratorExit("by hand")]
)
async def test_a_handler_that_raises_no_exception_fails_its_command_and_ends_the_scheduler(
    tmp_path: Path, problem: BaseException
) -> None:
    fatal: list[BaseException] = []
    async with scheduler_of(tmp_path / "q.db", on_fatal=fatal.append) as scheduler:

        @scheduler.handler("bad")
        async def bad(_command: Command) -> None:
            raise problem

        failed = await outcome(scheduler, "bad")
        assert (failed.state, failed.error) == ("failed", str(problem))
        with pytest.raises(type(problem)):
            await asyncio.wait_for(scheduler.wait(), PATIENCE)
        assert fatal == [problem]


@pytest.mark.parametrize(
    ("problem", "state"), [(SystemExit(3), "failed"), (KeyboardInterrupt(), "ready")]
)
def test_a_handler_that_ends_the_process_ends_its_command_before(
    tmp_path: Path, problem: BaseException, state: str
) -> None:
    path = tmp_path / "q.db"

    async def main() -> None:
        async with scheduler_of(path) as scheduler:

            @scheduler.handler("bad")
            async def bad(_command: Command) -> None:
                raise problem

            await scheduler.wait()

    with SyncCommandQueue(path) as queue:
        number = queue.enqueue("bad")
    with pytest.raises(type(problem)):
        asyncio.run(main())
    with SyncCommandQueue(path) as queue:
        found = queue.get(number)
        assert found is not None
        assert found.state == state
