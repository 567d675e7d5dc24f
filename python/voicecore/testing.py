"""What tests of bots need: time that they move, and faults that they choose. Public, and kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from voicecore import _core, _validate
from voicecore._core import FaultHook

if TYPE_CHECKING:
    from voicecore.scheduler import Scheduler

__all__ = ["FaultHook", "VirtualTime"]

_START: Final = 1_750_000_000.0
_SPINS: Final = 4
_FAR: Final = 1e11  # some three thousand years


class VirtualTime:
    """Time for schedulers and queues that moves only when told to.

    Give it to `Scheduler(time=...)`, and its `time` as `wall_clock` to queues. Real SQLite files,
    real turns of the native scheduler; only the waiting is gone.

    Args:
        start: the wall clock's first reading, seconds since 1970 UTC.

    Raises:
        InvalidArgument: `start` is no number, or thousands of years away.
    """

    def __init__(self, start: float = _START) -> None:
        start = _validate.number("start", start, -_FAR, _FAR, "seconds since 1970")
        self._native = _core.VirtualTime(round(start * 1000))
        self._schedulers: list[Scheduler] = []

    def time(self) -> float:
        """The wall clock, seconds since 1970 UTC."""
        return self._native.wall() / 1000.0

    def monotonic(self) -> float:
        """Seconds since this object was made."""
        return self._native.monotonic()

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator or NTP would.

        Raises:
            InvalidArgument: no number, or thousands of years.
        """
        seconds = _validate.number("seconds", seconds, -_FAR, _FAR)
        self._native.step_wall(round(seconds * 1000))

    async def advance(self, seconds: float) -> None:
        """Let time pass: every tick on the way runs, and has run to its end, before the next.

        Args:
            seconds: 0 to 366 days; only `step_wall` goes back.

        Raises:
            InvalidArgument: out of range.
        """
        target = self.monotonic() + _validate.seconds("seconds", seconds)
        await self.settle()
        while True:
            natives = self._natives()
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
        for native in self._natives():
            native.nudge()
            native.turn()
        await self.settle()

    async def settle(self) -> None:
        """Until no scheduler has anything to do at this moment; running sessions go on."""
        quiet = 0
        while quiet < _SPINS:
            await asyncio.sleep(0)
            quiet = 0 if any(one._busy_now() for one in self._schedulers) else quiet + 1

    def _natives(self) -> list[_core.Scheduler]:
        """Of those that take turns: the deadlines of one that has ended stay in the past."""
        self._schedulers = [one for one in self._schedulers if _takes_turns(one)]
        return [one._native for one in self._schedulers if one._native is not None]

    def _attach(self, scheduler: Scheduler) -> None:
        self._schedulers.append(scheduler)


def _takes_turns(scheduler: Scheduler) -> bool:
    # During a shutdown, too: the sessions that it waits for keep their leases.
    shutdown = scheduler._shutdown
    return scheduler.running if shutdown is None else not shutdown.done()
