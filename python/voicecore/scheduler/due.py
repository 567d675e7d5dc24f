"""The schedule's part of a tick: what is due starts, and reminders go out."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicecore.queue import CommandQueue
    from voicecore.schedule import Due, ScheduleChecker
    from voicecore.scheduler.scheduler import Scheduler
    from voicecore.testing import VirtualTime

log = logging.getLogger("voicecore.scheduler")


class DueStarts:
    """Asks a schedule what is due, and hands it to the scheduler."""

    def __init__(self, scheduler: Scheduler, checker: ScheduleChecker) -> None:
        self._scheduler = scheduler
        self._checker = checker

    async def check(self) -> None:
        """Start what is due now, and remind of what will be."""
        scheduler = self._scheduler
        remind = scheduler._remind
        for due in await self._checker.check(reminders=remind is not None):
            if due.kind == "reminder":
                if remind is not None:
                    scheduler._supervisor.spawn(self._remind(remind, due))
                continue
            try:
                await self._start(due)
            except Exception as problem:
                if not scheduler._supervisor.survives(problem):
                    raise
                scheduler._supervisor.warn("Starting %s failed: %s", due.entry.name, problem)
                self._checker.give_back(due)
        if event := self._checker.take_clock_event():
            scheduler._supervisor.warn("The clock: %s", event)
        if scheduler._native is not None:
            scheduler._native.nudge()  # starts of the file's own schedule are commands by now

    async def _remind(self, remind: Callable[[Due], Awaitable[object]], due: Due) -> None:
        try:
            await remind(due)
        except Exception as problem:
            supervisor = self._scheduler._supervisor
            if not supervisor.survives(problem):
                raise
            supervisor.warn("Reminding of %s failed: %s", due.entry.name, problem)
            self._checker.give_back(due)  # the next tick tries again, within the grace (D15)

    async def _start(self, due: Due) -> None:
        if await self._scheduler._starts.ask(due.entry, None):
            return
        if due.entry.policy.busy == "drop":
            log.warning("%s is due, but its key already plays", due.entry.name)
            await self._checker.record(due.occurrence, "busy")
            return
        # Not as a command: the queue's file may know another entry by this id, or none.
        starts = self._scheduler._starts
        playing = starts.running.get(starts.key_of(due.entry, None))
        if due.entry.policy.busy == "replace" and playing is not None:
            playing.stop()
        self._checker.give_back(due)


def checker_of(queue: CommandQueue, time: VirtualTime | None) -> ScheduleChecker:
    """The checker of the schedule that a queue's own file holds."""
    from voicecore.schedule import ScheduleChecker, SqliteScheduleStore, boottime

    store = SqliteScheduleStore(queue)
    if time is not None:
        return ScheduleChecker(store, time.time, time.monotonic, as_commands=True)
    return ScheduleChecker(store, queue.now, boottime=boottime, as_commands=True)
