"""A scheduler and its queue must have one clock: both judge the same leases by it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from voicecore.errors import InvalidArgument

if TYPE_CHECKING:
    from voicecore.queue import CommandQueue
    from voicecore.testing import VirtualTime

_TOLERANCE: Final = 1.0
"""Seconds between two readings of what may be the same clock, called differently."""


def check_clock(queue: CommandQueue, virtual: VirtualTime | None) -> None:
    """Refuse a queue whose wall clock is not the scheduler's.

    The native thread has the machine's clock or a `VirtualTime`. By another one the queue's leases
    are over as soon as they are taken, or only in years: commands run several times, or never.

    Raises:
        InvalidArgument: it is another, as far as that can be told.
    """
    ours = time.time if virtual is None else virtual.time
    theirs = queue._wall
    if theirs == ours:
        return
    from voicecore.testing import VirtualTime  # only when there is something to tell apart

    of_another = isinstance(getattr(theirs, "__self__", None), VirtualTime)
    if of_another or not abs(theirs() - ours()) <= _TOLERANCE:
        expected = (
            "the machine's clock, or for a VirtualTime Scheduler(time=virtual)"
            if virtual is None
            else "CommandQueue(wall_clock=virtual.time) for Scheduler(time=virtual)"
        )
        raise InvalidArgument(
            f"queue: its wall_clock {theirs!r} is not the scheduler's; expected {expected}"
        )
