"""The peers' queues behind one face, each used as its own documentation says.

Every one has the same file system and the same `synchronous`, set on each connection that it
opens. What a peer promises less than a durable claim does is in `WEAKER`, and is printed beside
its figures.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, Protocol

WEAKER = {
    "litequeue": "accepts a late ack; keeps every finished row in the line's own table",
    "huey": "deletes before the handler runs: a crash loses the task",
    "persist-queue": "claims without a lock between processes: two consumers run the same row",
    "lesson, aiosqlite": "no claim: two consumers run the same row, a crash repeats it",
}

TIDY = 500
"""Finished rows after which the peers that keep them in the line are told to drop them, as their
documentation advises: both look at them again with every claim."""


class PeerQueue(Protocol):
    """One connection to one queue file."""

    def put(self, payload: str) -> None: ...
    def claim(self) -> tuple[Any, str] | None:
        """A token for `ack`, and the payload; None: nothing waits."""
        ...

    def ack(self, token: Any) -> None: ...


def pragma(level: str) -> str:
    return f"PRAGMA synchronous = {level.upper()}"


class LiteQueue:
    def __init__(self, path: str, level: str) -> None:
        import litequeue

        self._queue = litequeue.LiteQueue(path)
        self._queue.conn.execute(pragma(level))
        self._finished = 0

    def put(self, payload: str) -> None:
        self._queue.put(payload)

    def claim(self) -> tuple[Any, str] | None:
        found = self._queue.pop()
        return None if found is None else (found.message_id, found.data)

    def ack(self, token: Any) -> None:
        self._queue.done(token)
        self._finished += 1
        if self._finished % TIDY == 0:
            self._queue.prune(include_failed=False)


def huey_at(path: str, level: str) -> Any:
    """A `SqliteHuey` whose connections have that level."""
    from huey import SqliteHuey

    # Its own option knows only FULL and OFF; NORMAL is set on the connection that it keeps.
    queue = SqliteHuey("bench", filename=path, fsync=True, results=False, utc=True)
    if level == "normal":
        create = queue.storage._create_connection

        def connection() -> sqlite3.Connection:
            made: sqlite3.Connection = create()
            made.execute(pragma(level))
            return made

        queue.storage.close()
        queue.storage._create_connection = connection
    return queue


class Huey:
    """The storage alone: what its consumer does, without the consumer's threads."""

    def __init__(self, path: str, level: str) -> None:
        self._storage = huey_at(path, level).storage

    def put(self, payload: str) -> None:
        self._storage.enqueue(payload.encode())

    def claim(self) -> tuple[Any, str] | None:
        found = self._storage.dequeue()
        return None if found is None else (None, bytes(found).decode())

    def ack(self, token: Any) -> None:
        """Gone already."""


class PersistQueue:
    def __init__(self, path: str, level: str) -> None:
        from persistqueue import SQLiteAckQueue
        from persistqueue.serializers import json as as_json

        # A folder of its own: it chooses the file's name.
        self._queue = SQLiteAckQueue(
            str(Path(path).parent / "persist"), multithreading=True, serializer=as_json
        )
        connections: set[Any] = {self._queue._getter, self._queue._putter}
        for connection in connections:
            connection.execute(pragma(level))
        self._finished = 0

    def put(self, payload: str) -> None:
        self._queue.put(payload)

    def claim(self) -> tuple[Any, str] | None:
        from persistqueue import Empty

        try:
            found = self._queue.get(block=False, raw=True)
        except Empty:
            return None
        return found["pqid"], found["data"]

    def ack(self, token: Any) -> None:
        self._queue.ack(id=token)
        self._finished += 1
        if self._finished % TIDY == 0:
            self._queue.clear_acked_data(max_delete=TIDY, keep_latest=0)


PEERS: dict[str, type[PeerQueue]] = {
    "litequeue": LiteQueue,
    "huey": Huey,
    "persist-queue": PersistQueue,
}

LESSON_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS bot_commands (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " command TEXT NOT NULL, entry_id INTEGER, args TEXT)"
)
LESSON_INSERT = "INSERT INTO bot_commands(command, entry_id, args) VALUES ('job', 3, ?)"
LESSON_SELECT = "SELECT id, command, args FROM bot_commands ORDER BY id"
LESSON_DELETE = "DELETE FROM bot_commands WHERE id = ?"


async def lesson_connection(path: str, level: str) -> Any:
    """aiosqlite as the lesson has it: WAL, a busy time-out, and the level of this run."""
    import aiosqlite

    connection = await aiosqlite.connect(path)
    await connection.execute("PRAGMA journal_mode = WAL")
    await connection.execute("PRAGMA busy_timeout = 5000")
    await connection.execute(pragma(level))
    await connection.execute(LESSON_SCHEMA)
    await connection.commit()
    return connection


def padding(size: int, at: int = 0) -> str:
    """What brings a payload to so many bytes."""
    return "x" * max(0, size - len(f'{{"at": {at}, "pad": ""}}'))


def payload(size: int, at: int = 0) -> str:
    """A JSON object of so many bytes that says when it was sent."""
    # By hand: making it lies within what is measured, so it must cost nobody anything.
    return f'{{"at": {at}, "pad": "{padding(size, at)}"}}'


def sent_at(text: str) -> int:
    return int(json.loads(text)["at"])
