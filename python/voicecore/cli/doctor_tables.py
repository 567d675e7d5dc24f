"""Whether a database is a queue file, and what its tables and indexes lack."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Any

from voicecore.reference.schema import CREATE, VERSION

_LESSON = ("id", "command", "entry_id")


@dataclass
class Tables:
    """What the schema of a file says."""

    version: int | None = None
    """The queue's schema version; 0 for the lesson's table, None when it cannot be told."""
    trouble: str | None = None
    """Why no voicecore opens the file: "no queue", "foreign" or "unversioned"."""
    said: str | None = None
    """"unversioned": what voicecore_schema says instead of a version."""
    lacks: list[str] = field(default_factory=list)
    """Tables and columns that are missing."""
    indexes: list[str] = field(default_factory=list)
    """Statements that make the indexes that are missing, or are not unique."""


def tables_of(connection: sqlite3.Connection) -> Tables:
    """What is there, compared with what voicecore makes."""
    there: dict[str, str] = dict(connection.execute("SELECT name, type FROM sqlite_master"))
    version, said = _version(connection, there)
    made = _made()
    if version is None:
        leftovers = (made.keys() & there.keys()) - {"bot_commands"}
        lesson = there.get("bot_commands") == "table"
        if lesson and not leftovers:
            foreign = set(_LESSON) - set(_columns(connection, "bot_commands"))
            return Tables(trouble="foreign") if foreign else Tables(version=0)
        if not leftovers:
            return Tables(trouble="no queue")
        found = Tables(trouble="unversioned", said=said)
    elif version != VERSION:
        return Tables(version=version)
    else:
        found = Tables(version=version)
    _compare(connection, there, made, found)
    return found


def _compare(
    connection: sqlite3.Connection, there: dict[str, str], made: dict[str, Any], found: Tables
) -> None:
    for name, (kind, table, sql, columns, unique) in made.items():
        if name == "voicecore_schema":
            continue  # told apart already
        if kind == "index":
            if table in there and (name not in there or _unique(connection, name) != unique):
                found.indexes.append(sql)
        elif name not in there:
            found.lacks.append(f"the table {name}")
        else:
            gone = [one for one in columns if one not in _columns(connection, name)]
            found.lacks += [f"the column {one} of {name}" for one in gone]


def _version(
    connection: sqlite3.Connection, there: dict[str, str]
) -> tuple[int | None, str | None]:
    """As the core reads it: a number above zero, or none."""
    if "voicecore_schema" not in there:
        return None, "is missing"
    try:
        row = connection.execute("SELECT version FROM voicecore_schema").fetchone()
    except sqlite3.OperationalError:
        return None, "has no column version"
    if row is None:
        return None, "is empty"
    if isinstance(row[0], int) and row[0] > 0:
        return row[0], None
    return None, f"says {row[0]!r}"


def _made() -> dict[str, tuple[str, str, str, list[str], bool]]:
    """Kind, table, statement, columns and uniqueness of all that a queue file has, by name."""
    model = sqlite3.connect(":memory:")
    try:
        for statement in CREATE:
            model.execute(statement)
        rows = model.execute(
            "SELECT name, type, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        ).fetchall()
        return {
            name: (
                kind,
                table,
                " ".join(sql.split()),
                _columns(model, name) if kind == "table" else [],
                kind == "index" and _unique(model, name),
            )
            for name, kind, table, sql in rows
        }
    finally:
        model.close()


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def _unique(connection: sqlite3.Connection, index: str) -> bool:
    row = connection.execute(
        'SELECT l."unique" FROM sqlite_master m, pragma_index_list(m.tbl_name) l'
        " WHERE m.name = ? AND l.name = m.name",
        (index,),
    ).fetchone()
    return row is not None and bool(row[0])
