"""The clock's lateness at the send call, with 500 streams."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.lab import VOICECORE, Bar, Lab, interleave

NAME = "lateness"
TITLE = "Lateness at the send call, 500 streams"

STREAMS = 500
LIMITS_MS = {"idle": 0.5, "busy thread": 0.5, "two CPU hogs": 1.0}


def run(lab: Lab) -> dict[str, Any]:
    window = lab.seconds(4.0)

    def job(name: str) -> dict[str, Any]:
        lab.note(f"lateness: {name}")
        hogs = 2 if name == "two CPU hogs" else 0
        return lab.window(
            VOICECORE,
            work="opus",
            file=lab.media.opus,
            streams=STREAMS,
            window_s=window,
            condition="idle" if hogs else name,
            hogs=hogs,
        )

    found = interleave(lab.repeats(2), [(name, partial(job, name)) for name in LIMITS_MS])
    rows = [{"side": "voicecore", "condition": name, **row} for name, row in found.items()]
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    return [
        Bar(
            f"{row['condition']}: p99",
            LIMITS_MS[row["condition"]],
            row["send_lateness_ms"]["p99"],
            "ms",
            note=f"priority: {row['sender']['priority']}",
        )
        for row in rows
    ]
