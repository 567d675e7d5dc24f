"""A command is the same row whichever way it is sent."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voicecore import CommandQueue, NewCommand, QueueTimeout, SyncCommandQueue, WrongType

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


def _methods(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_both_clients_have_the_same_methods_but_for_a_sessions_holder() -> None:
    only_there = _methods(CommandQueue) - _methods(SyncCommandQueue)
    assert only_there - {"aclose"} == {
        "lease_session",
        "renew_session",
        "end_session",
        "clear_dead",
    }
    assert all(name in str(SyncCommandQueue.__doc__) for name in only_there - {"aclose"})
    assert _methods(SyncCommandQueue) - _methods(CommandQueue) == {"close"}
    for name in _methods(CommandQueue) & _methods(SyncCommandQueue) - {"play_expires_after"}:
        if callable(getattr(CommandQueue, name)):
            ours, theirs = getattr(CommandQueue, name), getattr(SyncCommandQueue, name)
            parameters = inspect.signature(ours).parameters
            assert list(parameters) == list(inspect.signature(theirs).parameters), name


async def test_who_may_block_can_wait_for_a_session(tmp_path: Path) -> None:
    now = [1_000.0]
    path = tmp_path / "q.db"

    def clock() -> float:
        return now[0]

    async with CommandQueue(path, wall_clock=clock) as bot:
        with SyncCommandQueue(path, wall_clock=clock) as web:
            assert web.wait_session("g") is None
            attempt = await bot.lease_session("g", 3)
            with pytest.raises(QueueTimeout, match="the session of g"):
                web.wait_session("g", timeout=0)
            waiting = asyncio.create_task(asyncio.to_thread(web.wait_session, "g", attempt, 10))
            await bot.end_session("g", attempt, "late")
            assert await waiting == "late"
            assert web.wait_session("g") == "late"
            await bot.lease_session("g", 4)
            assert web.wait_session("g", attempt) == "lost"
            now[0] += 60
            assert web.wait_session("g") == "lost"
            with pytest.raises(WrongType, match="attempt: got 'a'"):
                web.wait_session("g", "a")  # type: ignore[arg-type]
