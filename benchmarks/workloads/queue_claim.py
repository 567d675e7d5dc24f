"""Claim and ack: one row at a time against SQLite's own statements in C, and in batches."""

from __future__ import annotations

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
    for level in LEVELS:
        for size in SIZES:
            lab.note(f"claim and ack, {level.upper()}, {size:,} B")
            core: list[Job] = [
                (BARE, partial(_program, lab, "bare", level, size, 1)),
                (CORE, partial(_program, lab, "core", level, size, 1)),
                (BATCHED, partial(_program, lab, "core", level, size, BATCH)),
            ]
            others: list[Job] = [
                (title, partial(_python, lab, side, level, size)) for title, side in PEERS
            ]
            # The small difference between the first two needs more repeats.
            found = interleave(lab.repeats(5), core)
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
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _program(lab: QueueLab, which: str, level: str, size: int, batch: int) -> dict[str, Any]:
    count = lab.count(ROWS[level])
    with lab.file() as path:
        lab.core("fill", path, count, size)
        if which == "bare":
            found = lab.bare(path, level, count)
        else:
            found = lab.core("pairs", path, level, count, batch)
    out = {"rows": count, "per_s": round(count / found["all_ns"] * 1e9, 1)}
    if "claim_ns" in found:
        out["claims_per_s"] = round(count / found["claim_ns"] * 1e9, 1)
    return out


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


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    found = {(row["side"], row["level"], row["bytes"]): row for row in rows}
    bars = []
    for level in LEVELS:
        for size in SIZES:
            share = 100 * found[CORE, level, size]["per_s"] / found[BARE, level, size]["per_s"]
            bars.append(
                Bar(
                    f"{level.upper()}, {size:,} B: one by one, of the bare C loop",
                    OF_BARE_PERCENT,
                    round(share, 1),
                    "%",
                    at_least=True,
                )
            )
    bars.append(
        Bar(
            f"NORMAL, {SIZES[0]} B: {BATCH} in a transaction",
            CLAIMS_PER_S,
            found[BATCHED, "normal", SIZES[0]]["claims_per_s"],
            "claims/s",
            at_least=True,
            note="claims alone, their commits included; the acks between them not",
        )
    )
    return bars
