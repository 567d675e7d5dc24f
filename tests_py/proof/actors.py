"""The processes of the proofs: senders that send, workers that carry out, both with a log.

A log line is one write() to a file in append mode: it survives `kill -9`, and the order of writes
is the order of lines. Times are CLOCK_MONOTONIC, which all processes of a machine share.

    C <id> <key>                               committed: enqueue has returned
    S <id> <attempt> <key> <owner> <ns>        the handler starts
    E <id> <attempt> <key> <owner> <ns>        the handler has ended; the ack follows
    B <id> <attempt> <key> <owner> <ns>        a session begins: its play, its lease's attempt
    F <id> <attempt> <key> <owner> <ns>        it has ended; the key is freed behind it
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from voicecore import Engine, NullSink, Scheduler, Session, ToneSource
from voicecore.errors import StaleClaim
from voicecore.queue import Command, CommandQueue, NewCommand, SyncCommandQueue

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


ORDERS = (
    ("work", 10),
    ("play", 6),
    ("stop", 2),
    ("pause", 1),
    ("resume", 1),
    ("volume", 1),
    ("next", 1),
    ("nonsense", 1),
)
"""What a sender of `order` sends, and how often."""

NO_ENTRY = 404


def order(db: str, log: str, count: int, keys: int, seed: int, pause: float) -> None:
    """Send everything that a bot takes: work, plays, what steers them, and nonsense."""
    dice = random.Random(seed)
    lines = Log(log)
    verbs, weights = zip(*ORDERS, strict=True)
    with SyncCommandQueue(db, synchronous="normal") as queue:
        for _ in range(count):
            (verb,) = dice.choices(verbs, weights)
            keyless = verb in ("stop", "pause") and dice.random() < 0.3
            key = None if keyless else f"k{dice.randrange(keys)}"
            entry = dice.choice([1, 2, 3, NO_ENTRY]) if verb == "play" else None
            args: dict[str, Any] = {"to": 0.5} if verb == "volume" else {}
            if verb == "play" and dice.random() < 0.5:
                args = {"busy": dice.choice(["replace", "queue"])}
            overtakes = verb == "stop" and dice.random() < 0.5
            tries = 1 if verb == "nonsense" or entry == NO_ENTRY else MANY_TRIES
            id = queue.enqueue(
                verb, entry, key=key, args=args, overtakes=overtakes, max_attempts=tries
            )
            lines.write("C", id, key, verb)
            time.sleep(pause)


@dataclass(frozen=True)
class Entry:
    """What a bot plays: under its command's key."""

    id: int
    key: str | None = None


def bot(db: str, log: str, stop: str, lease: float, seed: int) -> None:
    """Be a bot, with a scheduler and an engine, until the file `stop` is there and all is done."""
    logging.disable(logging.WARNING)  # nonsense is to fail
    asyncio.run(_bot(Path(db), log, Path(stop), lease, random.Random(seed)))


async def _bot(db: Path, log: str, stop: Path, lease: float, dice: random.Random) -> None:
    lines = Log(log)

    async def play(session: Session) -> None:
        command = 0 if session.command is None else session.command.id
        who = (command, session.attempt, session.key, queue.owner)
        lines.write("B", *who, time.monotonic_ns())
        try:
            source = ToneSource(440.0, dice.choice([0.02, 0.1, 0.4]))
            player = engine.play(source, NullSink())
            session.attach(player)
            await player.wait_finished()
        finally:
            lines.write("F", *who, time.monotonic_ns())

    async def load(entry_id: int) -> Entry | None:
        return None if entry_id == NO_ENTRY else Entry(entry_id)

    async with (
        Engine() as engine,
        CommandQueue(db, role="worker", synchronous="normal", lease=lease) as queue,
    ):
        scheduler = Scheduler(None, queue, period=0.1, play_session=play, load_entry=load)

        @scheduler.handler("work")
        async def work(command: Command) -> None:
            who = (command.id, command.attempt, command.key, queue.owner)
            lines.write("S", *who, time.monotonic_ns())
            await asyncio.sleep(dice.choice([0.0, 0.0, 0.003]))
            lines.write("E", *who, time.monotonic_ns())

        ended = scheduler.start()
        try:
            while not (stop.exists() and await _is_idle(scheduler)):
                await asyncio.wait([ended], timeout=0.02)
                assert not ended.done()
        finally:
            await scheduler.shutdown()


async def _is_idle(scheduler: Scheduler) -> bool:
    return not await scheduler.queue.peek(1) and not scheduler.sessions.held()


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
    "order": order,
    "bot": bot,
    "sleep_on_it": sleep_on_it,
    "hold_the_lock": hold_the_lock,
    "schedule": schedule,
}


def act(name: str, arguments: Mapping[str, Any]) -> None:
    """Run one of them."""
    ACTORS[name](**arguments)
