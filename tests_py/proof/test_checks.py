"""The proofs' own instruments: they find what is wrong when something is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from voicecore.queue import SyncCommandQueue

from .check_history import check
from .nursery import Nursery
from .scenarios import NOT_ATOMIC
from .test_crashes import all_or_nothing

SOUND = [
    "C 1 a",
    "C 2 a",
    "C 3 b",
    "S 1 1 a one 10",
    "E 1 1 a one 20",
    "S 3 1 b two 15",
    "E 3 1 b two 25",
    "S 2 1 a two 30",
    "E 2 1 a two 40",
]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A history that goes with SOUND."""
    path = tmp_path / "queue.db"
    with SyncCommandQueue(path) as queue:
        for id, key, owner in ((1, "a", "one"), (2, "a", "two"), (3, "b", "two")):
            queue.execute(
                "INSERT INTO bot_command_history(id, command, key, state, attempt, owner,"
                " claimed_at, finished_at) VALUES (?, 'work', ?, 'done', 1, ?, ?, ?)",
                (id, key, owner, id * 10_000, id * 10_000 + 10),
            )
    return path


def findings(db: Path, lines: list[str], *, killed: bool = False) -> str:
    """What the independent script says."""
    log = db.with_suffix(".log")
    log.write_text("\n".join(lines) + "\n")
    figures, wrong = check(str(db), [str(log)], killed=killed)
    assert figures["wrong"] == len(wrong)
    return " | ".join(wrong)


def test_a_sound_history_passes(db: Path) -> None:
    assert findings(db, SOUND) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: [*lines, "S 1 1 a two 50"], "was started twice"),
        (lambda lines: [*lines, "S 1 2 a two 50"], "ran after it was finished"),
        (lambda lines: [*lines, "C 4 a"], "command 4 was committed and is lost"),
        (lambda lines: [*lines, "X 1 1 a one 20"], "was refused"),
        (lambda lines: [one for one in lines if one != "C 3 b"], "3 was never committed"),
        (lambda lines: [one for one in lines if "S 3" not in one], "is in no log"),
        (lambda lines: [one.replace("a two 30", "a two 15") for one in lines], "at the same time"),
        (lambda lines: [one.replace("a two 30", "a two 5") for one in lines], "ran behind 2"),
        (lambda lines: [one for one in lines if "E 1" not in one], "command 1 never ended"),
        (lambda lines: [one.replace("S 3 1 b two", "S 3 1 b one") for one in lines], "in no log"),
    ],
)
def test_a_broken_promise_in_the_logs_is_found(db: Path, change: object, says: str) -> None:
    assert callable(change)
    assert says in findings(db, change(SOUND))


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("INSERT INTO bot_commands(command) VALUES ('work')", "1 commands are still in the line"),
        ("UPDATE bot_command_history SET state = 'failed' WHERE id = 2", "2 ended as failed"),
        ("UPDATE bot_command_history SET claimed_at = 1 WHERE id = 2", "claimed before 1"),
        ("UPDATE bot_command_history SET finished_at = 0 WHERE id = 1", "before it was claimed"),
        ("DELETE FROM bot_command_history WHERE id = 3", "command 3 was committed and is lost"),
    ],
)
def test_a_broken_promise_in_the_file_is_found(db: Path, sql: str, says: str) -> None:
    connection = sqlite3.connect(db)
    connection.execute(sql)
    connection.commit()
    connection.close()
    assert says in findings(db, SOUND)


def test_a_repeat_is_accepted_only_after_a_kill(db: Path) -> None:
    connection = sqlite3.connect(db)
    connection.execute("UPDATE bot_command_history SET attempt = 2 WHERE id = 2")
    connection.commit()
    connection.close()
    lines = [*SOUND, "S 2 2 a two 50", "E 2 2 a two 60"]
    assert "command 2 ran 2 times" in findings(db, lines)
    assert findings(db, lines, killed=True) == ""


def test_a_killed_worker_that_left_two_of_a_key_behind_is_found(db: Path) -> None:
    connection = sqlite3.connect(db)
    connection.execute("UPDATE bot_command_history SET attempt = 2, owner = 'two' WHERE key = 'a'")
    connection.commit()
    connection.close()
    lines = [
        *(one for one in SOUND if one.startswith("C") or " b " in one),
        "S 1 1 a one 10",
        "S 2 1 a one 20",
        "S 1 2 a two 30",
        "S 2 2 a two 40",
    ]
    found = findings(db, lines, killed=True)
    assert "one left 2 commands of key a behind" in found
    assert "command 1 ran behind 2" in found


def test_a_step_that_is_not_all_or_nothing_is_found(nursery: Nursery, ram: Path) -> None:
    with pytest.raises(
        AssertionError, match=r"two transactions: died before step .*, 'BEGIN IMMEDIATE'"
    ):
        all_or_nothing(nursery, ram, NOT_ATOMIC)
