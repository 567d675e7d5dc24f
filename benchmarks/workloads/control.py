"""From `pause` and `stop` to the first silence frame at the receiver."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import arrivals
from benchmarks.lab import DISCORD, VOICECORE, Bar, Lab

NAME = "control"
TITLE = "Pause and stop, until heard"

SIZES = (1, 100, 500)
QUICK_SIZES = (1, 500)
PEER_SIZES = (1, 100)
HEARD_MS = 50.0


def run(lab: Lab) -> dict[str, Any]:
    rows = []
    for side, module, sizes in (
        ("voicecore", VOICECORE, QUICK_SIZES if lab.quick else SIZES),
        ("discord.py raw", DISCORD, PEER_SIZES[:1] if lab.quick else PEER_SIZES),
    ):
        for size in sizes:
            lab.note(f"pause and stop of {size}, {side}")
            # One stream says little about a phase of 20 ms: several goes.
            goes = lab.repeats(5) if size == 1 else 1
            rows.append({"side": side, **_measure(lab, module, size, goes)})
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _measure(lab: Lab, module: str, streams: int, goes: int) -> dict[str, Any]:
    times: dict[str, list[float]] = {"pause": [], "stop": []}
    never = 0
    for _ in range(goes):
        outcome = lab.send(
            module, work="opus", file=lab.media.opus, streams=streams, script="control"
        )
        for action, calls in outcome.sent["calls"].items():
            since = {int(ssrc): call for ssrc, call in calls.items()}
            heard = arrivals.first_after(outcome.recording.rows, since, silence_only=True)
            times[action] += [value for value in heard.values() if value is not None]
            never += sum(value is None for value in heard.values())
    return {
        "streams": streams,
        "never": never,
        **{
            f"{action}_ms": {
                "median": round(statistics.median(values), 3),
                "max": max(values),
            }
            for action, values in times.items()
        },
    }


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
