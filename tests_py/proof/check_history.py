"""Checks a queue file and its processes' logs after the fact, with the plain sqlite3 module.

Knows nothing of voicecore: `python check_history.py FILE LOG... [--killed]`. Prints a JSON object;
exit code 1 when a promise was broken. The logs are described in actors.py.

Promises: every command that was committed is in the history, done, and nothing is left in the
line. No (command, attempt) ever ran twice, and without kills no command ran twice. Of each key one
at a time ran, in the order of ids; after a kill only the one that was in flight is repeated.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

TURN_MS = 5_000
"""The file's times are taken when something is asked for; its turn may come this much later (the
busy time-out). The logs' own times have no such slack."""


@dataclass(frozen=True)
class Run:
    """One start of a handler, and its end if it came to that."""

    id: int
    attempt: int
    key: str
    owner: str
    start: int
    end: int | None


def read_logs(paths: Iterable[str]) -> tuple[dict[int, str], list[Run], list[str]]:
    """What was committed, what ran, and what is wrong with the logs themselves."""
    committed: dict[int, str] = {}
    starts: dict[tuple[int, int], tuple[str, str, int]] = {}
    ends: dict[tuple[int, int], int] = {}
    wrong = []
    for path in paths:
        for line in Path(path).read_text().splitlines():
            kind, id, *rest = line.split()
            if kind == "C":
                committed[int(id)] = rest[0]
                continue
            attempt, key, owner, when = rest
            which = (int(id), int(attempt))
            if kind == "S":
                if which in starts:
                    wrong.append(f"command {id}, attempt {attempt} was started twice")
                starts[which] = (key, owner, int(when))
            elif kind == "E":
                ends[which] = int(when)
            else:
                wrong.append(f"command {id}, attempt {attempt} was refused: {line}")
    runs = [
        Run(id, attempt, key, owner, start, ends.get((id, attempt)))
        for (id, attempt), (key, owner, start) in starts.items()
    ]
    return committed, runs, wrong


def check(db: str, logs: Iterable[str], *, killed: bool) -> tuple[dict[str, int], list[str]]:
    """Figures, and every broken promise."""
    committed, runs, wrong = read_logs(logs)
    if killed:
        # A worker that was held up past its lease is refused: that is as it should be.
        wrong = [text for text in wrong if "refused" not in text]
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    try:
        sound = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        left = connection.execute("SELECT count(*) FROM bot_commands").fetchone()[0]
        rows = connection.execute(
            "SELECT id, key, state, attempt, owner, claimed_at, finished_at"
            " FROM bot_command_history ORDER BY id"
        ).fetchall()
    finally:
        connection.close()
    if sound != ["ok"]:
        wrong.append(f"integrity_check: {sound}")
    if left:
        wrong.append(f"{left} commands are still in the line")
    history = {row[0]: row[1:] for row in rows}
    wrong += [f"command {id} was committed and is lost" for id in committed if id not in history]
    wrong += [f"command {id} ended as {row[1]}" for id, row in history.items() if row[1] != "done"]
    if not killed:
        wrong += [f"command {id} was never committed" for id in history if id not in committed]
    wrong += check_runs(history, runs, killed)
    wrong += check_keys(history, runs, killed)
    repeated = len(runs) - len({run.id for run in runs})
    figures = {
        "committed": len(committed),
        "history": len(history),
        "runs": len(runs),
        "repeated": repeated,
        "keys": len({row[0] for row in history.values()}),
        "workers": len({run.owner for run in runs}),
        "wrong": len(wrong),
    }
    return figures, wrong


def check_runs(history: dict[int, tuple], runs: list[Run], killed: bool) -> list[str]:  # type: ignore[type-arg]
    wrong = []
    by_id: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        by_id[run.id].append(run)
    unfinished: dict[tuple[str, str], set[int]] = defaultdict(set)
    for id, (_, _, attempt, owner, claimed_at, finished_at) in history.items():
        mine = by_id[id]
        last = [run for run in mine if run.attempt == attempt]
        if len(last) != 1 or last[0].owner != owner:
            wrong.append(f"command {id}: attempt {attempt} of {owner} is in no log")
        if any(run.attempt > attempt for run in mine):
            wrong.append(f"command {id} ran after it was finished")
        if not killed and len(mine) != 1:
            wrong.append(f"command {id} ran {len(mine)} times")
        if claimed_at > finished_at:
            wrong.append(f"command {id} was finished before it was claimed")
        for run in mine:
            if run.attempt != attempt:
                unfinished[run.owner, run.key].add(id)
    for (owner, key), ids in unfinished.items():
        if len(ids) > 1:
            wrong.append(f"{owner} left {len(ids)} commands of key {key} behind: {sorted(ids)}")
    return wrong


def check_keys(history: dict[int, tuple], runs: list[Run], killed: bool) -> list[str]:  # type: ignore[type-arg]
    wrong = []
    by_key: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_key[run.key].append(run)
    for key, mine in by_key.items():
        mine.sort(key=lambda run: run.start)
        for before, after in pairwise(mine):
            if after.id < before.id or (after.id == before.id and after.attempt <= before.attempt):
                wrong.append(f"key {key}: command {after.id} ran behind {before.id}")
            if before.end is None:
                if not killed:
                    wrong.append(f"key {key}: command {before.id} never ended")
            elif after.start < before.end:
                wrong.append(f"key {key}: {before.id} and {after.id} ran at the same time")
    last: dict[str, tuple[int, int]] = {}
    for id, (key, _, _, _, claimed_at, finished_at) in history.items():
        if key in last and claimed_at < last[key][1] - TURN_MS:
            wrong.append(f"key {key}: {id} was claimed before {last[key][0]} was finished")
        last[key] = (id, finished_at)
    return wrong


def main(arguments: list[str]) -> int:
    """The command line."""
    killed = "--killed" in arguments
    db, *logs = [one for one in arguments if one != "--killed"]
    figures, wrong = check(db, logs, killed=killed)
    print(json.dumps({**figures, "first": wrong[:20]}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
