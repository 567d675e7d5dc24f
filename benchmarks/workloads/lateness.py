"""The clock's lateness at the send call, with 500 streams."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.awake import AWAKE, can_keep_awake, kept_awake
from benchmarks.lab import VOICECORE, Bar, Job, Lab, interleave

NAME = "lateness"
TITLE = "Lateness at the send call, 500 streams"

STREAMS = 500
BARE = "bare C loop"
HOGS = {"idle": 0, "two CPU hogs": 2}
"""Where the bare loop runs as well: it has no Python thread beside it."""
LIMITS_MS = {"idle": 0.5, "busy thread": 0.5, "two CPU hogs": 1.0}
ALSO_AWAKE = ("idle", "busy thread")


def run(lab: Lab) -> dict[str, Any]:
    window = lab.seconds(4.0)

    def job(name: str) -> dict[str, Any]:
        lab.note(f"lateness: {name}")
        hogs = HOGS.get(name, 0)
        return lab.window(
            VOICECORE,
            work="opus",
            file=lab.media.opus,
            streams=STREAMS,
            window_s=window,
            condition="idle" if hogs else name,
            hogs=hogs,
        )

    def bare(name: str) -> dict[str, Any]:
        lab.note(f"lateness: {name}, {BARE}")
        return lab.bare_lateness(STREAMS, window, hogs=HOGS[name])

    jobs: list[Job] = [(f"voicecore|{name}", partial(job, name)) for name in LIMITS_MS]
    jobs += [(f"{BARE}|{name}", partial(bare, name)) for name in HOGS]
    if can_keep_awake():
        jobs += [
            (f"{title}{AWAKE}", partial(kept_awake, run))
            for title, run in jobs
            if title.partition("|")[2] in ALSO_AWAKE
        ]
    rows = []
    for title, row in interleave(lab.repeats(2), jobs).items():
        side, _, name = title.partition("|")
        rows.append({"side": side, "condition": name, **row})
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    return [
        Bar(
            f"{row['condition']}: p99",
            LIMITS_MS[row["condition"].removesuffix(AWAKE)],
            row["send_lateness_ms"]["p99"],
            "ms",
            note=f"priority: {row['sender']['priority']}",
        )
        for row in rows
        if row["side"] != BARE
    ]
