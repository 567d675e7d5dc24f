"""Rows that nobody will carry out as they are, or that hold others up: typed by hand, mostly."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from voicecore.cli.odd_values import number, show, text
from voicecore.cli.tables import span
from voicecore.schedule.words import listed

LONGEST_LEASE_S = 2 * 86_400.0
"""Twice what a queue can be told to lease for."""
FAR_S = 10 * 366 * 86_400.0
MOST = 1000

_DATES = ("created_at", "not_before", "expires_at")
_TIMES = (*_DATES, "lease_until", "claimed_at")
_COLUMNS = ("id", "command", "entry_id", "key", "args", "state", "owner", "overtakes", *_TIMES)
_ODD_TIME = " OR ".join(f"typeof({one}) NOT IN ('integer', 'real', 'null')" for one in _TIMES)
_COMMANDS = (
    f"SELECT {', '.join(_COLUMNS)} FROM bot_commands WHERE {_ODD_TIME}"
    " OR typeof(state) <> 'text' OR state NOT IN ('ready', 'claimed')"
    " OR typeof(command) <> 'text' OR command = '' OR typeof(key) NOT IN ('text', 'null')"
    " OR typeof(entry_id) NOT IN ('integer', 'null') OR typeof(args) <> 'text'"
    " OR (state = 'claimed' AND (owner IS NULL OR lease_until > :lease))"
    f" OR not_before > :far ORDER BY id LIMIT {MOST}"
)
END_STATES: Final = ("done", "failed", "expired", "superseded", "cancelled")
"""What a worker leaves as somebody wrote it."""
_SESSIONS = (
    "SELECT key, owner, lease_until FROM bot_sessions WHERE owner IS NOT NULL AND"
    " (typeof(lease_until) NOT IN ('integer', 'null') OR lease_until > :lease)"
    f" ORDER BY key LIMIT {MOST}"
)


def odd_rows(connection: sqlite3.Connection, now: float) -> list[str]:
    """What is wrong with which, a sentence each."""
    limits = {
        "lease": round((now + LONGEST_LEASE_S) * 1000),
        "far": round((now + FAR_S) * 1000),
    }
    found = []
    for row in connection.execute(_COMMANDS, limits):
        command = dict(zip(_COLUMNS, row, strict=True))
        faults = list(_command_faults(command, now))
        if faults:
            found.append(
                f"command {command['id']} ({text(command['command'])}): {'; '.join(faults)}"
            )
    for key, owner, lease in connection.execute(_SESSIONS, limits):
        held = f"leased for {_left(lease, now)}" if number(lease) else f"leased until {show(lease)}"
        found.append(
            f"the session of key {text(key)} is {held} by {text(owner)}: nothing else plays there. "
            "If nobody plays, UPDATE bot_sessions SET owner = NULL for that key"
        )
    return found


def _command_faults(row: dict[str, Any], now: float) -> Iterator[str]:
    id, state = row["id"], row["state"]
    odd = [one for one in _TIMES if row[one] is not None and not isinstance(row[one], (int, float))]
    if odd:
        # As a claim takes them.
        end = "it will fail" if set(odd) & set(_DATES) else "its lease is taken for over"
        yield (
            f"{listed(odd)}: got {listed([show(row[one]) for one in odd])}, expected milliseconds "
            f"since 1970 UTC: {end}"
        )
    due = row["not_before"]
    if number(due) and due / 1000 > now + FAR_S:
        yield f"it is due in {_left(due, now)}: not_before counts milliseconds since 1970 UTC"
    if not isinstance(row["command"], str) or not row["command"]:
        yield f"its verb is {show(row['command'])}: no worker knows that"
    if row["key"] is not None and not isinstance(row["key"], str):
        yield f"its key is {show(row['key'])}, expected a text"
    if row["entry_id"] is not None and not isinstance(row["entry_id"], int):
        yield f"its entry_id is {show(row['entry_id'])}, expected a whole number: it will fail"
    if not isinstance(row["args"], str):
        yield f"its args are {show(row['args'])}, expected a JSON object: it will fail"
    if state not in ("ready", "claimed"):
        end = "ends so" if state in END_STATES else "will fail"
        yield f"its state is {show(state)}, expected 'ready': it {end} when a worker looks at it"
    elif state == "claimed":
        yield from _claim_faults(id, row, now)


def _claim_faults(id: int, row: dict[str, Any], now: float) -> Iterator[str]:
    lease = row["lease_until"]
    long = number(lease) and lease / 1000 > now + LONGEST_LEASE_S
    if row["owner"] is not None and not long:
        return
    who = "nobody" if row["owner"] is None else text(row["owner"])
    until = f" for {_left(lease, now)}" if number(lease) and lease / 1000 > now else ""
    waits = f", and all that its key {text(row['key'])} has waits for it" if until else ""
    yield (
        f"it is claimed by {who}{until}{waits}. If nobody carries it out, UPDATE bot_commands SET "
        f"state = 'ready', owner = NULL, lease_until = NULL WHERE id = {id}"
    )


def _left(milliseconds: float, now: float) -> str:
    left = milliseconds / 1000 - now
    return span(left) if left < 366 * 86_400 else f"{left / (365.25 * 86_400):,.0f} years"
