"""What a report is made from: plain numbers, so that anything can fill it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PERIOD_MS = 20.0
SILENCE_BYTES = 3


@dataclass(frozen=True, slots=True)
class Stream:
    """One sender, as the receiver saw it."""

    name: str
    """What the reader calls it: "voicecore 0.1.0"."""
    log: Sequence[tuple[int, int, int, int]]
    """Of each packet, in order of arrival: kernel time (ns), sequence, RTP time stamp, bytes."""
    received: Mapping[str, Any]
    """The receiver's JSON record."""
    lateness: Sequence[tuple[float, int]] = ()
    """Departures: (milliseconds after the sender's own deadline, packets)."""
    first_ms: float | None = None
    """From the call that starts playing to the first packet, the file being open."""
    opened_ms: float | None = None
    """The same from before the file was opened."""
    cpu_ms: float | None = None
    """CPU time of the whole process while playing, children included."""

    def media(self) -> list[tuple[int, int, int, int]]:
        """The log without the silence frames at its end."""
        rows = list(self.log)
        while rows and rows[-1][3] <= SILENCE_BYTES:
            rows.pop()
        return rows

    def gaps(self) -> list[tuple[float, float]]:
        """(seconds since the first packet, milliseconds since the one before) for media packets."""
        rows = self.media()
        if not rows:
            return []
        first = rows[0][0]
        return [
            ((row[0] - first) / 1e9, (row[0] - before[0]) / 1e6)
            for before, row in itertools.pairwise(rows)
        ]

    def sizes(self) -> list[tuple[float, float]]:
        """(seconds since the first packet, bytes of Opus) for media packets."""
        rows = self.media()
        return [((row[0] - rows[0][0]) / 1e9, float(row[3])) for row in rows]

    def ending_ms(self) -> float | None:
        """How long the silence frames at the end take, from the first to the last of them."""
        tail = list(self.log)[len(self.media()) :]
        return (tail[-1][0] - tail[0][0]) / 1e6 if len(tail) > 1 else None

    @property
    def seconds(self) -> float:
        """From the first media packet to the last."""
        rows = self.media()
        return (rows[-1][0] - rows[0][0]) / 1e9 if len(rows) > 1 else 0.0

    @property
    def kbps(self) -> float | None:
        """Opus bytes as kbit/s of media time."""
        rows = self.media()
        if not rows:
            return None
        return sum(row[3] for row in rows) * 8 / (len(rows) * PERIOD_MS)

    @property
    def cpu_percent(self) -> float | None:
        """Of one core."""
        if self.cpu_ms is None or self.seconds <= 0:
            return None
        return self.cpu_ms / self.seconds / 10


@dataclass(frozen=True, slots=True)
class Picture:
    """The audio that arrived, drawn."""

    seconds: float
    """Length of the audio."""
    envelope: Sequence[tuple[float, float]]
    """Lowest and highest sample (-1 to 1) of each column, from left to right."""
    spectrogram: Sequence[bytes]
    """Rows of levels, 0 (silent) to 255, the highest frequency first."""
    frequencies: tuple[float, float]
    """Hz at the bottom and at the top; logarithmic between them."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything on the page."""

    file: str
    """Name of what was played."""
    ours: Stream
    played: Mapping[str, Any]
    """The JSON record of `voicecore play`."""
    theirs: Stream | None = None
    picture: Picture | None = None
    audio: bytes | None = None
    """The recording (Ogg Opus), embedded so that the page plays it."""
    words: Sequence[str] = ()
    """The statistics in words."""
    versions: Sequence[tuple[str, str]] = ()
    made: str = ""
    """When and where, in words."""
    command: str = "make demo"
    notes: Sequence[str] = field(default_factory=tuple)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def weighted_percentile(buckets: Sequence[tuple[float, int]], share: float) -> float:
    """The same for (value, count) pairs."""
    total = sum(count for _, count in buckets)
    if not total:
        return math.nan
    seen = 0
    for value, count in sorted(buckets):
        seen += count
        if seen >= share * total:
            return value
    return max(value for value, _ in buckets)
