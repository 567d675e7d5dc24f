"""Between values and rows: checks on the way in, dataclasses on the way out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from voicecore import _validate
from voicecore.errors import InvalidArgument, WrongType
from voicecore.queue.model import (
    DEFAULT,
    Command,
    NewCommand,
    Outcome,
    WorkerInfo,
    _Default,
)

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
    """The dataclass of a native row; its columns come in the order in which they are taken."""
    one = object.__new__(Command)
    # The fields are written as the constructor of a frozen dataclass cannot: it takes a function
    # call for each, half of the time that the whole takes.
    to = one.__dict__
    (
        to["id"],
        to["command"],
        to["entry_id"],
        to["key"],
        to["args_json"],
        to["requested_by"],
        created,
        to["dedup_key"],
        to["priority"],
        not_before,
        expires,
        to["overtakes"],
        to["attempt"],
        to["given_back"],
        to["max_attempts"],
        lease_until,
        to["owner"],
        claimed,
        to["result"],
        to["error"],
        to["state"],
        finished,
    ) = row
    to["created_at"] = created / 1000.0
    to["not_before"] = None if not_before is None else not_before / 1000.0
    to["expires_at"] = None if expires is None else expires / 1000.0 if expires else float("inf")
    to["lease_until"] = None if lease_until is None else lease_until / 1000.0
    to["claimed_at"] = None if claimed is None else claimed / 1000.0
    to["finished_at"] = None if finished is None else finished / 1000.0
    return one


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
    number = _validate.integer(key)
    if number is not None:
        return str(number)
    raise WrongType(f"key: got {key!r}, expected a text, an integer or None")


def session_key(key: str | int) -> str:
    """The key of a session, which always has one."""
    text = key_text(key)
    if text is None:
        raise WrongType("key: got None, expected a text or an integer")
    return text


def entry_or_none(entry_id: int | None) -> int | None:
    """The id of an entry that SQLite can hold, or none."""
    if entry_id is None:
        return None
    return _validate.whole("entry_id", entry_id, -MAX_INTEGER, MAX_INTEGER)


def text_or_none(name: str, value: str | None) -> str | None:
    """A text that SQLite can hold."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise WrongType(f"{name}: got {value!r}, expected a text or None")
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


def args_text(args: Mapping[str, Any]) -> str:
    """The JSON text of a command's arguments."""
    if args.__class__ is not dict:
        if not isinstance(args, Mapping):
            raise WrongType(f"args: got {args!r}, expected a mapping")
        args = dict(args)
    try:
        text = _ENCODER.encode(args)
    except (TypeError, ValueError, RecursionError) as problem:
        raise InvalidArgument(f"args: {problem}; expected what JSON can hold") from None
    if not text.isascii():
        text_or_none("args", text)
    return text


def row_of(
    now: float,
    command: str,
    entry_id: int | None,
    key: str | int | None,
    args: Mapping[str, Any] | None,
    requested_by: str | None,
    dedup_key: str | None,
    delay: float,
    expires_after: float | _Default | None,
    priority: int,
    max_attempts: int,
    overtakes: bool,
) -> tuple[Any, ...]:
    """What the native `enqueue` takes of a command that is sent at `now`.

    A sender that sends now and then finds nothing of this in the processor's caches, and each
    function called costs ten times what it costs in a loop: usual values are told by their look.
    """
    if not isinstance(command, str) or not command:
        error = InvalidArgument if isinstance(command, str) else WrongType
        raise error(f"command: got {command!r}, expected a word such as 'play'")
    if not command.isascii():
        text_or_none("command", command)
    if entry_id is not None:
        entry_id = entry_or_none(entry_id)
    if key.__class__ is not str or not key or not key.isascii():
        key = key_text(key)
    text = "{}" if args is None else args_text(args)
    if requested_by is not None:
        text_or_none("requested_by", requested_by)
    if dedup_key is not None:
        text_or_none("dedup_key", dedup_key)
    if delay.__class__ is not float or delay != 0.0:
        delay = _validate.seconds("delay", delay)
    expires: int | None
    if expires_after is DEFAULT:
        expires = None
    elif expires_after is None:
        expires = 0
    else:
        expires = millis(now + _validate.seconds("expires_after", expires_after))
    if priority.__class__ is not int or priority != 0:
        priority = _validate.whole("priority", priority, -(2**31), 2**31 - 1)
    if max_attempts.__class__ is not int or max_attempts != 1:
        max_attempts = _validate.whole("max_attempts", max_attempts, 1, 1_000_000)
    return (
        command,
        entry_id,
        key,
        text,
        requested_by,
        dedup_key,
        priority,
        millis(now + delay) if delay > 0 else None,
        expires,
        bool(overtakes),
        max_attempts,
    )


def row_of_new(one: NewCommand, now: float) -> tuple[Any, ...]:
    """`row_of` its fields."""
    return row_of(
        now,
        one.command,
        one.entry_id,
        one.key,
        one.args,
        one.requested_by,
        one.dedup_key,
        one.delay,
        one.expires_after,
        one.priority,
        one.max_attempts,
        one.overtakes,
    )


def new_command(one: NewCommand | Mapping[str, Any] | Sequence[Any]) -> NewCommand:
    """One of the forms that `enqueue_many` takes, as the dataclass."""
    if isinstance(one, NewCommand):
        return one
    try:
        if isinstance(one, Mapping):
            return NewCommand(**one)
        if isinstance(one, (str, bytes)):
            raise TypeError(f"got {one!r}")
        return NewCommand(*one)
    except TypeError as problem:
        raise InvalidArgument(
            f"a command: {problem}; expected a NewCommand, a mapping or (command, entry_id, …)"
        ) from None


def new_commands(
    commands: Iterable[NewCommand | Mapping[str, Any] | Sequence[Any]],
) -> list[NewCommand]:
    """What `enqueue_many` was given."""
    return [new_command(one) for one in _validate.items("commands", commands, "several commands")]


def told(text: object) -> str:
    """What is told of something that has happened, as UTF-8 can hold it.

    It comes too late to be refused. The name of a file that is not UTF-8 is the usual case; its
    odd bytes are written as `\\udce9`, which also in JSON stands for them.
    """
    words = str(text)
    return words if words.isascii() else words.encode("utf-8", "backslashreplace").decode()


def result_text(result: object) -> str:
    """A result as the history keeps it: a text as it is, the rest as JSON."""
    try:
        return told(result if isinstance(result, str) else _ENCODER.encode(result))
    except (TypeError, ValueError, RecursionError) as problem:
        raise InvalidArgument(f"result: {problem}; expected a text or what JSON can hold") from None
