"""What one command, or one session, cannot do ends it alone (lesson R52)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from voicecore import (
    Command,
    CommandQueue,
    Engine,
    MemorySink,
    NullSink,
    PcmSource,
    Player,
    Scheduler,
    Session,
    ToneSource,
)

HUGE = "1" + "0" * 400


class Bot:
    """A scheduler whose session plays what it is given."""

    def __init__(self, queue: CommandQueue, engine: Engine) -> None:
        self.queue = queue
        self.engine = engine
        self.attached = asyncio.Event()
        self.player: Player | None = None
        self.source: Callable[[], Any] = lambda: ToneSource(440.0)
        self.scheduler = Scheduler(
            None, queue, play_session=self.play, load_entry=self.load, schedule=False
        )

    async def load(self, entry_id: int) -> Any:
        return SimpleNamespace(id=entry_id, key=f"g{entry_id}")

    async def play(self, session: Session) -> None:
        self.player = self.engine.play(self.source(), NullSink())
        session.attach(self.player)
        self.attached.set()
        await session.wait_stop()

    async def begin(self, entry_id: int) -> None:
        self.attached.clear()
        assert await self.text("play", entry_id) == "started"
        await asyncio.wait_for(self.attached.wait(), 5)

    async def text(self, *args: Any, **fields: Any) -> str:
        number = await self.queue.enqueue(*args, **fields)
        return (await self.queue.wait_result(number, 5)).text


@contextlib.asynccontextmanager
async def bot_at(path: Path) -> AsyncIterator[Bot]:
    async with Engine() as engine, CommandQueue(path, role="worker") as queue:
        bot = Bot(queue, engine)
        bot.scheduler.start()
        await bot.scheduler.wait_started()
        try:
            yield bot
        finally:
            await bot.scheduler.shutdown()


def live() -> PcmSource:
    """What cannot seek."""
    source = PcmSource()
    source.write_nowait(bytes(3840 * 20))
    return source


async def test_a_seek_in_a_live_source_fails_that_command_alone(tmp_path: Path) -> None:
    async with bot_at(tmp_path / "bot.db") as bot:
        bot.source = live
        await bot.begin(1)
        assert (await bot.text("seek", key="g1", args={"to": 5})).endswith("cannot seek")
        assert bot.scheduler.healthy
        assert await bot.text("stop", key="g1") == "done"


async def test_a_seek_for_every_session_reaches_those_behind_one_that_cannot(
    tmp_path: Path,
) -> None:
    async with bot_at(tmp_path / "bot.db") as bot:
        bot.source = live
        await bot.begin(1)
        bot.source = lambda: ToneSource(440.0)
        await bot.begin(2)
        assert await bot.text("seek", key="*", args={"to": 600}) == "done"
        assert bot.player is not None
        assert bot.player.position >= 600


@pytest.mark.parametrize("verb", ["seek", "volume"])
@pytest.mark.parametrize("name", ["to", "by"])
async def test_a_number_beyond_every_float_fails_that_command_alone(
    tmp_path: Path, verb: str, name: str
) -> None:
    async with bot_at(tmp_path / "bot.db") as bot:
        await bot.begin(1)
        rows = await bot.queue.execute(
            "INSERT INTO bot_commands(command, key, args) VALUES (?, 'g1', ?) RETURNING id",
            (verb, f'{{"{name}": {HUGE}}}'),
        )
        await bot.queue.ring()
        outcome = await bot.queue.wait_result(int(str(rows[0][0])), 5)
        assert outcome.text.startswith("failed: ")
        assert len(outcome.text) < 250
        assert bot.scheduler.healthy
        assert await bot.text("stop", key="g1") == "done"


async def test_a_session_that_lost_its_key_before_it_attached_ends_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    players: list[Player] = []
    async with bot_at(tmp_path / "bot.db") as bot:

        async def late(session: Session) -> None:
            await session.claim.release("early")  # stands for a lease that somebody else took
            players.append(bot.engine.play(ToneSource(440.0), MemorySink()))
            session.attach(players[0])

        bot.scheduler._play_session = late
        caplog.set_level(logging.WARNING, logger="voicecore.scheduler")
        assert await bot.text("play", 1) == "started"
        await asyncio.wait_for(players[0].wait_finished(), 5)
        while bot.scheduler.session_of("g1") is not None:
            await asyncio.sleep(0)
        assert bot.scheduler.healthy
        assert bot.scheduler.statistics().warnings == 1
        assert "does not hold its key any more" in caplog.text
        bot.scheduler._play_session = bot.play
        await bot.begin(1)


class Locked:
    """A scheduler that finds its file locked when it takes entry 2's lease, once."""

    def __init__(self, path: Path, **settings: Any) -> None:
        class Locking(Scheduler):
            async def _maybe_start(self, entry: Any, *, command: Command | None = None) -> bool:
                if entry.id == 2 and self.entry_of("g") is None and bot.lock is None:
                    await self.sessions.settle()
                    bot.hold()
                return await super()._maybe_start(entry, command=command)

        bot = self
        self.queue = CommandQueue(path, role="worker", busy_timeout=0.05)
        self.scheduler = Locking(
            None,
            self.queue,
            period=0.05,
            play_session=Session.wait_stop,
            load_entry=self.load,
            **settings,
        )
        self.path = path
        self.lock: sqlite3.Connection | None = None

    async def load(self, entry_id: int) -> Any:
        return SimpleNamespace(id=entry_id, key="g", name="class", policy=SimpleNamespace(busy=""))

    def hold(self) -> None:
        self.lock = sqlite3.connect(self.path, isolation_level=None)
        self.lock.execute("BEGIN IMMEDIATE")

    async def let_go_when_noticed(self) -> None:
        async with asyncio.timeout(10):
            while self.lock is None or not self.scheduler.statistics().warnings:
                await asyncio.sleep(0.01)
        self.lock.execute("COMMIT")
        self.lock.close()

    async def __aenter__(self) -> Locked:
        self.scheduler.start()
        await self.scheduler.wait_started()
        return self

    async def __aexit__(self, *_of: object) -> None:
        await self.scheduler.shutdown()
        await self.queue.aclose()


@pytest.mark.parametrize("busy", ["drop", "replace"])
async def test_a_play_waits_for_a_file_that_takes_no_lease(tmp_path: Path, busy: Any) -> None:
    async with Locked(tmp_path / "q.db", busy=busy, schedule=False) as bot:
        if busy == "replace":
            first = await bot.queue.enqueue("play", 1)
            assert (await bot.queue.wait_result(first, 5)).text == "started"
        number = await bot.queue.enqueue("play", 2)
        await bot.let_go_when_noticed()
        assert (await bot.queue.wait_result(number, 10)).text == "started"
        assert bot.scheduler.entry_of("g") == 2
        assert bot.scheduler.statistics().outcomes["started"] == 1 + (busy == "replace")


async def test_a_play_that_cannot_be_replaced_for_a_reason_of_its_own_fails(tmp_path: Path) -> None:
    class Refusing(Scheduler):
        async def _maybe_start(self, entry: Any, *, command: Command | None = None) -> bool:
            if entry.id == 2 and self.entry_of("g") is None:
                raise ValueError("not this one")
            return await super()._maybe_start(entry, command=command)

    async def load(entry_id: int) -> Any:
        return SimpleNamespace(id=entry_id, key="g")

    async with CommandQueue(tmp_path / "q.db", role="worker") as queue:
        scheduler = Refusing(
            None,
            queue,
            busy="replace",
            play_session=Session.wait_stop,
            load_entry=load,
            schedule=False,
        )
        scheduler.start()
        first, second = [await queue.enqueue("play", number) for number in (1, 2)]
        assert (await queue.wait_result(first, 5)).text == "started"
        assert (await queue.wait_result(second, 5)).text == "failed: not this one"
        await scheduler.shutdown()


async def test_a_start_of_the_schedule_waits_for_a_file_that_takes_no_lease(tmp_path: Path) -> None:
    class Checker:
        """What is due, until it has been taken."""

        def __init__(self) -> None:
            self.given: list[Any] = []

        async def check(self, **_settings: object) -> list[Any]:
            given, self.given = self.given, []
            return given

        def give_back(self, due: Any) -> None:
            self.given.append(due)

        def take_clock_event(self) -> None:
            return None

    checker = Checker()
    async with Locked(tmp_path / "q.db", schedule=cast(Any, checker)) as bot:
        checker.given = [SimpleNamespace(kind="start", entry=await bot.load(2), occurrence=None)]
        await bot.let_go_when_noticed()
        async with asyncio.timeout(10):
            while bot.scheduler.entry_of("g") != 2:
                await asyncio.sleep(0.01)
