"""`kill -9` of bots, with a scheduler, sessions, players and a schedule, while others send."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from voicecore.queue import CommandQueue
from voicecore.schedule import FixedTimes, Interval, Policy, ScheduleEntry, SqliteScheduleStore

from .check_bots import Logs, check
from .nursery import Nursery
from .scale import scaled, tell
from .test_crashes import KILLED, assert_sound

LEASE = 5.0
"""Longer than a busy machine lets a process stand still. Nobody waits for it: a bot that starts
frees what the dead hold."""


async def _make(db: Path, fixed: int) -> None:
    """A file with two entries: each second until it is disabled, and at so many fixed times."""
    async with CommandQueue(db, synchronous="normal") as queue:
        store = SqliteScheduleStore(queue)
        begin = datetime.now(UTC)
        times = [(begin + timedelta(seconds=n)).strftime("%H:%M:%S") for n in range(1, fixed + 1)]
        for name, rule, busy in (
            ("every", Interval(1), "drop"),
            ("fixed", FixedTimes(times), "queue"),
        ):
            policy = Policy(coalesce="all", busy=busy)  # type: ignore[arg-type]
            await store.add(
                ScheduleEntry(name, rule, key=f"s-{name}", policy=policy), now=queue.now()
            )


async def _disable(db: Path) -> None:
    async with CommandQueue(db, synchronous="normal") as queue:
        store = SqliteScheduleStore(queue)
        for entry in (await store.read())[0]:
            await store.update(replace(entry, enabled=False), now=queue.now())


def test_bots_killed_at_any_moment_lose_nothing_and_never_play_two_sessions_of_a_key(
    nursery: Nursery, tmp_path: Path
) -> None:
    rounds, keys = scaled(20, 500), 4
    db, stop = tmp_path / "queue.db", tmp_path / "stop"
    asyncio.run(_make(db, fixed=scaled(6, 120)))
    dice = random.Random(11)
    logs: list[Path] = []
    deaths = tmp_path / "deaths.log"

    def start(kind: str) -> int:
        log = tmp_path / f"{kind}-{len(logs)}.log"
        log.touch()
        logs.append(log)
        seed = dice.randrange(1 << 30)
        if kind == "order":
            return nursery.start(
                "order", db=db, log=log, count=1_000_000, keys=keys, seed=seed, pause=0.004
            )
        return nursery.start("bot", db=db, log=log, stop=stop, lease=LEASE, seed=seed)

    def kill(pid: int) -> None:
        with deaths.open("a") as log:
            log.write(f"K {pid} {time.monotonic_ns()}\n")
        assert nursery.kill(pid) == KILLED

    running = {kind: start(kind.split()[0]) for kind in ("order 1", "bot 1", "bot 2")}
    for number in range(rounds):
        time.sleep(dice.uniform(0.02, 0.5))
        kind = dice.choice(list(running))
        kill(running[kind])
        if number % 10 == 0:
            assert_sound(db)
        running[kind] = start(kind.split()[0])
    for pid in running.values():
        kill(pid)
    assert_sound(db)
    asyncio.run(_disable(db))
    stop.touch()
    began = time.monotonic()
    last = start("bot")
    assert nursery.wait(last) == 0
    spent = time.monotonic() - began
    figures, wrong = check(db, Logs([*logs, deaths]))
    assert not wrong, (wrong[:20], figures)
    assert figures["sessions"] > rounds / 2
    assert figures["committed"] > rounds
    assert figures["occurrences"] > rounds / 8
    tell(f"{rounds} kills: {figures}, the rest done in {spent:.2f} s")
