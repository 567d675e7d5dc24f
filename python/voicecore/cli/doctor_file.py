"""`voicecore doctor --db`: the state of a queue file, looked at from outside.

The file is opened read-only through Python's sqlite3 and never by the core, so that looking neither
makes, migrates nor changes anything, and only one copy of SQLite in this process touches it.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from voicecore import _core
from voicecore._sqlite_versions import has_wal_race
from voicecore.cli.doctor_rows import odd_rows
from voicecore.cli.doctor_tables import Tables, tables_of
from voicecore.cli.exits import Exit, Failure, text_of
from voicecore.cli.odd_values import seconds, text
from voicecore.cli.sqlite_copies import mapped_copies, shared_with_python
from voicecore.cli.tables import iso
from voicecore.errors import VoicecoreError
from voicecore.reference.schema import VERSION

SCHEMA_VERSION = VERSION
BUSY_S = 5.0
MOST_LISTED = 10

_READY = (
    "SELECT count(*), min(max(created_at, coalesce(not_before, 0)))"
    " FILTER (WHERE typeof(created_at) = 'integer') FROM bot_commands"
    " WHERE state = 'ready' AND (not_before IS NULL OR not_before <= :now)"
)
_DELAYED = (
    "SELECT count(*), min(not_before) FILTER (WHERE typeof(not_before) = 'integer')"
    " FROM bot_commands WHERE state = 'ready' AND not_before > :now"
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
_FUTURE = (
    "SELECT count(*) FROM bot_commands"
    " WHERE created_at > :now + 60000 AND typeof(created_at) = 'integer'"
)

_NOTHING: Mapping[str, Any] = {"workers": [], "commands": None, "sessions": [], "odd_rows": []}


def examine_file(path: str) -> dict[str, Any]:
    """Everything that can be said of the file.

    Raises:
        Failure: exit code 3, there is no such file, it is no database, or may not be read.
    """
    _refuse_what_is_no_file(path)
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
        why = (
            "" if os.access(_folder(path), os.W_OK) else " (this process may not write its folder)"
        )
        raise Failure(Exit.INPUT, f"{path}: {text_of(error)}{why}") from error


def _refuse_what_is_no_file(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise Failure(Exit.INPUT, f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise Failure(Exit.INPUT, error, path) from None
    if stat.S_ISDIR(mode):
        raise Failure(Exit.INPUT, f"{path}: this is a folder, expected a queue file")
    if not stat.S_ISREG(mode):
        raise Failure(Exit.INPUT, f"{path}: this is a device, pipe or socket, expected a file")
    if not os.access(path, os.R_OK):
        raise Failure(Exit.INPUT, f"{path}: this process has no permission to read it")


def _folder(path: str) -> str:
    return os.path.dirname(os.path.realpath(path))


def _examine(path: str, how: str) -> dict[str, Any]:
    uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?{how}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    connection.text_factory = text  # what is no UTF-8 is shown, too
    try:
        tables = tables_of(connection)
        sound = _quick_check(connection)
        try:
            readable = tables.version == SCHEMA_VERSION and not tables.lacks
            contents = _contents(connection, time.time()) if readable else _NOTHING
        except sqlite3.DatabaseError:
            if sound == ["ok"]:
                raise
            contents = _NOTHING  # damaged: what is wrong matters more than what can be read
        return {
            "file": os.path.abspath(path),
            "bytes": os.path.getsize(path),
            "journal_mode": _one(connection, "PRAGMA journal_mode"),
            "wal_bytes": _size(path + "-wal"),
            **_schema(tables),
            "may_write": _may_write(path),
            "sqlite": _this_process(),
            "network_file_system": _refused(_core.check_file_system, path),
            "other_names": _refused(_core.check_one_name, path),
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


def _schema(tables: Tables) -> dict[str, Any]:
    return {
        "schema_version": tables.version,
        "schema_trouble": tables.trouble,
        "schema_said": tables.said,
        "lacks": tables.lacks,
        "missing_indexes": tables.indexes,
    }


def _may_write(path: str) -> dict[str, bool]:
    """This process; the bot may be somebody else."""
    return {"file": os.access(path, os.W_OK), "folder": os.access(_folder(path), os.W_OK)}


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
        odd = odd_rows(connection, now)
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
        "odd_rows": odd,
    }


def _claim(row: Sequence[Any], now: float) -> dict[str, Any]:
    id, command, key, owner, attempt, lease_until = row
    return {
        "id": id,
        "command": text(command),
        "key": None if key is None else text(key),
        "owner": None if owner is None else text(owner),
        "attempt": attempt,
        "lease_s": (seconds(lease_until) or 0.0) - now,
        "holder_may_live": owner is None or _may_live(owner),
    }


def _session(row: Sequence[Any], now: float) -> dict[str, Any]:
    key, attempt, entry_id, owner, lease_until, started_at = row
    return {
        "key": text(key),
        "attempt": attempt,
        "entry_id": entry_id if isinstance(entry_id, int) or entry_id is None else text(entry_id),
        "owner": text(owner),
        "lease_s": (seconds(lease_until) or 0.0) - now,
        "started_at": iso(seconds(started_at)),
        "holder_may_live": _may_live(owner),
    }


def _worker(row: Sequence[Any], now: float) -> dict[str, Any]:
    owner, pid, role, version, seen_at = row
    alive, seen = _may_live(owner), seconds(seen_at)
    return {
        "owner": text(owner),
        "pid": pid if isinstance(pid, int) else text(pid),
        "role": text(role),
        "sqlite": text(version),
        "wal_race": has_wal_race(text(version)),
        "seen_s": None if seen is None else now - seen,
        "may_live": alive,
        "copies": _copies_of(owner, pid) if alive and isinstance(pid, int) else None,
    }


def _may_live(owner: object) -> bool:
    return isinstance(owner, str) and _core.owner_may_live(owner)


def _copies_of(owner: str, pid: int) -> list[str] | None:
    """None: it cannot be told, as for a process of another machine or user."""
    if owner.split(":")[0] != _core.make_owner().split(":")[0]:
        return None
    try:
        return mapped_copies(pid)
    except OSError:
        return None


def _refused(check: Callable[[bytes], None], path: str) -> str | None:
    try:
        check(os.fsencode(path))
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
