"""The queue's two methods that the schedule needs, over the plain `sqlite3` module."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voicecore import SyncCommandQueue

TABLES = """
CREATE TABLE IF NOT EXISTS schedule_entries (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, key TEXT, rule TEXT NOT NULL,
  zone TEXT NOT NULL, remind_minutes INTEGER NOT NULL DEFAULT 0, voice_channel_id INTEGER,
  text_channel_id INTEGER, files TEXT NOT NULL DEFAULT '[]', enabled INTEGER NOT NULL DEFAULT 1,
  policy TEXT NOT NULL DEFAULT '{}', generation INTEGER NOT NULL DEFAULT 1, created_at INTEGER,
  updated_at INTEGER);
CREATE TABLE IF NOT EXISTS schedule_occurrences (
  entry_id INTEGER NOT NULL, slot TEXT NOT NULL, due_at INTEGER NOT NULL, state TEXT NOT NULL,
  reminded_at INTEGER, fired_at INTEGER, owner TEXT, PRIMARY KEY (entry_id, slot)) WITHOUT ROWID;
"""


class PlainQueue:
    """One connection in autocommit mode; a transaction begins immediately."""

    def __init__(self, path: Path | str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.executescript(TABLES)
        self.transactions = self.reads = 0

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self.reads += 1
        return self.connection.execute(sql, parameters).fetchall()

    async def transaction(
        self, steps: Sequence[tuple[str, Sequence[Any]]]
    ) -> list[list[tuple[Any, ...]]]:
        self.transactions += 1
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            rows = [self.connection.execute(sql, given).fetchall() for sql, given in steps]
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return rows

    def close(self) -> None:
        self.connection.close()


class NativeQueue:
    """The real queue, called synchronously; it makes its own tables."""

    def __init__(self, path: Path | str) -> None:
        self._queue = SyncCommandQueue(path)

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._queue.execute(sql, parameters)

    async def transaction(
        self, steps: Sequence[tuple[str, Sequence[Any]]]
    ) -> list[list[tuple[Any, ...]]]:
        return self._queue.transaction(steps)

    def close(self) -> None:
        self._queue.close()
