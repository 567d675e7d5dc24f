"""One process that ticks: how late its body begins, by each scheduler's own plan."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import voicecore
import voicecore.tasks
from benchmarks.conditions import condition
from benchmarks.queue_spec import from_argv
from benchmarks.sending import say


@dataclass(frozen=True)
class Spec:
    side: str
    period_s: float
    seconds: float
    condition: str


@dataclass
class Ticks:
    """When bodies began, and how late by plan (seconds)."""

    began: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    def reset(self) -> None:
        self.began.clear()
        self.late.clear()


WARM_S = 1.0


async def _window(spec: Spec, ticks: Ticks, at_start: Callable[[], None] | None = None) -> None:
    await asyncio.sleep(WARM_S)
    with condition(spec.condition, asyncio.get_running_loop()):
        await asyncio.sleep(0.3)
        ticks.reset()
        if at_start is not None:
            at_start()
        await asyncio.sleep(spec.seconds)


def _result(spec: Spec, ticks: Ticks, late: list[float], **more: Any) -> dict[str, Any]:
    passed = ticks.began[-1] - ticks.began[0]
    due = passed / spec.period_s
    return {
        "late_ms": [round(value * 1000, 4) for value in late],
        "ticks": len(ticks.began),
        # A loop that sleeps after its work runs slower than it was asked to.
        "slow_percent": round(100 * (1 - (len(ticks.began) - 1) / due), 3),
        **more,
    }


def _against_grid(spec: Spec, began: list[float]) -> list[float]:
    """Late by a fixed grid that the most punctual tick of all lies on."""
    phases = [(at - began[0] + spec.period_s / 2) % spec.period_s for at in began]
    first = min(phases)
    return [phase - first for phase in phases]


async def _voicecore(spec: Spec) -> dict[str, Any]:
    ticks = Ticks()

    class Delivered(voicecore.Scheduler):
        async def _check_schedule(self) -> None:
            ticks.began.append(time.monotonic())

    with tempfile.TemporaryDirectory() as folder:
        scheduler = Delivered(
            None,
            voicecore.CommandQueue(str(Path(folder) / "queue.db"), role="worker"),
            period=spec.period_s,
        )
        scheduler.start()
        before: dict[float, int] = {}

        def at_start() -> None:
            before.update(scheduler.statistics().lateness_ms.histogram)

        await _window(spec, ticks, at_start)
        found = scheduler.statistics()
        await scheduler.shutdown()
        await scheduler.queue.aclose()
    added = [(edge, count - before.get(edge, 0)) for edge, count in found.lateness_ms.histogram]
    native = [edge / 1000 for edge, count in sorted(added) for _ in range(count)]
    return _result(
        spec,
        ticks,
        _against_grid(spec, ticks.began),
        native_ms=[round(value * 1000, 4) for value in native],
    )


async def _of_plan(spec: Spec, module: Any) -> dict[str, Any]:
    """`discord.ext.tasks` and the loop of the same shape: late by their own `next_iteration`."""
    ticks = Ticks()
    planned: list[dt.datetime] = []

    @module.loop(seconds=spec.period_s)  # type: ignore[untyped-decorator]  # either of two
    async def body() -> None:
        now = dt.datetime.now(dt.UTC)
        ticks.began.append(time.monotonic())
        if planned:
            ticks.late.append((now - planned.pop()).total_seconds())
        following = body.next_iteration
        if following is not None:
            planned.append(following)

    body.start()
    await _window(spec, ticks)
    body.cancel()
    return _result(spec, ticks, ticks.late)


async def _asyncio(spec: Spec) -> dict[str, Any]:
    """The loop that everybody writes: work, then sleep."""
    ticks = Ticks()

    async def loop() -> None:
        due = time.monotonic()
        while True:
            now = time.monotonic()
            ticks.began.append(now)
            ticks.late.append(now - due)
            due = time.monotonic() + spec.period_s
            await asyncio.sleep(spec.period_s)

    task = asyncio.create_task(loop())
    await _window(spec, ticks)
    task.cancel()
    return _result(spec, ticks, ticks.late)


async def _asyncio_grid(spec: Spec) -> dict[str, Any]:
    """The best that asyncio can do: `call_at` on a grid."""
    ticks = Ticks()
    loop = asyncio.get_running_loop()
    due = loop.time() + spec.period_s

    def tick() -> None:
        nonlocal due
        now = loop.time()
        ticks.began.append(now)
        ticks.late.append(now - due)
        due += spec.period_s * (1 + int((now - due) / spec.period_s))
        loop.call_at(due, tick)

    loop.call_at(due, tick)
    await _window(spec, ticks)
    return _result(spec, ticks, ticks.late)


async def _apscheduler(spec: Spec) -> dict[str, Any]:
    from apscheduler.events import EVENT_JOB_EXECUTED
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    ticks = Ticks()
    starts: list[dt.datetime] = []

    async def body() -> None:
        starts.append(dt.datetime.now(dt.UTC))
        ticks.began.append(time.monotonic())

    def executed(event: Any) -> None:
        # One instance at a time: the run that has just ended is the one that began last.
        if starts:
            ticks.late.append((starts.pop() - event.scheduled_run_time).total_seconds())

    scheduler = AsyncIOScheduler(timezone=dt.UTC)
    scheduler.add_listener(executed, EVENT_JOB_EXECUTED)
    scheduler.add_job(
        body, "interval", seconds=spec.period_s, max_instances=1, misfire_grace_time=1
    )
    scheduler.start()
    await _window(spec, ticks)
    scheduler.shutdown(wait=False)
    return _result(spec, ticks, ticks.late)


async def main() -> None:
    spec = from_argv(Spec)
    if spec.side == "voicecore":
        found = await _voicecore(spec)
    elif spec.side == "voicecore.tasks":
        found = await _of_plan(spec, voicecore.tasks)
    elif spec.side == "discord.ext.tasks":
        from discord.ext import tasks

        found = await _of_plan(spec, tasks)
    elif spec.side == "apscheduler":
        found = await _apscheduler(spec)
    elif spec.side == "asyncio sleep":
        found = await _asyncio(spec)
    else:
        found = await _asyncio_grid(spec)
    say(found)


if __name__ == "__main__":
    asyncio.run(main())
