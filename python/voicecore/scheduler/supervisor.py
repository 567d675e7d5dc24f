"""What runs beside the tick, and what becomes of failures."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from voicecore.errors import survivable
from voicecore.queue.convert import told

if TYPE_CHECKING:
    from voicecore.scheduler.scheduler import Scheduler

log = logging.getLogger("voicecore.scheduler")


async def _wait_for(work: Awaitable[object]) -> None:
    await work


class Supervisor:
    """Starts background tasks and judges failures (lesson R13, R22, D02).

    What `Scheduler.recoverable` names is logged and survived. Everything else is a bug: it ends
    the scheduler, and is loud. So does a queue file that is not safe to use any more.

    Attributes:
        fatal: what ended the scheduler.
        cause: of what it ended, in words.
        warnings: how often something was survived.
        stopping: ends the native half, once something but a shutdown has ended the scheduler.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.fatal: BaseException | None = None
        self.cause = ""
        self.warnings = 0
        self.stopping: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        """Neither a bug nor the loss of its file has ended the scheduler."""
        return self.fatal is None

    def survives(self, problem: BaseException) -> bool:
        """It is no bug: `Scheduler.recoverable` names it."""
        return survivable(problem, self._scheduler.recoverable())

    async def guarded(self, doing: str, step: Callable[[], Awaitable[None]]) -> None:
        """Run a step of the tick; its recoverable failures end here."""
        try:
            await step()
        except Exception as problem:
            if not self.survives(problem):
                raise
            self.warn("%s failed: %s", doing.capitalize(), problem)

    def warn(self, text: str, *args: object) -> None:
        """Log what was survived, and count it."""
        self.warnings += 1
        # As text: a log record may be kept for long, and an exception keeps everything alive.
        log.warning(text, *map(told, args))

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Run a coroutine beside the tick."""
        task = asyncio.get_running_loop().create_task(work)
        self._scheduler._pending_tasks.add(task)  # asyncio holds tasks weakly (R22)
        task.add_done_callback(self._on_task_done)
        return task

    def watch(self, runner: asyncio.Task[None]) -> None:
        """A bug that ends the scheduler's own loop is loud as well."""
        runner.add_done_callback(self._on_runner_done)

    def _on_task_done(self, task: asyncio.Task[Any]) -> None:
        self._scheduler._pending_tasks.discard(task)
        if task.cancelled():
            return
        bug = task.exception()
        if bug is None:
            return
        if self.survives(bug):
            self.warn("A background task failed: %s", bug)
        else:
            self._die(bug)

    def _on_runner_done(self, task: asyncio.Task[None]) -> None:
        scheduler = self._scheduler
        if not task.cancelled():
            bug = task.exception()
            if bug is not None:
                self._die(bug)
        elif scheduler._shutdown is None and not task.cancelling():
            self._die(RuntimeError("something that the scheduler's loop waited for was cancelled"))
        elif scheduler._shutdown is None:
            # By its owner, instead of a shutdown: nobody carries out what would be claimed.
            self._stop_native()

    def _stop_native(self) -> None:
        """It must not claim any more; what it has in hand goes back, or waits for its lease."""
        self._scheduler._close_admission()
        if self.stopping is None:
            self.stopping = asyncio.get_running_loop().create_task(
                self._scheduler._leave_native(), name="voicecore-stop"
            )

    def lose_file(self, problem: Exception) -> None:
        """The queue file is not safe to use any more, and never will be for this process: going on
        would mean to be deaf."""
        log.critical("The scheduler has ended: %s", told(problem))
        self._end(problem, "its queue file is no longer safe to use")

    def _die(self, bug: BaseException) -> None:
        if self.fatal is not None:
            if bug is not self.fatal:
                log.error("And another bug, after the one that ended it", exc_info=bug)
            return
        log.critical("The scheduler has ended because of a bug", exc_info=bug)
        self._end(bug, f"of a bug, {type(bug).__name__}")

    def _end(self, fatal: BaseException, cause: str) -> None:
        self.fatal = fatal
        self.cause = cause
        scheduler = self._scheduler
        self._stop_native()
        if scheduler._runner is not None and not scheduler._runner.done():
            scheduler._runner.cancel()
        if scheduler.on_fatal is not None:
            answer = scheduler.on_fatal(fatal)
            if inspect.isawaitable(answer):
                self.spawn(_wait_for(answer))
