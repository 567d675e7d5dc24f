"""mp3 decoded and encoded again, to N calls at once."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.climb import DELIVERED, Side, climb
from benchmarks.lab import VOICECORE, Bar, Lab

NAME = "transcode"
TITLE = "Transcoding: N streams of mp3"

STREAMS = 150
SIZES = (1, 10, 20, 40, 60, STREAMS)
QUICK_SIZES = (10, STREAMS)
PEER_SIZES = (10, 20, 40, 60)
REPEATS = {10: 2, STREAMS: 3}
"""Where every side delivers, and where the bars are; elsewhere once."""
PEERS = (
    ("discord.py FFmpegPCMAudio", "ffmpeg pcm", False),
    ("discord.py FFmpegPCMAudio, tuned", "ffmpeg pcm", True),
    ("discord.py FFmpegOpusAudio", "ffmpeg opus", False),
    ("discord.py FFmpegOpusAudio, tuned", "ffmpeg opus", True),
)


def run(lab: Lab) -> dict[str, Any]:
    def ours(streams: int) -> dict[str, Any]:
        window = lab.seconds(5.0 if streams == STREAMS else 3.5)
        return lab.window(
            VOICECORE, work="mp3", file=lab.media.mp3, streams=streams, window_s=window
        )

    sides = [Side("voicecore", ours, QUICK_SIZES if lab.quick else SIZES, climbs_on=True)]
    theirs = partial(lab.peer_window, file=lab.media.mp3, window_s=lab.seconds(3.5))
    sides += [
        Side(
            name,
            partial(theirs, work=work, tuned=tuned),
            PEER_SIZES[:1] if lab.quick else PEER_SIZES,
        )
        for name, work, tuned in (PEERS[:1] if lab.quick else PEERS)
    ]
    rows = climb(
        sides,
        repeats=lambda size: lab.repeats(REPEATS.get(size, 1)),
        note=lambda size: lab.note(f"{size} mp3 streams"),
    )
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    ours = next(row for row in rows if row["side"] == "voicecore" and row["streams"] == STREAMS)
    return [
        Bar(f"{STREAMS} streams: delivered", DELIVERED, ours["delivered"], "%", at_least=True),
        Bar(f"{STREAMS} streams: p99 gap", 22.0, ours["gap_ms"]["p99"], "ms"),
    ]
