"""Commands of the queue as JSON records and as words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from voicecore.cli.tables import iso, local, span
from voicecore.cli.words import count
from voicecore.errors import InvalidArgument
from voicecore.queue import Command, Outcome, QueueStatistics

_DEEP = 100

TITLES = ("ID", "Command", "Key", "State", "Sent", "By", "What")


def command_record(one: Command) -> dict[str, Any]:
    """Every column, times in ISO 8601."""
    try:
        args: Any = one.args
    except InvalidArgument:
        args = one.args_json  # typed by hand, and not an object: as it stands
    if _is_deep(args):
        args = one.args_json  # what is nested so deeply few readers of JSON take
    never = one.expires_at is not None and math.isinf(one.expires_at)
    return {
        "id": one.id,
        "command": one.command,
        "entry_id": one.entry_id,
        "key": one.key,
        "args": args,
        "requested_by": one.requested_by,
        "created_at": iso(one.created_at),
        "dedup_key": one.dedup_key,
        "priority": one.priority,
        "not_before": iso(one.not_before),
        "expires_at": "never" if never else iso(one.expires_at),
        "overtakes": one.overtakes,
        "state": one.state,
        "attempt": one.attempt,
        "given_back": one.given_back,
        "max_attempts": one.max_attempts,
        "lease_until": iso(one.lease_until),
        "owner": one.owner,
        "claimed_at": iso(one.claimed_at),
        "result": one.result,
        "error": one.error,
        "finished_at": iso(one.finished_at),
    }


def _is_deep(value: Any) -> bool:
    """Whether it is nested more than `_DEEP` times, found out without recursion."""
    level = [value]
    for _ in range(_DEEP):
        level = [inner for one in level for inner in _inner(one)]
    return bool(level)


def _inner(value: Any) -> Iterable[Any]:
    match value:
        case dict():
            return value.values()
        case list():
            return value
        case _:
            return ()


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """How it ended."""
    return {
        "id": outcome.id,
        "state": outcome.state,
        "result": outcome.result,
        "error": outcome.error,
        "text": outcome.text,
        "ok": outcome.ok,
    }


def statistics_record(
    numbers: QueueStatistics, workers: list[dict[str, Any]], now: float
) -> dict[str, Any]:
    """The queue in numbers, and who serves it."""
    return {
        "ready": numbers.ready,
        "delayed": numbers.delayed,
        "claimed": numbers.claimed,
        "sessions": numbers.sessions,
        "oldest_ready": iso(numbers.oldest_ready),
        "waiting_s": None if numbers.oldest_ready is None else now - numbers.oldest_ready,
        "history": dict(numbers.history),
        "wal_bytes": numbers.wal_bytes,
        "workers": [
            {**{name: one[name] for name in one if name != "seen"}, "seen_at": iso(one["seen"])}
            for one in workers
        ],
    }


def name_of(one: Command) -> str:
    """play 3, seek {"to": 5}."""
    text = one.command if one.entry_id is None else f"{one.command} {one.entry_id}"
    return text if one.args_json == "{}" else f"{text} {one.args_json}"


def state_of(one: Command, now: float) -> str:
    """The state in one or two words."""
    if one.state == "ready" and one.not_before is not None and one.not_before > now:
        return "delayed"
    if one.state == "claimed" and one.lease_until is not None and one.lease_until <= now:
        return "claimed, lease over"
    return one.state


def table_row(one: Command, now: float) -> tuple[str, ...]:
    """One row under `TITLES`."""
    return (
        str(one.id),
        name_of(one),
        one.key or "-",
        state_of(one, now),
        local(one.created_at),
        one.requested_by or "-",
        _remark(one, now),
    )


def _remark(one: Command, now: float) -> str:
    if one.finished_at is not None:
        end = f"at {local(one.finished_at)}"
        text = one.error if one.state != "done" else one.result
        return f"{text}, {end}" if text and text != "done" else end
    if one.state == "claimed":
        left = (one.lease_until or 0.0) - now
        lease = f"lease {span(left)} more" if left > 0 else f"lease over for {span(-left)}"
        return f"{lease}, attempt {one.attempt}"
    if one.not_before is not None and one.not_before > now:
        return f"due {local(one.not_before)}"
    tried = one.attempt - one.given_back
    if not tried:
        return f"given back {count(one.given_back, 'time')}" if one.given_back else ""
    # What was given back has no lease any more, and what failed an error; a lost one keeps its own.
    lost = one.lease_until is not None
    reason = "its holder was lost" if lost else one.error or "it was given back"
    return f"tried {count(tried, 'time')}: {reason}"


def _tries(one: Command) -> str:
    tries = f"{one.attempt - one.given_back} of {one.max_attempts}"
    return f"{tries}, given back {count(one.given_back, 'time')}" if one.given_back else tries


def command_pairs(one: Command, now: float) -> list[tuple[str, str]]:
    """Everything about one command, for people."""
    expires = (
        "by the verb's default"
        if one.expires_at is None
        else "never"
        if math.isinf(one.expires_at)
        else local(one.expires_at)
    )
    pairs = [
        ("Command", name_of(one)),
        ("State", state_of(one, now)),
        ("Key", one.key or "not resolved yet"),
        ("Sent", f"{local(one.created_at)} by {one.requested_by or 'nobody named'}"),
        ("Due", "at once" if one.not_before is None else local(one.not_before)),
        ("Expires", expires),
        ("Tries", _tries(one)),
    ]
    if one.priority:
        pairs.append(("Priority", str(one.priority)))
    if one.overtakes:
        pairs.append(("Overtakes", "yes"))
    if one.dedup_key is not None:
        pairs.append(("Dedup key", one.dedup_key))
    if one.owner is not None:
        pairs.append(("Claimed", f"{local(one.claimed_at)} by {one.owner}"))
    if one.state == "claimed":
        pairs.append(("Lease until", local(one.lease_until)))
    if one.finished_at is not None:
        pairs.append(("Finished", local(one.finished_at)))
    if one.result is not None:
        pairs.append(("Result", one.result))
    if one.error is not None:
        pairs.append(("Error", one.error))
    return pairs


def event_line(event: str, one: Command) -> str:
    """One line of `tail`."""
    who = "" if one.requested_by is None else f" by {one.requested_by}"
    key = "" if one.key is None else f" [{one.key}]"
    head = f"{local(one.finished_at if event == 'finished' else one.created_at)}  {one.id}"
    if event == "new":
        return f"{head}  {name_of(one)}{key}  sent{who}"
    outcome = Outcome(one.id, one.state, one.result, one.error)
    return f"{head}  {name_of(one)}{key}  {outcome.text}"


def args_of(text: str) -> dict[str, Any]:
    """`--args`.

    Raises:
        InvalidArgument: not a JSON object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InvalidArgument(f"--args: {problem}; expected a JSON object") from None
    if not isinstance(value, dict):
        raise InvalidArgument(
            f"--args: got {text!r}, expected a JSON object such as '{{\"by\": 5}}'"
        )
    return value
