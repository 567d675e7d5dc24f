"""Claim and ack: one row at a time against SQLite's own statements in C, and in batches."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from benchmarks.lab import Bar, Job, interleave
from benchmarks.queue_lab import LEVELS, SIZES, QueueLab
from benchmarks.queue_peers import WEAKER

NAME = "queue_claim"
TITLE = "Claim and ack"

ROWS = {"normal": 20_000, "full": 2_000}
PEER_ROWS = {"normal": 4_000, "full": 1_000}
BATCH = 32
OF_BARE_PERCENT = 95.0
CLAIMS_PER_S = 100_000.0

CORE, BARE = "voicecore's core, C++", "bare C loop, the same statements"
BATCHED = f"voicecore's core, {BATCH} at a time"
PEERS = (
    ("voicecore, SyncCommandQueue", "voicecore sync"),
    ("voicecore, CommandQueue, awaited", "voicecore"),
    ("litequeue", "litequeue"),
    ("huey", "huey"),
    ("persist-queue", "persist-queue"),
    ("lesson, aiosqlite", "lesson"),
)


def run(lab: QueueLab) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    bars: list[Bar] = []
    for level in LEVELS:
        for size in SIZES:
            lab.note(f"claim and ack, {level.upper()}, {size:,} B")
            core: list[Job] = [
                ("both", partial(_versus, lab, level, size)),
                (BATCHED, partial(_batched, lab, level, size)),
            ]
            others: list[Job] = [
                (title, partial(_python, lab, side, level, size)) for title, side in PEERS
            ]
            found = interleave(lab.repeats(5), core)
            both = found.pop("both")
            bars.append(_share_bar(level, size, both["share"]))
            found = {side: {**both[side], "runs": both["runs"]} for side in (BARE, CORE)} | found
            found |= interleave(lab.repeats(2), others[:2] if lab.quick else others)
            rows += [
                {
                    "side": name,
                    "level": level,
                    "bytes": size,
                    "weaker": WEAKER.get(name, ""),
                    **row,
                }
                for name, row in found.items()
            ]
    return {"rows": rows, "bars": [bar.record() for bar in (*bars, _batch_bar(rows))]}


def _versus(lab: QueueLab, level: str, size: int) -> dict[str, Any]:
    """The core and the bare statements, row by row in turns, in one process."""
    count = lab.count(ROWS[level])
    with lab.file() as bare, lab.file() as core:
        for path in (bare, core):
            lab.core("fill", path, count, size)
        os.sync()  # or the disk is still at it while we measure
        found = lab.core("versus", lab.programs.statements, bare, core, level, count)

    def per_s(name: str) -> float:
        return round(count / found[f"{name}_ns"] * 1e9, 1)

    return {
        BARE: {"rows": count, "per_s": per_s("bare")},
        CORE: {"rows": count, "per_s": per_s("core"), "claims_per_s": per_s("claim")},
        "share": round(100 * found["bare_ns"] / found["core_ns"], 1),
    }


def _batched(lab: QueueLab, level: str, size: int) -> dict[str, Any]:
    count = lab.count(ROWS[level])
    with lab.file() as path:
        lab.core("fill", path, count, size)
        os.sync()
        found = lab.core("pairs", path, level, count, BATCH)
    return {
        "rows": count,
        "per_s": round(count / found["all_ns"] * 1e9, 1),
        "claims_per_s": round(count / found["claim_ns"] * 1e9, 1),
    }


def _python(lab: QueueLab, side: str, level: str, size: int) -> dict[str, Any]:
    with lab.file() as path:
        spec = {
            "what": "pairs",
            "side": side,
            "path": path,
            "level": level,
            "rows": lab.count(PEER_ROWS[level]),
            "size": size,
        }
        found = lab.run("queue_rates", spec)
    return {"rows": found["rows"], "per_s": found["per_s"]}


def _share_bar(level: str, size: int, share: float) -> Bar:
    return Bar(
        f"{level.upper()}, {size:,} B: one by one, of the bare C loop",
        OF_BARE_PERCENT,
        share,
        "%",
        at_least=True,
        note="row by row in turns, in one process; median of the runs",
    )


def _batch_bar(rows: list[dict[str, Any]]) -> Bar:
    found = {(row["side"], row["level"], row["bytes"]): row for row in rows}
    return Bar(
        f"NORMAL, {SIZES[0]} B: {BATCH} in a transaction",
        CLAIMS_PER_S,
        found[BATCHED, "normal", SIZES[0]]["claims_per_s"],
        "claims/s",
        at_least=True,
        note="claims alone, their commits included; the acks between them not",
    )
