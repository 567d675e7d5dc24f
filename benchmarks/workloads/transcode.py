"""mp3 decoded and encoded again, to N calls at once."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.lab import VOICECORE, Bar, Lab, interleave

NAME = "transcode"
TITLE = "Transcoding: N streams of mp3"

STREAMS = 150
DELIVERED = 99.9
SIZES = (1, 10, 40)
PEER_SIZES = (10, 20, 40, 60)
PEERS = (
    ("discord.py FFmpegPCMAudio", "ffmpeg pcm", False),
    ("discord.py FFmpegPCMAudio, tuned", "ffmpeg pcm", True),
    ("discord.py FFmpegOpusAudio", "ffmpeg opus", False),
    ("discord.py FFmpegOpusAudio, tuned", "ffmpeg opus", True),
)


def run(lab: Lab) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    ours = partial(lab.window, VOICECORE, work="mp3", file=lab.media.mp3)
    for size in () if lab.quick else SIZES:
        lab.note(f"{size} mp3 streams, voicecore")
        rows.append({"side": "voicecore", **ours(streams=size, window_s=lab.seconds(3.5))})
    lab.note(f"{STREAMS} mp3 streams, voicecore")
    job = partial(ours, streams=STREAMS, window_s=lab.seconds(5.0))
    rows.append({"side": "voicecore", **interleave(lab.repeats(3), [("it", job)])["it"]})
    for side, work, tuned in PEERS[:1] if lab.quick else PEERS:
        for size in PEER_SIZES[:1] if lab.quick else PEER_SIZES:
            lab.note(f"{size} mp3 streams, {side}")
            found = lab.peer_window(
                work=work,
                tuned=tuned,
                streams=size,
                file=lab.media.mp3,
                window_s=lab.seconds(3.5),
            )
            rows.append({"side": side, **found})
            if found["delivered"] < DELIVERED:
                break
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    ours = next(row for row in rows if row["side"] == "voicecore" and row["streams"] == STREAMS)
    return [
        Bar(f"{STREAMS} streams: delivered", DELIVERED, ours["delivered"], "%", at_least=True),
        Bar(f"{STREAMS} streams: p99 gap", 22.0, ours["gap_ms"]["p99"], "ms"),
    ]
