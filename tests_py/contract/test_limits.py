"""What the reference cannot promise, shown, beside the native engine that can."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest

from contract.harness import Bench, Queue
from voicecore import reference
from voicecore.queue import CommandQueue
from voicecore.sessions import SessionMutex

# Waits in another process until a command is claimed, at most a second.
_WATCH = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=5)
end = time.monotonic() + 1
while time.monotonic() < end:
    if connection.execute("SELECT 1 FROM bot_commands WHERE state = 'claimed'").fetchone():
        sys.exit(0)
    time.sleep(0.005)
sys.exit(1)
"""


async def test_only_the_native_claim_goes_on_while_the_event_loop_is_blocked(bench: Bench) -> None:
    async with bench.queue() as queue:
        await queue.enqueue("work")
        claiming = asyncio.create_task(queue.claim())
        await asyncio.sleep(0)  # it has begun
        blocked = subprocess.run(  # and nothing of this loop runs until this returns
            [sys.executable, "-c", _WATCH, str(bench.path)], check=False, timeout=30
        )
        assert blocked.returncode == (0 if bench.engine == "native" else 1)
        assert len(await claiming) == 1


class Meeting(str):
    """A key whose two users meet between looking and assigning."""

    meeting: threading.Barrier

    def __hash__(self) -> int:
        looked = getattr(threading.current_thread(), "looked", False)
        if looked:  # the second use of the key by this thread: it is about to assign
            self.meeting.wait(5)
        threading.current_thread().looked = True  # type: ignore[attr-defined]
        return str.__hash__(self)


async def test_only_the_native_mutex_holds_among_threads(bench: Bench) -> None:
    """R24: "assign before the first await" is safe under one event loop only."""
    async with bench.queue() as queue:
        holders: list[Any] = []
        if isinstance(queue, CommandQueue):
            native = SessionMutex(queue)
            start = threading.Barrier(20)

            def claim_natively() -> None:
                start.wait(5)
                holders.append(native.claim_nowait("a"))

            threads = [threading.Thread(target=claim_natively) for _ in range(20)]
        else:
            simple = reference.SessionMutex(queue)
            key = Meeting("a")
            key.meeting = threading.Barrier(2)
            threads = [
                threading.Thread(target=lambda: holders.append(simple.claim_nowait(key)))
                for _ in range(2)
            ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        got = [claim for claim in holders if claim is not None]
        assert len(got) == (1 if bench.engine == "native" else 2)


async def _cancelled_during_commit(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancel a claim at its last step."""
    claiming = asyncio.create_task(queue.claim())
    if isinstance(queue, reference.CommandQueue):
        db = await queue._connection()
        execute = db.execute_fetchall

        def noticing(sql: str, parameters: Any = None) -> Any:
            if sql == "COMMIT":
                asyncio.get_running_loop().call_soon(claiming.cancel)
            return execute(sql, parameters)

        monkeypatch.setattr(db, "execute_fetchall", noticing)
    else:
        await asyncio.sleep(0)
        claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming


async def test_only_the_native_queue_gives_back_what_a_cancelled_claim_took(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench.queue(lease=30) as queue:
        id = await queue.enqueue("work")
        await _cancelled_during_commit(queue, monkeypatch)
        again: list[int] = []
        for _ in range(20):  # it is given back behind what the queue's thread was doing
            again += [command.id for command in await queue.claim()]
            await asyncio.sleep(0.005)
        if bench.engine == "native":
            assert again == [id]
        else:
            assert again == []
            bench.wall.pass_(30)
            assert [command.id for command in await queue.claim()] == [id]
