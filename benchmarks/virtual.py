"""Plays a file on a manual clock, as fast as the CPU allows, and says what it cost."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import voicecore


async def main(path: str, seconds: float) -> None:
    clock = voicecore.ManualClock()
    async with voicecore.Engine(clock=clock) as engine:
        async with await engine.open(path):
            pass
        source = await engine.open(path)
        cpu, wall = time.process_time_ns(), time.monotonic_ns()
        player = engine.play(source, voicecore.NullSink())
        await clock.advance(seconds)
        await player.wait_finished()
        record = {
            "frames": player.statistics().frames_sent,
            "cpu_ns": time.process_time_ns() - cpu,
            "wall_ns": time.monotonic_ns() - wall,
            "stages_ms": player.statistics().cpu_ms,
        }
    print(json.dumps(record))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
