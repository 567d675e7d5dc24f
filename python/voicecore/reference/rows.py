"""Rows of the queue and what they are in Python."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import aiosqlite

from voicecore.errors import InvalidArgument, StaleClaim
from voicecore.queue import DEFAULT, Command, NewCommand, command_from_row, key_text
from voicecore.queue.convert import args_text, entry_or_none, text_or_none

COLUMNS = (
    "id, command, entry_id, key, args, requested_by, created_at, dedup_key, priority, not_before,"
    " expires_at, overtakes, attempt, given_back, max_attempts, lease_until, owner, claimed_at,"
    " result, error, state"
)


async def commands(
    db: aiosqlite.Connection, table: str, where: str = "ORDER BY id", *parameters: object
) -> list[Command]:
    """The rows of one of the two tables."""
    finished = "finished_at" if table == "bot_command_history" else "NULL"
    rows = await db.execute_fetchall(
        f"SELECT {COLUMNS}, {finished} FROM {table} {where}", parameters
    )
    return [command_from_row((*row[:11], bool(row[11]), *row[12:])) for row in rows]


def new_row(one: NewCommand | Mapping[str, Any] | Sequence[Any], now: int) -> tuple[Any, ...]:
    """The values of an INSERT, in the order of `INSERT`'s columns.

    Raises:
        InvalidArgument: not the fields of `NewCommand`, or not what JSON can hold.
    """
    try:
        if isinstance(one, Mapping):
            one = NewCommand(**one)
        new = one if isinstance(one, NewCommand) else NewCommand(*one)
        args = args_text(new.args or {})
        delay = now + round(new.delay * 1000) if new.delay > 0 else None
        if new.expires_after is DEFAULT:
            expires = None
        elif new.expires_after is None or math.isinf(new.expires_after):
            expires = 0
        else:
            expires = now + round(new.expires_after * 1000)
    except (TypeError, ValueError) as problem:
        raise InvalidArgument(f"a command: {problem}; expected the fields of NewCommand") from None
    if not new.command or new.delay < 0 or new.max_attempts < 1:
        raise InvalidArgument(
            f"a command: got {new}, expected a verb, delay >= 0, max_attempts >= 1"
        )
    return (
        text_or_none("command", new.command),
        entry_or_none(new.entry_id),
        key_text(new.key),
        args,
        text_or_none("requested_by", new.requested_by),
        now,
        text_or_none("dedup_key", new.dedup_key),
        new.priority,
        delay,
        expires,
        new.overtakes,
        new.max_attempts,
    )


def stale(reason: str, message: str) -> StaleClaim:
    """The refusal, with its reason."""
    error = StaleClaim(message)
    error.reason = reason
    return error
