"""Enqueue: awaited one by one, and many in one transaction."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.lab import Bar, Job, interleave
from benchmarks.queue_lab import LEVELS, SIZES, QueueLab
from benchmarks.queue_rates import MANY

NAME = "queue_enqueue"
TITLE = "Enqueue"

ROWS = {"normal": 6_000, "full": 1_500}
ONE, BATCHED = "voicecore, awaited one by one", f"voicecore, enqueue_many, batched by {MANY}"
LESSON = "aiosqlite, awaited one by one"
SAME_TABLE = "aiosqlite, awaited one by one, in our table"
LESSON_BATCHED = f"aiosqlite, executemany, batched by {MANY}"
SIDES = (
    (ONE, "voicecore", "enqueue"),
    (LESSON, "lesson", "enqueue"),
    (SAME_TABLE, "lesson in our table", "enqueue"),
    (BATCHED, "voicecore", "enqueue many"),
    (LESSON_BATCHED, "lesson", "enqueue many"),
    ("voicecore, SyncCommandQueue (blocks its caller)", "voicecore sync", "enqueue"),
    ("litequeue (blocks its caller)", "litequeue", "enqueue"),
    ("huey (blocks its caller)", "huey", "enqueue"),
    ("persist-queue (blocks its caller)", "persist-queue", "enqueue"),
)
TIMES_ONE, TIMES_MANY = 1.8, 10.0
WAITS = "no lease, attempt or outcome"
WEAKER = {LESSON: WAITS, LESSON_BATCHED: WAITS, **dict.fromkeys((s[0] for s in SIDES[6:]), WAITS)}


def run(lab: QueueLab) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for level in LEVELS:
        for size in SIZES:
            lab.note(f"enqueue, {level.upper()}, {size:,} B")
            jobs: list[Job] = [
                (title, partial(_measure, lab, side, what, level, size))
                for title, side, what in (SIDES[:5] if lab.quick else SIDES)
            ]
            found = interleave(lab.repeats(3), jobs)
            rows += [
                {"side": name, "level": level, "bytes": size, "weaker": WEAKER.get(name, ""), **row}
                for name, row in found.items()
            ]
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _measure(lab: QueueLab, side: str, what: str, level: str, size: int) -> dict[str, Any]:
    with lab.file() as path:
        spec = {
            "what": what,
            "side": side,
            "path": path,
            "level": level,
            "rows": lab.count(ROWS[level]) // MANY * MANY,
            "size": size,
        }
        return lab.run("queue_rates", spec)


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    rates = {(row["side"], row["level"], row["bytes"]): row["per_s"] for row in rows}

    bars = []
    for size in SIZES:
        for peer, table in ((LESSON, "the lesson's table"), (SAME_TABLE, "our table")):
            for side, limit, name in (
                (ONE, TIMES_ONE, "awaited one by one"),
                (BATCHED, TIMES_MANY, f"enqueue_many, batched by {MANY} against one by one"),
            ):
                times = rates[side, "normal", size] / rates[peer, "normal", size]
                title = f"NORMAL, {size:,} B: {name}"
                note = f"aiosqlite inserting into {table}"
                bars.append(
                    Bar(title, limit, round(times, 2), "× aiosqlite", at_least=True, note=note)
                )
    return bars
