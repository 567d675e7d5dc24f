"""What a loop asks for the time: the system, or a clock that a test moves by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol

from voicecore import _validate


class Clock(Protocol):
    """The three things that a loop needs. Anything with these methods can be passed as `clock=`."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin; never goes back."""

    def wall(self) -> float:
        """Seconds since 1970 UTC; may be stepped."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of monotonic time; 0 lets other tasks run. Cancellable."""


class SystemClock:
    """The machine's clocks and the running event loop's timer."""

    def monotonic(self) -> float:
        """`time.monotonic()`, which stands still while the machine is suspended."""
        return time.monotonic()

    def wall(self) -> float:
        """`time.time()`."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """`asyncio.sleep`."""
        await asyncio.sleep(seconds)


class VirtualClock:
    """A clock for tests: it moves when told, so that a year passes without waiting.

        clock = VirtualClock(wall=1_700_000_000)
        mine = loop(hours=1, clock=clock)(body); mine.start()
        await clock.advance(3 * 3600)

    One event loop, one thread.

    Args:
        wall: seconds since 1970 at the beginning.
        turns: turns of the event loop granted after each wake-up, for what was woken to reach its
            next wait. A body with a longer chain of awaits needs more.
    """

    def __init__(self, wall: float = 0.0, *, turns: int = 20) -> None:
        self._now = 0.0
        self._offset = wall
        self._turns = _validate.whole("turns", turns, 1, 10_000)
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._now

    def wall(self) -> float:
        """The wall at the beginning, plus what was advanced, plus every step."""
        return self._offset + self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator or NTP does."""
        self._offset += seconds

    def jump(self, seconds: float) -> None:
        """Let time pass at once, waking nobody on the way: a blocked event loop, a SIGSTOP."""
        self._now += _validate.seconds("seconds", seconds)

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking each sleeper at its own instant, in order."""
        end = self._now + _validate.seconds("seconds", seconds)
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            when, _, woken = heapq.heappop(self._sleepers)
            if woken.done():  # cancelled while it slept
                continue
            self._now = max(self._now, when)
            woken.set_result(None)
            await self._settle()
        self._now = max(self._now, end)

    async def _settle(self) -> None:
        for _ in range(self._turns):
            await asyncio.sleep(0)
