"""What tests of bots need: time that they move, and faults that they choose. Public, and kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from voicecore import _core
from voicecore._core import FaultHook

if TYPE_CHECKING:
    from voicecore.scheduler import Scheduler

__all__ = ["FaultHook", "VirtualTime"]

_START: Final = 1_750_000_000.0
_SPINS: Final = 4


class VirtualTime:
    """Time for schedulers and queues that moves only when told to.

    Give it to `Scheduler(time=...)`, and its `time` as `wall_clock` to queues. Real SQLite files,
    real turns of the native scheduler; only the waiting is gone.

    Args:
        start: the wall clock's first reading, seconds since 1970 UTC.
    """

    def __init__(self, start: float = _START) -> None:
        self._native = _core.VirtualTime(round(start * 1000))
        self._schedulers: list[Scheduler] = []

    def time(self) -> float:
        """The wall clock, seconds since 1970 UTC."""
        return self._native.wall() / 1000.0

    def monotonic(self) -> float:
        """Seconds since this object was made."""
        return self._native.monotonic()

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator or NTP would."""
        self._native.step_wall(round(seconds * 1000))

    async def advance(self, seconds: float) -> None:
        """Let time pass: every tick on the way runs, and has run to its end, before the next."""
        target = self.monotonic() + seconds
        await self.settle()
        while True:
            natives = [one._native for one in self._schedulers if one._native is not None]
            coming = min((native.next_deadline() for native in natives), default=target)
            step = min(max(coming, self.monotonic()), target) - self.monotonic()
            self._native.advance(step)
            for native in natives:
                if native.next_deadline() <= self.monotonic() + 1e-9:
                    native.turn()
            await self.settle()
            if self.monotonic() >= target - 1e-9:
                return

    async def wake(self) -> None:
        """Ring every scheduler now, without time passing."""
        for one in self._schedulers:
            if one._native is not None:
                one._native.nudge()
                one._native.turn()
        await self.settle()

    async def settle(self) -> None:
        """Until no scheduler has anything to do at this moment; running sessions go on."""
        quiet = 0
        while quiet < _SPINS:
            await asyncio.sleep(0)
            quiet = 0 if any(one._busy_now() for one in self._schedulers) else quiet + 1

    def _attach(self, scheduler: Scheduler) -> None:
        self._schedulers.append(scheduler)
