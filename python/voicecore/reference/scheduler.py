"""`Scheduler`: the tick of the lesson (R10 to R14), over `voicecore.tasks`."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping

from voicecore import tasks
from voicecore.errors import survivable
from voicecore.queue import Command
from voicecore.reference.queue import CommandQueue
from voicecore.tasks import Clock

_log = logging.getLogger("voicecore.reference")

Handler = Callable[[Command], Awaitable[object]]

# R13: these and no others. They are the weather; everything else is a bug, and loud.
RECOVERABLE = (sqlite3.Error, OSError, TimeoutError, ValueError)


class Scheduler:
    """Drain the commands, then check the schedule, every `period` seconds. Never two at a time.

    A command is found at the next tick, not within a millisecond; while the event loop is blocked
    there is no tick.

    Args:
        queue: what is drained.
        handlers: by verb; each returns the result, or raises. None of them may wait long (R53).
        check_schedule: the second step of a tick.
        period: seconds.
        budget: commands of one tick at most, so that a backlog cannot starve the second step.
        clock: what time is; `voicecore.tasks.VirtualClock` in tests.
    """

    def __init__(
        self,
        queue: CommandQueue,
        handlers: Mapping[str, Handler],
        check_schedule: Callable[[], Awaitable[object]] | None = None,
        *,
        period: float = 2.0,
        budget: int = 100,
        clock: Clock | None = None,
    ) -> None:
        self._queue = queue
        self._handlers = handlers
        self._check = check_schedule
        self._budget = budget
        self.loop = tasks.loop(seconds=period, name="reference-scheduler", clock=clock)(self.tick)

    def start(self) -> None:
        """Begin to tick. Idempotent (R12)."""
        if not self.loop.is_running():
            self.loop.start()

    def stop(self) -> None:
        """End after the current tick."""
        self.loop.stop()

    async def tick(self) -> None:
        """Two steps, each recovering alone: an error of one must not skip the other (D16)."""
        for step in (self._drain_commands, self._check_schedule):
            try:
                await step()
            except Exception as error:
                if not survivable(error, RECOVERABLE):
                    raise
                _log.warning("%s failed, the next tick retries: %s", step.__name__, error)

    async def _drain_commands(self) -> None:
        for _ in range(self._budget):
            claimed = await self._queue.claim()
            if not claimed:
                return
            await self._execute(claimed[0])

    async def _execute(self, command: Command) -> None:
        handler = self._handlers.get(command.command)
        if handler is None:
            await self._queue.nack(command, f"unknown command {command.command!r}")
            return
        try:
            result = await handler(command)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # this loop's own end
            # Something that the handler waited for: let through, it would end the loop in silence.
            await self._queue.nack(command, "what it waited for was cancelled")
        except Exception as error:
            if not survivable(error, RECOVERABLE):
                raise
            # R52: logged, and the next one runs
            _log.warning("Command %s failed: %s", command.id, error)
            await self._queue.nack(command, str(error) or type(error).__name__)
        else:
            await self._queue.ack(command, "done" if result is None else result)

    async def _check_schedule(self) -> None:
        if self._check is not None:
            await self._check()
