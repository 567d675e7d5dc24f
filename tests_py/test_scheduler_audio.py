"""Commands from another process reach playing audio, whatever the event loop does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from voicecore import (
    Command,
    CommandQueue,
    Engine,
    MemorySink,
    Scheduler,
    Session,
    StaleClaim,
    ToneSource,
)
from voicecore.scheduler.scheduler import MissingEntry

SEND = """
import sys, time
from voicecore import SyncCommandQueue
with SyncCommandQueue(sys.argv[1]) as queue:
    for command in sys.argv[2:]:
        print(queue.enqueue(command, key="g"), flush=True)
"""


class Entry:
    id = 1
    key = "g"


def send(path: Path, *commands: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", SEND, str(path), *commands],
        check=True,
        capture_output=True,
        text=True,
    )
    return [int(line) for line in done.stdout.split()]


class Bot:
    """A scheduler whose sessions play a tone into memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sink = MemorySink()
        self.prepare: Callable[[Scheduler], None] = lambda _scheduler: None

    async def __aenter__(self) -> Bot:
        self.engine = Engine()
        await self.engine.__aenter__()
        self.queue = CommandQueue(self.path, role="worker")
        self.playing = asyncio.Event()
        self.scheduler = Scheduler(None, self.queue, play_session=self.play, load_entry=self.load)
        self.prepare(self.scheduler)
        self.scheduler.start()
        await self.queue.enqueue("play", 1, key="g")
        await asyncio.wait_for(self.playing.wait(), 10)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.scheduler.shutdown()
        await self.queue.aclose()
        await self.engine.__aexit__(None, None, None)

    async def load(self, entry_id: int) -> Entry:
        if entry_id != 1:
            raise MissingEntry(f"there is no entry {entry_id}")
        return Entry()

    async def play(self, session: Session) -> None:
        self.player = self.engine.play(ToneSource(440.0), self.sink)
        session.attach(self.player)
        async for event in self.player.events():
            if event.kind == "started":
                self.playing.set()
        await self.player.wait_finished()


async def test_a_stop_ends_the_audio_while_the_loop_is_blocked(tmp_path: Path) -> None:
    async with Bot(tmp_path / "bot.db") as bot:
        # The whole of it happens while no Python of this process's loop runs.
        (number,) = send(bot.path, "stop")
        deadline = time.monotonic() + 5
        while not bot.player.finished and time.monotonic() < deadline:
            time.sleep(0.005)  # the loop stands still
        assert bot.player.finished
        assert (await bot.queue.wait_result(number, 2)).text == "done"
        assert bot.scheduler.statistics().steered == 1


async def test_pause_and_resume_from_another_process_reach_the_player(tmp_path: Path) -> None:
    async with Bot(tmp_path / "bot.db") as bot:
        (pause,) = send(bot.path, "pause")
        assert (await bot.queue.wait_result(pause, 2)).text == "done"
        assert bot.player.is_paused()
        (resume,) = send(bot.path, "resume")
        assert (await bot.queue.wait_result(resume, 2)).text == "done"
        assert bot.player.is_playing()


async def test_volume_and_its_change_by_so_much_reach_the_player(tmp_path: Path) -> None:
    async with Bot(tmp_path / "bot.db") as bot:
        number = await bot.queue.enqueue("volume", key="g", args={"to": 0.5})
        assert (await bot.queue.wait_result(number, 2)).text == "done"
        number = await bot.queue.enqueue("volume", key="g", args={"by": 0.25})
        assert (await bot.queue.wait_result(number, 2)).text == "done"
        assert bot.player.volume == 0.75


async def test_a_volume_out_of_range_fails_and_says_so(tmp_path: Path) -> None:
    async with Bot(tmp_path / "bot.db") as bot:
        number = await bot.queue.enqueue("volume", key="g", args={"to": 9})
        assert (await bot.queue.wait_result(number, 2)).text.startswith("failed: volume: got 9")
        number = await bot.queue.enqueue("volume", key="g")
        assert "expected" in (await bot.queue.wait_result(number, 2)).text


async def test_the_doorbell_is_what_wakes(tmp_path: Path) -> None:
    async with Bot(tmp_path / "bot.db") as bot:
        before = bot.scheduler.statistics().wakes["doorbell"]
        (number,) = send(bot.path, "pause")
        await bot.queue.wait_result(number, 2)
        assert bot.scheduler.statistics().wakes["doorbell"] == before + 1


async def test_a_sender_that_cannot_ring_is_served_all_the_same(tmp_path: Path) -> None:
    async with Bot(tmp_path / "bot.db") as bot:
        script = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
            "c.execute(\"INSERT INTO bot_commands(command) VALUES ('pause')\"); c.commit()"
        )
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", script, str(bot.path)], check=True)
        while not bot.player.is_paused() and time.monotonic() < began + 5:
            await asyncio.sleep(0.005)
        assert bot.player.is_paused()
        assert bot.scheduler.statistics().wakes["data_version"] >= 1


async def test_a_stale_session_cannot_start_a_player(tmp_path: Path) -> None:
    async with Bot(tmp_path / "bot.db") as bot:
        session = bot.scheduler.session_of("g")
        assert session is not None
        session.stop()
        await asyncio.sleep(0.3)
        player = bot.engine.play(ToneSource(440.0), MemorySink())
        with pytest.raises(StaleClaim) as refused:
            session.attach(player)
        assert refused.value.reason == "finished"
        await player.wait_finished()


@pytest.mark.parametrize("late", [False, True])
async def test_a_handler_for_a_verb_that_steers_has_it_while_a_player_is_attached(
    tmp_path: Path, late: bool
) -> None:
    bot = Bot(tmp_path / "bot.db")

    async def mine(_command: Command) -> str:
        return "my own pause"

    def register(scheduler: Scheduler) -> None:
        scheduler.handler("pause")(mine)

    bot.prepare = (lambda _scheduler: None) if late else register
    async with bot:
        if late:
            register(bot.scheduler)
        pause = await bot.queue.enqueue("pause", key="g")
        assert (await bot.queue.wait_result(pause, 2)).text == "my own pause"
        assert not bot.player.is_paused()
        stop = await bot.queue.enqueue("stop", key="g")
        assert (await bot.queue.wait_result(stop, 2)).text == "done"
        await asyncio.wait_for(bot.player.wait_finished(), 2)
        # That one, and no other: a stop is heard while the loop is blocked, as without the handler.
        assert bot.scheduler.statistics().steered == 1
