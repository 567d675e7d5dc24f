"""`voicecore doctor --db`: the state of a queue file, looked at from outside.

The file is opened read-only through Python's sqlite3 and never by the core, so that looking neither
makes, migrates nor changes anything, and only one copy of SQLite in this process touches it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from voicecore import _core
from voicecore._sqlite_versions import has_wal_race
from voicecore.cli.exits import Exit, Failure, text_of
from voicecore.cli.sqlite_copies import mapped_copies, shared_with_python
from voicecore.cli.tables import iso
from voicecore.errors import VoicecoreError

SCHEMA_VERSION = 1
BUSY_S = 5.0
MOST_LISTED = 10

_READY = (
    "SELECT count(*), min(max(created_at, coalesce(not_before, 0))) FROM bot_commands"
    " WHERE state = 'ready' AND (not_before IS NULL OR not_before <= :now)"
)
_DELAYED = (
    "SELECT count(*), min(not_before) FROM bot_commands WHERE state = 'ready' AND not_before > :now"
)
_CLAIMED = (
    "SELECT id, command, key, owner, attempt, lease_until FROM bot_commands"
    " WHERE state = 'claimed' ORDER BY id LIMIT 1000"
)
_SESSIONS = (
    "SELECT key, attempt, entry_id, owner, lease_until, started_at FROM bot_sessions"
    " WHERE owner IS NOT NULL ORDER BY key LIMIT 1000"
)
_WORKERS = "SELECT owner, pid, role, sqlite_version, seen_at FROM bot_workers ORDER BY started_at"
_FUTURE = "SELECT count(*) FROM bot_commands WHERE created_at > :now + 60000"

_NOTHING: Mapping[str, Any] = {"workers": [], "commands": None, "sessions": []}


def examine_file(path: str) -> dict[str, Any]:
    """Everything that can be said of the file.

    Raises:
        Failure: exit code 3, there is no such file or it is no database.
    """
    if not os.path.isfile(path):
        raise Failure(Exit.INPUT, f"{path}: there is no such file")
    # Without a log nobody has it open, and it can be read without leaving a log behind; unless
    # somebody opens it meanwhile, which looks like damage: then once more, with locks.
    if not os.path.exists(path + "-wal"):
        try:
            record = _examine(path, "mode=ro&immutable=1")
            record["journal_mode"] = _mode_in_header(path)
        except (sqlite3.Error, OSError):
            pass
        else:
            if record["quick_check"] == ["ok"]:
                return record
    try:
        return _examine(path, "mode=ro")
    except sqlite3.Error as error:
        raise Failure(Exit.INPUT, f"{path}: {text_of(error)}") from error


def _examine(path: str, how: str) -> dict[str, Any]:
    uri = f"file:{quote(os.path.abspath(path))}?{how}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        version = _schema_version(connection)
        sound = _quick_check(connection)
        try:
            contents = _contents(connection, time.time()) if version == SCHEMA_VERSION else _NOTHING
        except sqlite3.DatabaseError:
            if sound == ["ok"]:
                raise
            contents = _NOTHING  # damaged: what is wrong matters more than what can be read
        return {
            "file": os.path.abspath(path),
            "bytes": os.path.getsize(path),
            "journal_mode": _one(connection, "PRAGMA journal_mode"),
            "wal_bytes": _size(path + "-wal"),
            "schema_version": version,
            "sqlite": _this_process(),
            "network_file_system": _network(path),
            "quick_check": sound,
            **contents,
        }
    finally:
        connection.close()


def _this_process() -> dict[str, Any]:
    version = sqlite3.sqlite_version
    return {
        "same_copy": shared_with_python(),
        "copies": mapped_copies(),
        "python": version,
        "voicecore": _core.sqlite_version(),
        "wal_race": has_wal_race(version) or has_wal_race(_core.sqlite_version()),
    }


def _schema_version(connection: sqlite3.Connection) -> int | None:
    """The version; 0 for a file of the lesson's, None for anything else."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if "voicecore_schema" in tables:
        version = _one(connection, "SELECT version FROM voicecore_schema")
        return version if isinstance(version, int) else None
    return 0 if "bot_commands" in tables else None


def _quick_check(connection: sqlite3.Connection) -> list[str]:
    """["ok"], or what is damaged."""
    try:
        return [str(row[0]) for row in connection.execute("PRAGMA quick_check(20)")]
    except sqlite3.DatabaseError as error:
        return [str(error)]


def _contents(connection: sqlite3.Connection, now: float) -> dict[str, Any]:
    when = {"now": round(now * 1000)}
    # One snapshot, so that the parts agree; over at once, since a reader pins the log.
    connection.execute("BEGIN")
    try:
        ready, oldest = connection.execute(_READY, when).fetchone()
        delayed, next_due = connection.execute(_DELAYED, when).fetchone()
        claimed = connection.execute(_CLAIMED).fetchall()
        sessions = connection.execute(_SESSIONS).fetchall()
        workers = connection.execute(_WORKERS).fetchall()
        future = connection.execute(_FUTURE, when).fetchone()[0]
        ended = _one(connection, "SELECT count(*) FROM bot_command_history")
    finally:
        connection.execute("COMMIT")
    claims = [_claim(row, now) for row in claimed]
    return {
        "workers": [_worker(row, now) for row in workers],
        "commands": {
            "ready": ready,
            "waiting_s": None if oldest is None else now - oldest / 1000,
            "delayed": delayed,
            "next_due": iso(None if next_due is None else next_due / 1000),
            "claimed": len(claims),
            "stuck": [one for one in claims if one["lease_s"] <= 0 or not one["holder_may_live"]],
            "from_the_future": future,
            "ended": ended,
        },
        "sessions": [_session(row, now) for row in sessions],
    }


def _claim(row: Sequence[Any], now: float) -> dict[str, Any]:
    id, command, key, owner, attempt, lease_until = row
    return {
        "id": id,
        "command": command,
        "key": key,
        "owner": owner,
        "attempt": attempt,
        "lease_s": (lease_until or 0) / 1000 - now,
        "holder_may_live": owner is None or _core.owner_may_live(owner),
    }


def _session(row: Sequence[Any], now: float) -> dict[str, Any]:
    key, attempt, entry_id, owner, lease_until, started_at = row
    return {
        "key": key,
        "attempt": attempt,
        "entry_id": entry_id,
        "owner": owner,
        "lease_s": (lease_until or 0) / 1000 - now,
        "started_at": iso(None if started_at is None else started_at / 1000),
        "holder_may_live": _core.owner_may_live(owner),
    }


def _worker(row: Sequence[Any], now: float) -> dict[str, Any]:
    owner, pid, role, version, seen_at = row
    alive = _core.owner_may_live(owner)
    return {
        "owner": owner,
        "pid": pid,
        "role": role,
        "sqlite": version,
        "wal_race": has_wal_race(version),
        "seen_s": now - seen_at / 1000,
        "may_live": alive,
        "copies": _copies_of(owner, pid) if alive else None,
    }


def _copies_of(owner: str, pid: int) -> list[str] | None:
    """None: it cannot be told, as for a process of another machine or user."""
    if owner.split(":")[0] != _core.make_owner().split(":")[0]:
        return None
    try:
        return mapped_copies(pid)
    except OSError:
        return None


def _network(path: str) -> str | None:
    try:
        _core.check_file_system(path)
    except VoicecoreError as error:
        return text_of(error)
    return None


def _one(connection: sqlite3.Connection, sql: str) -> Any:
    row = connection.execute(sql).fetchone()
    return None if row is None else row[0]


def _mode_in_header(path: str) -> str:
    """The journal mode, which an immutable connection does not tell. Only for a file that nobody
    has open: closing it drops this process's locks on it."""
    with open(path, "rb") as file:
        return "wal" if file.read(20)[18:] == b"\2\2" else "delete"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # never opened: closing it would drop this process's locks
    except OSError:
        return 0
