"""A process that plays N streams of Opus, and carries out commands beside them.

Says {"event": "ready"} when all play, {"event": "window", ...} at its start, its result last.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import voicecore
from benchmarks.processes import raise_limits
from benchmarks.queue_spec import from_argv
from benchmarks.sender_voicecore import VoicecoreStreams
from benchmarks.sending import Spec as SendingSpec
from benchmarks.sending import say


@dataclass(frozen=True)
class Spec:
    file: str
    port: int
    streams: int
    window_s: float
    path: str
    level: str


async def main() -> None:
    spec = from_argv(Spec)
    handled = 0
    queue = voicecore.CommandQueue(
        spec.path,
        role="worker",
        synchronous=spec.level,  # type: ignore[arg-type]  # from a command line
    )
    # Two milliseconds of commands at a thousand a second, and their acks' way back.
    scheduler = voicecore.Scheduler(None, queue, budget=64)

    @scheduler.handler("job")
    async def job(_command: voicecore.Command) -> str:
        nonlocal handled
        handled += 1
        return "done"

    sending = SendingSpec(work="opus", file=spec.file, port=spec.port, streams=spec.streams)
    async with queue, voicecore.Engine() as engine:
        streams = VoicecoreStreams(engine, sending)
        await streams.warm()
        for ssrc in range(1, spec.streams + 1):
            await streams.start(ssrc)
        scheduler.start()
        await asyncio.sleep(1.0)
        say({"event": "ready"})
        await asyncio.sleep(1.5)  # commands are coming by now
        began, cpu, t0 = handled, time.process_time(), time.time_ns()
        await asyncio.sleep(spec.window_s)
        t1, cpu, ended = time.time_ns(), time.process_time() - cpu, handled
        result = {
            "t0": t0,
            "t1": t1,
            "handled_per_s": round((ended - began) / spec.window_s, 1),
            "cpu_percent": round(100 * cpu / spec.window_s, 2),
            "counts": streams.counts(),
            "waiting": (await queue.statistics()).ready,
        }
        await scheduler.shutdown()
    say(result)


if __name__ == "__main__":
    raise_limits()
    asyncio.run(main())
