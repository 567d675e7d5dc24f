"""The end of a scheduler: every step runs, whatever the others do (lesson R40, D05, D06)."""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from voicecore.scheduler.scheduler import Scheduler

log = logging.getLogger("voicecore.scheduler")

_FILE_SHARE: Final = 0.1
"""Of the shutdown's time, that one call on the queue waits for the file."""
_LOOK: Final = 0.01
"""Seconds between two looks at whether another event loop has come to the shutdown's end."""


class ShutdownSteps:
    """Runs once, within `Scheduler.SHUTDOWN_TIMEOUT_SECONDS` in all."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._seconds = scheduler.SHUTDOWN_TIMEOUT_SECONDS
        self._deadline = time.monotonic() + self._seconds

    async def run(self) -> None:
        """Admission, audio, background tasks, tick, state, client; in this order."""
        scheduler = self._scheduler
        scheduler._close_admission()  # first: nothing may start while the rest is waited for
        # Somebody else's hold on the file must not use up the time of the steps behind.
        scheduler.queue._native.set_patience(round(self._seconds * _FILE_SHARE * 1000))
        try:
            for step in (
                self._give_back,
                self._stop_audio,
                self._wait_for_tasks,
                self._cancel_tick,
                self._stop_native,
                self._clear_state,
                self._close_client,
                self._close_queue,
            ):
                await self._run_step(step)
        finally:
            scheduler.queue._native.set_patience(None)

    async def _run_step(self, step: Callable[[], Awaitable[None]]) -> None:
        # A step that is late still gets a moment, so that the ones behind it always run.
        left = max(0.2, self._deadline - time.monotonic())
        try:
            async with asyncio.timeout(left):
                await step()
        except TimeoutError:
            log.warning("Shutdown: %s took longer than %.1f s", step.__name__.strip("_"), left)
        except Exception as problem:
            if self._scheduler._supervisor.survives(problem):
                log.warning("Shutdown: %s failed: %s", step.__name__.strip("_"), problem)
            else:
                log.exception("Shutdown: %s failed", step.__name__.strip("_"))

    async def _give_back(self) -> None:
        await self._scheduler._give_back_handed()

    async def _stop_native(self) -> None:
        # Behind the tasks, whose leases it renews.
        stopping = self._scheduler._supervisor.stopping
        if stopping is not None and stopping.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([stopping])
        await self._scheduler._leave_native()

    async def _stop_audio(self) -> None:
        for session in list(self._scheduler._starts.running.values()):
            session.stop()

    async def _wait_for_tasks(self) -> None:
        scheduler = self._scheduler
        for_running, for_cancelled = scheduler._SHUTDOWN_SHARES
        until = self._deadline - self._seconds * (1.0 - for_running)
        while pending := self._running():  # again: a bug in the last turn tells `on_fatal`
            left = until - time.monotonic()
            if left <= 0.0:
                break
            await asyncio.wait(pending, timeout=left)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=self._seconds * for_cancelled)
        await scheduler.sessions.settle()

    def _running(self) -> set[asyncio.Task[Any]]:
        tasks = self._scheduler._pending_tasks | self._scheduler._turns.last()
        return {task for task in tasks if not task.done()}

    async def _cancel_tick(self) -> None:
        self._scheduler._turns.leave()
        runner = self._scheduler._runner
        if runner is None or runner.get_loop() is not asyncio.get_running_loop():
            return  # its loop has ended, and the tick with it
        runner.cancel()
        await asyncio.wait([runner])

    async def _clear_state(self) -> None:
        native = self._scheduler._native
        if native is None or not native.condemned:  # such a file takes nothing more
            await self._scheduler.state_repo.clear()

    async def _close_client(self) -> None:
        close: Any = getattr(self._scheduler.client, "close", None)
        if close is None:
            return
        result = close()
        if inspect.isawaitable(result):
            await result

    async def _close_queue(self) -> None:
        if self._scheduler._owns_queue:
            await self._scheduler.queue.aclose()


async def ask_home(scheduler: Scheduler, home: asyncio.AbstractEventLoop) -> bool:
    """Shut a scheduler down on its own event loop, from another one, and wait for the end.

    Returns:
        False: that loop has ended before; what is left is the caller's.
    """
    ended = threading.Event()
    asked: list[asyncio.Task[None]] = []

    def ask() -> None:
        asked.append(home.create_task(scheduler.shutdown(), name="voicecore-asked"))
        asked[0].add_done_callback(lambda _: ended.set())

    deadline = time.monotonic() + scheduler.SHUTDOWN_TIMEOUT_SECONDS
    try:
        home.call_soon_threadsafe(ask)
    except RuntimeError:
        return False  # it was closed meanwhile
    if scheduler._native is not None:
        scheduler._native.close_admission()  # from now on, whatever that loop is busy with
    # Looked at, and not told by it: of the two loops either may end before the other.
    while not ended.is_set():
        if home.is_closed():
            return False
        if time.monotonic() >= deadline:
            if home.is_running():
                log.warning(
                    "Shutdown: its event loop, which was asked for it from another one, has not "
                    "come to the end within %g s",
                    scheduler.SHUTDOWN_TIMEOUT_SECONDS,
                )
            return home.is_running()
        await asyncio.sleep(_LOOK)
    return not asked[0].cancelled()


def install_signal_handlers(scheduler: Scheduler) -> None:
    """SIGTERM and SIGINT begin the shutdown, from the loop and not from the handler (D17)."""
    loop = asyncio.get_running_loop()

    # Not among the scheduler's background tasks: the shutdown waits for those.
    under_way: set[asyncio.Task[None]] = set()

    def begin() -> None:
        task = loop.create_task(scheduler.shutdown(), name="voicecore-signal")
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    def from_handler(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(begin)

    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, begin)
        except (NotImplementedError, RuntimeError):
            signal.signal(number, from_handler)
