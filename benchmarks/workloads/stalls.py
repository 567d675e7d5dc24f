"""A live source on the web that stops sending for a while."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.lab import VOICECORE, Bar, Job, Lab, interleave
from benchmarks.station import LEAD_S, Stalls, address_of, station

NAME = "stalls"
TITLE = f"A station {LEAD_S:g} s ahead that stalls"

STREAMS, QUICK_STREAMS = 10, 3
APART_S = 0.1
"""Between two starts: ten ffmpeg at once take so long that their players, whose clocks run already,
have nothing of the lead left."""
WARM_S = 2.0
"""An ffmpeg needs a second to open a live mp3, and makes up for it in a burst."""
FIRST_S = 2.0
"""Into the window: the first stall of the last stream; that of the first comes a second earlier."""
TAIL_S = 1.5
"""From the last stall's end to the window's."""
SCRIPTS: tuple[tuple[str, Stalls], ...] = (
    ("300 ms, then 1 s", ((0.0, 0.3), (1.8, 1.0))),
    ("3 s, then 2.5 s", ((0.0, 3.0), (4.5, 2.5))),
)
"""Counted from the first stall. The first script asks for less than is in stock. In the second, who
does not give back the time that was lost is that much further behind the station, and has it in
stock at the next stall."""
QUICK_SCRIPTS: tuple[tuple[str, Stalls], ...] = (("300 ms", ((0.0, 0.3),)),)
BREAKS = {"300 ms": 0, "300 ms, then 1 s": 0, "3 s, then 2.5 s": 1}
"""Those that the stock does not cover."""
PEER = "discord.py FFmpegPCMAudio"
IN_10_MS = 2
"""One that is late, and the next one."""
MADE_UP = 2


def run(lab: Lab) -> dict[str, Any]:
    rows = []
    with station(lab.media.mp3) as base:
        for name, stalls in QUICK_SCRIPTS if lab.quick else SCRIPTS:
            lab.note(f"a station that stalls for {name}")
            jobs = _jobs(lab, base, stalls)
            if BREAKS[name] == 0:
                # Whether a stall is heard that need not be: asked of discord.py at its best.
                jobs = [(side, job) for side, job in jobs if side != PEER]
            for side, found in interleave(1, jobs).items():
                rows.append({"side": side, "stall": name, **found})
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _jobs(lab: Lab, base: str, stalls: Stalls) -> list[Job]:
    script = [(WARM_S + FIRST_S + begins, lasts) for begins, lasts in stalls]
    wanted: dict[str, Any] = {
        "file": address_of(base, script),
        "streams": QUICK_STREAMS if lab.quick else STREAMS,
        "apart_s": APART_S,
        "warm_s": WARM_S,
        "window_s": FIRST_S + sum(stalls[-1]) + TAIL_S,
    }
    theirs = partial(lab.peer_window, work="ffmpeg pcm", **wanted)
    return [
        ("voicecore", partial(lab.window, VOICECORE, work="mp3", **wanted)),
        (PEER, theirs),
        (f"{PEER}, tuned", partial(theirs, tuned=True)),
    ]


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    bars = []
    for row in rows:
        if row["side"] != "voicecore":
            continue
        name = f"{row['stall']}, {row['streams']} streams"
        breaks = row["breaks"] / row["streams"]
        bars += [
            Bar(f"{name}: gaps over 60 ms", BREAKS[row["stall"]], breaks, "a stream"),
            Bar(f"{name}: most packets in 10 ms", IN_10_MS, row["most_in_10_ms"], "packets"),
            Bar(f"{name}: made up late", MADE_UP, row["caught_up"], "packets"),
        ]
    return bars
