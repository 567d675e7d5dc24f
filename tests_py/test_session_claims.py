"""A claim of a session key, whatever is called while its lease is being taken; and who waits."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from voicecore import (
    Closed,
    CommandQueue,
    DatabaseError,
    InvalidArgument,
    SessionMutex,
    WrongType,
)
from voicecore.queue import Row
from voicecore.sessions import Claim
from voicecore.testing import VirtualTime

PATIENCE = 10.0


class Rig:
    def __init__(self, path: Path) -> None:
        self.time = VirtualTime()
        self.queue = CommandQueue(path, lease=30.0, wall_clock=self.time.time)
        self.mutex = SessionMutex(self.queue)

    def claim(self) -> Claim:
        claim = self.mutex.claim_nowait("g", 1)
        assert claim is not None
        return claim

    async def persisting(self, claim: Claim) -> asyncio.Task[int]:
        """A task that waits for the lease."""
        task = asyncio.ensure_future(claim.persist())
        await asyncio.sleep(0)
        return task

    async def rows(self) -> list[Row]:
        await self.mutex.settle()
        return await self.queue.execute("SELECT attempt, owner, outcome FROM bot_sessions")


@contextlib.asynccontextmanager
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path / "q.db")
    async with made.queue:
        yield made


async def test_a_release_while_the_lease_is_taken_gives_it_back(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        claim = r.claim()
        persist = await r.persisting(claim)
        await claim.release("stopped")
        with pytest.raises(Closed):
            await persist
        assert await r.rows() == [(1, None, "stopped")]
        assert r.mutex.held() == []
        again = r.claim()
        assert await again.persist() == 2
        await again.release()


async def test_a_release_at_once_while_the_lease_is_taken_gives_it_back(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        claim = r.claim()
        persist = await r.persisting(claim)
        claim.release_nowait("stopped")
        assert r.mutex.held() == []
        with pytest.raises(Closed):
            await persist
        assert await r.rows() == [(1, None, "stopped")]


async def test_a_cancelled_release_gives_the_lease_back_when_it_comes(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        claim = r.claim()
        persist = await r.persisting(claim)
        release = asyncio.ensure_future(claim.release("stopped"))
        await asyncio.sleep(0)
        release.cancel()
        await asyncio.wait([release, persist])
        assert release.cancelled()
        assert await r.rows() == [(1, None, "stopped")]
        assert isinstance(persist.exception(), Closed)


async def test_a_claim_has_one_lease_however_often_it_is_asked_for(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        claim = r.claim()
        both = await asyncio.gather(claim.persist(), claim.persist())
        assert list(both) == [1, 1]
        assert await claim.persist() == 1
        assert claim.held
        claim.check()
        async with claim:
            assert claim.attempt == 1
        assert await r.rows() == [(1, None, "done")]


async def test_the_end_of_a_session_whose_lease_ran_out_is_known(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        claim = r.claim()
        attempt = await claim.persist()
        waiting = asyncio.ensure_future(r.queue.wait_session("g", attempt, PATIENCE))
        r.time.step_wall(29.999)
        with pytest.raises(TimeoutError):
            await r.queue.wait_session("g", attempt, 0)
        r.time.step_wall(0.001)
        assert await waiting == "lost"
        await claim.release("late")
        assert await r.queue.wait_session("g", attempt, PATIENCE) == "late"


@pytest.mark.parametrize(
    ("says", "call"),
    [
        ("key: got None", lambda r: r.mutex.claim_nowait(None)),
        ("key: got 5.0", lambda r: r.mutex.claim_nowait(5.0)),
        ("entry_id: got 'a'", lambda r: r.mutex.claim_nowait("g", "a")),
        ("entry_id: got True", lambda r: r.mutex.claim_nowait("g", True)),
        ("key: got None", lambda r: r.mutex.entry_of(None)),
        ("key: got None", lambda r: r.queue.lease_session(None)),
        ("entry_id: got 'a'", lambda r: r.queue.lease_session("g", "a")),
        ("id: got 'a'", lambda r: r.queue.lease_session("g", 1, "a")),
        ("key: got None", lambda r: r.queue.renew_session(None, 1)),
        ("attempt: got None", lambda r: r.queue.renew_session("g", None)),
        ("key: got None", lambda r: r.queue.end_session(None, 1)),
        ("attempt: got 'a'", lambda r: r.queue.end_session("g", "a")),
        ("key: got None", lambda r: r.queue.wait_session(None)),
        ("attempt: got 'a'", lambda r: r.queue.wait_session("g", "a")),
    ],
)
async def test_what_is_no_key_entry_or_attempt_is_named(
    tmp_path: Path, says: str, call: Callable[[Rig], Any]
) -> None:
    async with rig(tmp_path) as r:
        with pytest.raises(WrongType, match=f"^{says}, expected"):
            await call(r)
        assert r.mutex.held() == []


async def test_an_entry_id_beyond_64_bits_is_refused(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        with pytest.raises(InvalidArgument, match="entry_id: got"):
            r.mutex.claim_nowait("g", 2**70)


@contextlib.asynccontextmanager
async def leased_beside_a_lock(
    path: Path, lease: float
) -> AsyncIterator[tuple[SessionMutex, Claim, sqlite3.Connection]]:
    """A session with its lease, and a stranger who holds the file's lock."""
    async with CommandQueue(path, lease=lease, busy_timeout=0.01) as queue:
        mutex = SessionMutex(queue)
        claim = mutex.claim_nowait("g", 1)
        assert claim is not None
        await claim.persist()
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield mutex, claim, other


async def test_a_lease_that_could_not_end_beside_a_lock_ends_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leased_beside_a_lock(tmp_path / "q.db", 30.0) as (mutex, claim, other):
        failed = asyncio.Event()
        end_session = mutex.queue.end_session

        async def watched(*arguments: Any) -> None:
            try:
                await end_session(*arguments)
            except DatabaseError:
                failed.set()
                raise

        monkeypatch.setattr(mutex.queue, "end_session", watched)
        claim.release_nowait("stopped")
        await asyncio.wait_for(failed.wait(), PATIENCE)
        other.execute("ROLLBACK")
        assert await mutex.queue.wait_session("g", 1, PATIENCE) == "stopped"


async def test_a_lease_beside_a_lock_does_not_hold_up_who_settles(tmp_path: Path) -> None:
    async with leased_beside_a_lock(tmp_path / "q.db", 600.0) as (mutex, claim, other):
        claim.release_nowait()
        await asyncio.wait_for(mutex.settle(), PATIENCE)
        assert other.execute("SELECT outcome FROM bot_sessions").fetchall() == [(None,)]
