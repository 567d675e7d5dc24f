"""Clock steps and suspends: the wall clock watched against the monotonic one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from voicecore import _validate


@dataclass(frozen=True, slots=True)
class ClockEvent:
    """The wall clock moved otherwise than time passed."""

    kind: Literal["step", "suspend"]
    """"suspend": the machine slept; "step": somebody set the clock, or we cannot tell."""
    seconds: float
    """By how much, all together; negative is back."""
    at: float
    """The wall clock when it was last noticed, seconds since 1970 UTC."""
    count: int = 1
    """How many jumps are summed up here."""


def boottime() -> float:
    """The clock that also runs while the machine sleeps (Linux)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ClockWatch:
    """Notices that wall minus monotonic has jumped between two looks.

    Slow corrections (NTP slews by at most 0.5 ms per second) stay below the threshold and are
    followed. Not safe across threads; one owner looks.

    Args:
        wall_clock: seconds since 1970 UTC.
        monotonic: seconds that stop while the machine sleeps, as CLOCK_MONOTONIC's do.
        boottime: seconds that do not stop; tells a suspend from a step. None: everything is a step.
        threshold: seconds between two looks that count as a jump, 0.01 to 3600; 1 by default.
    """

    def __init__(
        self,
        wall_clock: Callable[[], float],
        monotonic: Callable[[], float],
        boottime: Callable[[], float] | None = None,
        *,
        threshold: float = 1.0,
    ) -> None:
        self._clocks = (wall_clock, monotonic, boottime)
        self._threshold = _validate.number("threshold", threshold, 0.01, 3600.0, "seconds")
        self._before: tuple[float, float] | None = None
        self._pending: ClockEvent | None = None

    def look(self) -> tuple[float, float]:
        """Read the clocks.

        Returns:
            The wall clock, and by how much it jumped since the last look (0 when it did not).
        """
        wall_clock, monotonic, boot = self._clocks
        wall, base = wall_clock(), monotonic()
        asleep = boot() - base if boot is not None else 0.0
        ahead = wall - base
        before, self._before = self._before, (ahead, asleep)
        if before is None:
            return wall, 0.0
        slept = asleep - before[1]
        jump = ahead - before[0]
        if abs(slept) >= self._threshold:
            self._note(ClockEvent("suspend", slept, wall))
        if abs(jump - slept) >= self._threshold:
            self._note(ClockEvent("step", jump - slept, wall))
        return wall, jump if abs(jump) >= self._threshold else 0.0

    def take(self) -> ClockEvent | None:
        """What was noticed since the last call, as one event; a step outweighs a suspend."""
        event, self._pending = self._pending, None
        return event

    def _note(self, event: ClockEvent) -> None:
        seen = self._pending
        if seen is not None:
            kind: Literal["step", "suspend"] = (
                "step" if "step" in (seen.kind, event.kind) else "suspend"
            )
            event = ClockEvent(kind, seen.seconds + event.seconds, event.at, seen.count + 1)
        self._pending = event
