"""How many a second: one process, one side, either claims and acks or enqueues."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import voicecore
from benchmarks.queue_peers import (
    LESSON_DELETE,
    LESSON_INSERT,
    PEERS,
    PeerQueue,
    lesson_connection,
    payload,
)
from benchmarks.queue_spec import from_argv
from benchmarks.sending import say

LESSON_ONE = "SELECT id, command, args FROM bot_commands ORDER BY id LIMIT 1"
KEYS = 64
TICK_S = 2.0
"""Ours moves the write-ahead log into the file on the worker's tick, here every two seconds and at
the end; the peers have SQLite move it with every thousandth page. Both are within what is timed."""


@dataclass(frozen=True)
class Spec:
    what: str
    """ "pairs": claim and ack, one by one. "enqueue": one by one. "enqueue many": in hundreds."""
    side: str
    path: str
    level: str
    rows: int
    size: int = 110


MANY = 100


def _queue(spec: Spec, kind: Any) -> Any:
    return kind(spec.path, role="worker", synchronous=spec.level)


def _commands(spec: Spec) -> list[dict[str, Any]]:
    args = json.loads(payload(spec.size))
    return [
        {"command": "job", "entry_id": 3, "key": f"guild-{number % KEYS}", "args": args}
        for number in range(spec.rows)
    ]


def _timed(rows: int, one: Callable[[int], object]) -> float:
    began = time.monotonic()
    for number in range(rows):
        one(number)
    return time.monotonic() - began


def _voicecore_sync(spec: Spec) -> float:
    queue: voicecore.SyncCommandQueue
    with _queue(spec, voicecore.SyncCommandQueue) as queue:
        commands = _commands(spec)
        if spec.what == "pairs":
            for at in range(0, spec.rows, 1000):
                queue.enqueue_many(commands[at : at + 1000])
            queue._run(queue._native.checkpoint(True))
        began = time.monotonic()
        tick = began + TICK_S
        for number in range(spec.rows):
            if spec.what == "pairs":
                (command,) = queue.claim()
                queue.ack(command)
            else:
                queue.enqueue(**commands[number])
            if time.monotonic() >= tick:
                queue._run(queue._native.checkpoint(False))
                tick += TICK_S
        queue._run(queue._native.checkpoint(False))
        return time.monotonic() - began


async def _voicecore_async(spec: Spec) -> float:
    queue: voicecore.CommandQueue
    async with _queue(spec, voicecore.CommandQueue) as queue:
        commands = _commands(spec)
        step = MANY if spec.what == "enqueue many" else 1
        if spec.what == "pairs":
            for at in range(0, spec.rows, 1000):
                await queue.enqueue_many(commands[at : at + 1000])
            await queue._do(queue._native.checkpoint(True))
        began = time.monotonic()
        tick = began + TICK_S
        for at in range(0, spec.rows, step):
            if spec.what == "pairs":
                (command,) = await queue.claim()
                await queue.ack(command)
            elif step == 1:
                await queue.enqueue(**commands[at])
            else:
                await queue.enqueue_many(commands[at : at + step])
            if time.monotonic() >= tick:
                await queue._do(queue._native.checkpoint(False))
                tick += TICK_S
        await queue._do(queue._native.checkpoint(False))
        return time.monotonic() - began


OUR_INSERT = "INSERT INTO bot_commands(command, entry_id, key, args) VALUES ('job', 3, 'guild', ?)"


async def _lesson(spec: Spec) -> float:
    insert = LESSON_INSERT
    if spec.side == "lesson in our table":
        with _queue(spec, voicecore.SyncCommandQueue):
            insert = OUR_INSERT
    connection = await lesson_connection(spec.path, spec.level)
    text = payload(spec.size)
    if spec.what == "pairs":
        await connection.executemany(insert, [(text,)] * spec.rows)
        await connection.commit()
    began = time.monotonic()
    if spec.what == "enqueue many":
        for _ in range(0, spec.rows, MANY):
            await connection.executemany(insert, [(text,)] * MANY)
            await connection.commit()
    else:
        for _ in range(spec.rows):
            if spec.what == "pairs":
                async with connection.execute(LESSON_ONE) as cursor:
                    row = await cursor.fetchone()
                await connection.execute(LESSON_DELETE, (row[0],))
            else:
                await connection.execute(insert, (text,))
            await connection.commit()
    passed = time.monotonic() - began
    await connection.close()
    return passed


def _peer(spec: Spec) -> float:
    # Its type says how to make it.
    queue: PeerQueue = PEERS[spec.side](spec.path, spec.level)  # type: ignore[call-arg]
    text = payload(spec.size)

    def pair(_number: int) -> None:
        found = queue.claim()
        assert found is not None
        queue.ack(found[0])

    if spec.what == "pairs":
        _timed(spec.rows, lambda _number: queue.put(text))
        return _timed(spec.rows, pair)
    return _timed(spec.rows, lambda _number: queue.put(text))


def main() -> None:
    spec = from_argv(Spec)
    if spec.side == "voicecore sync":
        seconds = _voicecore_sync(spec)
    elif spec.side == "voicecore":
        seconds = asyncio.run(_voicecore_async(spec))
    elif spec.side.startswith("lesson"):
        seconds = asyncio.run(_lesson(spec))
    else:
        seconds = _peer(spec)
    say({"rows": spec.rows, "seconds": round(seconds, 6), "per_s": round(spec.rows / seconds, 1)})


if __name__ == "__main__":
    main()
