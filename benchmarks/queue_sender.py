"""The sending process: so many commands, one every so many milliseconds, each with its instant."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import voicecore
from benchmarks.queue_peers import (
    LESSON_INSERT,
    PEERS,
    huey_at,
    lesson_connection,
    padding,
    payload,
)
from benchmarks.queue_spec import from_argv
from benchmarks.sending import say

KEYS = 64
"""Guilds that commands go to in turns: per guild at most one is under way."""


@dataclass(frozen=True)
class Spec:
    side: str
    path: str
    level: str
    count: int
    size: int = 110
    period_s: float = 0.010


def paced(spec: Spec, send: Callable[[int, int], object]) -> dict[str, Any]:
    """On a grid, however long one takes; `send` gets its number and the instant before it."""
    began = time.monotonic()
    took = []
    for number in range(spec.count):
        pause = began + number * spec.period_s - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        at = time.monotonic_ns()
        send(number, at)
        took.append((time.monotonic_ns() - at) / 1e6)
    return {"enqueue_ms": took, "seconds": time.monotonic() - began}


def _voicecore(spec: Spec) -> dict[str, Any]:
    pad = padding(spec.size, time.monotonic_ns())
    with voicecore.SyncCommandQueue(
        spec.path,
        synchronous=spec.level,  # type: ignore[arg-type]  # from a command line
    ) as queue:
        return paced(
            spec,
            lambda number, at: queue.enqueue(
                "job", 3, key=f"guild-{number % KEYS}", args={"at": at, "pad": pad}
            ),
        )


async def _lesson(spec: Spec) -> dict[str, Any]:
    connection = await lesson_connection(spec.path, spec.level)
    began = time.monotonic()
    for number in range(spec.count):
        await asyncio.sleep(max(0.0, began + number * spec.period_s - time.monotonic()))
        await connection.execute(LESSON_INSERT, (payload(spec.size, time.monotonic_ns()),))
        await connection.commit()
    await connection.close()
    return {"seconds": time.monotonic() - began}


def _huey(spec: Spec) -> dict[str, Any]:
    queue = huey_at(spec.path, spec.level)

    @queue.task(name="job")  # type: ignore[untyped-decorator]  # huey has no types
    def job(text: str) -> None:
        """Runs in the worker."""

    return paced(spec, lambda _number, at: job(payload(spec.size, at)))


def main() -> None:
    spec = from_argv(Spec)
    side = spec.side.split(",")[0]
    if side == "voicecore":
        say(_voicecore(spec))
    elif side == "lesson":
        say(asyncio.run(_lesson(spec)))
    elif side == "huey":
        say(_huey(spec))
    else:
        # Its type says how to make it.
        peer = PEERS[side](spec.path, spec.level)  # type: ignore[call-arg]
        say(paced(spec, lambda _number, at: peer.put(payload(spec.size, at))))


if __name__ == "__main__":
    main()
