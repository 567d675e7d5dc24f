"""What a queue says to values and to files that it cannot take."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from voicecore import (
    CommandQueue,
    DatabaseError,
    InvalidArgument,
    Scheduler,
    SyncCommandQueue,
    VoicecoreError,
)


def nested(depth: int) -> dict[str, Any]:
    """A dictionary in a dictionary, and so on."""
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


BAD: list[tuple[str, Callable[[SyncCommandQueue], Any]]] = [
    ("command", lambda q: q.enqueue("x\ud800")),
    ("requested_by", lambda q: q.enqueue("x", requested_by=5)),  # type: ignore[arg-type]
    ("dedup_key", lambda q: q.enqueue("x", dedup_key=5)),  # type: ignore[arg-type]
    ("key", lambda q: q.enqueue("x", key="\ud800")),
    ("entry_id", lambda q: q.enqueue("x", 2**70)),
    ("priority", lambda q: q.enqueue("x", priority=2**31)),
    ("priority", lambda q: q.enqueue("x", priority=-(2**31) - 1)),
    ("delay", lambda q: q.enqueue("x", delay=float("nan"))),
    ("args", lambda q: q.enqueue("x", args=nested(50_000))),
    ("id", lambda q: q.get(2**70)),
    ("id", lambda q: q.cancel(2**70)),
    ("id", lambda q: q.history(before=2**70)),
]


@pytest.mark.parametrize(("name", "call"), BAD)
def test_a_value_it_cannot_take_is_named_and_nothing_is_sent(
    tmp_path: Path, name: str, call: Callable[[SyncCommandQueue], Any]
) -> None:
    with SyncCommandQueue(tmp_path / "q.db") as queue:
        with pytest.raises(InvalidArgument, match=name):
            call(queue)
        assert queue.peek() == []


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_that_names_no_file_is_refused_before_any_is_made(path: str) -> None:
    with pytest.raises(InvalidArgument, match="path"):
        SyncCommandQueue(path)


def refusal(path: Path) -> VoicecoreError:
    """What opening it raises; the message names the file and what was expected."""
    with pytest.raises(VoicecoreError) as refused, SyncCommandQueue(path):
        pass
    assert str(path) in str(refused.value)
    assert "expected" in str(refused.value)
    return refused.value


def test_a_directory_is_refused_as_a_directory(tmp_path: Path) -> None:
    refused = refusal(tmp_path)
    assert isinstance(refused, IsADirectoryError)
    assert refused.errno == errno.EISDIR


async def test_the_asynchronous_queue_says_the_same(tmp_path: Path) -> None:
    queue = CommandQueue(tmp_path)
    with pytest.raises(IsADirectoryError, match="expected") as refused:
        await queue.enqueue("x")
    assert isinstance(refused.value, VoicecoreError)
    await queue.aclose()


@pytest.mark.parametrize(
    ("name", "number"), [("no/such/folder/q.db", errno.ENOENT), ("file/q.db", errno.ENOTDIR)]
)
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, name: str, number: int) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="expected a folder") as refused:
        SyncCommandQueue(tmp_path / name).open()
    assert isinstance(refused.value, VoicecoreError)
    assert refused.value.errno == number
    assert str((tmp_path / name).parent) in str(refused.value)


@pytest.mark.parametrize("content", [b"not a database, but " * 500, b"short"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    refused = refusal(path)
    assert isinstance(refused, DatabaseError)
    assert refused.sqlite_errorcode == sqlite3.SQLITE_NOTADB
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        assert isinstance(refusal(path), OSError)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user may look into, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


# Everything is imported before the user changes: nobody may be able to read this environment.
AS_NOBODY = """
import errno, os, sys
from voicecore import DatabaseError, SyncCommandQueue, VoicecoreError
queue = SyncCommandQueue(sys.argv[1])
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    queue.open()
except PermissionError as refused:
    assert isinstance(refused, VoicecoreError), type(refused)
    assert refused.errno == errno.EACCES, refused.errno
    print(refused)
"""


@pytest.mark.parametrize(
    ("file_mode", "folder_mode"), [(0o000, 0o755), (0o444, 0o755), (None, 0o555), (0o666, 0o555)]
)
def test_what_the_user_may_not_use_is_refused_as_a_matter_of_permission(
    reachable: Path, file_mode: int | None, folder_mode: int
) -> None:
    path = reachable / "q.db"
    if file_mode is not None:
        SyncCommandQueue(path).open()
        path.chmod(file_mode)
    reachable.chmod(folder_mode)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    reachable.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert str(path if file_mode in (0o000, 0o444) else reachable) in done.stdout
    assert "expected" in done.stdout


async def test_a_scheduler_survives_a_file_that_cannot_be_opened_and_begins_when_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "q.db"
    path.mkdir()
    scheduler = Scheduler(queue=path, period=0.01)
    scheduler.start()
    async with asyncio.timeout(10):
        while "is a directory" not in caplog.text and scheduler.healthy:
            await asyncio.sleep(0.005)
    assert scheduler.healthy
    path.rmdir()
    await asyncio.wait_for(scheduler.wait_started(), 10)
    await scheduler.shutdown()


@pytest.mark.parametrize("one", ["stop", b"stop", 5, ()])
def test_what_is_no_command_is_refused_among_many(tmp_path: Path, one: object) -> None:
    with SyncCommandQueue(tmp_path / "queue.db") as queue:
        with pytest.raises(InvalidArgument, match="a command"):
            queue.enqueue_many([("pause",), one])  # type: ignore[list-item]
        assert queue.peek() == []


def test_args_that_are_nested_too_deeply_are_an_error_of_their_command(tmp_path: Path) -> None:
    args = '{"a":' * 50_000 + "1" + "}" * 50_000
    with SyncCommandQueue(tmp_path / "queue.db") as queue:
        queue.execute("INSERT INTO bot_commands(command, args) VALUES ('x', ?)", (args,))
        (one,) = queue.peek()
        with pytest.raises(InvalidArgument, match=r"args of command 1: .*recursion"):
            _ = one.args
