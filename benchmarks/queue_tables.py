"""Markdown tables of the queue's runs: one function for each workload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.queue_lab import LEVELS
from benchmarks.tables import milliseconds, number, table

Row = dict[str, Any]


def _spread(row: Row, digits: int = 2) -> list[str]:
    return [number(row[name], digits if row[name] < 100 else 0) for name in ("p50", "p99", "max")]


def _levels(rows: list[Row], one: Callable[[list[Row]], str]) -> str:
    """A table for each `synchronous`."""
    parts = []
    for level in LEVELS:
        own = [row for row in rows if row["level"] == level]
        if own:
            parts += [f"### synchronous = {level.upper()}", one(own), ""]
    return "\n".join(parts).rstrip()


def _wake(found: Row) -> str:
    def one(rows: list[Row]) -> str:
        cells = []
        for row in rows:
            wakes = ", ".join(
                f"{name} {round(count):,}" for name, count in row["wakes"].items() if count
            )
            cells.append(
                [
                    row["side"],
                    f"{row['bytes']:,}",
                    *_spread(row["latency_ms"]),
                    f"{round(row['handled']):,} of {round(row['sent']):,}",
                    "" if row["idle_cpu_percent"] is None else number(row["idle_cpu_percent"], 2),
                    wakes,
                    round(row["runs"]),
                ]
            )
        head = (
            "side",
            "bytes",
            "p50",
            "p99",
            "max ms",
            "handled",
            "idle CPU %",
            "woken by",
            "runs",
        )
        return table(head, cells)

    return _levels(found["rows"], one)


def _claim(found: Row) -> str:
    def one(rows: list[Row]) -> str:
        return table(
            ("side", "bytes", "claim + ack a second", "claims alone a second", "runs", "weaker"),
            [
                [
                    row["side"],
                    f"{row['bytes']:,}",
                    number(row["per_s"], 0),
                    number(row["claims_per_s"], 0) if "claims_per_s" in row else "",
                    round(row["runs"]),
                    row["weaker"],
                ]
                for row in sorted(rows, key=lambda row: row["bytes"])
            ],
        )

    return _levels(found["rows"], one)


def _enqueue(found: Row) -> str:
    def one(rows: list[Row]) -> str:
        return table(
            ("side", "bytes", "a second", "runs", "weaker"),
            [
                [
                    row["side"],
                    f"{row['bytes']:,}",
                    number(row["per_s"], 0),
                    round(row["runs"]),
                    row["weaker"],
                ]
                for row in sorted(rows, key=lambda row: row["bytes"])
            ],
        )

    return _levels(found["rows"], one)


def _ticks(found: Row) -> str:
    return table(
        ("condition", "side", "p50", "p99", "max ms", "slower than asked %", "runs"),
        [
            [
                row["condition"],
                row["side"],
                *_spread(row["late_ms"], 3),
                number(row["slow_percent"], 2),
                round(row["runs"]),
            ]
            for row in found["rows"]
        ],
    )


def _streams(found: Row) -> str:
    head = (
        *("", "delivered %", "gap p50", "p99", "p99.9", "p99.99", "max ms", "later than 5 ms"),
        *("carried out /s", "left waiting", "CPU %", "runs"),
    )
    return table(
        head,
        [
            [
                row["side"],
                number(row["delivered"], 2),
                *(
                    milliseconds(row["gap_ms"][name])
                    for name in ("p50", "p99", "p99_9", "p99_99", "max")
                ),
                f"{round(row['later_than_5ms']):,} of {round(row['gaps']):,}",
                number(row["handled_per_s"], 0),
                round(row["waiting"]),
                number(row["cpu_percent"]),
                round(row["runs"]),
            ]
            for row in found["rows"]
        ],
    )


def _stop(found: Row) -> str:
    head = ("side", "goes", "p50", "p99", "max ms", "heard while blocked", "never heard")
    return table(
        head,
        [
            [
                row["side"],
                row["goes"],
                *_spread(row["heard_ms"]),
                row["while_blocked"],
                row["never"],
            ]
            for row in found["rows"]
        ],
    )


def _history(found: Row) -> str:
    head = ("history", "claim p50", "p99", "max ms", "ack p50", "p99", "max ms")
    return table(
        head,
        [
            [row["side"], *_spread(row["claim_ms"], 4), *_spread(row["ack_ms"], 4)]
            for row in found["rows"]
        ],
    )


TABLES: dict[str, Callable[[Row], str]] = {
    "queue_wake": _wake,
    "queue_claim": _claim,
    "queue_enqueue": _enqueue,
    "queue_ticks": _ticks,
    "queue_streams": _streams,
    "queue_stop": _stop,
    "queue_history": _history,
}
