"""Commands beside the caller's own SQL: in one transaction, on one file, under one's triggers."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from voicecore import CommandQueue, DatabaseError, InvalidArgument, SyncCommandQueue, WrongType


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[SyncCommandQueue]:
    with SyncCommandQueue(tmp_path / "q.db") as opened:
        yield opened


@contextlib.contextmanager
def connected(queue: SyncCommandQueue | CommandQueue) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(queue.path)
    yield connection
    connection.close()


# -- within the caller's own transaction -----------------------------------------------------------


def test_a_dedup_key_that_waits_is_no_error_in_ones_own_transaction(
    queue: SyncCommandQueue,
) -> None:
    first = queue.enqueue("x", dedup_key="once")
    queue.execute("CREATE TABLE own(x)")
    with connected(queue) as connection:
        connection.execute("INSERT INTO own VALUES (1)")
        queue.enqueue_in(connection, "x", dedup_key="once")
        queue.enqueue_in(connection, "x", dedup_key="twice")
        queue.enqueue_in(connection, "x", dedup_key="twice")
        queue.enqueue_in(connection, "x")
        queue.enqueue_in(connection, "x")
        connection.commit()
    sent = [(one.id == first, one.dedup_key) for one in queue.peek()]
    assert sent == [(True, "once"), (False, "twice"), (False, None), (False, None)]
    assert queue.execute("SELECT x FROM own") == [(1,)]


@pytest.mark.filterwarnings("error")
async def test_a_connection_that_is_to_be_awaited_is_refused_and_nothing_is_sent(
    tmp_path: Path,
) -> None:
    async with CommandQueue(tmp_path / "q.db") as queue, aiosqlite.connect(queue.path) as there:
        await queue.open()
        with pytest.raises(WrongType, match=r"connection: .* to be awaited; expected a blocking"):
            queue.enqueue_in(there, "x")
        await there.commit()
        assert await queue.peek() == []


async def test_a_future_in_place_of_a_result_is_cancelled(tmp_path: Path) -> None:
    class Executor:
        def execute(self, _sql: str, _parameters: Any, /) -> asyncio.Future[None]:
            self.given = asyncio.get_running_loop().create_future()
            return self.given

    executor = Executor()
    with pytest.raises(WrongType, match="gave Future, to be awaited"):
        CommandQueue(tmp_path / "q.db").enqueue_in(executor, "x")
    assert executor.given.cancelled()


# -- triggers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "send", [lambda q: q.enqueue("x"), lambda q: q.enqueue_many([("y",), ("x",), ("y",)])]
)
def test_a_command_that_a_trigger_ignores_is_an_error(
    queue: SyncCommandQueue, send: Callable[[SyncCommandQueue], object]
) -> None:
    queue.execute(
        "CREATE TRIGGER picky BEFORE INSERT ON bot_commands WHEN NEW.command = 'x'"
        " BEGIN SELECT RAISE(IGNORE); END"
    )
    with pytest.raises(DatabaseError, match="a trigger on bot_commands ignored"):
        send(queue)
    assert queue.peek() == []  # all or none
    assert queue.enqueue("y") == 1


# -- statements ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN",
        "begin immediate",
        "COMMIT",
        "END",
        "ROLLBACK TO a",
        "SAVEPOINT a",
        "RELEASE a",
        "ATTACH ':memory:' AS m",
        "DETACH m",
        " \n\t-- begin\n/* of\n * it */ /**/ ; BEGIN -- done",
        "\ufeffBEGIN",
        "/* a */--\nSavePoint a",
        "PRAGMA query_only = 1",
        "PRAGMA query_only(1)",
        "pragma/**/main . locking_mode/* = */=exclusive",
        "PRAGMA synchronous=OFF",
    ],
)
def test_a_statement_that_the_queue_would_meet_later_is_refused(
    queue: SyncCommandQueue, sql: str
) -> None:
    for run in (queue.execute, lambda sql: queue.transaction([("SELECT 1", ()), (sql, ())])):
        with pytest.raises(InvalidArgument, match=r"sql: got .*, expected"):
            run(sql)
    queue.enqueue("x")
    with connected(queue) as other:
        assert other.execute("SELECT count(*) FROM bot_commands").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'BEGIN'",
        "/* BEGIN */ SELECT 1",
        "-- COMMIT\nSELECT 1",
        "CREATE TABLE begin_with(x)",
        "CREATE TRIGGER t AFTER INSERT ON bot_commands BEGIN SELECT 1; END",
        "EXPLAIN SELECT 1",
        "PRAGMA table_info(bot_commands)",
        "PRAGMA main.table_info(bot_commands)",
        "PRAGMA synchronous",
        "PRAGMA data_version",
        "WITH n AS (SELECT 1) SELECT * FROM n",
    ],
)
def test_other_statements_are_run(queue: SyncCommandQueue, sql: str) -> None:
    queue.execute(sql)


def test_a_long_comment_that_has_no_end_is_looked_through_once(queue: SyncCommandQueue) -> None:
    with pytest.raises(InvalidArgument, match="empty SQL text"):
        queue.execute("/* */" * 20_000 + "/* x " * 20_000)


@pytest.mark.parametrize("given", [{"x": 5}, "a", b"a", bytearray(b"a"), {1, 2}])
def test_what_is_no_sequence_of_values_is_refused(queue: SyncCommandQueue, given: Any) -> None:
    with pytest.raises(WrongType, match=r"parameters: got .*, expected a sequence of values"):
        queue.execute("SELECT :x", given)


def test_a_text_that_utf_8_cannot_hold_is_no_parameter(queue: SyncCommandQueue) -> None:
    with pytest.raises(InvalidArgument, match=r"parameters: .*UTF-8"):
        queue.execute("SELECT ?", ("\ud800",))


@pytest.mark.parametrize("given", [("é",), ["é"], iter(["é"])])
def test_values_may_come_in_any_sequence(queue: SyncCommandQueue, given: Any) -> None:
    assert queue.execute("SELECT ?", given) == [("é",)]


# -- values ----------------------------------------------------------------------------------------


def test_statistics_and_workers_are_told_whatever_the_file_holds(queue: SyncCommandQueue) -> None:
    queue.enqueue("x")
    queue.execute("INSERT INTO bot_commands(command, created_at) VALUES ('x', datetime('now'))")
    queue.execute(
        "INSERT INTO bot_command_history(command, state, finished_at) VALUES ('x', x'ff', 1)"
    )
    queue.execute("UPDATE bot_workers SET owner = x'fe', role = x'ff'")
    found = queue.statistics()
    assert found.ready == 2
    assert found.oldest_ready is not None
    assert found.oldest_ready > time.time() - 600
    assert sum(found.history.values()) == 1
    assert len(queue.workers()) == 1
