"""Markdown tables of the runs: one function for each workload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table whose columns but the first are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def number(value: float, digits: int = 1) -> str:
    """With thousands separated; small ones keep their digits."""
    return f"{value:,.{digits}f}"


def milliseconds(value: float) -> str:
    return number(value, 2 if value < 100 else 0)


def _gaps(row: Row) -> list[str]:
    return [milliseconds(row["gap_ms"][name]) for name in ("p50", "p99", "p99_9", "max")]


_DELIVERY_HEAD = (
    *("delivered %", "gap p50", "p99", "p99.9", "max ms"),
    *("burst", "made up", "concealed %"),
)


def _delivery(row: Row) -> list[str]:
    if row.get("overloaded"):
        return ["came to no end", *[""] * (len(_DELIVERY_HEAD) - 1)]
    return [
        number(row["delivered"], 2),
        *_gaps(row),
        str(round(row["longest_burst"])),
        str(round(row["caught_up"])),
        number(row["concealed_percent"], 2),
    ]


def _cpu(row: Row) -> list[str]:
    if row.get("overloaded"):
        return ["", ""]
    cpu = row["cpu_percent"]
    return [number(cpu["process"] + cpu["children"]), number(cpu["clock"]) if cpu["clock"] else ""]


def _by_size(rows: list[Row], *first: str) -> str:
    """One row a run; before the side's name what `first` says, by the names in the record."""
    head = (*first, "side", "N", *_DELIVERY_HEAD, "CPU %", "clock thread %", "KiB a stream", "runs")
    cells = []
    for row in rows:
        memory = ""
        if not row.get("overloaded"):
            children = row["children_kib"]["pss"] / row["streams"]
            memory = number(row["rss_kib_per_stream"] + children, 0)
        runs = row.get("runs", 1)
        cells.append(
            [
                *(row[name] for name in first),
                *(row["side"], row["streams"], *_delivery(row), *_cpu(row), memory, round(runs)),
            ]
        )
    return table(head, cells)


def _passthrough(found: Row) -> str:
    floor = ", ".join(
        f"{row['cpu_percent']:.1f} % of a core for {row['streams']:,} streams "
        f"({row['batched_percent']:.1f} where `sendmmsg` takes each group through one socket)"
        for row in found["floor"]
    )
    return (
        f"{_by_size(found['rows'])}\n\n"
        "Of it the system's `send()` alone, of datagrams of that size at that pace, to that "
        f"receiver, without encryption (`bare.c`): {floor}."
    )


def _disturbed(found: Row) -> str:
    head = ("condition", "side", "N", *_DELIVERY_HEAD, "skipped")
    return table(
        head,
        [
            [
                row["condition"],
                row["side"],
                row["streams"],
                *_delivery(row),
                round(row["counts"]["skipped"]) if row["counts"] else "",
            ]
            for row in found["rows"]
        ],
    )


def _first_frame(found: Row) -> str:
    head = ("plays", "side", "median after open", "slowest", "median after play", "slowest ms")
    cells = []
    for row in found["rows"]:
        times = [
            milliseconds(row[f"from_{since}_ms"][what])
            for since in ("open", "play")
            for what in ("median", "max")
        ]
        cells.append([row["title"], row["side"], *times])
    return table(head, cells)


def _stalls(found: Row) -> str:
    head = (
        *("stall", "side", "N", "delivered %", "gap p50", "p99", "max", "late p99", "max ms"),
        *("breaks a stream", "in 10 ms", "made up", "concealed %", "underruns"),
    )
    cells: list[list[object]] = []
    for row in found["rows"]:
        begin = [row["stall"], row["side"], row["streams"]]
        if row.get("overloaded"):
            cells.append([*begin, "came to no end", *[""] * (len(head) - len(begin) - 1)])
            continue
        cells.append(
            [
                *begin,
                number(row["delivered"], 2),
                *(milliseconds(row["gap_ms"][name]) for name in ("p50", "p99", "max")),
                *(milliseconds(row["lateness_ms"][name]) for name in ("p99", "max")),
                number(row["breaks"] / row["streams"]),
                round(row["most_in_10_ms"]),
                round(row["caught_up"]),
                number(row["concealed_percent"], 2),
                round(row["counts"]["underruns"]) if row["counts"] else "",
            ]
        )
    return table(head, cells)


def _cpu_of_one(found: Row) -> str:
    head = ("pace", "side", "frames", "CPU µs a frame", "of it")
    cells = []
    for row in found["rows"]:
        parts = row.get("stages_us_per_frame", {})
        if "clock_us_per_frame" in row:
            parts = {"clock thread": row["clock_us_per_frame"]}
        detail = ", ".join(f"{name} {value:g}" for name, value in parts.items())
        cells.append(
            [row["pace"], row["side"], round(row["frames"]), number(row["us_per_frame"]), detail]
        )
    return table(head, cells)


def _lateness(found: Row) -> str:
    head = ("side", "condition", "p50", "p99", "p99.9", "max ms", "clock thread %", "priority")
    return table(
        head,
        [
            [
                row["side"],
                row["condition"],
                *(
                    number(row["send_lateness_ms"][name], 3)
                    for name in ("p50", "p99", "p99_9", "max")
                ),
                number(row["cpu_percent"]["clock"]) if "sender" in row else "",
                row["sender"]["priority"] if "sender" in row else "",
            ]
            for row in found["rows"]
        ],
    )


def _memory(found: Row) -> str:
    cells = []
    for row in found["rows"]:
        proportional = row.get("pss_kib_per_stream")
        cells.append(
            [
                row["side"],
                number(row["kib_per_stream"], 0),
                number(proportional, 0) if proportional else "",
            ]
        )
    return table(("", "RSS KiB a stream", "PSS"), cells)


def _control(found: Row) -> str:
    head = ("side", "N", "pause: median", "slowest", "stop: median", "slowest ms", "never heard")
    return table(
        head,
        [
            [
                row["side"],
                row["streams"],
                *(
                    milliseconds(row[f"{action}_ms"][what])
                    for action in ("pause", "stop")
                    for what in ("median", "max")
                ),
                row["never"],
            ]
            for row in found["rows"]
        ],
    )


TABLES: dict[str, Callable[[Row], str]] = {
    "passthrough": _passthrough,
    "disturbed": _disturbed,
    "first_frame": _first_frame,
    "transcode": lambda found: _by_size(found["rows"]),
    "encoder": lambda found: _by_size(found["rows"], "settings"),
    "volume": lambda found: _by_size(found["rows"], "file"),
    "stalls": _stalls,
    "cpu": _cpu_of_one,
    "lateness": _lateness,
    "memory": _memory,
    "control": _control,
}
