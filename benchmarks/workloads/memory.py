"""Memory of a stream, against the bare library objects it cannot do without."""

from __future__ import annotations

from typing import Any

from benchmarks.lab import DISCORD, VOICECORE, Bar, Lab, interleave, program_output
from benchmarks.workloads.cpu import BITRATE, COMPLEXITY

NAME = "memory"
TITLE = "Memory of a stream"

STREAMS = 100
RATIO = 1.2
RING_KIB = 64 * 1448 / 1024
"""The packet ring: room for 20 frames in two versions and some to spare, rounded up to 64 slots, of
one packet of at most 1,400 bytes and what the player must know about it each."""


def run(lab: Lab) -> dict[str, Any]:
    lab.note("memory")

    def bare(mode: str, file: str, *settings: int) -> dict[str, Any]:
        command = [lab.programs.bare, mode, file, *settings, STREAMS]
        found = program_output(command)
        return {"kib_per_stream": (found["rss_after"] - found["rss_before"]) / STREAMS}

    def ours(work: str, file: str) -> dict[str, Any]:
        found = lab.window(
            VOICECORE, work=work, file=file, streams=STREAMS, warm_s=2.0, window_s=1.0
        )
        return {"kib_per_stream": found["rss_kib_per_stream"]}

    def ffmpeg() -> dict[str, Any]:
        found = lab.window(DISCORD, work="ffmpeg pcm", file=lab.media.mp3, streams=5, window_s=1.0)
        return {
            "kib_per_stream": found["children_kib"]["rss"] / 5,
            "pss_kib_per_stream": found["children_kib"]["pss"] / 5,
        }

    media = lab.media
    found = interleave(
        lab.repeats(3),
        [
            ("bare mp3", lambda: bare("memory-transcode", media.mp3, BITRATE, COMPLEXITY)),
            ("voicecore mp3", lambda: ours("mp3", media.mp3)),
            ("bare Opus", lambda: bare("memory-demux", media.opus)),
            ("voicecore Opus", lambda: ours("opus", media.opus)),
        ],
    )
    found |= interleave(1, [("one ffmpeg child", ffmpeg)])
    rows = [{"side": name, **row} for name, row in found.items()]
    return {"rows": rows, "ring_kib": RING_KIB, "bars": [bar.record() for bar in _bars(found)]}


def _bars(found: dict[str, Any]) -> list[Bar]:
    bars = []
    for kind in ("mp3", "Opus"):
        limit = RATIO * found[f"bare {kind}"]["kib_per_stream"] + RING_KIB
        bars.append(
            Bar(
                f"{kind}: a stream",
                round(limit, 1),
                round(found[f"voicecore {kind}"]["kib_per_stream"], 1),
                "KiB",
                note=f"1.2 × bare, plus a ring of {RING_KIB:.0f} KiB",
            )
        )
    return bars
