"""Promises of the scheduler's and the queue's documentation, each with the test that holds it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
import pytest

from voicecore import CommandQueue, Scheduler, Session, SessionMutex, StaleClaim, SyncCommandQueue
from voicecore.testing import VirtualTime

INSERT = "INSERT INTO bot_commands(command) VALUES ('job') RETURNING id"


class Bot(Scheduler):
    """On virtual time; counts its ticks and its jobs."""

    def __init__(self, queue: CommandQueue, time: VirtualTime, **settings: Any) -> None:
        super().__init__(settings.pop("client", None), queue, time=time, **settings)
        self.virtual = time
        self.ticks: list[float] = []
        self.jobs: list[float] = []
        self.handler("job")(self.job)

    async def job(self, _command: object) -> None:
        self.jobs.append(self.virtual.monotonic())

    async def _check_schedule(self) -> None:
        self.ticks.append(self.virtual.monotonic())


@contextlib.asynccontextmanager
async def bot_at(path: Path, **settings: Any) -> AsyncIterator[Bot]:
    virtual = VirtualTime()
    wall = virtual.time
    async with CommandQueue(path, role="worker", synchronous="normal", wall_clock=wall) as queue:
        bot = Bot(queue, virtual, schedule=False, **settings)
        bot.start()
        await bot.wait_started()
        await virtual.settle()
        try:
            yield bot
        finally:
            await bot.shutdown()


# -- the caller's own transaction ------------------------------------------------------------------


@pytest.mark.parametrize("commits", [True, False])
def test_a_command_is_there_exactly_if_the_callers_transaction_commits(
    tmp_path: Path, commits: bool
) -> None:
    with SyncCommandQueue(tmp_path / "q.db") as queue:
        queue.execute("CREATE TABLE own(x)")
        connection = sqlite3.connect(queue.path)
        connection.execute("INSERT INTO own VALUES (1)")
        queue.enqueue_in(connection, "job")
        assert connection.in_transaction
        assert queue.peek() == []  # seen by nobody else before
        if commits:
            connection.commit()
        else:
            connection.rollback()
        connection.close()
        assert len(queue.peek()) == len(queue.execute("SELECT x FROM own")) == int(commits)


# -- senders that cannot ring ----------------------------------------------------------------------


async def test_a_bare_insert_is_found_within_300_ms(tmp_path: Path) -> None:
    async with bot_at(tmp_path / "q.db", period=60) as bot:
        for number in range(1, 4):
            await bot.virtual.advance(1)  # and whatever the last one left to do
            await bot.queue.execute(INSERT)
            await bot.virtual.advance(0.3)
            assert len(bot.jobs) == number
        wakes = bot.statistics().wakes
        assert (wakes["data_version"], wakes["tick"]) == (3, 0)


@pytest.mark.slow
@pytest.mark.timing
async def test_a_bare_insert_is_found_in_real_time_too(tmp_path: Path) -> None:
    async with CommandQueue(tmp_path / "q.db", role="worker") as queue:
        scheduler = Scheduler(None, queue, period=60, schedule=False)

        @scheduler.handler("job")
        async def job(_command: object) -> None: ...

        scheduler.start()
        await scheduler.wait_started()
        for _ in range(3):  # each behind the look that has found the one before
            began = time.monotonic()
            rows = await queue.execute(INSERT)
            await queue.wait_result(int(str(rows[0][0])), 10)
            assert time.monotonic() - began < 1.0
        await scheduler.shutdown()


# -- the history -----------------------------------------------------------------------------------


async def test_the_history_is_pruned_with_the_tick_in_small_batches(tmp_path: Path) -> None:
    left: list[int] = []

    async def count(bot: Bot) -> int:
        rows = await bot.queue.execute("SELECT count(*) FROM bot_command_history")
        return int(str(rows[0][0]))

    async with bot_at(tmp_path / "q.db", retention=3600) as bot:
        await bot.virtual.advance(4)
        await bot.queue.enqueue_many([("job", None, f"k{one}") for one in range(1200)])
        for command in await bot.queue.peek(1200):
            await bot.queue.cancel(command.id)
        await bot.virtual.advance(3500)
        assert await count(bot) == 1200
        for _ in range(250):  # 500 seconds, two at a time: the look comes every 300
            await bot.virtual.advance(2)
            left.append(await count(bot))
    steps = [one for one, before in zip(left, [1200, *left], strict=False) if one != before]
    assert steps == [700, 200, 0]


async def test_a_history_without_a_retention_is_kept(tmp_path: Path) -> None:
    async with bot_at(tmp_path / "q.db", retention=None) as bot:
        number = await bot.queue.enqueue("job")
        await bot.virtual.advance(10)
        bot.virtual.step_wall(400 * 86_400)
        await bot.virtual.advance(10)
        assert await bot.queue.get(number) is not None


# -- discord.py ------------------------------------------------------------------------------------


def http_error() -> discord.HTTPException:
    response = SimpleNamespace(status=500, reason="Internal Server Error")
    return discord.HTTPException(response, "try later")


@pytest.mark.parametrize("error", [http_error(), discord.ClientException("already connected")])
@pytest.mark.parametrize("attached", [True, False])
async def test_discords_two_errors_are_survived_once_a_client_is_attached(  # R13
    tmp_path: Path, error: Exception, attached: bool
) -> None:
    client = SimpleNamespace() if attached else None
    async with bot_at(tmp_path / "q.db", client=client) as bot:

        @bot.handler("send")
        async def send(_command: object) -> None:
            raise error

        number = await bot.queue.enqueue("send")
        await bot.virtual.wake()
        assert (await bot.queue.wait_result(number, 5)).state == "failed"
        assert bot.healthy is attached


# -- the end ---------------------------------------------------------------------------------------

PROCESS = """
import asyncio, sys
from types import SimpleNamespace
from voicecore import CommandQueue, Scheduler

async def load(entry_id):
    return SimpleNamespace(id=entry_id, key="g")

async def play(session):
    print("playing", flush=True)
    if sys.argv[2] == "stubborn":
        await asyncio.sleep(600)
    await session.wait_stop()

async def main():
    scheduler = Scheduler(None, sys.argv[1], play_session=play, load_entry=load)
    scheduler.start()
    scheduler.install_signal_handlers()
    await scheduler.queue.enqueue("play", 1)
    await scheduler.wait()
    await scheduler.shutdown()
    print("ended", flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("session", ["obedient", "stubborn"])
def test_a_signal_ends_a_process_within_8_seconds(  # R40
    tmp_path: Path, number: signal.Signals, session: str
) -> None:
    path = tmp_path / "q.db"
    command = [sys.executable, "-c", PROCESS, str(path), session]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "playing\n"
            began = time.monotonic()
            os.kill(process.pid, number)
            said, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, said) == (0, "ended\n")
    assert time.monotonic() - began < (8.5 if session == "stubborn" else 3.0)
    with SyncCommandQueue(path) as queue:
        rows = queue.execute("SELECT owner, outcome FROM bot_sessions")
        assert rows == [(None, "stopped" if session == "obedient" else "cancelled")]


# -- the period ------------------------------------------------------------------------------------


@pytest.mark.parametrize("period", [0.5, 10.0])
async def test_a_changed_interval_holds_from_the_last_tick_on(
    tmp_path: Path, period: float
) -> None:
    async with bot_at(tmp_path / "q.db") as bot:
        await bot.virtual.advance(6.1)
        last = bot.ticks[-1]
        bot.change_interval(seconds=period)
        await bot.virtual.advance(30)
        gaps = [
            b - a
            for a, b in zip(
                [last, *bot.ticks[bot.ticks.index(last) + 1 :]],
                bot.ticks[bot.ticks.index(last) + 1 :],
                strict=False,
            )
        ]
        assert gaps == pytest.approx([period] * len(gaps), abs=1e-6)
        assert len(gaps) == int((bot.virtual.monotonic() - last) / period)


async def test_an_interval_that_is_changed_before_the_start_holds(tmp_path: Path) -> None:
    virtual = VirtualTime()
    async with CommandQueue(tmp_path / "q.db", wall_clock=virtual.time) as queue:
        bot = Bot(queue, virtual, schedule=False)
        bot.change_interval(seconds=5)
        bot.start()
        await bot.wait_started()
        await virtual.advance(20)
        assert [b - a for a, b in zip(bot.ticks, bot.ticks[1:], strict=False)] == [5.0] * 4
        await bot.shutdown()


# -- stale claims ----------------------------------------------------------------------------------


async def test_a_claim_without_its_lease_starts_nothing(tmp_path: Path) -> None:
    async with CommandQueue(tmp_path / "q.db") as queue:
        claim = SessionMutex(queue).claim_nowait("g", 1)
        assert claim is not None
        with pytest.raises(StaleClaim):
            claim.check()
        await claim.persist()
        claim.check()
        await claim.release()
        with pytest.raises(StaleClaim):
            claim.check()


async def test_a_claim_that_a_later_attempt_has_followed_starts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    sessions: list[Session] = []
    ends = asyncio.Event()

    async def play(session: Session) -> None:
        sessions.append(session)
        await ends.wait()

    async def load(entry_id: int) -> object:
        return SimpleNamespace(id=entry_id, key="g")

    async with (
        bot_at(path, play_session=play, load_entry=load) as bot,
        CommandQueue(path, owner="another", wall_clock=bot.virtual.time) as other,
    ):
        await bot.queue.enqueue("play", 1)
        await bot.virtual.wake()
        claim = sessions[0].claim
        claim.check()
        bot.virtual.step_wall(60)  # this process stood still for longer than its lease
        await other.lease_session("g", 77)
        await bot.virtual.advance(11)  # and renews its leases
        assert not claim.held
        with pytest.raises(StaleClaim) as refused:
            claim.check()
        assert refused.value.reason == "taken"
        ends.set()
