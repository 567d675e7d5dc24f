"""The task behind a loop: wait until due, run the body, retry or fail, and count."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import sys
import weakref
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from voicecore.errors import survivable
from voicecore.tasks import _times
from voicecore.tasks._plans import Daily, Grid, Plan
from voicecore.tasks.clock import Clock

Body = Callable[..., Coroutine[Any, Any, Any]]

_log = logging.getLogger("voicecore.tasks")

# asyncio holds tasks weakly (R22).
_running: set[asyncio.Task[None]] = set()
unhealthy_tasks: weakref.WeakSet[LoopTask] = weakref.WeakSet()

# What discord.py's loops retry. Classes of modules that nobody has imported cannot be raised, so
# they are looked up when an error is there, and neither module is imported for it. ValueError is
# recoverable for the scheduler's own steps (R13); in a body of unknown code it is a bug.
DEFAULT_TYPES: tuple[type[BaseException] | tuple[str, str], ...] = (
    OSError,
    TimeoutError,
    ("discord", "GatewayNotFound"),
    ("discord", "ConnectionClosed"),
    ("aiohttp", "ClientError"),
)
LEAST_RETRY_SECONDS = 1.0

# Of the loop or of the process; nothing that a body could try again.
_ENDS = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)


def default_retry_delay(failures: int) -> float:
    """Seconds before the next try: 1, 2, 4 … 300.

    Args:
        failures: how often this run has failed, from 1.
    """
    return float(min(300, 2 ** min(failures - 1, 9)))


@dataclass(frozen=True, slots=True)
class LoopStatistics:
    """One loop since it was first started. Runs + missed account for every due time."""

    runs: int
    """Bodies that completed."""
    missed: int
    """Due times without a completed run: slept or run over, too late, or given up after errors."""
    failures: int
    """Recoverable errors."""
    lateness: float
    """Seconds after its due time that the last run began."""
    lateness_max: float
    """The latest of all."""


class LoopTask:
    """Timing, retries and failure of one loop; `Loop` adds the shape that users know.

    Args:
        coro: the body.
        count: completed runs that end the loop; None: endless.
        reconnect: whether recoverable errors are retried.
        name: the task's name.
        grace: seconds that a time of day may be late.
        retry_delay: from failures in a row to seconds.
        clock: what time is.
    """

    def __init__(
        self,
        coro: Body,
        count: int | None,
        reconnect: bool,
        name: str,
        grace: float,
        retry_delay: Callable[[int], float],
        clock: Clock,
    ) -> None:
        self._body = coro
        self.count = count
        self.reconnect = reconnect
        self._name = name
        self._grace = grace
        self._retry_delay = retry_delay
        self._clock = clock
        self._slots: tuple[_times.Slot, ...] = ()
        self._period = 0.0
        self._injected: tuple[object, ...] = ()
        self._before: Body | None = None
        self._after: Body | None = None
        self._error: Body | None = None
        self._types = DEFAULT_TYPES
        self._task: asyncio.Task[None] | None = None
        self._sleeper: asyncio.Task[None] | None = None
        self._plan: Plan | None = None
        self._handled: set[tuple[_times.Slot, dt.date]] = set()
        self._stopping = self._has_failed = self._is_being_cancelled = self._begun = (
            self._prepared
        ) = False
        self._current_loop = self._runs = self._missed = self._failures = 0
        self._lateness = self._lateness_max = 0.0
        self._due: dt.datetime | None = None

    def is_running(self) -> bool:
        """Whether the task exists and is not over."""
        return self._task is not None and not self._task.done()

    def _launch(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> asyncio.Task[None]:
        asyncio.get_running_loop()  # raises before a coroutine is made
        self._has_failed = self._stopping = self._begun = False
        self._plan = None
        unhealthy_tasks.discard(self)
        task = asyncio.create_task(self._main(self._injected + args, kwargs), name=self._name)
        self._task = task
        _running.add(task)
        task.add_done_callback(_ended)
        return task

    async def _main(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._prepared = False
        try:
            await self._judged(self._work(args, kwargs))
        except GeneratorExit:
            # Thrown away by a closed event loop: nothing can be awaited any more.
            self._prepared = False
            raise
        finally:
            try:
                if self._prepared:
                    await self._judged(self._hook(self._after))
            finally:
                self._is_being_cancelled = self._stopping = False
                self._current_loop = 0

    async def _work(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        await self._hook(self._before)
        self._prepared = True
        self._plan = self._make_plan(None)
        await asyncio.sleep(0)  # cancel() in before_loop acts before the first run
        await self._repeat(args, kwargs)

    async def _judged(self, part: Coroutine[Any, Any, None]) -> None:
        """A part of the task; what ends it, unless it was cancelled, is a failure and loud."""
        try:
            await part
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                self._is_being_cancelled = True
            else:  # nobody cancelled this loop: its body awaited something that was cancelled
                await self._fail(error)
            raise
        except GeneratorExit:
            raise
        except BaseException as error:
            await self._fail(error)
            raise

    async def _repeat(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        while await self._sleep_until_due():
            plan = self._plan
            assert plan is not None
            self._begun = True
            self._lateness = plan.take(self._clock)
            self._lateness_max = max(self._lateness_max, self._lateness)
            one = plan.running if isinstance(plan, Daily) else None
            self._due = one.local if one else None
            try:
                completed = await self._run(plan, args, kwargs)
            except _ENDS:
                raise
            except BaseException:
                plan.finish()  # who starts it again must not meet the same bug at once
                raise
            plan.finish()
            if completed:
                self._runs += 1
                self._current_loop += 1
            else:
                self._miss(1)
            if self._current_loop == self.count:
                return

    async def _run(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """The body, until it completes; False when it was given up."""
        failures = 0
        while True:
            try:
                await self._body(*args, **kwargs)
            except _ENDS:
                raise
            except BaseException as error:
                if not self.reconnect or not survivable(error, self._recoverable()):
                    raise
                failures += 1
                self._failures += 1
                delay = self._retry_delay(failures)
                _log.warning("%s: run failed (%d in a row)", self._name, failures, exc_info=error)
            else:
                return True
            until = self._clock.monotonic() + delay
            floor = self._clock.monotonic() + min(delay, LEAST_RETRY_SECONDS)
            while not self._stopping:
                now = self._clock.monotonic()
                following = self._plan.wait(self._clock) if self._plan else 0.0
                if now >= floor and following <= 0:
                    return False  # the next due time takes over
                if now >= until:
                    break
                await self._sleep(min(until - now, max(floor - now, following)))
            if self._stopping:
                return False

    async def _sleep_until_due(self) -> bool:
        """False: stop."""
        await asyncio.sleep(0)  # a loop that is always late still lets others run
        while not self._stopping and self._plan is not None:
            left = self._plan.wait(self._clock)
            if left <= 0:
                return True
            await self._sleep(left)
        return False

    async def _sleep(self, seconds: float) -> None:
        # In a task of its own, so that `_wake` can end it without cancelling this one.
        self._sleeper = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((self._sleeper,))
            if not self._sleeper.cancelled():
                self._sleeper.result()
        finally:
            self._sleeper.cancel()
            self._sleeper = None

    def _wake(self) -> None:
        if self._sleeper is not None:
            self._sleeper.cancel()

    def _make_plan(self, old: Plan | None) -> Plan:
        if self._slots:
            now = self._clock.wall()
            since = now - self._grace if old is None else now
            return Daily(self._miss, self._slots, self._handled, self._grace, since)
        if isinstance(old, Grid) and old.index:
            return Grid(self._miss, self._period, old.previous(), 1)
        # The first run is at once; from times of day to a period it is one period away.
        return Grid(self._miss, self._period, self._clock.monotonic(), int(self._begun))

    def _miss(self, number: int) -> None:
        self._missed += number
        _log.warning("%s: %d due times missed", self._name, number)

    def _recoverable(self) -> tuple[type[BaseException], ...]:
        types: list[type[BaseException]] = []
        for one in self._types:
            found = getattr(sys.modules.get(one[0]), one[1], None) if type(one) is tuple else one
            if isinstance(found, type):
                types.append(found)
        return tuple(types)

    async def _hook(self, hook: Body | None, *args: object) -> None:
        if hook is not None:
            await hook(*self._injected, *args)

    async def _fail(self, error: BaseException) -> None:
        self._has_failed = True
        unhealthy_tasks.add(self)
        message = f"{self._name} has ended: {type(error).__name__}"
        # Without the task: CPython 3.13 would enter its context, which we are in.
        context = {"message": message, "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
        try:
            await self._hook(self._error, error)
        except Exception as second:
            _log.critical("%s: its error hook failed too", self._name, exc_info=second)


def _ended(task: asyncio.Task[None]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # reported when it happened; not again when the loop is collected
