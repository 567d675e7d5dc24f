"""Checks the file and the logs of bots that were killed, with the plain sqlite3 module.

Knows nothing of voicecore. Beside the lines that actors.py describes there is one for each death:

    K <pid> <ns>                               it was alive until then at least, and then killed

Promises: what was committed is in the history, once, with an end that its verb can have, and
nothing is left in the line. The handlers' runs are as check_history.py has them. The sessions of a
key never overlap, and their leases' attempts grow. What is said to have started has begun, but for
the one of each key that its bot died over. An occurrence of the schedule has one `play`, which
begins again only when the bot that it began in was killed; none between the first and the last
is lost.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from .check_history import Run, check_keys, check_runs

DONE = {
    "work": {"done"},
    "play": {"started", "busy"},
    "stop": {"done", "not playing"},
    "pause": {"done", "not playing"},
    "resume": {"done", "not playing", "not paused"},
    "volume": {"done", "not playing"},
    "next": {"done", "not playing"},
}
FAILED = {"nonsense": "expected one of", "play": "there is no entry 404"}
"""What a verb may fail of."""
LOST = "holders were lost"
"""What may be tried once, and the schedule's own plays, end with the third death."""
INSTANT_MS = 1000


class Logs:
    """What the processes wrote."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.committed: dict[int, str] = {}
        self.deaths: dict[str, int] = {}
        self.wrong: list[str] = []
        begun: dict[tuple[str, ...], int] = {}
        ended: dict[tuple[str, ...], int] = {}
        for path in paths:
            for line in path.read_text().splitlines():
                kind, *rest = line.split()
                if kind == "C":
                    self.committed[int(rest[0])] = rest[2]
                elif kind == "K":
                    self.deaths[rest[0]] = int(rest[1])
                else:
                    which = (kind, *rest[:-1])
                    book = begun if kind in "SB" else ended
                    if which in book:
                        self.wrong.append(f"twice: {' '.join(which)}")
                    book[which] = int(rest[-1])
        self.runs, self.sessions = (
            [
                Run(int(id), int(attempt), key, owner, start, ended.get((end, *which)))
                for (kind, *which), start in begun.items()
                for id, attempt, key, owner in [which]
                if kind == begin
            ]
            for begin, end in ("SE", "BF")
        )

    def death_of(self, owner: str) -> int | None:
        """When the process was killed; None: it ended by itself."""
        return self.deaths.get(pid_of(owner))


def pid_of(owner: str) -> str:
    """Of `host:boot:pid:start:number`."""
    return owner.split(":")[2]


def check(db: Path, logs: Logs) -> tuple[dict[str, int], list[str]]:
    """Figures, and every broken promise."""
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        sound = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        left = connection.execute("SELECT id, command FROM bot_commands").fetchall()
        history = connection.execute("SELECT * FROM bot_command_history ORDER BY id").fetchall()
        occurrences = connection.execute(
            "SELECT entry_id, slot, due_at, state FROM schedule_occurrences ORDER BY due_at"
        ).fetchall()
        held = connection.execute("SELECT key FROM bot_sessions WHERE owner IS NOT NULL").fetchall()
    finally:
        connection.close()
    wrong = list(logs.wrong)
    if sound != ["ok"]:
        wrong.append(f"integrity_check: {sound}")
    wrong += [f"command {row['id']}, {row['command']}, is still in the line" for row in left]
    wrong += [f"the session of key {row['key']} is still leased" for row in held]
    rows = {row["id"]: row for row in history}
    wrong += [f"command {id} was committed and is lost" for id in logs.committed if id not in rows]
    wrong += [text for row in history if (text := _wrong_end(row)) is not None]
    work = {
        row["id"]: tuple(row[name] for name in _RUN_COLUMNS)
        for row in history
        if row["command"] == "work"
    }
    wrong += check_runs(work, logs.runs, killed=True)
    wrong += check_keys(work, logs.runs, killed=True)
    wrong += _check_sessions(logs)
    wrong += _check_starts(history, logs)
    wrong += _check_schedule(history, occurrences, logs)
    figures = {
        "committed": len(logs.committed),
        "history": len(history),
        "runs": len(logs.runs),
        "repeated": len(logs.runs) - len({run.id for run in logs.runs}),
        "sessions": len(logs.sessions),
        "cut off": sum(one.end is None for one in logs.sessions),
        "occurrences": len(occurrences),
        "deaths": len(logs.deaths),
        **Counter(f"{row['command']}: {row['result'] or row['state']}" for row in history),
    }
    return figures, wrong


_RUN_COLUMNS = ("key", "state", "attempt", "owner", "claimed_at", "finished_at")


def _wrong_end(row: sqlite3.Row) -> str | None:
    verb, state, error = row["command"], row["state"], row["error"] or ""
    right = {
        "done": row["result"] in DONE.get(verb, ()),
        "failed": FAILED.get(verb, "\n") in error or (LOST in error and row["max_attempts"] == 1),
        "superseded": verb in DONE and verb != "work",
    }
    if right.get(state, False):
        return None
    return f"command {row['id']}, {verb}, ended as {state}: {row['result'] or error}"


def _check_sessions(logs: Logs) -> list[str]:
    wrong = []
    by_key: dict[str, list[Run]] = defaultdict(list)
    for one in sorted(logs.sessions, key=lambda one: one.start):
        by_key[one.key].append(one)
    for key, mine in by_key.items():
        for before, after in pairwise(mine):
            over = before.end if before.end is not None else logs.death_of(before.owner)
            if over is None:
                wrong.append(f"key {key}: session {before.attempt} never ended")
            elif after.start < over:
                wrong.append(
                    f"key {key}: sessions {before.attempt} of {before.owner} and "
                    f"{after.attempt} of {after.owner} ran at the same time"
                )
            if after.attempt <= before.attempt:
                wrong.append(f"key {key}: session {after.attempt} came behind {before.attempt}")
    return wrong


def _check_starts(history: list[sqlite3.Row], logs: Logs) -> list[str]:
    """A bot dies at most once, over at most one `play` of each key."""
    wrong = []
    begun = {one.id for one in logs.sessions}
    silent: Counter[tuple[str, str]] = Counter()
    for row in history:
        if row["command"] == "play" and row["result"] == "started" and row["id"] not in begun:
            silent[row["owner"], row["key"]] += 1
            if logs.death_of(row["owner"]) is None:
                wrong.append(f"command {row['id']} has started, and nothing has begun")
    wrong += [
        f"{owner}: {n} of key {key} began nothing" for (owner, key), n in silent.items() if n > 1
    ]
    return wrong


def _check_schedule(
    history: list[sqlite3.Row], occurrences: list[sqlite3.Row], logs: Logs
) -> list[str]:
    wrong = []
    begun: dict[int, list[Run]] = defaultdict(list)
    for one in sorted(logs.sessions, key=lambda one: one.start):
        begun[one.id].append(one)
    plays: dict[tuple[int, str], list[Any]] = defaultdict(list)
    for row in history:
        found = re.fullmatch(r"schedule:(\d+):(.*)", row["dedup_key"] or "")
        if found:
            plays[int(found[1]), found[2]].append(row)
    due: dict[int, list[int]] = defaultdict(list)
    for occurrence in occurrences:
        which = (occurrence["entry_id"], occurrence["slot"])
        due[occurrence["entry_id"]].append(occurrence["due_at"])
        sent = plays.pop(which, [])
        if len(sent) != 1:
            wrong.append(f"occurrence {which} has {len(sent)} plays")
        for play in sent:
            for run in begun[play["id"]][:-1]:
                if logs.death_of(run.owner) is None:
                    wrong.append(f"occurrence {which} began again, and nobody had died")
    wrong += [f"play of {which}, which is no occurrence" for which in plays]
    for entry, instants in due.items():
        wrong += [
            f"entry {entry}: nothing between {a} and {b}"
            for a, b in pairwise(instants)
            if b - a != INSTANT_MS
        ]
    return wrong
