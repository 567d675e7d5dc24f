"""How late ticks come, idle and beside a busy Python thread."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.awake import AWAKE, can_keep_awake, kept_awake
from benchmarks.lab import Bar, Job, interleave
from benchmarks.queue_lab import QueueLab, spread

NAME = "queue_ticks"
TITLE = "Lateness of ticks"

PERIOD_S = 0.020
LIMITS_MS = {"idle": 1.0, "busy thread": 2.0}
SIDES = (
    ("voicecore.Scheduler", "voicecore"),
    ("voicecore.tasks.loop", "voicecore.tasks"),
    ("asyncio, call_at on a grid", "asyncio grid"),
    ("asyncio, sleep in a loop", "asyncio sleep"),
    ("discord.ext.tasks", "discord.ext.tasks"),
    ("APScheduler 3", "apscheduler"),
)
NATIVE, DELIVERED = "voicecore, native tick", "voicecore, delivered to Python"


def run(lab: QueueLab) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for name in (*LIMITS_MS, *(f"{one}{AWAKE}" for one in LIMITS_MS if can_keep_awake())):
        lab.note(f"ticks, {name}")
        jobs: list[Job] = [(title, partial(_measure, lab, side, name)) for title, side in SIDES]
        if name.endswith(AWAKE):
            jobs = [(title, partial(kept_awake, run)) for title, run in jobs]
        for title, found in interleave(lab.repeats(2), jobs).items():
            native = found.pop("native_ms", None)
            if native is not None:
                rows.append({**found, "side": NATIVE, "condition": name, "late_ms": native})
                title = DELIVERED
            rows.append({"side": title, "condition": name, **found})
    return {
        "rows": rows,
        "period_ms": PERIOD_S * 1000,
        "bars": [bar.record() for bar in _bars(rows)],
    }


def _measure(lab: QueueLab, side: str, condition: str) -> dict[str, Any]:
    spec = {
        "side": side,
        "period_s": PERIOD_S,
        "seconds": lab.seconds(6.0, 2.0),
        "condition": condition.removesuffix(AWAKE),
    }
    found = lab.run("queue_ticks", spec)
    for name in ("late_ms", "native_ms"):
        if name in found:
            found[name] = spread(found[name])
    return found


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    return [
        Bar(
            f"{row['condition']}: p99, native",
            LIMITS_MS[row["condition"].removesuffix(AWAKE)],
            row["late_ms"]["p99"],
            "ms",
            note="upper edge of the histogram's bucket",
        )
        for row in rows
        if row["side"] == NATIVE
    ]
