"""What is told of a command or a session is kept, whatever letters it has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from voicecore import Command, CommandQueue, SyncCommandQueue

# As Python gives a file name that is not UTF-8: in errors of the system it is the usual one.
NAME = os.fsdecode(b"caf\xe9.mp3")
KEPT = r"caf\udce9.mp3"


async def one(queue: CommandQueue) -> Command:
    """A command in hand."""
    await queue.enqueue("x")
    (command,) = await queue.claim()
    return command


async def test_an_error_with_odd_bytes_is_kept(tmp_path: Path) -> None:
    async with CommandQueue(tmp_path / "q.db") as queue:
        for end in (queue.fail, queue.nack):
            command = await one(queue)
            await end(command, NAME)
            assert (await queue.wait_result(command.id)).error == KEPT


def test_an_error_with_odd_bytes_is_kept_by_who_may_block(tmp_path: Path) -> None:
    with SyncCommandQueue(tmp_path / "q.db") as queue:
        for end in (queue.fail, queue.nack):
            queue.enqueue("x")
            (command,) = queue.claim()
            end(command, NAME)
            assert queue.wait_result(command.id).error == KEPT


@pytest.mark.parametrize(
    ("result", "kept"),
    [(NAME, KEPT), ([NAME], f'["{KEPT}"]'), ("Hẹn gặp lại", "Hẹn gặp lại")],
)
async def test_a_result_with_odd_bytes_is_kept(tmp_path: Path, result: object, kept: str) -> None:
    async with CommandQueue(tmp_path / "q.db") as queue:
        command = await one(queue)
        await queue.ack(command, result)
        assert (await queue.wait_result(command.id)).result == kept
        command = await one(queue)
        await queue.ack_many([(command, result)])
        assert (await queue.wait_result(command.id)).result == kept


async def test_a_sessions_outcome_with_odd_bytes_is_kept(tmp_path: Path) -> None:
    async with CommandQueue(tmp_path / "q.db") as queue:
        attempt = await queue.lease_session("g")
        await queue.end_session("g", attempt, NAME)
        assert await queue.wait_session("g") == KEPT
