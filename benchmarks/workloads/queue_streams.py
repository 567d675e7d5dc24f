"""Five hundred streams play while a thousand commands a second pass."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import arrivals
from benchmarks.lab import Bar, Job, interleave
from benchmarks.processes import Sender
from benchmarks.queue_lab import LEVELS, QueueLab
from benchmarks.recorder import Recorder

NAME = "queue_streams"
TITLE = "Audio beside a thousand commands a second"

STREAMS = 500
PER_S = 1000
FRAME_MS, BEYOND_MS = 20.0, 5.0
WITHOUT = "no commands"
WITH = {level: f"{PER_S:,} commands/s, {level.upper()}" for level in LEVELS}


def run(lab: QueueLab) -> dict[str, Any]:
    jobs: list[Job] = [(WITHOUT, partial(_measure, lab, WITHOUT, "normal"))]
    jobs += [(title, partial(_measure, lab, title, level)) for level, title in WITH.items()]
    found = interleave(lab.repeats(3), jobs)
    rows = [{"side": name, **row} for name, row in found.items()]
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _measure(lab: QueueLab, title: str, level: str) -> dict[str, Any]:
    commands = title != WITHOUT
    lab.note(f"{STREAMS} streams, {title}")
    window = lab.seconds(6.0, 3.0)
    streams = STREAMS
    with (
        lab.file() as path,
        Recorder(lab.audio.programs.recorder, limit=window + 40) as recorder,
    ):
        spec = {
            "file": lab.audio.media.opus,
            "port": recorder.port,
            "streams": streams,
            "window_s": window,
            "path": path,
            "level": level,
        }
        result: dict[str, Any] = {}
        with Sender("queue_streams", spec, limit=window + 40) as player:
            for event in player.events():
                if event.get("event") != "ready":
                    result = event
                elif commands:
                    sender = {
                        "side": "voicecore",
                        "path": path,
                        "level": level,
                        "count": round((window + 2.5) * PER_S),
                        "period_s": 1 / PER_S,
                    }
                    # Not waited for: it sends while the window is open.
                    with Sender("queue_sender", sender, limit=window + 40):
                        result = next(player.events())
            player.finish()
        recording = recorder.stop()
    if recording.drops:
        lab.spoiled.append(f"{NAME}: the receiver lost {recording.drops} datagrams")
    t0, t1 = result["t0"], result["t1"]
    found = arrivals.analyse(recording.rows, t0, t1, streams)
    inside = recording.rows[(recording.rows["time_ns"] >= t0) & (recording.rows["time_ns"] < t1)]
    gaps = np.concatenate(
        [
            np.diff(np.sort(part["time_ns"].astype(np.int64)))
            for part in arrivals.by_stream(inside).values()
        ]
    )
    return {
        "delivered": found["delivered"],
        "gap_ms": {**found["gap_ms"], "p99_99": round(float(np.percentile(gaps, 99.99)) / 1e6, 4)},
        "gaps": len(gaps),
        "later_than_5ms": int((gaps > (FRAME_MS + BEYOND_MS) * 1e6).sum()),
        "handled_per_s": result["handled_per_s"],
        "waiting": result["waiting"],
        "cpu_percent": result["cpu_percent"],
        "skipped": result["counts"]["skipped"],
    }


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    found = {row["side"]: row for row in rows}
    bars = [
        Bar(
            "NORMAL: commands carried out",
            PER_S * 0.98,
            found[WITH["normal"]]["handled_per_s"],
            "/s",
            at_least=True,
        )
    ]
    # What the queue adds: the machine delays frames without it as well.
    without = found[WITHOUT]["gap_ms"]
    for level, title in WITH.items():
        gaps = found[title]["gap_ms"]
        for what, name in (("p99.99", "p99_99"), ("slowest", "max")):
            bars.append(
                Bar(
                    f"{level.upper()}: {what} gap beyond that without commands",
                    BEYOND_MS,
                    round(gaps[name] - without[name], 3),
                    "ms",
                    note=f"{gaps[name]:.1f} against {without[name]:.1f} ms",
                )
            )
    return bars
