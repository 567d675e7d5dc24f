"""What a claim decides, as pure functions of the line: all waiting and claimed rows, by id."""

from __future__ import annotations

from collections.abc import Sequence

from voicecore.queue import EVERY_KEY, Command
from voicecore.reference.intents import Intent, reduce

MOST_DEATHS = 3
"""How often the holders of a command may be lost, if it has fewer tries than that: a death is no
error of the command's, but a command that kills must not kill for ever."""


def lapsed(row: Command, now: float) -> bool:
    """Claimed by somebody who did not come back in time."""
    return row.state == "claimed" and (row.lease_until or 0.0) <= now


def expired(row: Command, now: float, play_expires_after: float | None) -> bool:
    """Too old to start, also when its holder was lost. A `play` that says nothing has a default."""
    expires = row.expires_at
    if expires is None and row.command == "play" and play_expires_after is not None:
        expires = row.created_at + play_expires_after
    held = row.state == "claimed" and not lapsed(row, now)
    return expires is not None and expires <= now and not held


def due(row: Command, now: float) -> bool:
    """In the line at all; a delayed one is not."""
    return row.not_before is None or row.not_before <= now


def overtakes(row: Command) -> bool:
    """Does not wait for the command of its key that is under way. Only a stop can."""
    return row.overtakes and row.command == "stop"


def superseded(line: Sequence[Command], now: float) -> dict[int, int]:
    """Which waiting commands which others have made pointless.

    A command to every key concerns each key's line, but only commands to every key can make one
    pointless.
    """
    waiting = [row for row in line if row.state == "ready" and due(row, now)]
    gone: dict[int, int] = {}
    for key in sorted({row.key or "" for row in waiting}):
        intents = [
            Intent(row.id, row.command, '"by"' in row.args_json)
            for row in waiting
            if row.key in (key, EVERY_KEY) and row.id not in gone
        ]
        others = {row.id for row in waiting if row.key != key}
        gone |= {one: by for one, by in reduce(intents).items() if one not in others}
    return gone


def heads(line: Sequence[Command], now: float) -> list[Command]:
    """The commands that may be claimed: the first due one of each key, urgent ones first.

    A key with a live claim is blocked. A command to every key is a barrier: it waits until nothing
    before it is left, and nothing behind it starts before it ends. An overtaking stop passes all,
    urgent ones too.
    """
    running = [row for row in line if row.state == "claimed" and not lapsed(row, now)]
    # Also of those further down: what was delayed comes back to its old place in the line.
    blocked = {row.key for row in running if not overtakes(row)}
    found = []
    barrier = False
    for row in line:
        if row in running:
            barrier = barrier or (row.key == EVERY_KEY and not overtakes(row))
            continue
        if row.state == "ready" and not due(row, now):
            continue
        if overtakes(row):
            found.append(row)
            continue
        free = not barrier and row.key not in blocked
        if row.key == EVERY_KEY:
            free = free and not blocked
            barrier = True
        blocked.add(row.key)
        if free:
            found.append(row)
    return sorted(found, key=lambda row: (not overtakes(row), -row.priority, row.id))
