"""What the reference cannot promise, shown, beside the native engine that can."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from contract.harness import Bench, Queue, ids
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


# -- where the engines differ within the contract --------------------------------------------------


def _public(kind: object) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_the_reference_names_what_it_lacks(tmp_path: Path) -> None:
    missing = _public(CommandQueue) - _public(reference.CommandQueue(tmp_path / "q.db"))
    text = str(reference.CommandQueue.__doc__)
    assert [name for name in sorted(missing) if f"`{name}`" not in text] == []
    named = set(re.findall(r"`(\w+)`", text[text.index("It lacks") :]))
    assert named - missing == {"give_back", "delay", "role", "create", "fault_hook"}


async def test_a_claim_with_room_for_one_ends_what_has_expired_when_it_meets_it(
    bench: Bench,
) -> None:
    async with bench.queue() as queue:
        first = await queue.enqueue("work", key="a")
        old = await queue.enqueue("work", key="b", delay=20, expires_after=1)
        bench.wall.pass_(5)
        assert ids(await queue.claim(1)) == [first]
        states = []
        for _ in range(2):
            found = await queue.get(old)
            assert found is not None
            states.append(found.state)
            await queue.claim(1)
        assert states == (["ready", "expired"] if bench.engine == "native" else ["expired"] * 2)


async def test_of_two_overtaking_stops_only_the_reference_takes_the_larger_priority_first(
    bench: Bench,
) -> None:
    async with bench.queue() as queue:
        stops = [
            await queue.enqueue("stop", key=key, priority=priority, overtakes=True)
            for key, priority in (("a", -2), ("b", 1))
        ]
        taken = [ids(await queue.claim(1))[0] for _ in range(2)]
        assert taken == (stops if bench.engine == "native" else stops[::-1])
