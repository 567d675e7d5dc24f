"""Draws a recording: its envelope and its spectrogram, as numbers for `voicecore.report`."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import numpy as np

from voicecore.report import Picture

RATE = 48_000
COLUMNS = 900
ROWS = 180
WINDOW = 4096
LOW_HZ, HIGH_HZ = 50.0, 20_000.0
RANGE_DB = 80.0
"""Levels this far below the loudest are drawn black."""


def decode(path: Path) -> np.ndarray:
    """The recording as mono samples, -1 to 1, at 48 kHz, by the ffmpeg program."""
    command = ["ffmpeg", "-v", "error", "-i", str(path)]
    command += ["-f", "f32le", "-ac", "1", "-ar", str(RATE), "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return np.frombuffer(done.stdout, dtype="<f4")


def draw(samples: np.ndarray) -> Picture:
    """Envelope and spectrogram of mono samples at 48 kHz."""
    return Picture(
        seconds=len(samples) / RATE,
        envelope=envelope(samples),
        spectrogram=[row.tobytes() for row in spectrogram(samples)],
        frequencies=(LOW_HZ, HIGH_HZ),
    )


def envelope(samples: np.ndarray) -> list[tuple[float, float]]:
    """Lowest and highest sample of each column."""
    edges = np.linspace(0, len(samples), COLUMNS + 1).astype(int)
    return [
        (round(float(part.min()), 4), round(float(part.max()), 4))
        for part in (samples[a:b] for a, b in itertools.pairwise(edges))
        if len(part)
    ]


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """Levels 0 to 255: rows of logarithmic frequency from high to low, columns of time."""
    window = np.hanning(WINDOW)
    padded = np.pad(samples, WINDOW // 2)
    starts = np.linspace(0, max(0, len(samples) - 1), COLUMNS).astype(int)
    blocks = np.stack([padded[s : s + WINDOW] for s in starts])
    power = np.abs(np.fft.rfft(blocks * window, axis=1)) ** 2
    # Each row takes the strongest bin of its band; low rows are narrower than a bin and share one.
    edges = np.geomspace(LOW_HZ, HIGH_HZ, ROWS + 1) * WINDOW / RATE
    first = np.floor(edges[:-1]).astype(int)
    last = np.maximum(np.ceil(edges[1:]).astype(int), first + 1)
    bands = np.stack([power[:, a:b].max(axis=1) for a, b in zip(first, last, strict=True)])
    decibels = 10 * np.log10(bands + 1e-12)
    decibels -= decibels.max()
    levels = np.clip(1 + decibels / RANGE_DB, 0, 1) * 255
    return levels.astype(np.uint8)[::-1]
