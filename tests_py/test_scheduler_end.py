"""What becomes of a scheduler whose event loop ends, and of one that was shut down."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from conftest import native_threads
from voicecore import CommandQueue, Scheduler, Session, SyncCommandQueue

Run = Callable[[Coroutine[Any, Any, None]], None]


class Entry:
    id = 1
    key = "g"


def run_and_close(coroutine: Coroutine[Any, Any, None]) -> None:
    """Without what `asyncio.run` does at the end."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(coroutine)
    loop.close()


class Bot:
    """A scheduler with a session that runs until it is stopped, and nobody who shuts it down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def begin(self) -> None:
        self.playing = asyncio.Event()
        self.queue = CommandQueue(self.path, role="worker")
        self.scheduler = Scheduler(
            None, self.queue, play_session=self.play, load_entry=self.load, schedule=False
        )
        self.scheduler.start()
        await self.scheduler.wait_started()
        await self.queue.enqueue("play", 1, key="g")
        await asyncio.wait_for(self.playing.wait(), 10)

    async def load(self, _entry_id: int) -> Entry:
        return Entry()

    async def play(self, session: Session) -> None:
        self.playing.set()
        await session.wait_stop()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_loop_that_ends_under_a_session_leaves_no_task_and_no_lease(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot(tmp_path / "q.db")
    with pytest.warns(ResourceWarning, match="before its voicecore.Scheduler was shut down"):
        run(bot.begin())
    with SyncCommandQueue(bot.path) as queue:
        rows = queue.execute("SELECT outcome, state FROM bot_sessions")
        while rows == [(None, "running")]:  # the queue's thread is at it
            rows = queue.execute("SELECT outcome, state FROM bot_sessions")
        assert rows == [("cancelled", "ended")]
    del bot
    gc.collect()
    assert "was destroyed" not in caplog.text


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_scheduler_whose_loop_has_ended_claims_nothing_more(tmp_path: Path, run: Run) -> None:
    bot = Bot(tmp_path / "q.db")
    run(bot.begin())
    assert "vc-sched" not in native_threads()
    with SyncCommandQueue(bot.path) as queue:
        number = queue.enqueue("dance")
        waiting = queue.get(number)
        assert waiting is not None
        assert waiting.state == "ready"


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning"
)
def test_a_loop_closed_by_hand_stops_its_scheduler_when_the_next_one_is_used(
    tmp_path: Path,
) -> None:
    path = tmp_path / "q.db"
    bot = Bot(path)
    run_and_close(bot.begin())

    async def look() -> None:
        async with CommandQueue(path) as queue:
            await queue.peek(1)

    asyncio.run(look())
    assert "vc-sched" not in native_threads()
    del bot
    gc.collect()


async def test_a_scheduler_that_was_shut_down_is_let_go_of_while_its_loop_goes_on(
    tmp_path: Path,
) -> None:
    bot = Bot(tmp_path / "q.db")
    await bot.begin()
    await bot.scheduler.shutdown()
    await bot.queue.aclose()
    scheduler = weakref.ref(bot.scheduler)
    del bot
    gc.collect()
    assert scheduler() is None
