"""The sending process is busy with something else, held up, or stopped."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.conditions import CONDITIONS
from benchmarks.lab import DISCORD, VOICECORE, Bar, Job, Lab, interleave

NAME = "disturbed"
TITLE = "What the rest of the process does"

WITHIN_MS = 1.0
MADE_UP = 2
BURST = MADE_UP + 2
"""What is owed, what is due, and the next tick's own frame, which may be due a moment later."""


def run(lab: Lab) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for name in CONDITIONS:
        if lab.quick and name == "loop blocked":
            continue
        lab.note(f"condition: {name}")
        rows += _measure(lab, name)
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _measure(lab: Lab, condition: str) -> list[dict[str, Any]]:
    # One stop at least must fit in.
    window = max(lab.seconds(3.5), 2.0)
    play = partial(lab.window, condition=condition, window_s=window)
    pcm = {"work": "pcm", "streams": 10, "file": lab.media.pcm}
    opus = {"work": "opus", "streams": 10, "file": lab.media.opus}
    ours_pcm = pcm | {"file": lab.media.wav}
    jobs: list[Job] = [
        ("voicecore, PCM", partial(play, VOICECORE, **ours_pcm)),
        ("discord.py, PCM", partial(play, DISCORD, **pcm)),
        ("voicecore, passthrough", partial(play, VOICECORE, **opus | {"streams": 100})),
    ]
    if not lab.quick and condition != "loop blocked":
        jobs += [
            ("discord.py, PCM, tuned", partial(play, DISCORD, tuned=True, **pcm)),
            ("discord.py, passthrough, tuned", partial(play, DISCORD, tuned=True, **opus)),
        ]
    return [
        {"side": name, "condition": condition, **found}
        for name, found in interleave(1, jobs).items()
    ]


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    found = {(row["side"], row["condition"]): row for row in rows}
    bars = []
    for side, streams in (("voicecore, PCM", 10), ("voicecore, passthrough", 100)):
        work = side.removeprefix("voicecore, ")
        idle = found[side, "idle"]["gap_ms"]["p99"]
        for condition in ("busy thread", "GIL held"):
            row = found[side, condition]
            name = f"{work}, {streams} streams, {condition}"
            beyond = round(row["gap_ms"]["p99"] - idle, 3)
            bars.append(Bar(f"{name}: p99 gap beyond the idle run's", WITHIN_MS, beyond, "ms"))
            bars.append(Bar(f"{name}: skipped ticks", 0, row["counts"]["skipped"], ""))
        stopped = found[side, "stopped"]
        name = f"{work}, {streams} streams, stopped for 300 ms"
        burst = Bar(
            f"{name}: longest burst",
            BURST,
            stopped["longest_burst"],
            "frames",
            note="less than 1 ms apart: those owed, the one due and the next, where it falls there",
        )
        bars += [burst, Bar(f"{name}: made up late", MADE_UP, stopped["caught_up"], "frames")]
    return bars
