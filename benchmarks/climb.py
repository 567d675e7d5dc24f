"""Sides that are measured with more and more streams, until they no longer deliver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.lab import interleave

DELIVERED = 99.9


@dataclass(frozen=True)
class Side:
    """One of those that are compared."""

    name: str
    measure: Callable[..., dict[str, Any]]
    """One run, given `streams`."""
    sizes: tuple[int, ...]
    climbs_on: bool = False
    """Whether it goes on after a size that it does not deliver; more would only show more of it."""


def overloaded(found: dict[str, Any]) -> bool:
    return bool(found["delivered"] < DELIVERED)


def climb(
    sides: Sequence[Side], repeats: Callable[[int], int], note: Callable[[int], None]
) -> list[dict[str, Any]]:
    """Size by size, the runs of the sides interleaved.

    Args:
        sides: who.
        repeats: how often a size is measured.
        note: told each size before it begins.

    Returns:
        A row for each size and side.
    """
    rows = []
    left = list(sides)
    for size in sorted({size for side in sides for size in side.sizes}):
        here = [side for side in left if size in side.sizes]
        if not here:
            continue
        note(size)
        jobs = [(side.name, partial(side.measure, streams=size)) for side in here]
        # Who is overloaded once is so again, and takes long.
        found = interleave(repeats(size), jobs, enough=overloaded)
        # The median of two whole numbers is none.
        rows += [{"side": name, **row, "streams": size} for name, row in found.items()]
        left = [
            side
            for side in left
            if side.climbs_on or side.name not in found or not overloaded(found[side.name])
        ]
    return rows
