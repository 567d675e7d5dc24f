"""Several commands acknowledged in one transaction."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import voicecore
from voicecore import testing


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "queue.db")


def test_every_command_gets_its_own_result(path: str) -> None:
    with voicecore.SyncCommandQueue(path) as queue:
        ids = queue.enqueue_many([("job", None, key) for key in ("a", "b", "c")])
        claimed = queue.claim(10)
        assert queue.ack_many([(one, f"by {one.key}") for one in claimed]) == []
        assert [queue.wait_result(id).result for id in ids] == ["by a", "by b", "by c"]


def test_a_stale_claim_is_told_and_spares_the_others(path: str) -> None:
    with voicecore.SyncCommandQueue(path) as queue:
        queue.enqueue_many([("job", None, "a"), ("job", None, "b")])
        first, second = queue.claim(10)
        queue.ack(first, "mine")
        assert queue.ack_many([(first, "late"), (second, "done")]) == [first.id]
        results = {one.id: one.result for one in queue.history()}
        assert results == {first.id: "mine", second.id: "done"}


def test_nothing_to_acknowledge_is_no_error(path: str) -> None:
    with voicecore.SyncCommandQueue(path) as queue:
        assert queue.ack_many([]) == []


def test_a_drain_commits_its_outcomes_together(path: str) -> None:
    """At FULL each commit waits for the disk: one by one they would be as slow as that."""

    async def run() -> int:
        hook = testing.FaultHook()
        time = testing.VirtualTime()
        queue = voicecore.CommandQueue(path, fault_hook=hook, wall_clock=time.time)
        scheduler = voicecore.Scheduler(None, queue, time=time)

        @scheduler.handler("job")
        async def job(_command: voicecore.Command) -> str:
            return "done"

        async with queue:
            scheduler.start()
            await scheduler.wait_started()
            await time.settle()
            ids = await queue.enqueue_many([("job", None, f"key {n}") for n in range(20)])
            before = hook.trace().count("COMMIT")
            await time.wake()
            outcomes = [await queue.wait_result(id, 5.0) for id in ids]
            commits = hook.trace().count("COMMIT") - before
            await scheduler.shutdown()
        assert [one.text for one in outcomes] == ["done"] * 20
        return commits

    # One claim, and one ack unless the machine stood still in between.
    assert asyncio.run(run()) <= 6
