"""From `play` to the first packet at the receiver: one at a time, and forty within a second."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

from benchmarks import arrivals
from benchmarks.lab import DISCORD, VOICECORE, Bar, Job, Lab, interleave

NAME = "first_frame"
TITLE = "First frame of a local mp3"

PLAYS = 40
MEDIAN_MS = 10.0
ALL_MS = 60.0

SIDES = {
    "voicecore": (VOICECORE, "mp3", False),
    "discord.py FFmpegPCMAudio": (DISCORD, "ffmpeg pcm", False),
    "discord.py FFmpegPCMAudio, tuned": (DISCORD, "ffmpeg pcm", True),
}


def run(lab: Lab) -> dict[str, Any]:
    rows = []
    for script, title in (
        ("first", "one at a time"),
        ("spaced", f"{PLAYS} within a second"),
        ("burst", f"{PLAYS} at once"),
    ):
        lab.note(f"first frames: {title}")
        jobs: list[Job] = []
        for name, (module, work, tuned) in SIDES.items():
            if lab.quick and tuned:
                continue
            # Until the next one, or until the last of all has surely begun.
            patience = {VOICECORE: (0.15, 0.5), DISCORD: (0.4, 2.0)}[module]
            wanted = {
                "work": work,
                "tuned": tuned,
                "script": script,
                "streams": lab.repeats(15) if script == "first" else PLAYS,
                "window_s": patience[0 if script == "first" else 1],
            }
            jobs.append((name, partial(_measure, lab, module, wanted)))
        for name, found in interleave(lab.repeats(3 if script == "spaced" else 1), jobs).items():
            rows.append({"side": name, "script": script, "title": title, **found})
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _measure(lab: Lab, module: str, wanted: dict[str, Any]) -> dict[str, Any]:
    outcome = lab.send(module, file=lab.media.mp3, **wanted)
    out: dict[str, Any] = {"streams": wanted["streams"]}
    for since in ("open", "play"):
        calls = {int(ssrc): call[since] for ssrc, call in outcome.sent["calls"].items()}
        times = arrivals.first_after(outcome.recording.rows, calls)
        heard = [value for value in times.values() if value is not None]
        out[f"from_{since}_ms"] = {
            "median": round(statistics.median(heard), 3),
            "max": max(heard),
        }
        out["never"] = len(times) - len(heard)
    return out


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    found = {row["script"]: row for row in rows if row["side"] == "voicecore"}

    def bar(name: str, limit: float, script: str, since: str, value: str) -> Bar:
        return Bar(name, limit, found[script][f"from_{since}_ms"][value], "ms")

    return [
        bar("one at a time: median after play", MEDIAN_MS, "first", "play", "median"),
        bar("one at a time: median after open", MEDIAN_MS, "first", "open", "median"),
        bar(f"{PLAYS} within a second: slowest after play", ALL_MS, "spaced", "play", "max"),
        bar(f"{PLAYS} within a second: slowest after open", ALL_MS, "spaced", "open", "max"),
        bar(f"{PLAYS} at once: slowest after play", ALL_MS, "burst", "play", "max"),
        bar(f"{PLAYS} at once: slowest after open", ALL_MS, "burst", "open", "max"),
    ]
