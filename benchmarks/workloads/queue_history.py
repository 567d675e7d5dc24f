"""Does a claim cost more when a million finished commands lie in the history?"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.lab import Bar, median_of
from benchmarks.queue_lab import QueueLab

NAME = "queue_history"
TITLE = "A long history"

PAST = 1_000_000
ROUNDS = 20_000
GROWTH_PERCENT = 10.0


def run(lab: QueueLab) -> dict[str, Any]:
    past = PAST // 10 if lab.quick else PAST
    lab.note(f"claims beside {past:,} finished commands")
    runs = []
    with lab.file() as full:
        for number in range(lab.repeats(5)):
            with lab.file() as empty:
                # Made once; the few thousand that each run adds make it no shorter.
                found = lab.core(
                    *("history", empty, full, lab.count(ROUNDS), 110),
                    past if number == 0 else 0,
                )
            runs.append({key: round(value / 1e6, 5) for key, value in found.items()})
    middle = median_of(runs)
    rows = [
        {
            "side": title,
            **{
                f"{what}_ms": {q: middle[f"{name}_{what}_{q}"] for q in ("p50", "p99", "max")}
                for what in ("claim", "ack")
            },
        }
        for name, title in (("empty", "nothing finished before"), ("full", f"{past:,} finished"))
    ]
    growth = statistics.median(
        100 * (run["full_claim_p99"] / run["empty_claim_p99"] - 1) for run in runs
    )
    bar = Bar(
        f"claim p99, {past:,} finished commands against none: growth",
        GROWTH_PERCENT,
        round(growth, 2),
        "%",
        note="in turns on two files, in one process; median of the runs' ratios",
    )
    return {"rows": rows, "runs": runs, "bars": [bar.record()]}
