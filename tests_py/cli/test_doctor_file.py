"""`voicecore doctor --db`: the state of a file in words."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.command import Here
from voicecore import _core
from voicecore._sqlite_versions import has_wal_race
from voicecore.cli import doctor_words
from voicecore.cli.doctor_file import examine_file
from voicecore.cli.sqlite_copies import mapped_copies, shared_with_python
from voicecore.errors import VoicecoreError
from voicecore.queue import CommandQueue, SyncCommandQueue

DEAD = ":".join([*_core.make_owner().split(":")[:2], "4194305", "1", "1"])
"""A process of this machine and boot that no longer lives: no system numbers them that high."""


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A queue file that nobody has open."""
    path = tmp_path / "queue.db"
    with SyncCommandQueue(path):
        pass
    return path


def problems(here: Here, path: Path) -> str:
    """All of them."""
    return " | ".join(here("doctor", "--db", path, "--json").json["problems"])


def words(here: Here, path: Path) -> str:
    """All that is said, without its line breaks."""
    return " ".join(here("doctor", "--db", path).out.split())


def by_hand(path: Path, sql: str, *parameters: object) -> None:
    """What another program does to the file."""
    connection = sqlite3.connect(path)
    connection.execute(sql, parameters)
    connection.commit()
    connection.close()


# -- a sound file ----------------------------------------------------------------------------------


def test_a_sound_file_has_no_problems(here: Here, db: Path) -> None:
    assert here("doctor", "--db", db).code == 0
    for text in (
        "schema version 1",
        "Journal mode wal",
        "quick_check found nothing wrong",
        "No problems found.",
    ):
        assert text in words(here, db)


def test_a_file_whose_name_is_no_utf8_is_looked_at_like_any_other(
    here: Here, tmp_path: Path
) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/h\xe9lium # ?.db"))
    with SyncCommandQueue(path):
        pass
    assert problems(here, path) == ""


def test_looking_leaves_nothing_behind_and_changes_nothing(here: Here, db: Path) -> None:
    before = db.read_bytes()
    here("doctor", "--db", db)
    assert [path.name for path in db.parent.iterdir()] == [db.name]
    assert db.read_bytes() == before


def test_looking_at_a_file_in_use_sees_what_is_only_in_its_log(here: Here, db: Path) -> None:
    with SyncCommandQueue(db) as queue:
        queue.enqueue("play", 3)
        record = here("doctor", "--db", db, "--json").json
        assert record["schema"] == 1
        assert record["commands"]["ready"] == 1
        assert record["wal_bytes"] > 0
        queue.audit()  # and our locks are still there


def test_a_missing_file_is_code_3_and_is_not_made(here: Here, tmp_path: Path) -> None:
    done = here("doctor", "--db", tmp_path / "no.db")
    assert done.code == 3
    assert "there is no such file" in done.one_line()
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_code_3(here: Here, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n" * 1000)
    done = here("doctor", "--db", tmp_path / "text")
    assert done.code == 3
    assert "not a database" in done.one_line()


# -- what can be wrong with a file -----------------------------------------------------------------


def test_a_database_without_a_queue_is_said_to_be_none(here: Here, tmp_path: Path) -> None:
    by_hand(tmp_path / "other.db", "CREATE TABLE t(x)")
    assert "not a queue: it has no bot_commands" in problems(here, tmp_path / "other.db")


def test_the_lessons_file_is_known_and_stays_as_it_is(here: Here, tmp_path: Path) -> None:
    path = tmp_path / "lesson.db"
    by_hand(path, "CREATE TABLE bot_commands(id INTEGER PRIMARY KEY, command TEXT, entry_id)")
    assert "the lesson's table" in words(here, path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("bot_commands",)]
    connection.close()


def test_a_newer_schema_is_a_problem(here: Here, db: Path) -> None:
    by_hand(db, "UPDATE voicecore_schema SET version = 7")
    assert "schema version 7 is newer" in problems(here, db)


def test_a_changed_journal_mode_is_a_problem(here: Here, db: Path) -> None:
    by_hand(db, "PRAGMA journal_mode = DELETE")
    assert "the journal mode is delete, not wal" in problems(here, db)


def test_damage_is_found_and_what_to_do_is_said(here: Here, db: Path) -> None:
    with SyncCommandQueue(db) as queue:
        queue.enqueue_many([("work", n) for n in range(2000)])
    size = db.stat().st_size
    with open(db, "r+b") as file:
        file.seek(size // 2)
        file.write(bytes(8192))
    found = problems(here, db)
    assert "the file is damaged" in found
    assert ".recover" in found


def test_a_log_that_has_grown_large_is_a_problem(
    here: Here, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_words, "LARGE_WAL", 1000)
    with SyncCommandQueue(db) as queue:
        queue.enqueue("work")
        assert "the write-ahead log has" in problems(here, db)


def test_a_network_file_system_is_a_problem(
    here: Here, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise _core_error(f"{path} lies on a network file system (NFS)")

    monkeypatch.setattr(_core, "check_file_system", refuse)
    assert "network file system (NFS)" in problems(here, db)


def test_a_second_name_is_a_problem(here: Here, db: Path) -> None:
    os.link(db, db.with_suffix(".link"))
    assert "has 2 names (hard links)" in problems(here, db)


def _core_error(text: str) -> Exception:
    from voicecore.errors import from_native

    return from_native("unsupported", 0, text)


def test_a_foreign_table_of_commands_is_a_problem(here: Here, tmp_path: Path) -> None:
    by_hand(tmp_path / "other.db", "CREATE TABLE bot_commands(foo)")
    assert "bot_commands is somebody else's" in problems(here, tmp_path / "other.db")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DROP TABLE voicecore_schema", "is missing"),
        ("DELETE FROM voicecore_schema", "is empty"),
        ("UPDATE voicecore_schema SET version = 'x'", "says 'x'"),
        ("UPDATE voicecore_schema SET version = 0", "says 0"),
        ("ALTER TABLE voicecore_schema RENAME COLUMN version TO v", "has no column version"),
    ],
)
def test_a_file_that_does_not_say_its_version_is_a_problem_with_a_way_out(
    here: Here, db: Path, sql: str, said: str
) -> None:
    by_hand(db, sql)
    assert f"voicecore_schema {said}: no voicecore opens the file" in problems(here, db)
    with pytest.raises(VoicecoreError), SyncCommandQueue(db):
        pass
    if "RENAME" in sql:
        return
    connection = sqlite3.connect(db)
    connection.executescript(problems(here, db).split("written again: ")[1])
    connection.close()
    assert problems(here, db) == ""
    with SyncCommandQueue(db) as queue:
        queue.enqueue("x")


def test_what_a_file_lacks_is_a_problem(here: Here, db: Path) -> None:
    by_hand(db, "DROP TABLE bot_command_history")
    by_hand(db, "ALTER TABLE bot_workers DROP COLUMN bell")
    found = problems(here, db)
    assert "lacks the table bot_command_history and the column bell of bot_workers" in found


@pytest.mark.parametrize(
    "again", [None, "CREATE INDEX bot_commands_one_claim ON bot_commands(key)"]
)
def test_a_file_without_the_index_that_keeps_claims_apart_is_a_problem(
    here: Here, db: Path, again: str | None
) -> None:
    by_hand(db, "DROP INDEX bot_commands_one_claim")
    if again is not None:
        by_hand(db, again)
    found = problems(here, db)
    assert "makes a second claim of a key" in found
    if again is None:
        by_hand(db, found.split("Make it again: ")[1])
        assert problems(here, db) == ""


def test_a_folder_or_file_that_may_not_be_written_is_a_problem(
    here: Here, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK)
    found = problems(here, db)
    assert "may not write the folder, where the write-ahead log is kept" in found
    assert "may not write the file" in found


def test_what_is_no_file_is_said_to_be_none(here: Here, tmp_path: Path) -> None:
    assert "this is a folder" in here("doctor", "--db", tmp_path).one_line()
    os.mkfifo(tmp_path / "pipe")
    assert "pipe or socket" in here("doctor", "--db", tmp_path / "pipe").one_line()
    (tmp_path / "text").write_text("")
    assert "text/no.db: Not a directory" in here("doctor", "--db", tmp_path / "text/no.db").err


ODD_ROWS = [
    ("bot_commands(command, lease_until, state)", "'x', x'ff', 'claimed'", "claimed by nobody"),
    (
        "bot_commands(command, lease_until, state)",
        "'x', 'abc', 'claimed'",
        "lease_until: got 'abc'",
    ),
    ("bot_commands(command, created_at)", "'x', '2026-11-28'", "created_at: got '2026-11-28'"),
    ("bot_commands(command, created_at)", "'x', x'ff'", "created_at: got a blob of 1 bytes"),
    ("bot_commands(command, not_before)", "'x', '2026-11-28'", "not_before: got '2026-11-28'"),
    ("bot_commands(command, not_before)", "'x', 9223372036854775807", "it is due in 292,"),
    ("bot_commands(command, expires_at)", "'x', 1e300", ""),  # as good as never
    ("bot_commands(command, not_before)", "'x', 1e300", "it is due in "),
    (
        "bot_commands(command, state)",
        "'x', 'pending'",
        "its state is 'pending', expected 'ready': it will fail when a worker looks at it",
    ),
    ("bot_commands(command, state)", "'x', 'done'", "it ends so when a worker looks at it"),
    ("bot_commands(command, key)", "x'ff', x'fe'", "its verb is a blob of 1 bytes"),
    ("bot_commands(command, entry_id)", "'play', 'yoga'", "its entry_id is 'yoga'"),
    ("bot_commands(command, args)", "'x', x'00'", "its args are a blob of 1 bytes"),
    (
        "bot_commands(command, key, state, lease_until)",
        "'x', 'k', 'claimed', 9000000000000000",
        "years, and all that its key k has waits for it",
    ),
    (
        "bot_sessions(key, attempt, owner, lease_until)",
        "'k', 1, 'bob', '2026-12-28'",
        "nothing else plays",
    ),
    ("bot_sessions(key, attempt, owner, lease_until)", "'k', 1, 'bob', 9e15", "nothing else plays"),
    ("bot_sessions", "'k', 1, x'ff', x'ff', x'ff', 1, 'x', x'ff', 1, 1, 1", ""),
    ("bot_workers", "'o', 'p', 'r', 'b', 'v', '2026-12-28', 'x'", ""),
    ("bot_workers", "x'ff', x'ff', x'ff', x'ff', x'ff', x'ff', x'ff'", ""),
    ("bot_workers", "CAST(x'ff' AS TEXT), 1, 'r', 'b', 'v', 1, 1", ""),
    ("bot_command_history(command, state, finished_at, result)", "x'ff', 'done', 'x', x'ff'", ""),
    ("schedule_entries(name, rule, zone, created_at)", "x'ff', '{', 'zz', 'x'", ""),
]


@pytest.mark.parametrize(("table", "values", "said"), ODD_ROWS)
def test_no_row_is_too_odd_to_be_looked_at(
    here: Here, db: Path, table: str, values: str, said: str
) -> None:
    by_hand(db, f"INSERT INTO {table} VALUES ({values})")
    assert said in problems(here, db)
    assert here("doctor", "--db", db).code == 0
    for command in ("queue stats", "queue list", "queue list --history", "schedule list"):
        for form in ((), ("--json",)):
            done = here(*command.split(), "--db", db, *form)
            assert done.code == 0, done.err


def test_many_odd_rows_are_summed_up(here: Here, db: Path) -> None:
    for _ in range(15):
        by_hand(db, "INSERT INTO bot_commands(command, state) VALUES ('x', 'pending')")
    assert problems(here, db).endswith("| 5 or more other rows like these")


# -- commands, sessions, workers -------------------------------------------------------------------


def test_commands_that_wait_without_a_worker_are_a_problem(here: Here, db: Path) -> None:
    with SyncCommandQueue(db) as queue:
        queue.enqueue("play", 3)
        queue.execute("UPDATE bot_commands SET created_at = created_at - 300000")
    assert "1 command due, the oldest for 5 min: no worker has announced itself" in problems(
        here, db
    )


def test_commands_from_the_future_tell_of_a_clock_set_back(here: Here, db: Path) -> None:
    with SyncCommandQueue(db) as queue:
        queue.enqueue("play", 3)
        queue.execute("UPDATE bot_commands SET created_at = created_at + 3600000")
    assert "the wall clock was set back" in problems(here, db)


def test_a_claim_of_a_dead_process_is_explained(here: Here, db: Path) -> None:
    with SyncCommandQueue(db, owner=DEAD, lease=600) as queue:
        queue.enqueue("play", 3, key="7")
        queue.claim()
    out = words(here, db)
    assert "Command 1 (play, key 7): its holder died" in out
    assert "tried again when a worker starts, or when the lease ends in" in out


def test_a_lease_that_ran_out_is_explained(here: Here, db: Path) -> None:
    with SyncCommandQueue(db) as queue:
        queue.enqueue("play", 3, key="7")
        queue.claim()
        queue.execute("UPDATE bot_commands SET lease_until = lease_until - 90000")
    assert re.search(r"the lease ran out 6\d s ago", words(here, db))


def test_a_session_is_shown_with_its_holder(here: Here, db: Path) -> None:
    async def lease() -> None:
        async with CommandQueue(db, owner=DEAD) as queue:
            await queue.lease_session("7", 3)

    asyncio.run(lease())
    out = words(here, db)
    assert "Key 7 plays entry 3, attempt 1: leased for" in out
    assert "its holder died, the next worker frees it" in out


def announce(db: Path, owner: str, version: str = "3.40.1", role: str = "worker") -> None:
    by_hand(
        db,
        "INSERT INTO bot_workers(owner, pid, role, sqlite_version, started_at, seen_at)"
        " VALUES (?, ?, ?, ?, 1, 1)",
        owner,
        int(owner.split(":")[2]),
        role,
        version,
    )


def test_workers_are_told_apart_by_whether_they_live(here: Here, db: Path) -> None:
    announce(db, DEAD)
    announce(db, _core.make_owner())
    out = words(here, db)
    assert "Process 4194305 (worker, SQLite 3.40.1) is gone without a goodbye" in out
    assert f"Process {os.getpid()} (worker, SQLite 3.40.1) lives" in out


def test_two_workers_with_a_faulty_sqlite_are_a_problem(here: Here, db: Path) -> None:
    announce(db, _core.make_owner(), "3.40.1")
    announce(db, _core.make_owner(), "3.51.3")
    found = problems(here, db)
    assert "2 workers move the write-ahead log at the same time" in found
    assert "SQLite 3.40.1" in found
    assert "SQLite 3.51.3" not in found


def test_another_process_with_a_faulty_sqlite_is_mentioned(here: Here, db: Path) -> None:
    announce(db, _core.make_owner(), "3.44.5", role="client")
    out = words(here, db)
    assert "Another process uses SQLite 3.44.5, which can damage the write-ahead log" in out


@pytest.mark.parametrize(
    ("version", "faulty"),
    [
        ("3.6.23", False),
        ("3.7.0", True),
        ("3.40.1", True),
        ("3.44.5", True),
        ("3.44.6", False),
        ("3.45.0", True),
        ("3.50.6", True),
        ("3.50.7", False),
        ("3.51.2", True),
        ("3.51.3", False),
        ("3.52.0", False),
        ("4.0.0", False),
        ("unknown", True),
    ],
)
def test_the_versions_that_can_damage_a_log(version: str, faulty: bool) -> None:
    assert has_wal_race(version) is faulty


def test_the_gate_speaks_of_this_process(here: Here, db: Path) -> None:
    out = words(here, db)
    version = sqlite3.sqlite_version
    verdict = "can damage" if has_wal_race(version) else "is free of the fault"
    assert f"SQLite {version} {verdict}" in out


# -- a second copy of SQLite -----------------------------------------------------------------------


def the_library() -> Path:
    """The copy that this process uses."""
    (path,) = mapped_copies()
    return Path(path)


def doctor_in_a_process(before: str, db: Path, **environment: str) -> dict[str, Any]:
    """The record of a doctor in whose process something was done first."""
    code = (
        "import json, sys\n"
        f"{before}\n"
        "from voicecore.cli.doctor_file import examine_file\n"
        "from voicecore.cli.doctor_words import problems_of\n"
        "record = examine_file(sys.argv[1])\n"
        "print(json.dumps({**record, 'problems': problems_of(record)}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, db],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def test_one_copy_is_found_once(db: Path) -> None:
    record = doctor_in_a_process("", db)
    assert record["sqlite"]["same_copy"] is True
    assert record["sqlite"]["copies"] == [str(the_library())]
    assert record["problems"] == []


def test_a_copy_loaded_under_another_name_is_found(db: Path, tmp_path: Path) -> None:
    planted = tmp_path / "libinnocent.so"
    shutil.copy(the_library(), planted)
    record = doctor_in_a_process(
        f"import ctypes, sqlite3, voicecore; ctypes.CDLL({str(planted)!r})", db
    )
    assert record["sqlite"]["copies"] == sorted([str(the_library()), str(planted)])
    assert "this process has 2 copies of SQLite loaded" in record["problems"][0]


def test_a_copy_in_another_process_of_the_file_is_found(
    here: Here, db: Path, tmp_path: Path
) -> None:
    planted = tmp_path / "libinnocent.so"
    shutil.copy(the_library(), planted)
    code = (
        "import ctypes, sys, voicecore.queue\n"
        f"ctypes.CDLL({str(planted)!r})\n"
        "print(voicecore._core.make_owner(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        announce(db, other.stdout.readline().strip())
        assert f"process {other.pid} has 2 copies of SQLite loaded" in problems(here, db)
    finally:
        other.communicate("")


def test_python_bound_to_another_copy_than_the_core_is_found(db: Path, tmp_path: Path) -> None:
    # Python's module, and a copy of the library for it alone: the same bytes, but for the name.
    import _sqlite3

    module = Path(_sqlite3.__file__ or "")
    name = the_library_needed_by(module)
    other = name[:3] + "X" + name[4:]
    (tmp_path / module.name).write_bytes(
        module.read_bytes().replace(name.encode() + b"\0", other.encode() + b"\0")
    )
    (tmp_path / other).write_bytes(
        the_library().read_bytes().replace(name.encode() + b"\0", other.encode() + b"\0")
    )
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    record = doctor_in_a_process("", db, PYTHONPATH=paths, LD_LIBRARY_PATH=str(tmp_path))
    assert record["sqlite"]["python"] == record["sqlite"]["voicecore"], (
        "no version tells them apart"
    )
    assert record["sqlite"]["same_copy"] is False
    assert "Python's sqlite3 and voicecore's core" in record["problems"][0]


def the_library_needed_by(module: Path) -> str:
    for name in ("libsqlite3.so.0", "libsqlite3.so"):
        if name.encode() + b"\0" in module.read_bytes():
            return name
    raise AssertionError(f"{module} does not link SQLite dynamically")


def test_this_process_shares_one_copy(db: Path) -> None:
    assert shared_with_python()
    assert examine_file(str(db))["sqlite"]["same_copy"] is True
