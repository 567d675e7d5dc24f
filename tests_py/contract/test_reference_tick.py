"""The reference's tick: drain, then check, each recovering alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from contract.harness import Bench, Wall
from voicecore import reference
from voicecore.queue import Command
from voicecore.tasks import VirtualClock

Handlers = dict[str, Callable[[Command], Awaitable[object]]]


async def scheduled(
    tmp_path: Path,
    sent: list[str],
    handlers: Handlers,
    check: Callable[[], Awaitable[object]] | None = None,
    **settings: Any,
) -> tuple[reference.Scheduler, list[str], Wall]:
    """One tick over what was sent; how each command ended, by id."""
    bench = Bench("reference", tmp_path / "queue.db")
    async with reference.CommandQueue(bench.path, wall_clock=bench.wall) as queue:
        await queue.enqueue_many([(verb, n, f"k{n}") for n, verb in enumerate(sent)])
        scheduler = reference.Scheduler(queue, handlers, check, **settings)
        await scheduler.tick()
        ends = [row.state for row in reversed(await queue.history())]
    return scheduler, ends, bench.wall


async def test_one_failing_command_does_not_stop_the_next(tmp_path: Path) -> None:
    """R52, D08."""

    async def fails(_: Command) -> None:
        raise ValueError("no such entry")

    async def works(_: Command) -> None: ...

    _, ends, _ = await scheduled(tmp_path, ["bad", "good", "what"], {"bad": fails, "good": works})
    assert ends == ["failed", "done", "failed"]


async def test_a_cancelled_wait_in_a_handler_is_its_commands_failure(tmp_path: Path) -> None:
    async def waits(_: Command) -> None:
        inner = asyncio.ensure_future(asyncio.sleep(60))
        inner.cancel()
        await inner

    async def works(_: Command) -> None: ...

    _, ends, _ = await scheduled(tmp_path, ["wait", "good"], {"wait": waits, "good": works})
    assert ends == ["failed", "done"]


async def test_the_end_of_the_loop_is_not_taken_for_that(tmp_path: Path) -> None:
    async def is_cancelled(_: Command) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)

    async with reference.CommandQueue(tmp_path / "queue.db") as queue:
        await queue.enqueue("work")
        scheduler = reference.Scheduler(queue, {"work": is_cancelled})
        ticking = asyncio.ensure_future(scheduler.tick())
        await asyncio.wait([ticking])
        assert ticking.cancelled()
        assert [row.state for row in await queue.peek()] == ["claimed"]


async def test_a_bug_in_a_handler_is_loud(tmp_path: Path) -> None:
    """R13."""

    async def buggy(_: Command) -> None:
        raise KeyError("a bug")

    try:
        await scheduled(tmp_path, ["bad"], {"bad": buggy})
    except KeyError:
        return
    raise AssertionError("the bug was swallowed")


async def test_the_schedule_is_checked_after_the_commands_and_whatever_they_did(
    tmp_path: Path,
) -> None:
    """R10, D16."""
    order = []

    async def works(_: Command) -> None:
        order.append("command")

    async def check() -> None:
        order.append("schedule")

    scheduler, _, _ = await scheduled(tmp_path, ["work"], {"work": works}, check)
    assert order == ["command", "schedule"]
    # Its queue is closed by now: draining raises, which is no reason not to look at the schedule.
    scheduler._drain_commands = _broken  # type: ignore[method-assign]
    await scheduler.tick()
    assert order == ["command", "schedule", "schedule"]


async def _broken() -> None:
    raise OSError("the disk is away")


async def test_a_tick_has_a_budget(tmp_path: Path) -> None:
    async def works(_: Command) -> None: ...

    _, ends, _ = await scheduled(tmp_path, ["work"] * 5, {"work": works}, budget=3)
    assert ends == ["done"] * 3


async def test_starting_twice_starts_once(tmp_path: Path) -> None:
    """R12."""
    clock, ticks = VirtualClock(time.time(), turns=50), []

    async def check() -> None:
        ticks.append(clock.monotonic())

    async with reference.CommandQueue(tmp_path / "queue.db") as queue:
        scheduler = reference.Scheduler(queue, {}, check, clock=clock)
        scheduler.start()
        scheduler.start()
        while not ticks:
            await asyncio.sleep(0.001)
        scheduler.stop()
        await clock.advance(10)
        assert ticks == [0.0]
        assert not scheduler.loop.is_running()
