"""Opus that is already right, to N calls at once."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.awake import AWAKE, can_keep_awake, kept_awake
from benchmarks.lab import AES, VOICECORE, Bar, Job, Lab, interleave

NAME = "passthrough"
TITLE = "Passthrough: N streams of Opus"

SIZES = (1, 10, 25, 50, 100, 250, 500, 1000, 2000)
QUICK_SIZES = (10, 100, 500)
QUICK_PEER_LIMIT = 100
REPEATED = (100, 500, 2000)
"""Where the sides are compared, and where the bars are: measured three times."""
FFMPEG_SIZES = (10,)
VARIED_SIZE = 500
"""Where voicecore is measured with the other cipher, and with the processors kept awake."""
FLOOR_SIZES = (500, 2000)
"""Where the cost of send() alone is measured as well."""
DELIVERED = 99.9


def run(lab: Lab) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    peers = {"discord.py raw": False, "discord.py raw, tuned": True}
    if lab.quick:
        del peers["discord.py raw, tuned"]
    for size in QUICK_SIZES if lab.quick else SIZES:
        lab.note(f"{size} passthrough streams")
        wanted: dict[str, Any] = {"file": lab.media.opus, "streams": size}
        wanted["window_s"] = lab.seconds(3.5)
        jobs: list[Job] = [("voicecore", partial(lab.window, VOICECORE, work="opus", **wanted))]
        if lab.quick and size > QUICK_PEER_LIMIT:
            peers = {}
        for name, tuned in peers.items():
            jobs.append((name, partial(lab.peer_window, work="opus", tuned=tuned, **wanted)))
        if size == VARIED_SIZE:
            aes = partial(lab.window, VOICECORE, work="opus", mode=AES, **wanted)
            jobs.append(("voicecore, AES-256-GCM", aes))
            if can_keep_awake():
                jobs.append((f"voicecore{AWAKE}", partial(kept_awake, jobs[0][1])))
        if size in FFMPEG_SIZES and not lab.quick:
            for name, work in (("ffmpeg copy", "ffmpeg copy"), ("from_probe", "ffmpeg opus")):
                jobs.append((f"discord.py {name}", partial(lab.peer_window, work=work, **wanted)))
        repeats = lab.repeats(3 if size in REPEATED else 1)
        # A peer that is overloaded once is so again, and takes long.
        for name, found in interleave(repeats, jobs, enough=_overloaded).items():
            rows.append({"side": name, **found})
            # Larger numbers would only show more of it.
            if name in peers and _overloaded(found):
                del peers[name]
    floor = []
    for size in FLOOR_SIZES:
        calls = [
            (call, partial(lab.bare_send, size, lab.seconds(3.0), call))
            for call in ("send", "sendmmsg")
        ]
        found = interleave(lab.repeats(3), calls)
        floor.append({**found["send"], "batched_percent": found["sendmmsg"]["cpu_percent"]})
    return {
        "rows": rows,
        "floor": floor,
        "bars": [bar.record() for bar in _bars(rows)],
    }


def _overloaded(found: dict[str, Any]) -> bool:
    return bool(found["delivered"] < DELIVERED)


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    ours = {row["streams"]: row for row in rows if row["side"] == "voicecore"}
    bars = []
    for row in rows:
        if row["streams"] != 500 or row["side"] not in ("voicecore", f"voicecore{AWAKE}"):
            continue
        name = "500 streams" + row["side"].removeprefix("voicecore")
        bars += [
            Bar(f"{name}: delivered", DELIVERED, row["delivered"], "%", at_least=True),
            Bar(f"{name}: p99 gap", 21.0, row["gap_ms"]["p99"], "ms"),
            Bar(f"{name}: whole process", 12.0, row["cpu_percent"]["process"], "% of a core"),
        ]
    if 2000 in ours:
        bars.append(
            Bar("2,000 streams: delivered", DELIVERED, ours[2000]["delivered"], "%", at_least=True)
        )
    return bars
