"""Charts as HTML: an SVG that stretches to its box, and labels in HTML that do not.

Lines keep their width and text its size on a phone as on a wide screen, without a script.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

UNITS = 1000  # of the SVG's own coordinates, both ways

Tick = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to the box; labels at its ticks."""

    low: float
    high: float
    ticks: Sequence[Tick] = ()
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high end; clamped."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(max(value, 1e-12))
        return min(1.0, max(0.0, (value - low) / (high - low)))


@dataclass(slots=True)
class Plot:
    """One chart box."""

    x: Axis
    y: Axis
    height: int = 200
    label: str = ""
    """What the picture shows, for those who cannot see it."""
    playhead: bool = False
    """Whether the time on the x axis is the recording's, for the line that follows the sound."""
    body: list[str] = field(default_factory=list)

    def dots(self, points: Sequence[tuple[float, float]], series: int) -> None:
        """A dot for each point."""
        # A line of no length with round ends is a dot, round however the box is stretched.
        path = "".join(f"M{self._x(x)} {self._y(y)}h0" for x, y in points)
        self.body.append(f'<path class="dots s{series}" d="{path}"/>')

    def line(self, points: Sequence[tuple[float, float]], series: int) -> None:
        """Points joined."""
        path = "".join(
            f"{'M' if i == 0 else 'L'}{self._x(x)} {self._y(y)}" for i, (x, y) in enumerate(points)
        )
        self.body.append(f'<path class="line s{series}" d="{path}"/>')

    def area(self, columns: Sequence[tuple[float, float]], series: int) -> None:
        """A shape between (low, high) pairs spread evenly over the width."""
        if not columns:
            return
        width = UNITS / len(columns)
        top = [f"{(i + 0.5) * width:.1f} {self._y(high)}" for i, (_, high) in enumerate(columns)]
        bottom = [f"{(i + 0.5) * width:.1f} {self._y(low)}" for i, (low, _) in enumerate(columns)]
        self.body.append(f'<path class="area s{series}" d="M{"L".join(top + bottom[::-1])}Z"/>')

    def bar(self, left: float, right: float, value: float, series: int, title: str) -> None:
        """A bar from the bottom, between two values of x."""
        x, y = self._x(left), self._y(value)
        width, height = self._x(right) - x, UNITS - y
        self.body.append(
            f'<rect class="bar s{series}" x="{x:.1f}" y="{y}" width="{width:.1f}" '
            f'height="{height:.1f}"><title>{escape(title)}</title></rect>'
        )

    def rule(self, value: float) -> None:
        """A dashed line at a value of y."""
        y = self._y(value)
        self.body.append(f'<path class="rule" d="M0 {y}H{UNITS}"/>')

    def image(self, address: str) -> None:
        """A picture that fills the box."""
        self.body.append(
            f'<image href="{address}" width="{UNITS}" height="{UNITS}" preserveAspectRatio="none"/>'
        )

    def html(self) -> str:
        """The whole."""
        grid = "".join(f"M0 {self._y(value)}H{UNITS}" for value, _ in self.y.ticks)
        grid += "".join(f"M{self._x(value)} 0V{UNITS}" for value, _ in self.x.ticks)
        head = '<i class="head"></i>' if self.playhead else ""
        return (
            f'<div class="plot{" timed" if self.playhead else ""}" style="height:{self.height}px">'
            f'<svg viewBox="0 0 {UNITS} {UNITS}" preserveAspectRatio="none" role="img" '
            f'aria-label="{escape(self.label)}"><path class="grid" d="{grid}"/>'
            f"{''.join(self.body)}</svg>{head}{self._labels()}</div>"
        )

    def _labels(self) -> str:
        spans = []
        for value, text in self.x.ticks:
            place = self.x.place(value)
            kind = "tx last" if place > 0.97 else "tx"  # one at the very end stays inside the box
            spans.append(f'<span class="{kind}" style="left:{place:.2%}">{escape(text)}</span>')
        for value, text in self.y.ticks:
            place = self.y.place(value)
            spans.append(f'<span class="ty" style="bottom:{place:.2%}">{escape(text)}</span>')
        return "".join(spans)

    def _x(self, value: float) -> float:
        return round(self.x.place(value) * UNITS, 1)

    def _y(self, value: float) -> float:
        return round((1 - self.y.place(value)) * UNITS, 1)


def even_ticks(high: float, unit: str, wanted: int = 5) -> list[Tick]:
    """Round values from 0 to `high`."""
    step = nice_step(high / wanted)
    number = int(high / step + 1e-9)
    return [(i * step, f"{i * step:g}{unit}") for i in range(number + 1)]


def nice_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, not below `rough`."""
    if rough <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough - 1e-12)


def round_up(value: float) -> float:
    """The end of an axis that shows `value` with four to five ticks."""
    step = nice_step(value / 4)
    return math.ceil(value / step - 1e-9) * step


def time_ticks(seconds: float) -> list[Tick]:
    """For an axis of time, in seconds or minutes."""
    if seconds < 120:
        return even_ticks(max(seconds, 0.1), " s")
    hours = 3600 * max(1, round(nice_step(seconds / 3600 / 24)))
    step = next((s for s in (30, 60, 120, 300, 600, 1800) if seconds / s <= 6), hours)
    return [(t, f"{t // 60}:{t % 60:02}") for t in range(0, int(seconds) + 1, step)]


def time_axis(seconds: float) -> Axis:
    """From 0 to `seconds`. A single packet takes no time, but its axis has a length."""
    length = seconds if seconds > 0 else 1.0
    return Axis(0, length, time_ticks(length))


LOG_LOW_MS, LOG_HIGH_MS = 0.001, 100.0
BINS_PER_DECADE = 5


def log_axis_ms() -> Axis:
    """1 µs to 100 ms."""
    ticks = [(10.0**e, text) for e, text in zip(range(-3, 3), _MS_LABELS, strict=True)]
    return Axis(LOG_LOW_MS, LOG_HIGH_MS, ticks, logarithmic=True)


_MS_LABELS = ("1 µs", "10 µs", "0.1 ms", "1 ms", "10 ms", "100 ms")


def log_bins(values: Sequence[tuple[float, int]]) -> list[float]:
    """Share of the counts in each bin of the logarithmic axis; its ends take what lies outside."""
    number = round(math.log10(LOG_HIGH_MS / LOG_LOW_MS) * BINS_PER_DECADE)
    bins = [0.0] * number
    total = sum(count for _, count in values)
    for value, count in values:
        place = math.log10(max(value, LOG_LOW_MS) / LOG_LOW_MS) * BINS_PER_DECADE
        # A bucket's value is its upper edge, which belongs to the bin below.
        bins[min(number - 1, max(0, math.ceil(place - 1e-9) - 1))] += count / total
    return bins


def _any(values: Sequence[tuple[float, int]]) -> bool:
    return any(count for _, count in values)


def bin_edges(index: int) -> tuple[float, float]:
    """In milliseconds."""
    low: float = LOG_LOW_MS * 10 ** (index / BINS_PER_DECADE)
    return low, low * 10 ** (1 / BINS_PER_DECADE)


def histogram(
    series: Sequence[tuple[int, Sequence[tuple[float, int]]]],
    names: Callable[[int], str],
    label: str,
    height: int = 190,
) -> str:
    """Bars of one or two series beside each other on the logarithmic axis, in per cent."""
    binned = [(number, log_bins(values)) for number, values in series if _any(values)]
    if not binned:
        return '<p class="none">Nothing was measured.</p>'
    top = max(max(bins) for _, bins in binned) * 100
    high = round_up(top)
    plot = Plot(log_axis_ms(), Axis(0, high, even_ticks(high, " %", 4)), height, label)
    for place, (number, bins) in enumerate(binned):
        for index, share in enumerate(bins):
            if share == 0:
                continue
            low, up = bin_edges(index)
            # Each takes its part of the bin's width, which on this axis is a power.
            ratio = up / low
            left = low * ratio ** (0.06 + 0.88 * place / len(binned))
            right = low * ratio ** (0.06 + 0.88 * (place + 1) / len(binned))
            text = f"{names(number)}: {share:.1%} between {low:.3g} and {up:.3g} ms"
            # What is there must be seen: at least a sliver.
            plot.bar(left, right, max(share * 100, high / 120), number, text)
    return plot.html()
