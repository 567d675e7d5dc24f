"""What goes wrong with a file system, each in a process of its own: `python -m … NAME FOLDER`.

Those that need a file system of their own mount one, in a mount namespace that ends with them.
"""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from voicecore.database import DatabaseError
from voicecore.errors import VoicecoreError
from voicecore.queue import SyncCommandQueue

FULL, IOERR = 13, 10
PADDING = {"pad": "x" * 2000}


def mount(folder: Path, options: str) -> None:
    """A file system in memory."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def is_sound(db: Path) -> bool:
    """Read with the plain sqlite3 module."""
    connection = sqlite3.connect(db)
    try:
        return bool(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)])
    finally:
        connection.close()


def fill(queue: SyncCommandQueue) -> tuple[list[int], int]:
    """Send until it is refused: what was sent, and SQLite's code."""
    sent = []
    for _ in range(10_000):
        try:
            sent.append(queue.enqueue("work", key="a", args=PADDING))
        except DatabaseError as error:
            return sent, error.sqlite_errorcode & 0xFF
    raise AssertionError("it was never full")


def goes_on(queue: SyncCommandQueue, sent: list[int]) -> None:
    """What was refused is not there, what was committed is, and there is room again."""
    assert [one.id for one in queue.peek(10_000)] == sent, "a refused command is in the line"
    sent.append(queue.enqueue("work", key="b"))
    for command in queue.claim(10):
        queue.ack(command)
    assert {one.id for one in queue.peek(10_000)} < set(sent)


def full_disk(folder: Path) -> None:
    """A file system with no room left: refused with SQLITE_FULL; goes on when there is room."""
    mount(folder, "size=1m")
    db, ballast = folder / "queue.db", folder / "ballast"
    ballast.write_bytes(bytes(512 << 10))
    with SyncCommandQueue(db) as queue:
        sent, code = fill(queue)
        assert sent
        assert code in (FULL, IOERR), code
        ballast.unlink()
        goes_on(queue, sent)
    assert is_sound(db)


def file_size_limit(folder: Path) -> None:
    """The same by a limit of the process, which needs no mount: SQLITE_FULL or SQLITE_IOERR."""
    db = folder / "queue.db"
    with SyncCommandQueue(db) as queue:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 10, hard))
        sent, code = fill(queue)
        assert sent
        assert code in (FULL, IOERR), code
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        goes_on(queue, sent)
    assert is_sound(db)


def read_only_file_system(folder: Path) -> None:
    """Mounted read-only: neither opened nor made."""
    mount(folder, "size=4m")
    db = folder / "queue.db"
    with SyncCommandQueue(db) as queue:
        queue.enqueue("work")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    for path in (db, folder / "new.db"):
        refused(path, errno.EROFS)


def read_only_file(folder: Path) -> None:
    """Not ours to write: neither sent into nor claimed from."""
    db = folder / "queue.db"
    with SyncCommandQueue(db) as queue:
        queue.enqueue("work")
    db.chmod(0o444)
    folder.chmod(0o755)
    if os.geteuid() == 0:
        os.setuid(65534)  # root may write anything
    refused(db, errno.EACCES)


def refused(db: Path, number: int) -> None:
    """With a typed error that says why."""
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        send_one(db)
    assert isinstance(caught.value, VoicecoreError)
    assert caught.value.errno == number


def send_one(db: Path) -> None:
    """Open, send, close."""
    with SyncCommandQueue(db) as queue:
        queue.enqueue("work")


FAULTS: dict[str, Callable[[Path], None]] = {
    function.__name__: function
    for function in (full_disk, file_size_limit, read_only_file_system, read_only_file)
}

if __name__ == "__main__":
    FAULTS[sys.argv[1]](Path(sys.argv[2]))
