"""Opus that is already right, to N calls at once."""

from __future__ import annotations

from typing import Any

from benchmarks.lab import VOICECORE, Bar, Lab, interleave

NAME = "passthrough"
TITLE = "Passthrough: N streams of Opus"

SIZES = (1, 10, 25, 50, 100, 250, 500, 1000, 2000)
QUICK_SIZES = (1, 25, 100, 250, 500)
REPEATED = (100, 500)
"""Where the sides are compared, and where the bar is: measured three times."""

DELIVERED = 99.9


def run(lab: Lab) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    peers = {"discord.py raw": False, "discord.py raw, tuned": True}
    for size in QUICK_SIZES if lab.quick else SIZES:
        lab.note(f"{size} passthrough streams")
        window = lab.seconds(4.0)

        def ours(size: int = size, window: float = window) -> dict[str, Any]:
            return lab.window(
                VOICECORE, work="opus", file=lab.media.opus, streams=size, window_s=window
            )

        def theirs(
            tuned: bool, work: str = "opus", size: int = size, window: float = window
        ) -> dict[str, Any]:
            return lab.peer_window(
                work=work,
                file=lab.media.opus,
                streams=size,
                window_s=window,
                tuned=tuned,
            )

        jobs = [("voicecore", ours)]
        jobs += [(name, lambda tuned=tuned: theirs(tuned)) for name, tuned in peers.items()]
        if size in (10, 50):
            jobs.append(("discord.py ffmpeg copy", lambda: theirs(False, "ffmpeg copy")))
            jobs.append(("discord.py from_probe", lambda: theirs(False, "ffmpeg opus")))
        repeats = lab.repeats(3 if size in REPEATED else 1)
        for name, found in interleave(repeats, jobs).items():
            rows.append({"side": name, **found})
            # Larger numbers would only show more of it.
            if name in peers and found["delivered"] < DELIVERED:
                del peers[name]
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    ours = {row["streams"]: row for row in rows if row["side"] == "voicecore"}
    bars = []
    if 500 in ours:
        row = ours[500]
        bars += [
            Bar("500 streams: delivered", DELIVERED, row["delivered"], "%", at_least=True),
            Bar("500 streams: p99 gap", 21.0, row["gap_ms"]["p99"], "ms"),
            Bar("500 streams: whole process", 12.0, row["cpu_percent"]["process"], "% of a core"),
        ]
    if 2000 in ours:
        bars.append(
            Bar("2,000 streams: delivered", DELIVERED, ours[2000]["delivered"], "%", at_least=True)
        )
    return bars
