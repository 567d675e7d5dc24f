"""The sending process is busy with something else, held up, or stopped."""

from __future__ import annotations

from typing import Any

from benchmarks.conditions import CONDITIONS
from benchmarks.lab import DISCORD, VOICECORE, Bar, Lab, interleave

NAME = "disturbed"
TITLE = "What the rest of the process does"

WITHIN_MS = 1.0
BURST = 3


def run(lab: Lab) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for name in CONDITIONS:
        lab.note(f"condition: {name}")
        rows += _measure(lab, name)
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _measure(lab: Lab, condition: str) -> list[dict[str, Any]]:
    # One stop at least must fit in.
    window = max(lab.seconds(4.0), 2.2)

    def job(module: str, work: str, file: str, streams: int, tuned: bool = False) -> Any:
        return lambda: lab.window(
            module,
            work=work,
            file=file,
            streams=streams,
            tuned=tuned,
            condition=condition,
            window_s=window,
        )

    media = lab.media
    jobs = [
        ("voicecore, PCM", job(VOICECORE, "pcm", media.wav, 10)),
        ("discord.py, PCM", job(DISCORD, "pcm", media.pcm, 10)),
        ("discord.py, PCM, tuned", job(DISCORD, "pcm", media.pcm, 10, tuned=True)),
        ("voicecore, passthrough", job(VOICECORE, "opus", media.opus, 100)),
    ]
    if condition in ("idle", "busy thread", "GIL held"):
        jobs.append(("discord.py, passthrough, tuned", job(DISCORD, "opus", media.opus, 10, True)))
    return [
        {"side": name, "condition": condition, **found}
        for name, found in interleave(1, jobs).items()
    ]


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    found = {(row["side"], row["condition"]): row for row in rows}
    bars = []
    for side, streams in (("voicecore, PCM", 10), ("voicecore, passthrough", 100)):
        idle = found[side, "idle"]["gap_ms"]["p99"]
        for condition in ("busy thread", "GIL held"):
            row = found[side, condition]
            name = f"{side.split(', ')[1]}, {streams} streams, {condition}"
            beyond = round(row["gap_ms"]["p99"] - idle, 4)
            bars.append(Bar(f"{name}: p99 gap beyond the idle run's", WITHIN_MS, beyond, "ms"))
            bars.append(Bar(f"{name}: skipped ticks", 0, row["counts"]["skipped"], ""))
        burst = found[side, "stopped"]["longest_burst"]
        bars.append(
            Bar(f"{side.split(', ')[1]}, stopped for 300 ms: longest burst", BURST, burst, "frames")
        )
    return bars
