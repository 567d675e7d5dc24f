"""CPU time of one mp3 stream, against the bare library calls on the same file."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

from benchmarks.lab import VOICECORE, Bar, Lab, interleave, program_output
from benchmarks.media import SECONDS
from benchmarks.processes import BenchmarkError, Child

NAME = "cpu"
TITLE = "CPU of one mp3 stream against the bare library calls"

RATIO = 1.15
BITRATE, COMPLEXITY = 128_000, 5
"""voicecore's defaults."""
REFILL = 8
"""Frames that voicecore's feeders make in one visit."""


def run(lab: Lab) -> dict[str, Any]:
    lab.note("CPU of one mp3 stream")
    window = lab.seconds(5.0)
    out = lab.media.mp3 + ".ogg"
    free = interleave(
        lab.repeats(5),
        [
            ("bare", partial(_bare, lab, 0, 0, 1)),
            ("voicecore, transcode", partial(_unpaced, lab, "transcode", out)),
            ("voicecore, manual clock", partial(_unpaced, lab, "play", str(SECONDS + 1))),
        ],
    )
    paced = interleave(
        lab.repeats(3),
        [
            ("bare, frame by frame", partial(_bare, lab, 20_000, round(window * 50), 1)),
            ("bare, in eights", partial(_bare, lab, 20_000, round(window * 50), REFILL)),
            ("voicecore", partial(_real_time, lab, window)),
        ],
    )
    rows = [{"side": name, "pace": "as fast as possible", **found} for name, found in free.items()]
    rows += [{"side": name, "pace": "real time", **found} for name, found in paced.items()]
    unpaced = "as fast as possible"
    real = "in real time, with clock, encryption and UDP, which the bare calls have not"
    bars = [
        Bar(f"{unpaced}, {how}", RATIO, _ratio(free[f"voicecore, {how}"], free["bare"]), "× bare")
        for how in ("transcode", "manual clock")
    ]
    bars += [
        Bar(real, RATIO, _ratio(paced["voicecore"], paced[pace]), "× bare", note=pace)
        for pace in ("bare, frame by frame", "bare, in eights")
    ]
    return {"rows": rows, "bars": [bar.record() for bar in bars]}


def _ratio(ours: dict[str, Any], bare: dict[str, Any]) -> float:
    return round(float(ours["us_per_frame"]) / float(bare["us_per_frame"]), 3)


def _bare(lab: Lab, period_us: int, frames: int, batch: int) -> dict[str, Any]:
    settings = [BITRATE, COMPLEXITY, period_us, frames, batch]
    command = [lab.programs.bare, "cpu", lab.media.mp3, *settings]
    found = program_output(command)
    return {
        "frames": found["frames"],
        "us_per_frame": round(found["cpu_ns"] / found["frames"] / 1000, 2),
    }


def _unpaced(lab: Lab, what: str, argument: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.unpaced", what, lab.media.mp3, argument]
    with Child(command, limit=60) as child:
        line = child.line()
        child.finish()
    if line is None:
        raise BenchmarkError("the unpaced run said nothing")
    found = json.loads(line)
    return {
        "frames": found["frames"],
        "us_per_frame": round(found["cpu_ns"] / found["frames"] / 1000, 2),
        "stages_us_per_frame": {
            name: round(1000 * value / found["frames"], 2)
            for name, value in found["stages_ms"].items()
        },
    }


def _real_time(lab: Lab, window: float) -> dict[str, Any]:
    found = lab.window(VOICECORE, work="mp3", file=lab.media.mp3, window_s=window)
    cpu = found["cpu_percent"]
    # One per cent of a core is 200 µs in each 20 ms.
    return {
        "frames": round(window * 50),
        "us_per_frame": round(cpu["process"] * 200, 2),
        "clock_us_per_frame": round(cpu["clock"] * 200, 2),
    }
