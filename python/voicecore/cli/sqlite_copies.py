"""How many copies of SQLite a process has, and which versions can damage a write-ahead log."""

from __future__ import annotations

import mmap
import sqlite3
from pathlib import Path

from voicecore import _core

# Two texts that every build of the library contains, and hardly anything else both of.
_MARKS = (b"SQLite format 3\0", b"rootpage int,sql text")


def shared_with_python() -> bool:
    """Whether Python's sqlite3 and voicecore's core are the same library in memory.

    Neither versions nor source ids can tell two copies of one release apart, so a function is
    registered through our copy and called through Python's.
    """
    probe = _core.SqliteCopyProbe()
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("select voicecore_copy()").fetchone()
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
        del probe
    return True


def mapped_copies(pid: int | str = "self") -> list[str]:
    """The files with a copy of SQLite in them whose code a process has mapped, sorted.

    Also finds copies that were linked into something else. Reads only files whose *code* is
    mapped: opening and closing a database, or its -shm, would drop this process's locks on it.

    Raises:
        OSError: no such process, or it belongs to somebody else.
    """
    files: dict[tuple[str, str], str] = {}
    for line in Path(f"/proc/{pid}/maps").read_text(errors="surrogateescape").splitlines():
        # "7f0c-7f0e r-xp 00001000 fe:00 131093    /usr/lib/libsqlite3.so.0"
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and "x" in fields[1] and fields[5].startswith("/"):
            files.setdefault((fields[3], fields[4]), fields[5])
    return sorted(path for path in set(files.values()) if _has_sqlite(path))


def _has_sqlite(path: str) -> bool:
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            return all(data.find(mark) >= 0 for mark in _MARKS)
    except (OSError, ValueError):
        return False  # deleted or replaced since: nothing can be said
