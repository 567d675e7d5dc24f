"""From `play` to the first packet at the receiver: one at a time, and forty within a second."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import arrivals
from benchmarks.lab import DISCORD, VOICECORE, Bar, Lab, interleave

NAME = "first_frame"
TITLE = "First frame of a local mp3"

PLAYS = 40
MEDIAN_MS = 10.0
ALL_MS = 60.0


def run(lab: Lab) -> dict[str, Any]:
    singles = 5 if lab.quick else 15
    sides = {
        "voicecore": (VOICECORE, "mp3", False),
        "discord.py FFmpegPCMAudio": (DISCORD, "ffmpeg pcm", False),
        "discord.py FFmpegPCMAudio, tuned": (DISCORD, "ffmpeg pcm", True),
    }
    rows = []
    for script, streams, repeats in (
        ("first", singles, 1),
        ("spaced", PLAYS, lab.repeats(3)),
        ("burst", PLAYS, lab.repeats(3)),
    ):
        lab.note(
            {"first": "first frames, one by one", "spaced": "40 plays within a second"}.get(
                script, "40 plays at once"
            )
        )
        jobs = []
        for name, (module, work, tuned) in sides.items():
            if script != "first" and tuned:
                continue
            # Until the next one, or until the last of all has surely begun.
            wait = (0.15 if module == VOICECORE else 0.45) if script == "first" else 2.5
            if script != "first" and module == VOICECORE:
                wait = 0.5

            def job(
                module: str = module,
                work: str = work,
                tuned: bool = tuned,
                wait: float = wait,
                script: str = script,
                streams: int = streams,
            ) -> dict[str, Any]:
                return _measure(lab, module, work, tuned, script, streams, wait)

            jobs.append((name, job))
        for name, found in interleave(repeats, jobs).items():
            rows.append({"side": name, "script": script, **found})
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _measure(
    lab: Lab, module: str, work: str, tuned: bool, script: str, streams: int, wait: float
) -> dict[str, Any]:
    outcome = lab.send(
        module,
        work=work,
        file=lab.media.mp3,
        streams=streams,
        script=script,
        tuned=tuned,
        window_s=wait,
    )
    out: dict[str, Any] = {"streams": streams}
    for since in ("open", "play"):
        calls = {int(ssrc): call[since] for ssrc, call in outcome.sent["calls"].items()}
        times = arrivals.first_after(outcome.recording.rows, calls, silence=False)
        heard = [value for value in times.values() if value is not None]
        out[f"from_{since}_ms"] = {
            "median": round(statistics.median(heard), 3),
            "max": max(heard),
        }
        out["never"] = len(times) - len(heard)
    return out


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    found = {row["script"]: row for row in rows if row["side"] == "voicecore"}
    out = [
        Bar(
            "one at a time: median after play",
            MEDIAN_MS,
            found["first"]["from_play_ms"]["median"],
            "ms",
        ),
        Bar(
            "40 within a second: slowest after play",
            ALL_MS,
            found["spaced"]["from_play_ms"]["max"],
            "ms",
        ),
        Bar(
            "40 within a second: slowest after open",
            ALL_MS,
            found["spaced"]["from_open_ms"]["max"],
            "ms",
        ),
        Bar("40 at once: slowest after open", ALL_MS, found["burst"]["from_open_ms"]["max"], "ms"),
    ]
    return out
