"""What the queue's workloads share: files, programs, child processes, and how long to look."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import media, native, queue_native
from benchmarks.lab import Lab, program_output
from benchmarks.processes import Sender

LEVELS = ("normal", "full")
"""`PRAGMA synchronous`: the same for every side of a table."""
SIZES = (110, 1024)
"""Bytes of payload."""


class QueueLab:
    """Args:
    scratch: a folder on the file system that is measured.
    quick: short windows and few repeats, for a first look.
    note: told what goes on.
    """

    def __init__(self, scratch: Path, *, quick: bool, note: Callable[[str], None]) -> None:
        self.scratch = scratch
        self.quick = quick
        self.note = note
        self.spoiled: list[str] = []
        self._numbers = itertools.count()
        self.programs = queue_native.build(scratch / "programs")

    def repeats(self, full: int) -> int:
        return 1 if self.quick else full

    def seconds(self, full: float, quick: float) -> float:
        return quick if self.quick else full

    def count(self, full: int) -> int:
        """Of commands, rounds or ticks."""
        return max(100, full // 10) if self.quick else full

    @contextlib.contextmanager
    def file(self) -> Iterator[str]:
        """A path for one run's queue file; its folder goes afterwards."""
        folder = self.scratch / f"queue-{next(self._numbers)}"
        folder.mkdir()
        try:
            yield str(folder / "queue.db")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def run(self, module: str, spec: dict[str, Any], *, limit: float = 120.0) -> dict[str, Any]:
        """`python -m benchmarks.MODULE`, to its end; what it says last."""
        with Sender(module, spec, limit=limit) as child:
            return child.result()

    def core(self, *words: object, limit: float = 300.0) -> dict[str, int]:
        return program_output([self.programs.core, *words], limit)

    @cached_property
    def audio(self) -> Lab:
        """The lab of the audio runs: music and the receiver."""
        self.note("preparing music and the receiver")
        return Lab(
            media.make(self.scratch / "media"),
            native.build(self.scratch / "programs"),
            quick=self.quick,
            note=self.note,
        )


def spread(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and max, by rank; zeros of nothing."""
    if not values:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "p50": round(statistics.median(ordered), 4),
        "p99": round(ordered[min(last, -(-99 * len(ordered) // 100) - 1)], 4),
        "max": round(ordered[-1], 4),
    }
