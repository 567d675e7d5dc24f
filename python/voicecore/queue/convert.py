"""Between values and rows: checks on the way in, dataclasses on the way out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from voicecore import _validate
from voicecore.errors import InvalidArgument
from voicecore.queue.model import DEFAULT, Command, NewCommand, Outcome, WorkerInfo

MAX_INTEGER: Final = 2**63 - 1
# Made once: json.dumps() with options makes one for each call.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def seconds_or_none(value: int | None) -> float | None:
    """A column's milliseconds as seconds."""
    return None if value is None else value / 1000.0


def millis(value: float) -> int:
    """Seconds as a column's milliseconds."""
    return round(value * 1000)


def command_from_row(row: tuple[Any, ...]) -> Command:
    """The dataclass of a native row."""
    expires = row[10]
    return Command(
        id=row[0],
        command=row[1],
        entry_id=row[2],
        key=row[3],
        args_json=row[4],
        requested_by=row[5],
        created_at=row[6] / 1000.0,
        dedup_key=row[7],
        priority=row[8],
        not_before=seconds_or_none(row[9]),
        expires_at=float("inf") if expires == 0 else seconds_or_none(expires),
        overtakes=row[11],
        attempt=row[12],
        max_attempts=row[13],
        lease_until=seconds_or_none(row[14]),
        owner=row[15],
        claimed_at=seconds_or_none(row[16]),
        result=row[17],
        error=row[18],
        state=row[19],
        finished_at=seconds_or_none(row[20]),
    )


def commands_from_rows(rows: Iterable[tuple[Any, ...]]) -> list[Command]:
    """The dataclasses of native rows."""
    return [command_from_row(row) for row in rows]


def workers_from_rows(rows: Iterable[tuple[Any, ...]]) -> list[WorkerInfo]:
    """The dataclasses of native rows."""
    return [
        WorkerInfo(owner, pid, role, bell, version, seen / 1000.0)
        for owner, pid, role, bell, version, seen in rows
    ]


def outcome_of(found: Command | None, id: int) -> Outcome | None:
    """How a command ended; None: it has not.

    Raises:
        InvalidArgument: there is no such command.
    """
    if found is None:
        raise InvalidArgument(f"command {id}: there is none, or its history was pruned")
    if found.finished_at is None:
        return None
    return Outcome(found.id, found.state, found.result, found.error)


def key_text(key: str | int | None) -> str | None:
    """A key as it is stored; guild ids may be given as integers."""
    if key is None or isinstance(key, str):
        if key == "":
            raise InvalidArgument("key: got an empty text, expected a name or None")
        return text_or_none("key", key)
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    raise InvalidArgument(f"key: got {key!r}, expected a text, an integer or None")


def text_or_none(name: str, value: str | None) -> str | None:
    """A text that SQLite can hold."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidArgument(f"{name}: got {value!r}, expected a text or None")
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise InvalidArgument(f"{name}: {problem}; expected text that UTF-8 can hold") from None
    return value


def id_of(value: int) -> int:
    """An id that SQLite can hold."""
    return _validate.whole("id", value, -MAX_INTEGER, MAX_INTEGER)


def args_text(args: Mapping[str, Any] | None) -> str:
    """The JSON text of a command's arguments."""
    if args is None:
        return "{}"
    if not isinstance(args, Mapping):
        raise InvalidArgument(f"args: got {args!r}, expected a mapping")
    try:
        return _ENCODER.encode(dict(args))
    except (TypeError, ValueError) as problem:
        raise InvalidArgument(f"args: {problem}; expected what JSON can hold") from None


def fields_of(one: NewCommand, now: float) -> tuple[Any, ...]:
    """What the native `enqueue` takes of a command that is sent at `now`."""
    if not isinstance(one.command, str) or not one.command:
        raise InvalidArgument(f"command: got {one.command!r}, expected a word such as 'play'")
    if one.entry_id is not None:
        _validate.whole("entry_id", one.entry_id, -MAX_INTEGER, MAX_INTEGER)
    _validate.seconds("delay", one.delay)
    expires: int | None
    if one.expires_after is DEFAULT:
        expires = None
    elif one.expires_after is None:
        expires = 0
    else:
        expires = millis(now + _validate.seconds("expires_after", one.expires_after))
    return (
        cast(str, text_or_none("command", one.command)),
        one.entry_id,
        key_text(one.key),
        cast(str, text_or_none("args", args_text(one.args))),
        text_or_none("requested_by", one.requested_by),
        text_or_none("dedup_key", one.dedup_key),
        _validate.whole("priority", one.priority, -(2**31), 2**31),
        millis(now + one.delay) if one.delay > 0 else None,
        expires,
        bool(one.overtakes),
        _validate.whole("max_attempts", one.max_attempts, 1, 1_000_000),
    )


def new_command(one: NewCommand | Mapping[str, Any] | Sequence[Any]) -> NewCommand:
    """One of the forms that `enqueue_many` takes, as the dataclass."""
    if isinstance(one, NewCommand):
        return one
    try:
        if isinstance(one, Mapping):
            return NewCommand(**one)
        return NewCommand(*one)
    except TypeError as problem:
        raise InvalidArgument(
            f"a command: {problem}; expected a NewCommand, a mapping or (command, entry_id, …)"
        ) from None


def result_text(result: object) -> str:
    """A result as the history keeps it: a text as it is, the rest as JSON."""
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
