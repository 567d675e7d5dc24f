"""A `_carry_out` of one's own: whatever leaves it, its command ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from voicecore import Command, CommandQueue, Scheduler
from voicecore.testing import VirtualTime


class Own(Scheduler):
    """Raises what `problem` says for each command of entry 1, before or after the real thing."""

    problem: BaseException = OSError("the audit log is full")
    afterwards = False

    async def _carry_out(self, command: Command) -> None:
        if command.entry_id == 1 and not self.afterwards:
            raise self.problem
        await super()._carry_out(command)
        if command.entry_id == 1:
            raise self.problem


@contextlib.asynccontextmanager
async def running(
    path: Path, kind: type[Scheduler] = Own, lease: float = 30.0
) -> AsyncIterator[tuple[Scheduler, VirtualTime]]:
    virtual = VirtualTime()
    async with CommandQueue(path, role="worker", wall_clock=virtual.time, lease=lease) as queue:
        scheduler = kind(None, queue, time=virtual, schedule=False)

        @scheduler.handler("work")
        async def work(_command: Command) -> str:
            return "ok"

        scheduler.start()
        await scheduler.wait_started()
        await virtual.settle()
        try:
            yield scheduler, virtual
        finally:
            await scheduler.shutdown()


async def states(scheduler: Scheduler, *numbers: int) -> list[tuple[str, str | None]]:
    found = [await scheduler.queue.get(number) for number in numbers]
    return [(one.state, one.error or one.result) for one in found if one is not None]


FAILED = ("failed", "the audit log is full")
OK = ("done", "ok")


async def test_a_failure_of_ones_own_is_the_commands_and_its_key_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path / "q.db") as (scheduler, virtual):
        numbers = [await scheduler.queue.enqueue("work", entry) for entry in (1, 2)]
        other = await scheduler.queue.enqueue("work", 1, key="other")
        await virtual.wake()
        await virtual.advance(2)
        assert await states(scheduler, *numbers, other) == [FAILED, OK, FAILED]
        assert scheduler.healthy
        assert scheduler.statistics().outcomes == {"failed": 2, "done": 1}


async def test_a_failure_of_ones_own_is_tried_again_as_its_sender_said(tmp_path: Path) -> None:
    async with running(tmp_path / "q.db") as (scheduler, virtual):
        number = await scheduler.queue.enqueue("work", 1, max_attempts=2)
        await virtual.wake()
        assert await states(scheduler, number) == [("ready", "the audit log is full")]
        await virtual.advance(4)
        assert await states(scheduler, number) == [FAILED]
        found = await scheduler.queue.get(number)
        assert found is not None
        assert found.attempt == 2


async def test_a_failure_of_ones_own_behind_the_commands_end_changes_it_no_more(
    tmp_path: Path,
) -> None:
    class After(Own):
        afterwards = True

    async with running(tmp_path / "q.db", After) as (scheduler, virtual):
        numbers = [
            await scheduler.queue.enqueue("work", entry, key=f"k{entry}") for entry in (1, 2)
        ]
        await virtual.wake()
        assert await states(scheduler, *numbers) == [OK, OK]
        assert scheduler.healthy
        assert scheduler.statistics().warnings == 1


async def test_a_failure_of_ones_own_behind_an_ack_of_ones_own_changes_nothing(
    tmp_path: Path,
) -> None:
    class Acks(Scheduler):
        async def _carry_out(self, command: Command) -> None:
            await self.queue.ack(command, "mine")
            raise OSError("the audit log is full")

    async with running(tmp_path / "q.db", Acks) as (scheduler, virtual):
        number = await scheduler.queue.enqueue("work")
        await virtual.wake()
        assert await states(scheduler, number) == [("done", "mine")]
        assert scheduler.healthy
        assert scheduler.statistics().outcomes == {}


async def test_a_cancelled_wait_in_a_carry_out_of_ones_own_fails_its_command_alone(
    tmp_path: Path,
) -> None:
    class Waits(Own):
        problem = asyncio.CancelledError()

    async with running(tmp_path / "q.db", Waits) as (scheduler, virtual):
        numbers = [await scheduler.queue.enqueue("work", entry) for entry in (1, 2)]
        await virtual.wake()
        await virtual.advance(2)
        assert await states(scheduler, *numbers) == [
            ("failed", "what it waited for was cancelled"),
            OK,
        ]
        assert scheduler.healthy


@pytest.mark.parametrize("problem", [KeyError("a bug"), GeneratorExit()])
async def test_a_bug_in_a_carry_out_of_ones_own_ends_its_command_and_the_scheduler(
    tmp_path: Path, problem: BaseException
) -> None:
    class Buggy(Own):
        pass

    Buggy.problem = problem
    async with running(tmp_path / "q.db", Buggy) as (scheduler, virtual):
        number = await scheduler.queue.enqueue("work", 1)
        with contextlib.suppress(BaseException):
            await virtual.wake()
        assert not scheduler.healthy
        assert (await scheduler.queue.wait_result(number, 5)).state == "failed"


async def test_a_shutdown_within_a_carry_out_of_ones_own_gives_its_command_back(
    tmp_path: Path,
) -> None:
    begun = asyncio.Event()

    class Sleeps(Scheduler):
        SHUTDOWN_TIMEOUT_SECONDS = 0.4

        async def _carry_out(self, command: Command) -> None:
            begun.set()
            await asyncio.Event().wait()

    async with CommandQueue(tmp_path / "q.db", role="worker") as queue:
        scheduler = Sleeps(None, queue, schedule=False)
        scheduler.start()
        number = await queue.enqueue("work")
        await asyncio.wait_for(begun.wait(), 10)
        await scheduler.shutdown()
        assert await states(scheduler, number) == [("ready", None)]
