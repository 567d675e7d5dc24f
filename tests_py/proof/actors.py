"""The processes of the proofs: senders that send, workers that carry out, both with a log.

A log line is one write() to a file in append mode: it survives `kill -9`, and the order of writes
is the order of lines. Times are CLOCK_MONOTONIC, which all processes of a machine share.

    C <id> <key>                               committed: enqueue has returned
    S <id> <attempt> <key> <owner> <ns>        the handler starts
    E <id> <attempt> <key> <owner> <ns>        the handler has ended; the ack follows
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from voicecore.errors import StaleClaim
from voicecore.queue import Command, CommandQueue, NewCommand, SyncCommandQueue
from voicecore.scheduler import Scheduler, Session

MANY_TRIES = 1_000_000
"""So that no command is given up for the number of times that its holders were killed."""


class Log:
    """Lines appended to a file."""

    def __init__(self, path: str | Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, *fields: object) -> None:
        os.write(self._fd, (" ".join(map(str, fields)) + "\n").encode())


def send(db: str, log: str, count: int, keys: int, seed: int, pause: float = 0.0) -> None:
    """Send `count` commands to random keys, one by one and in batches."""
    dice = random.Random(seed)
    lines = Log(log)
    with SyncCommandQueue(db, synchronous="normal") as queue:
        left = count
        while left:
            size = min(left, 1 if dice.random() < 0.8 else dice.randrange(2, 20))
            batch = [
                NewCommand("work", key=f"k{dice.randrange(keys)}", max_attempts=MANY_TRIES)
                for _ in range(size)
            ]
            for id, one in zip(queue.enqueue_many(batch), batch, strict=True):
                lines.write("C", id, one.key)
            left -= size
            if pause:
                time.sleep(pause)


def work(db: str, log: str, stop: str, lease: float, limit: int, seed: int) -> None:
    """Carry commands out until the file `stop` is there and the line is empty."""
    dice = random.Random(seed)
    lines = Log(log)
    with SyncCommandQueue(db, role="worker", synchronous="normal", lease=lease) as queue:
        while True:
            claimed = queue.claim(dice.randrange(1, limit + 1))
            for command in claimed:
                _carry_out(queue, command, lines)
            if not claimed:
                if os.path.exists(stop) and not queue.peek(1):
                    return
                time.sleep(0.001)


def _carry_out(queue: SyncCommandQueue, command: Command, lines: Log) -> None:
    who = (command.id, command.attempt, command.key, queue.owner)
    lines.write("S", *who, time.monotonic_ns())
    lines.write("E", *who, time.monotonic_ns())
    try:
        queue.ack(command)
    except StaleClaim:
        lines.write("X", *who, time.monotonic_ns())


def sleep_on_it(db: str, log: str, lease: float) -> None:
    """Claim, wait to be told, ack, log how that went: for a worker that is stopped meanwhile."""
    lines = Log(log)
    with SyncCommandQueue(db, role="worker", lease=lease) as queue:
        (command,) = queue.claim()
        lines.write("claimed", command.id)
        sys.stdin.readline()
        try:
            queue.ack(command)
        except StaleClaim as stale:
            lines.write(stale.reason)
        else:
            lines.write("accepted")


def hold_the_lock(db: str, log: str, seconds: float) -> None:
    """Hold the file's write lock, as a transaction in another program would."""
    import sqlite3

    connection = sqlite3.connect(db, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    Log(log).write("locked")
    time.sleep(seconds)
    connection.execute("ROLLBACK")


def schedule(db: str, log: str, lease: float) -> None:
    """A scheduler with a session and a slow handler, until it is told to quit."""
    asyncio.run(_schedule(db, Log(log), lease))


async def _schedule(db: str, lines: Log, lease: float) -> None:
    async def play(session: Session) -> None:
        lines.write("plays", session.attempt)
        await session.wait_stop()
        lines.write("silent", session.claim.held)

    async def load(entry_id: int) -> SimpleNamespace:
        return SimpleNamespace(id=entry_id, key="radio")

    async with CommandQueue(db, role="worker", lease=lease) as queue:
        scheduler = Scheduler(
            None, queue, period=0.1, turn=10, play_session=play, load_entry=load, schedule=False
        )

        @scheduler.handler("hold")
        async def hold(_command: Command) -> None:
            lines.write("holds")
            await asyncio.sleep(lease / 2)

        @scheduler.handler("next")
        async def follow(command: Command) -> None:
            lines.write("next", command.attempt)

        @scheduler.handler("quit")
        async def leave(_command: Command) -> None:
            lines.write("healthy", scheduler.healthy)
            await scheduler.shutdown()

        scheduler.start()
        await scheduler.wait()
        await scheduler.shutdown()


ACTORS: Mapping[str, Callable[..., None]] = {
    "send": send,
    "work": work,
    "sleep_on_it": sleep_on_it,
    "hold_the_lock": hold_the_lock,
    "schedule": schedule,
}


def act(name: str, arguments: Mapping[str, Any]) -> None:
    """Run one of them."""
    ACTORS[name](**arguments)
