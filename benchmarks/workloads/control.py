"""From `pause` and `stop` to the first silence frame at the receiver."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

from benchmarks import arrivals
from benchmarks.lab import DISCORD, VOICECORE, Bar, Lab

NAME = "control"
TITLE = "Pause and stop, until heard"

SIZES = (1, 100, 500)
QUICK_SIZES = (1, 500)
PEER_SIZES = (1, 100)
GOES = {1: 5, 100: 2}
"""One stream says little about a phase of 20 ms; where both sides run, each has more than one."""
HEARD_MS = 50.0


@dataclass
class _Times:
    """What all goes of one side at one size have shown."""

    heard: dict[str, list[float]] = field(default_factory=lambda: {"pause": [], "stop": []})
    never: int = 0


def run(lab: Lab) -> dict[str, Any]:
    sides = (
        ("voicecore", VOICECORE, QUICK_SIZES if lab.quick else SIZES),
        ("discord.py raw", DISCORD, PEER_SIZES[:1] if lab.quick else PEER_SIZES),
    )
    rows = []
    for size in sorted({size for _, _, sizes in sides for size in sizes}):
        lab.note(f"pause and stop of {size}")
        here = {name: module for name, module, sizes in sides if size in sizes}
        rows += _measure(lab, here, size, lab.repeats(GOES.get(size, 1)))
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _measure(lab: Lab, sides: dict[str, str], streams: int, goes: int) -> list[dict[str, Any]]:
    """One go of each side, then the next of each."""
    found = {name: _Times() for name in sides}
    for _ in range(goes):
        for name, module in sides.items():
            _go(lab, module, streams, found[name])
    return [
        {
            "side": name,
            "streams": streams,
            "never": times.never,
            **{
                f"{action}_ms": {
                    "median": round(statistics.median(values), 3),
                    "max": max(values),
                }
                for action, values in times.heard.items()
            },
        }
        for name, times in found.items()
    ]


def _go(lab: Lab, module: str, streams: int, times: _Times) -> None:
    outcome = lab.send(module, work="opus", file=lab.media.opus, streams=streams, script="control")
    for action, calls in outcome.sent["calls"].items():
        since = {int(ssrc): call for ssrc, call in calls.items()}
        heard = arrivals.first_after(outcome.recording.rows, since, silence_only=True)
        times.heard[action] += [value for value in heard.values() if value is not None]
        times.never += sum(value is None for value in heard.values())


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    return [
        Bar(
            f"{action}, {row['streams']} streams: slowest",
            HEARD_MS,
            # Not heard at all is worse than any time.
            row[f"{action}_ms"]["max"] if row["never"] == 0 else float(10**6),
            "ms",
        )
        for row in rows
        if row["side"] == "voicecore"
        for action in ("pause", "stop")
    ]
