"""One session per key: in memory at once, in the file before anything is connected."""

from __future__ import annotations

import asyncio

import pytest

from contract.harness import Bench, Queue
from voicecore import reference
from voicecore.errors import Closed, InvalidArgument, StaleClaim
from voicecore.queue import CommandQueue
from voicecore.sessions import SessionMutex, SessionTaken


def mutex(queue: Queue, **settings: bool) -> SessionMutex | reference.SessionMutex:
    if isinstance(queue, CommandQueue):
        return SessionMutex(queue, **settings)
    return reference.SessionMutex(queue, **settings)


async def test_a_key_has_one_claim_until_it_is_released(bench: Bench) -> None:
    """R21."""
    async with bench.queue() as queue:
        sessions = mutex(queue)
        claim = sessions.claim_nowait("a", 3)
        assert claim is not None
        assert sessions.claim_nowait("a", 4) is None
        assert sessions.claim_nowait("b", 4) is not None
        assert (sessions.entry_of("a"), sessions.entry_of("b"), sessions.entry_of("c")) == (
            3,
            4,
            None,
        )
        await claim.release()
        await claim.release()
        assert sessions.claim_nowait("a", 5) is not None


async def test_an_integer_is_the_same_key_as_its_text(bench: Bench) -> None:
    async with bench.queue() as queue:
        sessions = mutex(queue)
        assert sessions.claim_nowait(77) is not None
        assert sessions.claim_nowait("77") is None


async def test_one_session_in_all_is_an_option(bench: Bench) -> None:
    """D23."""
    async with bench.queue() as queue:
        sessions = mutex(queue, single=True)
        claim = sessions.claim_nowait("a", 3)
        assert claim is not None
        assert sessions.claim_nowait("b", 4) is None
        await claim.release()
        assert sessions.claim_nowait("b", 4) is not None


async def test_the_attempt_of_a_key_only_grows(bench: Bench) -> None:
    async with bench.queue() as queue:
        sessions = mutex(queue)
        for expected in (1, 2, 3):
            claim = sessions.claim_nowait("a", 3)
            assert claim is not None
            assert claim.attempt is None
            assert await claim.persist() == claim.attempt == expected
            await claim.release("done")
        row = bench.stranger("SELECT attempt, owner, outcome, state FROM bot_sessions")
        assert row == [[3, None, "done", "ended"]]


async def test_another_process_that_holds_the_key_refuses_and_the_memory_is_free_again(
    bench: Bench,
) -> None:
    async with bench.queue() as here, bench.queue() as there:
        first, second = mutex(here), mutex(there)
        held = first.claim_nowait("a", 3)
        refused = second.claim_nowait("a", 4)
        assert held is not None
        assert refused is not None
        await held.persist()
        with pytest.raises(SessionTaken) as raised:
            await refused.persist()
        assert raised.value.reason == "taken"
        assert not refused.held
        again = second.claim_nowait("a", 5)
        assert again is not None
        await held.release()
        assert await again.persist() == 2


async def test_a_lease_that_ran_out_can_be_taken_and_its_late_end_disturbs_nobody(
    bench: Bench,
) -> None:
    async with bench.queue(lease=30) as here, bench.queue(lease=30) as there:
        dead, alive = mutex(here).claim_nowait("a", 3), mutex(there).claim_nowait("a", 4)
        assert dead is not None
        assert alive is not None
        await dead.persist()
        bench.wall.pass_(30)
        assert await alive.persist() == 2
        await dead.release("late")
        rows = bench.stranger("SELECT attempt, owner, outcome FROM bot_sessions")
        assert rows == [[2, there.owner, None]]
        await alive.release()


async def test_a_wall_clock_that_is_set_back_does_not_make_a_session_longer(bench: Bench) -> None:
    async with bench.queue(lease=30) as here, bench.queue(lease=30) as there:
        sessions = mutex(there)
        dead, refused = mutex(here).claim_nowait("a", 3), sessions.claim_nowait("a", 4)
        assert dead is not None
        assert refused is not None
        await dead.persist()
        bench.wall.pass_(-3_600)
        with pytest.raises(SessionTaken):
            await refused.persist()
        bench.wall.pass_(29)
        early = sessions.claim_nowait("a", 4)
        assert early is not None
        with pytest.raises(SessionTaken):
            await early.persist()
        bench.wall.pass_(1)
        alive = sessions.claim_nowait("a", 4)
        assert alive is not None
        assert await alive.persist() == 2
        await alive.release()


async def test_a_released_claim_cannot_be_persisted(bench: Bench) -> None:
    async with bench.queue() as queue:
        claim = mutex(queue).claim_nowait("a")
        assert claim is not None
        await claim.release()
        with pytest.raises(Closed):
            await claim.persist()


async def test_a_cancelled_persist_gives_the_memory_back(bench: Bench) -> None:
    async with bench.queue() as queue:
        sessions = mutex(queue)
        claim = sessions.claim_nowait("a")
        assert claim is not None
        task = asyncio.create_task(claim.persist())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sessions.claim_nowait("a") is not None


async def settle(sessions: SessionMutex | reference.SessionMutex) -> None:
    """Until every lease that nobody waits for has ended."""
    if isinstance(sessions, SessionMutex):
        await sessions.settle()
    while isinstance(sessions, reference.SessionMutex) and sessions._tasks:
        await asyncio.wait(set(sessions._tasks))


ROWS = "SELECT attempt, owner, outcome FROM bot_sessions"


async def test_a_claim_has_one_lease_however_often_it_is_asked_for(bench: Bench) -> None:
    async with bench.queue() as queue:
        sessions = mutex(queue)
        claim = sessions.claim_nowait("a")
        assert claim is not None
        assert list(await asyncio.gather(claim.persist(), claim.persist())) == [1, 1]
        assert await claim.persist() == 1
        assert claim.held
        assert sessions.claim_nowait("a") is None
        await claim.release()
        assert bench.stranger(ROWS) == [[1, None, "done"]]


async def test_a_release_while_the_lease_is_taken_gives_it_back(bench: Bench) -> None:
    async with bench.queue() as queue:
        sessions = mutex(queue)
        claim = sessions.claim_nowait("a")
        assert claim is not None
        persist = asyncio.ensure_future(claim.persist())
        await asyncio.sleep(0)
        await claim.release("stopped")
        with pytest.raises(Closed):
            await persist
        assert bench.stranger(ROWS) == [[1, None, "stopped"]]
        again = sessions.claim_nowait("a")
        assert again is not None
        assert await again.persist() == 2
        await again.release()


async def test_a_cancelled_release_gives_the_lease_back_when_it_comes(bench: Bench) -> None:
    async with bench.queue() as queue:
        sessions = mutex(queue)
        claim = sessions.claim_nowait("a")
        assert claim is not None
        persist = asyncio.ensure_future(claim.persist())
        await asyncio.sleep(0)
        release = asyncio.ensure_future(claim.release("stopped"))
        await asyncio.sleep(0)
        release.cancel()
        await asyncio.wait([release, persist])
        await settle(sessions)
        assert release.cancelled()
        assert isinstance(persist.exception(), Closed)
        assert bench.stranger(ROWS) == [[1, None, "stopped"]]
        assert sessions.claim_nowait("a") is not None


async def test_a_cancelled_persist_gives_the_lease_back_and_disturbs_nobody(bench: Bench) -> None:
    async with bench.queue() as queue:
        sessions = mutex(queue)
        claim = sessions.claim_nowait("a")
        assert claim is not None
        persist = asyncio.ensure_future(claim.persist())
        await asyncio.sleep(0)
        persist.cancel()
        await asyncio.wait([persist])
        assert sessions.claim_nowait("a") is not None
        await settle(sessions)
        assert bench.stranger(ROWS) == [[1, None, "cancelled"]]
        assert sessions.claim_nowait("a") is None  # the second holder's still


async def test_a_session_has_a_key_and_an_entry_that_can_be_stored(bench: Bench) -> None:
    async with bench.queue() as queue:
        sessions = mutex(queue)
        for call in (sessions.claim_nowait, sessions.entry_of):
            with pytest.raises(InvalidArgument, match="key: got None"):
                call(None)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="entry_id: got 'x'"):
            sessions.claim_nowait("a", "x")  # type: ignore[arg-type]
        claim = sessions.claim_nowait("a")
        assert claim is not None
        await claim.persist()
        await claim.release("caf\udce9")
        assert bench.stranger(ROWS) == [[1, None, "caf\\udce9"]]


async def test_statistics_count_leased_sessions(bench: Bench) -> None:
    async with bench.queue(lease=30) as queue:
        claim = mutex(queue).claim_nowait("a")
        assert claim is not None
        await claim.persist()
        assert (await queue.statistics()).sessions == 1
        bench.wall.pass_(31)
        assert (await queue.statistics()).sessions == 0


def test_taken_is_a_stale_claim() -> None:
    assert issubclass(SessionTaken, StaleClaim)
