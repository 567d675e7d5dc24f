"""`Loop`: the shape of `discord.ext.tasks`, and the `loop` decorator that makes one."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, overload

from voicecore import _validate
from voicecore.tasks import _times
from voicecore.tasks._errors import AlreadyRunning, WrongType
from voicecore.tasks._task import (
    Body,
    LoopStatistics,
    LoopTask,
    default_retry_delay,
    unhealthy_tasks,
)
from voicecore.tasks.clock import Clock, SystemClock

F = TypeVar("F", bound=Body)
H = TypeVar("H", bound=Body)


def unhealthy() -> tuple[Loop[Any], ...]:
    """The loops that an unexpected error has ended and nobody has started again (D02).

    For a health check: a bot with one of these is online, and not doing its work.
    """
    return tuple(one for one in unhealthy_tasks if isinstance(one, Loop))


class Loop(LoopTask, Generic[F]):
    """A coroutine function that runs again and again in one task. Made by `loop`.

    Used on a method, each instance gets a loop of its own on first access. All methods belong to
    the event loop's thread.

    Attributes:
        coro: the body.
        count: how many completed runs end the loop; None: endless.
        reconnect: whether recoverable errors are retried.
    """

    def __init__(
        self,
        coro: F,
        *,
        seconds: float | None = 0,
        minutes: float | None = 0,
        hours: float | None = 0,
        time: dt.time | Sequence[dt.time] | None = None,
        count: int | None = None,
        reconnect: bool = True,
        name: str | None = None,
        misfire_grace_time: float = 120.0,
        retry_delay: Callable[[int], float] = default_retry_delay,
        clock: Clock | None = None,
    ) -> None:
        self.coro: F = _coroutine_function("the body", coro)
        super().__init__(
            coro,
            None if count is None else _validate.whole("count", count, 1, 2**63 - 1),
            reconnect,
            f"voicecore-tasks: {_name_of(coro)}" if name is None else name,
            _validate.number("misfire_grace_time", misfire_grace_time, 0, 86_400.0, "seconds"),
            retry_delay,
            SystemClock() if clock is None else clock,
        )
        self._attribute = _name_of(coro).rpartition(".")[2]
        self.change_interval(seconds=seconds, minutes=minutes, hours=hours, time=time)

    # -- per instance ------------------------------------------------------------------------------

    def __set_name__(self, owner: type, name: str) -> None:
        self._attribute = name

    def __get__(self, instance: object | None, owner: type | None = None) -> Loop[F]:
        if instance is None:
            return self
        attributes = getattr(instance, "__dict__", None)
        if attributes is None:
            raise WrongType(
                f"{type(instance).__name__} has __slots__ without '__dict__', "
                "where its own copy of the loop would be kept"
            )
        # One that a subclass overrides is reached through super(), and has a copy beside.
        shown = getattr(type(instance), self._attribute, None) is self
        place = self._attribute if shown else f"{self._attribute} {id(self):#x}"
        own = attributes.get(place)
        if own is None:
            own = attributes[place] = self._copy_for(instance)
        copy: Loop[F] = own
        return copy

    def _copy_for(self, instance: object) -> Loop[F]:
        copy: Loop[F] = type(self)(
            self.coro,
            seconds=self._seconds,
            minutes=self._minutes,
            hours=self._hours,
            time=self.time,
            count=self.count,
            reconnect=self.reconnect,
            name=self._name,
            misfire_grace_time=self._grace,
            retry_delay=self._retry_delay,
            clock=self._clock,
        )
        copy._attribute = self._attribute
        copy._injected = (instance,)
        copy._before, copy._after, copy._error = self._before, self._after, self._error
        copy._types = self._types
        return copy

    # -- hooks -------------------------------------------------------------------------------------

    def before_loop(self, coro: H) -> H:
        """Decorator: awaited once after each `start`, before the first run (R11)."""
        self._before = _coroutine_function("before_loop", coro)
        return coro

    def after_loop(self, coro: H) -> H:
        """Decorator: awaited when the loop ends, however it ends, if `before_loop` got through.

        Also when that has called `cancel`.
        """
        self._after = _coroutine_function("after_loop", coro)
        return coro

    def error(self, coro: H) -> H:
        """Decorator: awaited with the exception that ends the loop.

        It adds to what happens then and replaces nothing: asyncio's exception handler is called,
        `failed()` is True, `unhealthy()` lists the loop and the task raises, all the same.
        """
        self._error = _coroutine_function("error", coro)
        return coro

    # -- control -----------------------------------------------------------------------------------

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body once, now, outside the loop."""
        return await self.coro(*self._injected, *args, **kwargs)

    def start(self, *args: Any, **kwargs: Any) -> asyncio.Task[None]:
        """Start the task; the arguments go to every run of the body.

        Returns:
            The task. It returns None after `stop` or `count` runs and raises what ended the loop.

        Raises:
            AlreadyRunning: it runs.
            RuntimeError: no event loop is running.
        """
        if self.is_running():
            raise AlreadyRunning(f"{self._name} is running; stop() or restart() it")
        return self._launch(args, kwargs)

    def stop(self) -> None:
        """End after the current run; at once when none is running, so the body never runs again.

        A run that fails after `stop` is not retried.
        """
        if self.is_running():
            self._stopping = True
            self._wake()

    def cancel(self) -> None:
        """Cancel the task, in the middle of the body if need be."""
        if self._task is not None and self._can_be_cancelled():
            self._task.cancel()

    def restart(self, *args: Any, **kwargs: Any) -> None:
        """`cancel`, and `start` with these arguments when it is over. Nothing if not running."""
        if self._task is not None and self._can_be_cancelled():
            self._task.add_done_callback(lambda _: self.start(*args, **kwargs))
            self._task.cancel()

    @overload
    def change_interval(
        self,
        *,
        seconds: float | None = 0,
        minutes: float | None = 0,
        hours: float | None = 0,
        time: None = None,
    ) -> None: ...
    @overload
    def change_interval(self, *, time: dt.time | Sequence[dt.time]) -> None: ...
    @overload
    def change_interval(
        self,
        *,
        seconds: float | None = 0,
        minutes: float | None = 0,
        hours: float | None = 0,
        time: dt.time | Sequence[dt.time] | None = None,
    ) -> None: ...
    def change_interval(
        self,
        *,
        seconds: float | None = 0,
        minutes: float | None = 0,
        hours: float | None = 0,
        time: dt.time | Sequence[dt.time] | None = None,
    ) -> None:
        """Change the timing, at once: a waiting loop, also before its first run, waits anew.

        A new period is counted from the last due time. New times of day begin now.

        Args:
            seconds, minutes, hours: added up, 0 to 366 days; 0 runs without a pause. None is 0.
            time: one time of day or several, each in its own zone, UTC without one.

        Raises:
            InvalidArgument: negative, too long, not finite, or no time at all.
            WrongType: not numbers or times, or both kinds together (also a TypeError).
        """
        most = _validate.MAX_SECONDS
        seconds = _validate.number("seconds", 0 if seconds is None else seconds, -most, most)
        minutes = _validate.number("minutes", 0 if minutes is None else minutes, -most, most)
        hours = _validate.number("hours", 0 if hours is None else hours, -most, most)
        if time is not None and any((seconds, minutes, hours)):
            raise WrongType("time: cannot be combined with seconds, minutes or hours")
        slots = () if time is None else _times.slots_of(time)
        self._period = _validate.seconds("interval", seconds + minutes * 60.0 + hours * 3600.0)
        self._seconds, self._minutes, self._hours = seconds, minutes, hours
        self._slots = slots
        if self._plan is not None and self.is_running():
            self._plan = self._make_plan(self._plan)
            self._wake()

    # -- recoverable errors ------------------------------------------------------------------------

    def add_exception_type(self, *exceptions: type[BaseException]) -> None:
        """Retry after these too.

        From the start: `OSError`, `TimeoutError`, and `discord.GatewayNotFound`,
        `discord.ConnectionClosed` and `aiohttp.ClientError` where those packages are in use.
        A loop over the command queue adds `voicecore.DatabaseError`. Any class can be listed, a
        `BaseException` of one's own as well; but cancellation, `SystemExit` and `KeyboardInterrupt`
        are never retried, whatever is listed (R13).

        Raises:
            WrongType: not an exception class.
        """
        for one in exceptions:
            if not inspect.isclass(one) or not issubclass(one, BaseException):
                raise WrongType(f"add_exception_type: got {one!r}, expected exception classes")
        self._types = (*self._types, *exceptions)

    def remove_exception_type(self, *exceptions: type[BaseException]) -> bool:
        """No longer retry after these; True if each of them was listed."""
        listed = self._recoverable()
        self._types = tuple(one for one in listed if one not in exceptions)
        return all(one in listed for one in exceptions)

    def clear_exception_types(self) -> None:
        """Retry after nothing."""
        self._types = ()

    # -- state -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The task's name."""
        return self._name

    @property
    def seconds(self) -> float | None:
        """As given; None with `time`."""
        return None if self._slots else self._seconds

    @property
    def minutes(self) -> float | None:
        """As given; None with `time`."""
        return None if self._slots else self._minutes

    @property
    def hours(self) -> float | None:
        """As given; None with `time`."""
        return None if self._slots else self._hours

    @property
    def time(self) -> list[dt.time] | None:
        """The times of day, sorted, each with its zone; None with a period."""
        return [slot.time.replace(tzinfo=slot.zone) for slot in self._slots] or None

    @property
    def current_loop(self) -> int:
        """Completed runs since `start`: 0 during the first."""
        return self._current_loop

    @property
    def due(self) -> dt.datetime | None:
        """With `time`: for which time, in its zone, the current or last run is; else None."""
        return self._due

    @property
    def missed(self) -> int:
        """Due times that never got a completed run."""
        return self._missed

    @property
    def next_iteration(self) -> dt.datetime | None:
        """When the next run is due, in UTC; None when there will be none, or before the first."""
        if self._plan is None or self._stopping or not self.is_running():
            return None
        return dt.datetime.fromtimestamp(self._plan.following(self._clock), dt.UTC)

    def statistics(self) -> LoopStatistics:
        """Counters since the first `start`; they survive a restart."""
        return LoopStatistics(
            self._runs, self._missed, self._failures, self._lateness, self._lateness_max
        )

    def get_task(self) -> asyncio.Task[None] | None:
        """The task of the last `start`, if there was one."""
        return self._task

    def is_being_cancelled(self) -> bool:
        """True in `after_loop` when the loop was cancelled."""
        return self._is_being_cancelled

    def failed(self) -> bool:
        """Whether an error has ended the loop since the last `start`."""
        return self._has_failed

    def _can_be_cancelled(self) -> bool:
        return self.is_running() and not self._is_being_cancelled


def _name_of(function: Callable[..., object]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__name__))


def _coroutine_function(what: str, function: H) -> H:
    if not inspect.iscoroutinefunction(function):
        raise WrongType(f"{what}: got {function!r}, expected a coroutine function (async def)")
    return function


@overload
def loop(
    *,
    seconds: float | None = 0,
    minutes: float | None = 0,
    hours: float | None = 0,
    count: int | None = None,
    reconnect: bool = True,
    name: str | None = None,
    retry_delay: Callable[[int], float] = default_retry_delay,
    clock: Clock | None = None,
) -> Callable[[F], Loop[F]]: ...
@overload
def loop(
    *,
    time: dt.time | Sequence[dt.time],
    count: int | None = None,
    reconnect: bool = True,
    name: str | None = None,
    misfire_grace_time: float = 120.0,
    retry_delay: Callable[[int], float] = default_retry_delay,
    clock: Clock | None = None,
) -> Callable[[F], Loop[F]]: ...
def loop(**settings: Any) -> Callable[[F], Loop[F]]:
    """Decorator: make a coroutine function a `Loop`.

    Args:
        seconds, minutes, hours: the period, added up. The first run is at once, the others on the
            grid start + k × period of the monotonic clock.
        time: instead: a `datetime.time` or several, each in its own zone (`zoneinfo`; UTC without).
            Once per local date and time, never in advance. Several overdue ones coalesce into the
            latest; equal instants of different times each get their run, told apart by `due`.
        count: end after so many completed runs.
        reconnect: False: a recoverable error ends the loop like any other.
        name: the task's name.
        misfire_grace_time: with `time`: how late a run may still begin, also after a `start`, 0 to
            86400 s. 120 as in the schedule: a bot that restarts at 08:00:01 keeps its 08:00. The
            price without a store: a process that ended within that time after a run repeats it;
            the `Scheduler`'s schedule remembers, and does not.
        retry_delay: from the number of failures in a row to seconds. The retry comes then or at
            the next due time, whichever is first, but (for short periods) not within a second.
        clock: a `Clock`; `VirtualClock` in tests.

    Raises:
        InvalidArgument: a value out of its range.
        WrongType: not a coroutine function, not times, or `time` together with a period.
    """

    def decorate(coro: F) -> Loop[F]:
        return Loop(coro, **settings)

    return decorate
