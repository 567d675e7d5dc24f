"""Drawings of a run, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.lab import GAP_EDGES_MS

Row = dict[str, Any]

mpl.rcParams.update(
    {
        "svg.hashsalt": "voicecore",  # the same file from the same figures
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e4e4e4",
        "legend.frameon": False,
    }
)

OURS = "#1f6feb"
THEIRS = ("#d1495b", "#edae49", "#8d6a9f", "#66a182")


def colours_of(sides: list[str]) -> dict[str, str]:
    others = [side for side in sides if not side.startswith("voicecore")]
    out = dict.fromkeys(sides, OURS)
    out.update({side: THEIRS[i % len(THEIRS)] for i, side in enumerate(others)})
    return out


def sides_of(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row["side"] for row in rows))


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})


def _over_size(axes: Axes, rows: list[Row], value: Any, label: str) -> None:
    colours = colours_of(sides_of(rows))
    for side in sides_of(rows):
        own = [row for row in rows if row["side"] == side and not row.get("overloaded")]
        sizes = [row["streams"] for row in own]
        axes.plot(sizes, [value(row) for row in own], "o-", ms=3.5, color=colours[side], label=side)
    axes.set_xscale("log")
    sizes = sorted({row["streams"] for row in rows})
    axes.set_xticks(sizes, [str(size) if size < 1000 else f"{size // 1000}k" for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("streams")
    axes.set_title(label, loc="left")


def by_size(rows: list[Row], bar_ms: float, path: Path) -> None:
    """Delivery, p99 gap and CPU over the number of streams."""
    # A point of its own, which the table has.
    rows = [row for row in rows if not row["side"].startswith("voicecore,")]
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    delivered, gap, cpu = figure.subplots(1, 3)
    _over_size(delivered, rows, lambda row: row["delivered"], "delivered, %")
    _over_size(gap, rows, lambda row: row["gap_ms"]["p99"], "p99 gap, ms")
    gap.set_yscale("log")
    ticks = (20, 50, 100, 200, 500, 1000)
    gap.set_yticks(ticks, [str(tick) for tick in ticks])
    gap.minorticks_off()
    gap.axhline(bar_ms, color="#888888", lw=0.8, ls="--")
    _over_size(
        cpu,
        rows,
        lambda row: row["cpu_percent"]["process"] + row["cpu_percent"]["children"],
        "CPU, % of one core, children included",
    )
    delivered.legend(fontsize=8)
    save(figure, path)


def disturbed(rows: list[Row], path: Path) -> None:
    """How many gaps are longer than so much, under each condition."""
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    figure = Figure(figsize=(3.2 * len(conditions), 3.4), layout="constrained")
    panels = figure.subplots(1, len(conditions), sharey=True, squeeze=False)[0]
    colours = colours_of(sides_of(rows))
    centres = GAP_EDGES_MS[:-1]
    for axes, condition in zip(panels, conditions, strict=True):
        for row in (row for row in rows if row["condition"] == condition):
            counts = np.array(row["gap_histogram"], dtype=float)
            longer = counts[::-1].cumsum()[::-1] / max(1.0, counts.sum())
            shown = longer > 0
            dashed = row["side"] == "voicecore, passthrough"
            axes.step(
                centres[shown],
                100 * longer[shown],
                color=colours[row["side"]],
                ls="--" if dashed else "-",
                lw=1.2,
                label=f"{row['side']} ({row['streams']})",
            )
        axes.set_yscale("log")
        axes.set_ylim(0.02, 150)
        axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        axes.set_xscale("symlog", linthresh=20)
        axes.set_xlim(15, 420)
        axes.set_xticks([20, 50, 100, 200, 400], ["20", "50", "100", "200", "400"])
        axes.minorticks_off()
        axes.set_xlabel("gap, ms")
        axes.set_title(condition, loc="left")
    panels[0].set_ylabel("gaps at least this long, %")
    panels[-1].legend(fontsize=7, loc="upper right")
    save(figure, path)


def first_frame(rows: list[Row], path: Path) -> None:
    """Median and slowest first packet, from the call that opens."""
    titles = list(dict.fromkeys(row["title"] for row in rows))
    sides = sides_of(rows)
    colours = colours_of(sides)
    figure = Figure(figsize=(6.5, 2.8), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(sides)
    for row in rows:
        y = titles.index(row["title"]) + height * sides.index(row["side"])
        median, slowest = (row["from_open_ms"][what] for what in ("median", "max"))
        label = row["side"] if row["title"] == titles[0] else None
        axes.barh(y, median, height * 0.85, color=colours[row["side"]], label=label)
        axes.plot([median, slowest], [y, y], color="#555555", lw=1)
        axes.plot(slowest, y, "|", color="#555555", ms=7)
    axes.set_xscale("log")
    axes.set_yticks([i + 0.4 - height / 2 for i in range(len(titles))], titles)
    axes.invert_yaxis()
    axes.set_xlabel("ms from opening to the first packet: median, and to the slowest")
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(sides))
    save(figure, path)


def draw(results: Row, folder: Path) -> dict[str, str]:
    """Every figure that the run has data for: workload and file name."""
    folder.mkdir(parents=True, exist_ok=True)
    found = results["workloads"]
    out = {}
    if "passthrough" in found:
        by_size(found["passthrough"]["rows"], 21.0, folder / "passthrough.svg")
        out["passthrough"] = "passthrough.svg"
    if "disturbed" in found:
        disturbed(found["disturbed"]["rows"], folder / "disturbed.svg")
        out["disturbed"] = "disturbed.svg"
    if "first_frame" in found:
        first_frame(found["first_frame"]["rows"], folder / "first_frame.svg")
        out["first_frame"] = "first_frame.svg"
    if "transcode" in found:
        by_size(found["transcode"]["rows"], 22.0, folder / "transcode.svg")
        out["transcode"] = "transcode.svg"
    return out
