"""At half the volume: what would pass through must be decoded and encoded again."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.climb import DELIVERED, Side, climb
from benchmarks.lab import VOICECORE, Bar, Lab

NAME = "volume"
TITLE = "Volume 0.5"

VOLUME = 0.5
FEW, MORE = 10, 40
"""discord.py as it is, and at its best."""


def run(lab: Lab) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for kind, file in (("Opus", lab.media.opus), ("mp3", lab.media.mp3)):
        if lab.quick and kind == "mp3":
            continue
        rows += _measure(lab, kind, file)
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _measure(lab: Lab, kind: str, file: str) -> list[dict[str, Any]]:
    wanted: dict[str, Any] = {"file": file, "volume": VOLUME, "window_s": lab.seconds(2.5)}
    sizes = (FEW,) if lab.quick else (FEW, MORE)
    theirs = partial(lab.peer_window, work="ffmpeg pcm", **wanted)
    sides = [
        Side("voicecore", partial(lab.window, VOICECORE, work="opus", **wanted), sizes),
        Side("discord.py PCMVolumeTransformer", theirs, sizes[:1]),
        Side("discord.py PCMVolumeTransformer, tuned", partial(theirs, tuned=True), sizes[1:]),
    ]
    rows = climb(
        sides,
        repeats=lambda _size: 1,
        note=lambda size: lab.note(f"{size} {kind} streams at volume {VOLUME}"),
    )
    return [{"file": kind, **row} for row in rows]


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    bars = []
    for row in rows:
        if row["side"] != "voicecore":
            continue
        name = f"{row['file']}, {row['streams']} streams"
        bars.append(Bar(f"{name}: delivered", DELIVERED, row["delivered"], "%", at_least=True))
        bars.append(Bar(f"{name}: packets copied unchanged", 0, row["counts"]["copied"], ""))
    return bars
