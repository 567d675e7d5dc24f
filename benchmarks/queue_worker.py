"""The receiving process: waits idle, then handles what comes, and says when each came.

Says {"event": "ready"}, then (after the idle window) {"event": "go"}, then its result.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import voicecore
from benchmarks.queue_peers import (
    LESSON_DELETE,
    LESSON_SELECT,
    PEERS,
    PeerQueue,
    huey_at,
    lesson_connection,
    sent_at,
)
from benchmarks.queue_spec import from_argv
from benchmarks.sending import say

NEVER_S = 60.0
"""Longer than a run: a rung that is not to be used."""


@dataclass(frozen=True)
class Spec:
    side: str
    """ "voicecore", "lesson", "huey" or a peer of `PEERS`."""
    path: str
    level: str
    count: int
    patience_s: float
    """When to give up on commands that do not come."""
    rung: str = "doorbell"
    """voicecore: the fastest rung that may be used: "doorbell", "data_version" or "tick"."""
    poll_s: float = 2.0
    """Everybody else: how often they look."""
    idle_s: float = 0.0


@dataclass
class Handled:
    """What came: (sent, handled) by the machine's monotonic clock."""

    wanted: int
    pairs: list[tuple[int, int]] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)

    def note(self, payload: Callable[[], int]) -> None:
        """`payload` is read after the clock: a handler has begun when it is called."""
        came = time.monotonic_ns()
        self.pairs.append((payload(), came))
        if len(self.pairs) == self.wanted:
            self.enough.set()

    def result(self, idle_percent: float, **more: Any) -> dict[str, Any]:
        return {
            "latency_ms": [round((came - sent) / 1e6, 4) for sent, came in self.pairs],
            "idle_cpu_percent": idle_percent,
            **more,
        }


class Idle:
    """CPU of this process while nothing comes, % of a core."""

    def __init__(self) -> None:
        self._cpu, self._at = time.process_time(), time.monotonic()

    def percent(self) -> float:
        passed = time.monotonic() - self._at
        return round(100 * (time.process_time() - self._cpu) / passed, 4) if passed > 0.1 else 0.0


async def _quiet(spec: Spec) -> float:
    await asyncio.sleep(0.3)
    say({"event": "ready"})
    idle = Idle()
    await asyncio.sleep(spec.idle_s)
    percent = idle.percent()
    say({"event": "go"})
    return percent


async def _until(enough: threading.Event, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    # Set by threads as well.
    while not enough.is_set() and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def _voicecore(spec: Spec) -> dict[str, Any]:
    handled = Handled(spec.count)
    queue = voicecore.CommandQueue(
        spec.path,
        role="worker",
        synchronous=spec.level,  # type: ignore[arg-type]  # from a command line
    )
    scheduler = voicecore.Scheduler(
        None,
        queue,
        doorbell=spec.rung == "doorbell",
        poll=NEVER_S if spec.rung == "tick" else 0.25,
    )

    @scheduler.handler("job")
    async def job(command: voicecore.Command) -> str:
        handled.note(lambda: int(command.args["at"]))
        return "done"

    async with queue:
        scheduler.start()
        idle = await _quiet(spec)
        await _until(handled.enough, spec.patience_s)
        await asyncio.sleep(0.1)
        found = scheduler.statistics()
        await scheduler.shutdown()
    return handled.result(idle, wakes=dict(found.wakes), warnings=found.warnings)


async def _lesson(spec: Spec) -> dict[str, Any]:
    """Its tick: rows in order, each carried out and deleted, then sleep."""
    handled = Handled(spec.count)
    connection = await lesson_connection(spec.path, spec.level)

    async def tick() -> None:
        async with connection.execute(LESSON_SELECT) as cursor:
            rows = await cursor.fetchall()
        for number, _command, args in rows:
            handled.note(partial(sent_at, args))
            await connection.execute(LESSON_DELETE, (number,))
            await connection.commit()

    async def loop() -> None:
        while True:
            await tick()
            await asyncio.sleep(spec.poll_s)

    looping = asyncio.create_task(loop())
    idle = await _quiet(spec)
    await _until(handled.enough, spec.patience_s)
    looping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await looping
    await connection.close()
    return handled.result(idle)


def _sync(spec: Spec, begin: Callable[[Handled], object]) -> dict[str, Any]:
    handled = Handled(spec.count)
    begin(handled)
    idle = asyncio.run(_quiet(spec))
    handled.enough.wait(spec.patience_s)
    return handled.result(idle)


def _peer(spec: Spec) -> dict[str, Any]:
    """None of them can wait for another process: they look, and sleep."""

    def begin(handled: Handled) -> None:
        made = threading.Event()

        def loop() -> None:
            # Its type says how to make it.
            queue: PeerQueue = PEERS[spec.side](spec.path, spec.level)  # type: ignore[call-arg]
            made.set()
            while True:
                found = queue.claim()
                if found is None:
                    time.sleep(spec.poll_s)
                    continue
                handled.note(partial(sent_at, found[1]))
                queue.ack(found[0])

        threading.Thread(target=loop, daemon=True).start()
        made.wait()

    return _sync(spec, begin)


def _huey(spec: Spec) -> dict[str, Any]:
    """Its own consumer with one worker thread."""
    logging.getLogger("huey").setLevel(logging.ERROR)
    queue = huey_at(spec.path, spec.level)

    def begin(handled: Handled) -> None:
        @queue.task(name="job")  # type: ignore[untyped-decorator]  # huey has no types
        def job(text: str) -> None:
            handled.note(partial(sent_at, text))

        pace: dict[str, Any] = {}  # its defaults: 100 ms, growing to 10 s
        if spec.poll_s < 0.1:
            pace = {"initial_delay": spec.poll_s, "max_delay": spec.poll_s, "backoff": 1.0}
        consumer = queue.create_consumer(workers=1, periodic=False, **pace)
        consumer.start()

    return _sync(spec, begin)


def main() -> None:
    spec = from_argv(Spec)
    if spec.side == "voicecore":
        result = asyncio.run(_voicecore(spec))
    elif spec.side == "lesson":
        result = asyncio.run(_lesson(spec))
    elif spec.side == "huey":
        result = _huey(spec)
    else:
        result = _peer(spec)
    say(result)
    import os
    import sys

    sys.stdout.flush()
    os._exit(0)  # peers' threads cannot be told to end


if __name__ == "__main__":
    main()
