"""Plays or transcodes a file as fast as the CPU allows, and says what it cost.

`python -m benchmarks.unpaced play FILE SECONDS`: on a manual clock, into a null sink.
`python -m benchmarks.unpaced transcode FILE OUT`: into an Ogg file.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import voicecore


async def play(path: str, seconds: float) -> dict[str, Any]:
    clock = voicecore.ManualClock()
    async with voicecore.Engine(clock=clock) as engine:
        async with await engine.open(path):
            pass
        source = await engine.open(path)
        cpu = time.process_time_ns()
        player = engine.play(source, voicecore.NullSink())
        await clock.advance(seconds)
        await player.wait_finished()
        cpu = time.process_time_ns() - cpu
        found = player.statistics()
    return {"frames": found.frames_sent, "cpu_ns": cpu, "stages_ms": found.cpu_ms}


async def transcode(path: str, out: str) -> dict[str, Any]:
    async with voicecore.Engine() as engine:
        async with await engine.open(path):
            pass
        source = await engine.open(path)
        cpu = time.process_time_ns()
        result = await voicecore.transcode(source, out)
        cpu = time.process_time_ns() - cpu
    return {"frames": result.frames, "cpu_ns": cpu, "stages_ms": {}}


if __name__ == "__main__":
    if sys.argv[1] == "play":
        print(json.dumps(asyncio.run(play(sys.argv[2], float(sys.argv[3])))))
    else:
        print(json.dumps(asyncio.run(transcode(sys.argv[2], sys.argv[3]))))
