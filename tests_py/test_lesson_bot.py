"""The lesson's own bot, ported name for name: its mutex, its tasks, its playlist (R20 to R31)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from voicecore import CommandQueue, Scheduler
from voicecore.testing import VirtualTime


@dataclass(frozen=True)
class Entry:
    id: int
    files: tuple[str, ...] = ("calm.mp3", "rise.mp3")
    key: str | None = None


class VoiceClient:
    """Stands where discord.py's would be: plays a file until told that it has ended."""

    def __init__(self) -> None:
        self.played: list[str] = []
        self._ended: asyncio.Future[None] | None = None

    async def play(self, file: str) -> None:
        self.played.append(file)
        self._ended = asyncio.get_running_loop().create_future()
        await self._ended

    def is_playing(self) -> bool:
        return self._ended is not None and not self._ended.done()

    def stop(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


class LessonBot(Scheduler):
    """The lesson's `scheduler.py`. Only the queue is voicecore's."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, schedule=False, **settings)
        self.vc = VoiceClient()
        self.due: list[Entry] = []
        self._stop_requested = False
        self._stops_at_the_end = True

    async def load_entry(self, entry_id: int) -> Entry:
        return Entry(entry_id)

    async def _drain_commands(self) -> None:
        for command in await self._take_commands():
            if command.command == "stop":
                self._stop_requested = True
                self.vc.stop()
                await self.queue.ack(command)
            else:
                await self._carry_out(command)

    async def _check_schedule(self) -> None:
        while self.due:
            await self._maybe_start(self.due.pop())

    async def _maybe_start(self, entry: Entry) -> None:  # type: ignore[override]
        if self._current_entry_id is not None:
            return
        self._current_entry_id = entry.id
        task = asyncio.create_task(self._run_session(entry))
        self._pending_tasks.add(task)
        task.add_done_callback(self._pending_tasks.discard)

    async def _run_session(self, entry: Entry) -> None:
        self._stop_requested = False
        try:
            await self._run_playlist(self.vc, entry.files, lambda: self._stop_requested)
        finally:
            self._current_entry_id = None

    async def _run_playlist(
        self, vc: VoiceClient, files: tuple[str, ...], stop_pred: Callable[[], bool]
    ) -> None:
        for file in files:
            if stop_pred():
                break
            await vc.play(file)

    async def shutdown(self) -> None:
        self._stop_requested = self._stops_at_the_end
        if self._stop_requested:
            self.vc.stop()
        await super().shutdown()


@contextlib.asynccontextmanager
async def running(
    kind: Callable[..., Scheduler], path: Path, **settings: Any
) -> AsyncIterator[Any]:
    time = VirtualTime()
    async with CommandQueue(path, wall_clock=time.time, role="worker") as queue:
        bot = kind(None, queue, time=time, **settings)
        bot.start()
        await bot.wait_started()
        await time.settle()
        try:
            yield bot
        finally:
            await bot.shutdown()


async def told(bot: Scheduler, *args: Any, **fields: Any) -> str:
    number = await bot.queue.enqueue(*args, **fields)
    assert bot._time is not None
    await bot._time.wake()
    return (await bot.queue.wait_result(number, 2)).text


async def test_the_lessons_bot_runs(tmp_path: Path) -> None:
    async with running(LessonBot, tmp_path / "bot.db") as bot:
        assert await told(bot, "play", 1) == "started"
        assert bot.current_entry_id == 1
        assert await told(bot, "play", 2) == "busy"
        bot.vc.stop()
        await bot._time.settle()
        assert bot.vc.played == ["calm.mp3", "rise.mp3"]
        assert await told(bot, "stop") == "done"
        await bot._time.settle()
        assert bot.current_entry_id is None
        assert await told(bot, "play", 2) == "started"
        assert bot.healthy


async def test_the_lessons_schedule_starts_what_no_command_plays(tmp_path: Path) -> None:
    async with running(LessonBot, tmp_path / "bot.db") as bot:
        bot.due = [Entry(3)]
        await bot._time.advance(2)
        assert bot.current_entry_id == 3
        bot.due = [Entry(4)]
        await bot._time.advance(2)
        assert bot.current_entry_id == 3


async def test_a_shutdown_waits_for_the_lessons_tasks(tmp_path: Path) -> None:  # R22, R40
    async with running(LessonBot, tmp_path / "bot.db") as bot:
        await told(bot, "play", 1)
        bot._stops_at_the_end = False
        asyncio.get_running_loop().call_later(0.02, bot.vc.stop)
        asyncio.get_running_loop().call_later(0.04, bot.vc.stop)
        await bot.shutdown()
        assert bot.vc.played == ["calm.mp3", "rise.mp3"]
        assert bot.current_entry_id is None


async def play_on(session: Any) -> None:
    await session.wait_stop()


class Plain(Scheduler):
    async def _maybe_start(self, entry: Any) -> None:  # type: ignore[override]
        await super()._maybe_start(entry)


class Keywords(Scheduler):
    async def _maybe_start(self, entry: Any, **more: Any) -> bool:
        assert more["command"] is not None
        return await super()._maybe_start(entry, **more)


@pytest.mark.parametrize("kind", [Plain, Keywords])
async def test_a_start_of_ones_own_may_leave_it_to_the_scheduler(
    tmp_path: Path, kind: type[Scheduler]
) -> None:
    async def load(entry_id: int) -> Entry:
        return Entry(entry_id)

    path = tmp_path / "bot.db"
    async with running(kind, path, schedule=False, play_session=play_on, load_entry=load) as bot:
        assert await told(bot, "play", 1) == "started"
        assert bot.sessions.held()[0].entry_id == 1
        assert await told(bot, "play", 2) == "busy"
        assert await told(bot, "stop") == "done"
        async with CommandQueue(path, owner="another", wall_clock=bot._time.time) as other:
            while bot.session_of("default") is not None:
                await asyncio.sleep(0)
            await bot.sessions.settle()
            await other.lease_session("default", 7)
            assert await told(bot, "play", 3) == "busy"  # nothing plays here that would show it
        assert bot.healthy


async def test_a_start_that_shows_nothing_is_taken_for_one(tmp_path: Path) -> None:
    started: list[int] = []

    class Own(Scheduler):
        async def load_entry(self, entry_id: int) -> Entry:
            return Entry(entry_id)

        async def _maybe_start(self, entry: Entry) -> None:  # type: ignore[override]
            started.append(entry.id)

    async with running(Own, tmp_path / "bot.db", schedule=False, busy="queue") as bot:
        assert await told(bot, "play", 1) == "started"
        assert started == [1]
