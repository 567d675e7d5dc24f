"""What writes to a queue file, each as one step that a process can die in.

`prepare` makes a file, `play` opens it in a child that dies before the n-th step of SQL, and does
one thing. Every clock and owner is fixed, so that the file's contents can be compared.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voicecore import Scheduler, Session, _core
from voicecore.queue import Command, CommandQueue, SyncCommandQueue
from voicecore.schedule import (
    Interval,
    Policy,
    ScheduleChecker,
    ScheduleEntry,
    SqliteScheduleStore,
)
from voicecore.testing import VirtualTime

NOW = 1_700_000_000.0
LEASE = 30.0
HOLDER = "holder"

LESSON = """
CREATE TABLE bot_commands (id INTEGER PRIMARY KEY AUTOINCREMENT, command TEXT, entry_id INTEGER);
INSERT INTO bot_commands(command, entry_id) VALUES ('play', 3), ('pause', NULL), ('stop', NULL);
"""


def _at(path: str, now: float = NOW, owner: str = HOLDER) -> SyncCommandQueue:
    return SyncCommandQueue(path, owner=owner, lease=LEASE, wall_clock=lambda: now)


def nothing(path: str) -> None:
    """No file at all."""


def lesson(path: str) -> None:
    """The lesson's table, with commands that wait."""
    connection = sqlite3.connect(path)
    connection.executescript(LESSON)
    connection.close()


def line(path: str) -> None:
    """Commands in every state that a claim has to deal with."""
    with _at(path, NOW - 700, "gone") as queue:
        queue.enqueue("lapsed", key="a", max_attempts=5)
        queue.claim()
        queue.enqueue("play", 1, key="b")  # expired by now
    with _at(path, NOW - 60) as queue:
        queue.enqueue("work", key="a", dedup_key="once")
        queue.enqueue("work", key="c")
        queue.enqueue("play", 2, key="d")
        queue.enqueue("pause", key="d")
        queue.enqueue("stop", key="d")
        queue.enqueue("later", key="e", delay=600)
        queue.execute("INSERT INTO bot_commands(command, entry_id) VALUES ('play', 7)")
        queue.execute(
            "UPDATE bot_commands SET created_at = ? WHERE entry_id = 7", (int(NOW * 1e3),)
        )


def held(path: str) -> None:
    """A command that the holder has claimed, and one behind it."""
    with _at(path, NOW - 1) as queue:
        queue.enqueue("work", key="a", max_attempts=3)
        queue.enqueue("work", key="a")
        queue.claim()


def last_try(path: str) -> None:
    """The same, without another try."""
    with _at(path, NOW - 1) as queue:
        queue.enqueue("work", key="a")
        queue.claim()


def several_held(path: str) -> None:
    """Commands of three keys that the holder has claimed, and one that somebody else has."""
    with _at(path, NOW - 2, "other") as queue:
        queue.enqueue("work", key="d")
        queue.claim()
    with _at(path, NOW - 1) as queue:
        queue.enqueue_many([("work", None, key) for key in ("a", "b", "c", "a")])
        queue.claim(3)


def schedule(path: str) -> None:
    """Two entries with several occurrences that are due, and a command that waits."""

    async def add() -> None:
        async with CommandQueue(path, owner=HOLDER, wall_clock=lambda: NOW - 25) as queue:
            await queue.enqueue("work", key="a")
            store = SqliteScheduleStore(queue)
            every = Policy(coalesce="all")
            for key, seconds, policy in (("a", 20, Policy()), ("b", 10, every)):
                entry = ScheduleEntry(key, Interval(seconds), key=key, policy=policy)
                await store.add(entry, now=queue.now())

    asyncio.run(add())


def finished(path: str) -> None:
    """A history, half of it old."""
    with _at(path, NOW - 1000) as queue:
        for _ in range(5):
            queue.enqueue("work", key="a")
            queue.ack(queue.claim()[0])
    with _at(path, NOW) as queue:
        queue.enqueue("work", key="a")
        queue.ack(queue.claim()[0])


def session(path: str) -> None:
    """A session that the holder has leased."""

    async def take() -> None:
        async with CommandQueue(path, owner=HOLDER, wall_clock=lambda: NOW - 1) as queue:
            await queue.lease_session("a", 3)

    asyncio.run(take())


def lapsed_session(path: str) -> None:
    """A session whose holder is gone."""

    async def take() -> None:
        async with CommandQueue(path, owner="gone", wall_clock=lambda: NOW - 100) as queue:
            await queue.lease_session("a", 3)

    asyncio.run(take())


def dead_holder(path: str) -> None:
    """A claim and a session of a process of this machine that no longer lives."""
    host, boot, *_ = _core.make_owner().split(":")
    owner = f"{host}:{boot}:4194305:1:1"  # no system numbers its processes that high

    async def take() -> None:
        async with CommandQueue(path, owner=owner, wall_clock=lambda: NOW - 1) as queue:
            await queue.enqueue("work", key="a")
            await queue.claim()
            await queue.lease_session("a", 3)

    asyncio.run(take())


async def _held_one(queue: CommandQueue) -> Command:
    return next(one for one in await queue.peek() if one.state == "claimed")


async def _claim(queue: CommandQueue) -> object:
    return await queue.claim(10, started_at=NOW - 30)


async def _many(queue: CommandQueue) -> object:
    return await queue.enqueue_many([("work", 1), ("work", 2), {"command": "work", "key": "z"}])


async def _user(queue: CommandQueue) -> object:
    sql = "UPDATE bot_commands SET priority = ? WHERE id = ?"
    return await queue.transaction([(sql, (5, 3)), (sql, (6, 4))])


async def _open(queue: CommandQueue) -> object:
    return None


Act = Callable[[CommandQueue], Awaitable[object]]


@dataclass(frozen=True)
class Scenario:
    """What is there, and what is done."""

    prepare: Callable[[str], None]
    act: Act


async def _ack(queue: CommandQueue) -> object:
    await queue.ack(await _held_one(queue))
    return None


async def _nack(queue: CommandQueue) -> object:
    return await queue.nack(await _held_one(queue), "broke")


async def _renew(queue: CommandQueue) -> object:
    await queue.renew(await _held_one(queue))
    return None


async def _give_back(queue: CommandQueue) -> object:
    await queue.give_back(await _held_one(queue))
    return None


async def _ack_many(queue: CommandQueue) -> object:
    held = [one for one in await queue.peek() if one.state == "claimed"]
    mine = [one for one in held if one.owner == HOLDER]
    assert len(mine) == 3
    return await queue.ack_many([(one, f"by {one.key}") for one in mine])


async def _fail(queue: CommandQueue) -> object:
    await queue.fail(await _held_one(queue), "broke")
    return None


async def _checkpoint(queue: CommandQueue) -> object:
    await queue.enqueue("work", key="y")  # so that there is something in the log
    return await queue._do(queue._native.checkpoint(True))


async def _check_schedule(queue: CommandQueue) -> object:
    checker = ScheduleChecker(
        SqliteScheduleStore(queue), queue.now, lambda: 0.0, owner=HOLDER, as_commands=True
    )
    return await checker.check(reminders=False)


async def _two_transactions(queue: CommandQueue) -> object:
    await queue.enqueue("work", key="y")
    return await queue.enqueue("work", key="z")


SCENARIOS: dict[str, Scenario] = {
    "make a file": Scenario(nothing, _open),
    "bring the lesson's file forward": Scenario(lesson, _open),
    "enqueue": Scenario(line, lambda queue: queue.enqueue("work", 5, key="a")),
    "enqueue what is there already": Scenario(
        line, lambda queue: queue.enqueue("work", dedup_key="once")
    ),
    "enqueue_many": Scenario(line, _many),
    "claim": Scenario(line, _claim),
    "ack": Scenario(held, _ack),
    "ack_many": Scenario(several_held, _ack_many),
    "fail with tries left": Scenario(held, _fail),
    "nack with tries left": Scenario(held, _nack),
    "nack without": Scenario(last_try, _nack),
    "renew": Scenario(held, _renew),
    "give back": Scenario(held, _give_back),
    "cancel": Scenario(line, lambda queue: queue.cancel(4)),
    "transaction": Scenario(line, _user),
    "lease a new session": Scenario(line, lambda queue: queue.lease_session("a", 3)),
    "take a lapsed session": Scenario(lapsed_session, lambda queue: queue.lease_session("a", 4)),
    "renew a session": Scenario(session, lambda queue: queue.renew_session("a", 1)),
    "end a session": Scenario(session, lambda queue: queue.end_session("a", 1)),
    "clear the dead": Scenario(dead_holder, lambda queue: queue.clear_dead()),
    "send what the schedule has due": Scenario(schedule, _check_schedule),
    "enqueue, and move the log into the file": Scenario(line, _checkpoint),
    "prune": Scenario(finished, lambda queue: queue.prune(500)),
}

NOT_ATOMIC = "two transactions"
PLANTED = {NOT_ATOMIC: Scenario(line, _two_transactions)}
"""What the proof must not let pass."""


def play(name: str, db: str, die_at: int, report: str) -> None:
    """Do it, die before the n-th step (0: never). In the end the report has each step's text."""
    hook = _core.FaultHook(die_at)

    async def run() -> None:
        queue = CommandQueue(db, owner=HOLDER, lease=LEASE, wall_clock=lambda: NOW, fault_hook=hook)
        async with queue:
            await (SCENARIOS | PLANTED)[name].act(queue)
            Path(report).write_text(json.dumps(hook.trace()))
            if die_at:
                os._exit(0)  # before it is closed: the log is still there

    asyncio.run(run())


def run_a_scheduler(db: str, die_at: int, report: str) -> None:
    """Twelve seconds of a scheduler that starts two sessions, carries work out and renews leases.

    In virtual time, so that the steps are the same ones each time.
    """
    hook = _core.FaultHook(die_at)
    time = VirtualTime(NOW)

    async def play_session(session: Session) -> None:
        await session.wait_stop()

    async def load_entry(entry_id: int) -> ScheduleEntry:
        return ScheduleEntry("one", Interval(60), key=f"k{entry_id}", id=entry_id)

    async def run() -> None:
        async with CommandQueue(
            db, owner=HOLDER, lease=LEASE, role="worker", wall_clock=time.time, fault_hook=hook
        ) as queue:
            await queue.enqueue_many([("play", 1), ("play", 2), ("work", None, "w")])
            scheduler = Scheduler(
                queue=queue,
                time=time,
                play_session=play_session,
                load_entry=load_entry,
                schedule=False,
                doorbell=False,
            )

            @scheduler.handler("work")
            async def work(_command: Command) -> None:
                pass

            scheduler.start()
            await scheduler.wait_started()
            await time.advance(12.0)
            await scheduler.shutdown()
            Path(report).write_text(json.dumps(hook.trace()))

    asyncio.run(run())


# Not bot_workers: who is there is announced, not promised.
TABLES = (
    "bot_commands",
    "bot_command_history",
    "bot_sessions",
    "schedule_entries",
    "schedule_occurrences",
    "voicecore_schema",
)


def contents(db: str) -> dict[str, Any]:
    """Every row of the file, read with the plain sqlite3 module, and whether the file is sound."""
    if not os.path.exists(db):
        return {}
    connection = sqlite3.connect(db)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        known = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        return {table: _rows(connection, table) for table in TABLES if table in known}
    finally:
        connection.close()


def _rows(connection: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    cursor = connection.execute(f"SELECT * FROM {table} ORDER BY 1")
    names = [column[0] for column in cursor.description]
    # When a row came that names no time is SQLite's to say.
    return [{k: v for k, v in zip(names, row, strict=True) if k != "created_at"} for row in cursor]
