"""From a claimed command to its end: what is carried out on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from voicecore.errors import InvalidArgument, StaleClaim, VoicecoreError
from voicecore.queue import EVERY_KEY, KNOWN_VERBS, Command

if TYPE_CHECKING:
    from voicecore.scheduler.scheduler import Scheduler

log = logging.getLogger("voicecore.scheduler")

Handler = Callable[[Command], Awaitable[object]]

_QUEUED_PAUSE: Final = 1.0
"""Seconds after which a `play` that waits for its key's session looks again."""
_REPLACE_PATIENCE: Final = 5.0
_ACK_PATIENCE: Final = 0.005
"""Seconds for which an outcome may wait for those of the commands behind it."""


class MissingEntry(VoicecoreError, ValueError):
    """A `play` for an entry that does not exist (lesson D08)."""


class CommandDrain:
    """Carries out what has been claimed, and ends every claim exactly once."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._done: list[tuple[Command, object]] = []
        self._done_since = 0.0
        self.handlers: dict[str, Handler] = {}
        self.outcomes: Counter[str] = Counter()

    async def run(self) -> None:
        """Carry out what is due. None of it waits for a session's end (R53)."""
        scheduler = self._scheduler
        while scheduler._admitting:
            commands = await scheduler._take_commands()
            if not commands:
                return
            try:
                for command in commands:
                    await scheduler._carry_out(command)
                    if self._done and time.monotonic() - self._done_since > _ACK_PATIENCE:
                        await self._acknowledge()
            finally:
                # Also when this is cancelled: what was carried out must not be carried out again.
                if self._done:
                    await asyncio.shield(self._acknowledge())

    async def carry_out(self, command: Command) -> None:
        """One command: done, failed, or given back when this is cancelled."""
        scheduler = self._scheduler
        try:
            result = await self._execute(command)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                give_back = self.finish(command, lambda: scheduler.queue.give_back(command))
                await asyncio.shield(give_back)
            raise
        except scheduler.recoverable() as problem:
            scheduler._supervisor.warn("Command %s failed: %s", command.command, problem)
            await self._fail(command, problem)
        except Exception as bug:
            await self._fail(command, bug)
            raise
        else:
            if result is not None:
                self.outcomes[result if isinstance(result, str) else "done"] += 1
                if not self._done:
                    self._done_since = time.monotonic()
                self._done.append((command, result))

    async def finish(self, command: Command, end: Callable[[], Awaitable[object]]) -> None:
        """End a claim; a stale one belongs to somebody else by now, and is left alone."""
        try:
            await end()
        except StaleClaim as stale:
            self._scheduler._supervisor.warn(
                "Command %s was not ours any more: %s", command.id, stale
            )
        finally:
            self._forget(command)

    async def _acknowledge(self) -> None:
        """What a drain has carried out, in one transaction: a commit costs more than a handler."""
        done, self._done = self._done, []
        try:
            for stale in await self._scheduler.queue.ack_many(done):
                self._scheduler._supervisor.warn("Command %s was not ours any more", stale)
        finally:
            for command, _result in done:
                self._forget(command)

    async def _fail(self, command: Command, problem: BaseException) -> None:
        self.outcomes["failed"] += 1
        text = str(problem) or type(problem).__name__
        await self.finish(command, lambda: self._scheduler.queue.nack(command, text))

    def _forget(self, command: Command) -> None:
        if self._scheduler._native is not None:
            self._scheduler._native.forget(command.id)

    async def _execute(self, command: Command) -> object:
        """The result; None when somebody else finishes the command later."""
        if command.command in self.handlers:
            return (await self.handlers[command.command](command)) or "done"
        if command.command == "play":
            return await self._play(command)
        if command.command in KNOWN_VERBS:
            return self._steer(command)
        known = ", ".join((*KNOWN_VERBS, *self.handlers))
        raise InvalidArgument(f"command: got {command.command!r}, expected one of {known}")

    async def _play(self, command: Command) -> object:
        scheduler = self._scheduler
        if command.entry_id is None:
            raise InvalidArgument("a play needs an entry_id; got none")
        entry = await scheduler.load_entry(command.entry_id)
        if entry is None:
            raise MissingEntry(f"there is no entry {command.entry_id}")
        if await scheduler._maybe_start(entry, command=command):
            return "started"
        policy = command.args.get("busy", scheduler._busy)
        if policy == "queue" and scheduler._admitting:
            await self.finish(
                command, lambda: scheduler.queue.give_back(command, delay=_QUEUED_PAUSE)
            )
            return None
        if policy == "replace" and scheduler._admitting:
            scheduler._supervisor.spawn(self._replace(command, entry))
            return None
        log.warning("Command play %s: busy", command.entry_id)
        return "busy"

    async def _replace(self, command: Command, entry: Any) -> None:
        """Stop what plays, then start; beside the tick, which waits for nobody."""
        scheduler = self._scheduler
        key = scheduler._starts.key_of(entry, command)
        deadline = time.monotonic() + _REPLACE_PATIENCE
        started = False
        while scheduler._admitting and not started and time.monotonic() < deadline:
            if (session := scheduler._starts.running.get(key)) is not None:
                session.stop()
            await asyncio.sleep(0.005)
            started = await scheduler._maybe_start(entry, command=command)
        result = "started" if started else "busy"
        self.outcomes[result] += 1
        await self.finish(command, lambda: scheduler.queue.ack(command, result))

    def _steer(self, command: Command) -> str:
        running = self._scheduler._starts.running
        if command.key == EVERY_KEY:
            chosen = list(running.values())
        else:
            one = running.get(command.key or "")
            chosen = [one] if one is not None else []
        results = [session.steer(command) for session in chosen]
        if not results:
            return "not playing"
        return "done" if "done" in results else results[0]
