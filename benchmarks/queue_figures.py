"""Drawings of the queue's run, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.figures import colours_of, save, sides_of
from benchmarks.queue_lab import LEVELS

Row = dict[str, Any]


def _bars(panels: list[tuple[str, list[Row]]], label: str, path: Path) -> None:
    """One panel for each list: p50 as a bar, p99 and max as a line, on a logarithmic scale."""
    most = max(len(rows) for _, rows in panels)
    figure = Figure(figsize=(11, 0.6 + 0.3 * most), layout="constrained")
    axes_of = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, rows) in zip(axes_of, panels, strict=True):
        colours = colours_of(sides_of(rows))
        for at, row in enumerate(rows):
            found = row["shown"]
            axes.barh(at, found["p50"], 0.7, color=colours[row["side"]])
            axes.plot([found["p50"], found["max"]], [at, at], color="#555555", lw=1)
            axes.plot(found["p99"], at, "|", color="#555555", ms=9)
            axes.plot(found["max"], at, ".", color="#555555", ms=4)
        axes.set_xscale("log")
        axes.set_yticks(range(len(rows)), [row["side"] for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel(label)
        axes.set_title(title, loc="left")
    save(figure, path)


def _rates(found: Row, path: Path) -> None:
    panels = []
    for level in LEVELS:
        rows = [row for row in found["rows"] if row["level"] == level and row["bytes"] == 110]
        panels.append((f"synchronous = {level.upper()}, 110 B", rows))
    figure = Figure(figsize=(11, 0.6 + 0.3 * max(len(r) for _, r in panels)), layout="constrained")
    for axes, (title, rows) in zip(figure.subplots(1, 2), panels, strict=True):
        colours = colours_of(sides_of(rows))
        for at, row in enumerate(rows):
            axes.barh(at, row["per_s"], 0.7, color=colours[row["side"]])
        axes.set_yticks(range(len(rows)), [row["side"] for row in rows])
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlabel("a second")
        axes.set_title(title, loc="left")
    save(figure, path)


def draw(results: Row, folder: Path) -> dict[str, str]:
    """Every figure that the run has data for: workload and file name."""
    folder.mkdir(parents=True, exist_ok=True)
    found = results["workloads"]
    out = {}

    def name(workload: str) -> Path:
        out[workload] = f"{workload}.svg"
        return folder / out[workload]

    if "queue_wake" in found:
        panels = []
        for level in LEVELS:
            rows = [
                {**row, "shown": row["latency_ms"]}
                for row in found["queue_wake"]["rows"]
                if row["level"] == level and row["bytes"] == 110
            ]
            panels.append((f"synchronous = {level.upper()}", rows))
        _bars(panels, "ms from enqueue to handler: median, p99, slowest", name("queue_wake"))
    if "queue_ticks" in found:
        rows = found["queue_ticks"]["rows"]
        conditions = list(dict.fromkeys(row["condition"] for row in rows))
        panels = [
            (one, [{**row, "shown": row["late_ms"]} for row in rows if row["condition"] == one])
            for one in conditions
        ]
        _bars(panels, "ms late: median, p99, slowest", name("queue_ticks"))
    for workload in ("queue_claim", "queue_enqueue"):
        if workload in found:
            _rates(found[workload], name(workload))
    if "queue_stop" in found:
        rows = [{**row, "shown": row["heard_ms"]} for row in found["queue_stop"]["rows"]]
        _bars([("", rows)], "ms from stop to silence: median, p99, slowest", name("queue_stop"))
    return out
