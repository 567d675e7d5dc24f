"""`kill -9` between any two steps of SQL, and at random moments."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from voicecore.queue import SyncCommandQueue

from .nursery import HERE, Nursery
from .scale import FULL, scaled, tell
from .scenarios import LEASE, NOW, PLANTED, SCENARIOS, contents, run_a_scheduler

KILLED = -9


def copy_of(template: Path, to: Path) -> Path:
    """A file as it was prepared; nobody has it open."""
    for old in to.parent.glob(to.name + "*"):
        old.unlink()
    if template.exists():
        shutil.copy(template, to)
    return to


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_process_killed_before_any_step_leaves_all_or_nothing(
    nursery: Nursery, ram: Path, name: str
) -> None:
    all_or_nothing(nursery, ram, name)


def all_or_nothing(nursery: Nursery, ram: Path, name: str) -> None:
    """Die before each step in turn, and look at what is left."""
    template, db, report = ram / "template.db", ram / "queue.db", ram / "report"
    (SCENARIOS | PLANTED)[name].prepare(str(template))
    copy_of(template, db)
    before = contents(str(db))
    copy_of(template, db)
    assert nursery.run(name, db=db, die_at=0, report=report) == 0
    after = contents(str(db))
    texts: list[str] = json.loads(report.read_text())
    steps = len(texts)
    report.unlink()
    assert steps >= 4
    done = []
    for step, text in enumerate(texts, 1):
        where = f"{name}: died before step {step} of {steps}, {text!r}"
        copy_of(template, db)
        assert nursery.run(name, db=db, die_at=step, report=report) == KILLED, where
        assert not report.exists(), where
        found = contents(str(db))
        assert found in (before, after), where
        done.append(found == after)
        everything_ends(db, where)
    if before != after:
        # It is done from COMMIT on, and not before.
        assert done == sorted(done)
        assert not done[0]
    copy_of(template, db)
    assert nursery.run(name, db=db, die_at=steps + 1, report=report) == 0
    assert contents(str(db)) == after, "what was reported as done is lost"


def test_a_scheduler_killed_before_any_step_leaves_what_its_commits_have_made(
    nursery: Nursery, ram: Path
) -> None:
    template, db, report = ram / "template.db", ram / "queue.db", ram / "report"
    with SyncCommandQueue(template):
        pass
    copy_of(template, db)
    assert nursery.run(run_a_scheduler.__name__, db=db, die_at=0, report=report) == 0
    texts: list[str] = json.loads(report.read_text())
    renewals = [text for text in texts if text.startswith("UPDATE bot_sessions SET lease_until")]
    assert len(renewals) == 2, "of two sessions, once"
    # What only looks changes nothing; in full it is tried as well.
    dull = ("PRAGMA data_version",) if FULL else ("PRAGMA data_version", "SELECT")
    before, committed = contents(str(copy_of(template, db))), False
    for step, text in enumerate(texts, 1):
        if committed or not text.startswith(dull):
            where = f"a scheduler died before step {step} of {len(texts)}, {text!r}"
            copy_of(template, db)
            name = run_a_scheduler.__name__
            assert nursery.run(name, db=db, die_at=step, report=report) == KILLED, where
            found = contents(str(db))
            assert found == before or committed, where
            everything_ends(db, where, NOW + 12.0 + LEASE)
            before = found
        committed = text == "COMMIT"


def everything_ends(db: Path, where: str, later: float = NOW + LEASE) -> None:
    """One lease later a worker gets through the whole line: nothing is stuck, nothing is lost."""
    with SyncCommandQueue(db, lease=LEASE, wall_clock=lambda: later) as queue:
        queue.execute("UPDATE bot_commands SET not_before = NULL, expires_at = 0")
        sent = {one.id for one in queue.peek()}
        tries = {one.id: one.attempt for one in queue.peek()}
        while claimed := queue.claim(10):
            for command in claimed:
                assert command.attempt == tries[command.id] + 1, where
                queue.ack(command)
        assert queue.peek() == [], where
        assert sent <= {one.id for one in queue.history()}, where


def test_a_kill_at_any_moment_loses_nothing_and_repeats_at_most_one_of_each_key(
    nursery: Nursery, tmp_path: Path
) -> None:
    rounds, lease, keys = scaled(30, 500), 0.3, 5
    db, stop = tmp_path / "queue.db", tmp_path / "stop"
    with SyncCommandQueue(db):
        pass
    dice = random.Random(7)
    logs: list[Path] = []

    def start(kind: str) -> int:
        log = tmp_path / f"{kind}-{len(logs)}.log"
        log.touch()
        logs.append(log)
        seed = dice.randrange(1 << 30)
        if kind == "send":
            return nursery.start(
                "send", db=db, log=log, count=1_000_000, keys=keys, seed=seed, pause=0.001
            )
        return nursery.start("work", db=db, log=log, stop=stop, lease=lease, limit=3, seed=seed)

    running = {kind: start(kind.split()[0]) for kind in ("send 1", "work 1", "work 2")}
    for number in range(rounds):
        time.sleep(dice.uniform(0.0, 0.08))
        kind = dice.choice(list(running))
        assert nursery.kill(running[kind]) == KILLED
        if number % 10 == 0:
            assert_sound(db)
        running[kind] = start(kind.split()[0])
    for pid in running.values():
        assert nursery.kill(pid) == KILLED
    assert_sound(db)
    # Whatever the dead still hold, they hold for one lease.
    time.sleep(lease)
    stop.touch()
    last = tmp_path / "work-last.log"
    logs.append(last)
    began = time.monotonic()
    assert nursery.run("work", db=db, log=last, stop=stop, lease=lease, limit=3, seed=1) == 0
    spent = time.monotonic() - began
    figures = independent_check(db, logs, "--killed")
    assert figures["committed"] > rounds
    assert figures["repeated"] <= (rounds + 3) * keys
    tell(f"{rounds} kills: {figures}, the rest done in {spent:.2f} s")


def assert_sound(db: Path) -> None:
    """While others go on."""
    connection = sqlite3.connect(db, timeout=10)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


def independent_check(db: Path, logs: list[Path], *options: str) -> dict[str, int]:
    """The figures; fails with whatever is wrong."""
    done = subprocess.run(
        [sys.executable, "-I", HERE / "check_history.py", db, *logs, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    figures: dict[str, int] = json.loads(done.stdout) if done.stdout else {}
    assert done.returncode == 0, (figures, done.stderr)
    assert os.path.getsize(db) > 0
    return figures
