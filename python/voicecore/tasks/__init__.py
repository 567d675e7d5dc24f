"""Managed background loops with the shape of `discord.ext.tasks`, on a grid that cannot burst.

    @tasks.loop(seconds=2)
    async def tick(): ...

    tick.start()

Code written for `discord.ext.tasks` changes its import. What differs is when the body runs:

- A relative loop lives on the monotonic clock: deadline = start + k × period. A body that overruns
  skips whole periods and counts them in `missed`; it is never followed by a burst, and a step of
  the wall clock means nothing to it.
- `time=` runs once per local date and time, each time in its own zone: inside a daylight-saving
  gap at the first valid instant after it, in an overlap on the first pass. A loop that is started
  up to `misfire_grace_time` late still runs.
- A recoverable error is retried (after 1, 2, 4 … 300 s, or at the next due time if that is sooner).
  Any other ends the loop loudly: the `error` hook, asyncio's exception handler, `failed()`,
  `unhealthy()`, and the exception itself for whoever awaits the task.
- `cancel()` in `before_loop` ends the loop before its first run, and `after_loop` is awaited: with
  a period as well, not only with `time=`.
- A period is at most 366 days. What is longer has a date: `time=`, and a look at the calendar.

discord.py is not needed and not imported.
"""

from __future__ import annotations

from voicecore.tasks._errors import AlreadyRunning, WrongType
from voicecore.tasks._loop import Loop, loop, unhealthy
from voicecore.tasks._task import LoopStatistics, default_retry_delay
from voicecore.tasks.clock import Clock, SystemClock, VirtualClock

__all__ = [
    "AlreadyRunning",
    "Clock",
    "Loop",
    "LoopStatistics",
    "SystemClock",
    "VirtualClock",
    "WrongType",
    "default_retry_delay",
    "loop",
    "unhealthy",
]
