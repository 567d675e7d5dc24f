"""What one command, or one session, cannot do ends it alone (lesson R52)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from voicecore import (
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
