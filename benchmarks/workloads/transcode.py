"""mp3 decoded and encoded again, to N calls at once."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.lab import DISCORD, VOICECORE, Bar, Lab, interleave

NAME = "transcode"
TITLE = "Transcoding: N streams of mp3"

STREAMS = 150
DELIVERED = 99.9
PEER_SIZES = (10, 20, 40, 60)
QUICK_PEER_SIZES = (10, 40)


def run(lab: Lab) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []

    def measure(side: str, module: str, streams: int, repeats: int = 1, **wanted: Any) -> float:
        lab.note(f"{streams} mp3 streams, {side}")

        def once() -> dict[str, Any]:
            play = lab.peer_window if module == DISCORD else partial(lab.window, module)
            return play(streams=streams, file=lab.media.mp3, **wanted)

        for name, found in interleave(repeats, [(side, once)]).items():
            rows.append({"side": name, **found})
        return float(rows[-1]["delivered"])

    for size in (1, 10, 40) if not lab.quick else (10,):
        measure("voicecore", VOICECORE, size, work="mp3", window_s=lab.seconds(4.0))
    measure("voicecore", VOICECORE, STREAMS, lab.repeats(3), work="mp3", window_s=lab.seconds(5.0))
    for side, work, tuned in (
        ("discord.py FFmpegPCMAudio", "ffmpeg pcm", False),
        ("discord.py FFmpegPCMAudio, tuned", "ffmpeg pcm", True),
        ("discord.py FFmpegOpusAudio", "ffmpeg opus", False),
        ("discord.py FFmpegOpusAudio, tuned", "ffmpeg opus", True),
    ):
        for size in QUICK_PEER_SIZES if lab.quick else PEER_SIZES:
            window = lab.seconds(4.0)
            if measure(side, DISCORD, size, work=work, tuned=tuned, window_s=window) < DELIVERED:
                break
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    ours = next(row for row in rows if row["side"] == "voicecore" and row["streams"] == STREAMS)
    return [
        Bar(f"{STREAMS} streams: delivered", DELIVERED, ours["delivered"], "%", at_least=True),
        Bar(f"{STREAMS} streams: p99 gap", 22.0, ours["gap_ms"]["p99"], "ms"),
    ]
