"""The scheduler's loop: the native thread wakes it, and it takes one turn after the other."""

from __future__ import annotations

import asyncio
import functools
import os
import warnings
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from voicecore import _bridge, _core
from voicecore.errors import from_native
from voicecore.scheduler.watch import Watch

if TYPE_CHECKING:
    from voicecore.scheduler.scheduler import Scheduler


T = TypeVar("T")


class Turns:
    """Makes the native scheduler, listens to it, and calls `tick` and `_drain_commands`.

    Attributes:
        native: the native half; None until `before_loop` is over.
        started: ticks have begun.
        decided: set when they have, or when they never will.
        started_at: when they did, by the queue's clock.
        unanswered: ticks of the native grid that had no `tick` of their own.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._wake = asyncio.Event()
        self._tick_due = False
        self._working = True
        self._bridge: _bridge.LoopBridge | None = None
        self.native: _core.Scheduler | None = None
        self.started = False
        self.decided = asyncio.Event()
        self.started_at: float | None = None
        self._watch = Watch(scheduler)
        self._answered = 0
        self.unanswered = 0

    @property
    def under_way(self) -> bool:
        """A turn is being taken, or is to be."""
        return self._working or self._wake.is_set()

    def wake(self) -> None:
        """Look for commands soon."""
        self._wake.set()

    async def run(self) -> None:
        """Until the shutdown, or a bug ends it."""
        scheduler = self._scheduler
        await self._begin()
        while scheduler._admitting:
            self._working = False
            await self._wake.wait()
            self._wake.clear()
            self._working = True
            scheduler._commands.unfinished = False
            if self._tick_due:
                self._tick_due = False
                self._count_tick()
                await scheduler._supervisor.guarded("the tick", scheduler.tick)
                await scheduler._supervisor.guarded("looking around", self._watch.look)
            else:
                await scheduler._supervisor.guarded("draining commands", scheduler._drain_commands)
            if scheduler._commands.unfinished:
                self._wake.set()  # the drain goes on, behind a tick that has become due meanwhile

    def _count_tick(self) -> None:
        if self.native is not None:
            ticks = self.native.report()["ticks"]
            self._answered = min(self._answered + 1, ticks)
            # Of the grid's ticks up to this one; the loop stood still, or a body was slow.
            self.unanswered = ticks - self._answered

    def last(self) -> set[asyncio.Task[None]]:
        """The loop, when it is in a turn, which is its last: admission is closed."""
        runner = self._scheduler._runner
        here = runner is not None and runner.get_loop() is asyncio.get_running_loop()
        return {runner} if runner and here and self.started and self._working else set()

    def leave(self) -> None:
        """Hear no more of the native half, which was stopped. Idempotent."""
        if self._bridge is not None and self.native is not None:
            self._bridge.unsubscribe(self.native.id)
            self._bridge.release(self)
            self._bridge = None

    def _loop_ended(self) -> None:
        warnings.warn(
            "the event loop ended before its voicecore.Scheduler was shut down",
            ResourceWarning,
            source=self._scheduler,
            stacklevel=2,
        )
        if self.native is not None:
            self.native.stop()  # nobody is left to carry out what it would claim
        stopping = self._scheduler._supervisor.stopping
        if stopping is not None and not stopping.get_loop().is_closed():
            stopping.cancel()  # its thread's answer may come too late for what is left of the loop

    async def _begin(self) -> None:
        scheduler = self._scheduler
        self.native = await self._insist(self._open)
        await scheduler._supervisor.guarded("looking around", self._watch.look)
        scheduler._commands.hear_of(self.native)
        self._bridge = _bridge.current()
        self._bridge.subscribe(self.native.id, self._on_event, self._on_lost_events)
        self._bridge.depend(self)
        if scheduler._time is not None:
            scheduler._time._attach(scheduler)
        await self._insist(self._start_native)
        self.started = True
        self.decided.set()

    async def _open(self) -> _core.Scheduler:
        scheduler = self._scheduler
        await scheduler.before_loop()
        self.started_at = scheduler.queue.now()
        return await _bridge.in_own_thread(
            functools.partial(self._make_native, _bridge.current()), "voicecore-open"
        )

    async def _start_native(self) -> None:
        assert self.native is not None
        self.native.start()

    async def _insist(self, step: Callable[[], Awaitable[T]]) -> T:
        """A step of the start, until it succeeds: what is in its way may pass."""
        scheduler = self._scheduler
        while True:
            try:
                return await step()
            except Exception as problem:
                if not scheduler._supervisor.survives(problem):
                    raise
                if _core.file_condemned(os.fsencode(scheduler.queue.path)):
                    scheduler._supervisor.lose_file(problem)
                    await asyncio.sleep(0)  # which has cancelled this task
                scheduler._supervisor.warn("Starting the scheduler failed: %s", problem)
                await asyncio.sleep(scheduler._period)

    def _make_native(self, bridge: _bridge.LoopBridge) -> _core.Scheduler:
        scheduler = self._scheduler
        queue = scheduler.queue
        return _core.Scheduler(
            {**queue._settings, "owner": queue.owner, "role": "worker"},
            bridge.channel,
            scheduler._period,
            scheduler._poll,
            round(queue.lease * 1000),
            scheduler._budget,
            not scheduler._drains_itself,
            scheduler._doorbell,
            None if self.started_at is None else round(self.started_at * 1000),
            None if scheduler._time is None else scheduler._time._native,
        )

    def _on_event(self, kind: int, value: int) -> None:
        if kind == _core.EventKind.TICKED:
            self._tick_due = True
            self._wake.set()
        elif kind == _core.EventKind.COMMANDS:
            self._wake.set()
        elif kind == _core.EventKind.STEERED:
            self._on_steered()
        elif kind == _core.EventKind.TROUBLE and self.native is not None:
            trouble = self.native.trouble()
            if trouble is not None:
                self._on_trouble(from_native(*trouble), self.native.condemned)

    def _on_trouble(self, problem: Exception, for_good: bool) -> None:
        supervisor = self._scheduler._supervisor
        if not for_good or self._scheduler._shutdown is not None:
            supervisor.warn("The queue file: %s", problem)
        elif supervisor.healthy:
            supervisor.lose_file(problem)

    def _on_steered(self) -> None:
        scheduler = self._scheduler
        lost = self.native.lost_sessions() if self.native is not None else []
        for key, session in scheduler._starts.running.items():
            if key in lost:
                session.claim._lose()
                scheduler._supervisor.warn(
                    "Somebody else has the session of key %s: it ends here", key
                )
            if key in lost or session.stop_requested:
                session.stop()

    def _on_lost_events(self) -> None:
        self._tick_due = True
        self._wake.set()
