"""A command is the same row whichever way it is sent."""

from __future__ import annotations

import dataclasses
import inspect
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voicecore import CommandQueue, NewCommand, SyncCommandQueue

# Each field another value, so that two that are swapped show.
FIELDS: dict[str, Any] = {
    "key": "guild",
    "args": {"to": 12.5},
    "requested_by": "somebody",
    "dedup_key": "once",
    "delay": 3.0,
    "expires_after": 70.0,
    "priority": 5,
    "max_attempts": 9,
    "overtakes": True,
}
COLUMNS = (
    "command, entry_id, key, args, requested_by, created_at, dedup_key, priority, not_before,"
    " expires_at, overtakes, max_attempts"
)
ROW = ("stop", 7, "guild", '{"to": 12.5}', "somebody", 1_000_000, "once", 5, 1_003_000, 1_070_000)


def _clock() -> float:
    return 1_000.0


async def _async(path: Path) -> None:
    async with CommandQueue(path, wall_clock=_clock) as queue:
        await queue.enqueue("stop", 7, **FIELDS)


async def _async_many(path: Path) -> None:
    async with CommandQueue(path, wall_clock=_clock) as queue:
        await queue.enqueue_many([NewCommand("stop", 7, **FIELDS)])


async def _sync(path: Path) -> None:
    with SyncCommandQueue(path, wall_clock=_clock) as queue:
        queue.enqueue("stop", 7, **FIELDS)


async def _inside(path: Path) -> None:
    with SyncCommandQueue(path, wall_clock=_clock) as queue:
        statements: list[tuple[str, Any]] = []

        class Executor:
            def execute(self, sql: str, parameters: Any, /) -> None:
                statements.append((sql, parameters))

        queue.enqueue_in(Executor(), "stop", 7, **FIELDS)
        queue.transaction(statements)


@pytest.mark.parametrize("send", [_async, _async_many, _sync, _inside])
async def test_every_field_arrives_in_its_column(
    send: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / "queue.db"
    await send(path)
    connection = sqlite3.connect(path)
    rows = connection.execute(f"SELECT {COLUMNS} FROM bot_commands").fetchall()
    connection.close()
    assert rows == [(*ROW, 1, 9)]


def test_all_ways_take_the_same_arguments() -> None:
    def taken(function: Callable[..., Any]) -> list[tuple[str, object]]:
        parameters = list(inspect.signature(function).parameters.values())[1:]
        return [(one.name, one.default) for one in parameters]

    assert taken(SyncCommandQueue.enqueue) == taken(CommandQueue.enqueue)
    fields = dataclasses.fields(NewCommand)
    assert [one.name for one in fields] == [name for name, _ in taken(CommandQueue.enqueue)]
    assert [one.default for one in fields[1:]] == [
        default for _, default in taken(CommandQueue.enqueue)[1:]
    ]
