"""mp3 to Opus at the highest complexity, without and with forward error correction."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.climb import DELIVERED, Side, climb
from benchmarks.lab import VOICECORE, Bar, Lab

NAME = "encoder"
TITLE = "Transcoding at complexity 10"

PLAIN = {"bitrate_kbps": 128, "complexity": 10, "fec": False, "rate_control": "constrained"}
FEC = PLAIN | {"fec": True, "expected_loss": 0.15}
FEW, MORE, MOST = 10, 40, 100
"""discord.py as it is, discord.py at its best, and what it does not reach."""
SETTINGS: tuple[tuple[str, dict[str, Any], tuple[int, ...]], ...] = (
    ("without FEC", PLAIN, (FEW, MORE, MOST)),
    ("FEC for 15 % loss", FEC, (FEW, MORE)),
)
"""The same for every side, and how many streams are tried. At the last number the processors decide
what is delivered: it has no bar."""
BARRED = {name: sizes[:-1] for name, _, sizes in SETTINGS}


def run(lab: Lab) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for name, settings, sizes in SETTINGS[1:] if lab.quick else SETTINGS:
        rows += _measure(lab, name, settings, sizes[:1] if lab.quick else sizes)
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _measure(
    lab: Lab, name: str, settings: dict[str, Any], sizes: tuple[int, ...]
) -> list[dict[str, Any]]:
    wanted: dict[str, Any] = {"file": lab.media.mp3, "encoder": settings}
    wanted["window_s"] = lab.seconds(2.5)
    theirs = partial(lab.peer_window, work="ffmpeg pcm", **wanted)
    sides = [
        Side("voicecore", partial(lab.window, VOICECORE, work="mp3", **wanted), sizes),
        Side("discord.py FFmpegPCMAudio", theirs, sizes[:1]),
        Side("discord.py FFmpegPCMAudio, tuned", partial(theirs, tuned=True), sizes[1:2]),
    ]
    rows = climb(
        sides,
        repeats=lambda _size: 1,
        note=lambda size: lab.note(f"{size} mp3 streams at complexity 10, {name}"),
    )
    return [{"settings": name, **row} for row in rows]


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    return [
        Bar(
            f"{row['settings']}, {row['streams']} streams: delivered",
            DELIVERED,
            row["delivered"],
            "%",
            at_least=True,
        )
        for row in rows
        if row["side"] == "voicecore" and row["streams"] in BARRED[row["settings"]]
    ]
