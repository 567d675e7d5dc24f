"""What both sending processes share: the specification, the window, the scripts.

A sender prints JSON objects, one a line: {"event": "window", ...} when the window opens, its result
last.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmarks import sysinfo
from benchmarks.conditions import condition


@dataclass(frozen=True)
class Spec:
    """One run of a sender."""

    work: str
    """What plays: "opus", "pcm" or "mp3"; see each sender."""
    file: str
    port: int
    streams: int = 1
    script: str = "window"
    """"window": all play while being measured. "control": pause, resume and stop all. "first":
    play one after the other. "spaced": start `streams` within one second. "burst": all at once."""
    apart_s: float = 0.0
    """"window" only: from one start to the next."""
    warm_s: float = 1.0
    window_s: float = 5.0
    condition: str = "idle"
    tuned: bool = False
    """discord.py only: with the settings that suit it best."""
    mode: str = "aead_xchacha20_poly1305_rtpsize"
    """Transport encryption; discord.py has only this one."""
    encoder: dict[str, Any] = field(default_factory=dict)
    """Opus settings for both sides, by the names of `voicecore.EncoderSettings`; what is missing is
    each side's default."""
    volume: float = 1.0

    @classmethod
    def from_argv(cls) -> Spec:
        return cls(**json.loads(sys.argv[1]))


class Streams(Protocol):
    """A sender's streams, addressed by SSRC, 1 to `spec.streams`."""

    async def start(self, ssrc: int) -> dict[str, int]:
        """Open and play; the instants (ns since 1970) `open` and `play` before each."""
        ...

    def pause(self, ssrc: int) -> None: ...
    def resume(self, ssrc: int) -> None: ...
    def stop(self, ssrc: int) -> None: ...
    def children(self) -> list[int]: ...
    def clock_cpu(self) -> float: ...
    def counts(self) -> dict[str, int]:
        """What has gone wrong so far, by the sender's own account."""
        ...

    def lateness(self) -> dict[float, int]:
        """Histogram of lateness at the send call so far: upper edge in ms, packets."""
        ...

    def statistics(self) -> dict[str, Any]: ...


def say(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)


def _cpu(streams: Streams, children: list[int]) -> dict[str, float]:
    own = time.process_time()
    of_children = 0.0
    for pid in children:
        try:
            of_children += sysinfo.process_cpu(pid)
        except OSError:
            continue
    return {"process": own, "clock": streams.clock_cpu(), "children": of_children}


def _spread_between(before: dict[float, int], after: dict[float, int]) -> dict[str, float]:
    """Quantiles of what came on top, by the upper edges of the buckets."""
    added = sorted((edge, count - before.get(edge, 0)) for edge, count in after.items())
    total = sum(count for _, count in added)
    out = {}
    for name, share in (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999), ("max", 1.0)):
        seen = 0
        for edge, count in added:
            seen += count
            if count and seen >= share * total:
                out[name] = edge
                break
    return out


async def _window(spec: Spec, streams: Streams) -> dict[str, Any]:
    before = sysinfo.memory_kib()
    for ssrc in range(1, spec.streams + 1):
        await streams.start(ssrc)
        await asyncio.sleep(spec.apart_s)
    await asyncio.sleep(spec.warm_s)
    children = streams.children()
    with condition(spec.condition, asyncio.get_running_loop()):
        await asyncio.sleep(0.3)
        counted, late = streams.counts(), streams.lateness()
        cpu, t0 = _cpu(streams, children), time.time_ns()
        say({"event": "window", "t0": t0})
        await asyncio.sleep(spec.window_s)
        # Before anything that costs: the window is what the receiver is asked about.
        t1, after_cpu, late_after = time.time_ns(), _cpu(streams, children), streams.lateness()
    counted_after = streams.counts()
    after = sysinfo.memory_kib()
    seconds = (t1 - t0) / 1e9
    return {
        "t0": t0,
        "t1": t1,
        "cpu_percent": {
            name: round(100 * (after_cpu[name] - cpu[name]) / seconds, 3) for name in cpu
        },
        "rss_kib_per_stream": round((after["rss"] - before["rss"]) / spec.streams, 1),
        "children_kib": sysinfo.children_memory_kib(children),
        "counts": {name: counted_after[name] - counted[name] for name in counted},
        "send_lateness_ms": _spread_between(late, late_after),
        "statistics": streams.statistics(),
    }


async def _control(spec: Spec, streams: Streams) -> dict[str, Any]:
    calls: dict[str, dict[int, int]] = {"pause": {}, "stop": {}}
    everyone = range(1, spec.streams + 1)
    for ssrc in everyone:
        await streams.start(ssrc)
    await asyncio.sleep(spec.warm_s)

    def all_of(name: str, action: Callable[[int], None]) -> None:
        for ssrc in everyone:
            calls[name][ssrc] = time.time_ns()
            action(ssrc)

    t0 = time.time_ns()
    all_of("pause", streams.pause)
    await asyncio.sleep(1.0)
    for ssrc in everyone:
        streams.resume(ssrc)
    await asyncio.sleep(1.0)
    all_of("stop", streams.stop)
    await asyncio.sleep(1.0)
    return {"t0": t0, "t1": time.time_ns(), "calls": calls}


async def _first(spec: Spec, streams: Streams) -> dict[str, Any]:
    calls = {}
    for ssrc in range(1, spec.streams + 1):
        calls[ssrc] = await streams.start(ssrc)
        await asyncio.sleep(spec.window_s)
        streams.stop(ssrc)
    await asyncio.sleep(0.2)
    return {"calls": calls}


async def _within_a_second(spec: Spec, streams: Streams) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    spacing = 1.0 / spec.streams if spec.script == "spaced" else 0.0
    began = loop.time() + 0.05

    async def one(ssrc: int) -> dict[str, int]:
        await asyncio.sleep(max(0.0, began + (ssrc - 1) * spacing - loop.time()))
        return await streams.start(ssrc)

    calls = await asyncio.gather(*(one(ssrc) for ssrc in range(1, spec.streams + 1)))
    await asyncio.sleep(spec.window_s)
    return {"calls": dict(enumerate(calls, start=1))}


SCRIPTS: dict[str, Callable[[Spec, Streams], Awaitable[dict[str, Any]]]] = {
    "window": _window,
    "control": _control,
    "first": _first,
    "spaced": _within_a_second,
    "burst": _within_a_second,
}


async def run_script(spec: Spec, streams: Streams) -> dict[str, Any]:
    return await SCRIPTS[spec.script](spec, streams)
