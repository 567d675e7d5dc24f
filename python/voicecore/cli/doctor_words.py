"""A queue file's state in words: what is so, what it means, what to do."""

from __future__ import annotations

from typing import Any

from voicecore.cli.doctor_file import MOST_LISTED, SCHEMA_VERSION
from voicecore.cli.tables import span
from voicecore.cli.words import count
from voicecore.schedule.words import listed

LARGE_WAL = 64 << 20
LONG_WAIT_S = 60.0

_RACE = (
    "can damage the write-ahead log when one connection commits while another moves the log into "
    "the file (3.7.0 to 3.51.2, but for 3.44.6 and later of 3.44 and 3.50.7 and later of 3.50)"
)
_ONE_MOVES = (
    "voicecore keeps clear of it: only the worker moves the log. Other programs that write to the "
    "file must run PRAGMA wal_autocheckpoint = 0, or better use a newer SQLite"
)


def problems_of(record: dict[str, Any]) -> list[str]:
    """What needs somebody to act, with what to do."""
    return [
        *_file_problems(record),
        *_schema_problems(record),
        *_copy_problems(record),
        *_worker_problems(record),
        *_line_problems(record),
    ]


def sections_of(record: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Titles and paragraphs."""
    sections = [("File", _file_words(record)), ("SQLite", _sqlite_words(record))]
    if record["commands"] is not None:
        sections += [
            ("Workers", _worker_words(record)),
            ("Commands", _command_words(record)),
            ("Sessions", _session_words(record)),
        ]
    return sections


# -- what is wrong ---------------------------------------------------------------------------------


def _file_problems(record: dict[str, Any]) -> list[str]:
    problems = []
    if record["network_file_system"] is not None:
        problems.append(record["network_file_system"])
    if record["other_names"] is not None:
        problems.append(record["other_names"])
    if record["quick_check"] != ["ok"]:
        first = "; ".join(record["quick_check"][:3])
        problems.append(
            f"the file is damaged ({first}): stop everything that uses it, copy it with its -wal, "
            "and save what can be read with the sqlite3 shell's .recover"
        )
    for what, may in record["may_write"].items():
        if not may:
            why = ", where the write-ahead log is kept" if what == "folder" else ""
            problems.append(
                f"this process may not write the {what}{why}: it cannot open the queue, not even "
                "to look. Run as the user that the bot runs as, or allow it"
            )
    if record["schema_version"] == SCHEMA_VERSION and record["journal_mode"] != "wal":
        problems.append(
            f"the journal mode is {record['journal_mode']}, not wal: another program has changed "
            "it; the next voicecore that opens the file changes it back"
        )
    if record["wal_bytes"] > LARGE_WAL:
        problems.append(
            f"the write-ahead log has {_size(record['wal_bytes'])}: either no worker runs that "
            "moves it into the file, or a reader somewhere never ends its transaction"
        )
    return problems


def _schema_problems(record: dict[str, Any]) -> list[str]:
    version, trouble = record["schema_version"], record["schema_trouble"]
    problems = []
    if trouble == "no queue":
        problems.append("this is a SQLite database, but not a queue: it has no bot_commands")
    elif trouble == "foreign":
        problems.append(
            "the table bot_commands is somebody else's, without the columns id, command and "
            "entry_id: voicecore refuses the file; give the queue a file of its own"
        )
    elif trouble == "unversioned":
        problems.append(
            f"the tables of a queue are there, but voicecore_schema {record['schema_said']}: no "
            f"voicecore opens the file. {_mended(record)}"
        )
    elif version > SCHEMA_VERSION:
        problems.append(
            f"schema version {version} is newer than this voicecore, which knows {SCHEMA_VERSION}: "
            "it will refuse the file; update it"
        )
    if record["lacks"]:
        problems.append(
            f"the file lacks {listed(record['lacks'])}: somebody has changed it. What needs that "
            "fails; take it from a copy, or begin with a new file"
        )
    for statement in record["missing_indexes"]:
        what = (
            "it makes a second claim of a key, or a second command of a dedup key, impossible"
            if "UNIQUE" in statement
            else "without it looking for commands is slow"
        )
        problems.append(
            f"an index is missing, or is not as it was made: {what}. Make it again: {statement}"
        )
    return problems


def _mended(record: dict[str, Any]) -> str:
    if record["lacks"]:
        return "Take it from a copy, or begin with a new file"
    return (
        "All of its tables are complete, so that it can be written again: CREATE TABLE IF NOT "
        "EXISTS voicecore_schema (version INTEGER NOT NULL); DELETE FROM voicecore_schema; "
        f"INSERT INTO voicecore_schema VALUES ({SCHEMA_VERSION})"
    )


def _copy_problems(record: dict[str, Any]) -> list[str]:
    sqlite = record["sqlite"]
    problems = []
    if not sqlite["same_copy"]:
        problems.append(
            "two copies of SQLite in this process: Python's sqlite3 and voicecore's core. A file "
            "that both open loses its locks when either closes it, and can be corrupted; install "
            "voicecore so that it links the library that Python uses"
        )
    if len(sqlite["copies"]) > 1:
        problems.append(_copies("this process", sqlite["copies"]))
    for worker in record["workers"]:
        if len(worker["copies"] or ()) > 1:
            problems.append(_copies(f"process {worker['pid']}", worker["copies"]))
    return problems


def _copies(who: str, copies: list[str]) -> str:
    return (
        f"{who} has {len(copies)} copies of SQLite loaded ({', '.join(copies)}): if two of them "
        "open this file, each drops the other's locks, and commits are lost"
    )


def _worker_problems(record: dict[str, Any]) -> list[str]:
    movers = [one for one in record["workers"] if one["may_live"] and one["role"] == "worker"]
    racy = [one for one in movers if one["wal_race"]]
    if len(movers) < 2 or not racy:
        return []
    versions = ", ".join(f"process {one['pid']}: SQLite {one['sqlite']}" for one in racy)
    return [
        f"{len(movers)} workers move the write-ahead log at the same time, and their SQLite "
        f"{_RACE}: {versions}. Run one worker, or update SQLite"
    ]


def _line_problems(record: dict[str, Any]) -> list[str]:
    commands = record["commands"]
    if commands is None:
        return []
    problems = []
    waiting = commands["waiting_s"] or 0.0
    served = any(one["may_live"] and one["role"] == "worker" for one in record["workers"])
    if waiting > LONG_WAIT_S:
        who = (
            "a worker is there but does not get to it: see its log, and what its key waits for"
            if served
            else "no worker has announced itself: is the bot running, and on this file?"
        )
        problems.append(
            f"{count(commands['ready'], 'command')} due, the oldest for {span(waiting)}: {who}"
        )
    if commands["from_the_future"]:
        problems.append(
            f"{count(commands['from_the_future'], 'command')} sent more than a minute in the "
            "future: the wall clock was set back, or that of another machine is ahead"
        )
    odd = record["odd_rows"]
    problems += odd[:MOST_LISTED]
    if len(odd) > MOST_LISTED:
        problems.append(f"{len(odd) - MOST_LISTED:,} or more other rows like these")
    return problems


# -- what is so ------------------------------------------------------------------------------------


def _file_words(record: dict[str, Any]) -> list[str]:
    version = record["schema_version"]
    schema = (
        "the lesson's table, brought forward at first use"
        if version == 0
        else f"schema version {version}"
        if version is not None
        else "a queue file of no known version"
        if record["schema_trouble"] == "unversioned"
        else "not a queue file"
    )
    lines = [
        f"{record['file']}: {_size(record['bytes'])}, {schema}.",
        f"Journal mode {record['journal_mode']}, {_size(record['wal_bytes'])} in the write-ahead "
        "log.",
    ]
    if record["network_file_system"] is None:
        lines.append("On a local file system.")
    if record["quick_check"] == ["ok"]:
        lines.append("PRAGMA quick_check found nothing wrong.")
    return lines


def _sqlite_words(record: dict[str, Any]) -> list[str]:
    sqlite = record["sqlite"]
    version = sqlite["voicecore"]
    lines = []
    if sqlite["same_copy"] and len(sqlite["copies"]) <= 1:
        lines.append(f"One copy in this process, {version}, shared with Python's sqlite3.")
    if sqlite["wal_race"]:
        lines.append(f"SQLite {version} {_RACE}. {_ONE_MOVES}.")
    else:
        lines.append(f"SQLite {version} is free of the fault that can damage a write-ahead log.")
    others = {
        one["sqlite"] for one in record["workers"] if one["may_live"] and one["sqlite"] != version
    }
    for other in sorted(others):
        lines.append(
            f"Another process uses SQLite {other}, which "
            + (_RACE if has_race(record, other) else "is free of that fault")
            + "."
        )
    return lines


def has_race(record: dict[str, Any], version: str) -> bool:
    """Whether a worker's version is one of the faulty."""
    return any(one["wal_race"] for one in record["workers"] if one["sqlite"] == version)


def _worker_words(record: dict[str, Any]) -> list[str]:
    if not record["workers"]:
        return ["None has announced itself."]
    lines = []
    for one in record["workers"]:
        seen = "at no known time" if one["seen_s"] is None else f"{_ago(one['seen_s'])} ago"
        state = (
            f"lives, last seen {seen}"
            if one["may_live"]
            else "is gone without a goodbye; the next worker clears away what it held"
        )
        lines.append(f"Process {one['pid']} ({one['role']}, SQLite {one['sqlite']}) {state}.")
    return lines


def _command_words(record: dict[str, Any]) -> list[str]:
    found = record["commands"]
    waits = "" if found["waiting_s"] is None else f" (the oldest for {_ago(found['waiting_s'])})"
    lines = [
        f"{found['ready']:,} due{waits}, {found['delayed']:,} delayed, {found['claimed']:,} "
        f"claimed, {found['ended']:,} in the history."
    ]
    for one in found["stuck"][:MOST_LISTED]:
        lines.append(f"Command {one['id']} ({one['command']}, key {one['key']}): {_stuck(one)}.")
    if len(found["stuck"]) > MOST_LISTED:
        lines.append(f"… and {len(found['stuck']) - MOST_LISTED:,} more like these.")
    return lines


def _stuck(one: dict[str, Any]) -> str:
    holder = "its holder lives or cannot be judged" if one["holder_may_live"] else "its holder died"
    if one["lease_s"] <= 0:
        return (
            f"claimed, but the lease ran out {span(-one['lease_s'])} ago and {holder}; the next "
            "worker that looks tries it again"
        )
    return (
        f"{holder}; it is tried again when a worker starts, or when the lease ends in "
        f"{span(one['lease_s'])}"
    )


def _session_words(record: dict[str, Any]) -> list[str]:
    if not record["sessions"]:
        return ["None is leased."]
    lines = []
    for one in record["sessions"]:
        entry = "" if one["entry_id"] is None else f" plays entry {one['entry_id']}"
        lease = (
            f"leased for {span(one['lease_s'])} more"
            if one["lease_s"] > 0
            else f"the lease ran out {span(-one['lease_s'])} ago: whoever comes next has it"
        )
        dead = "" if one["holder_may_live"] else "; its holder died, the next worker frees it"
        lines.append(f"Key {one['key']}{entry}, attempt {one['attempt']}: {lease}{dead}.")
    return lines


def _ago(seconds: float) -> str:
    return span(max(0.0, seconds))


def _size(number: int) -> str:
    return f"{number / 1024:,.0f} KiB" if number < 10 << 20 else f"{number / (1 << 20):,.1f} MiB"
