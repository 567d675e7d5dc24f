"""The reducer of intents, a pure function: which waiting commands of a key are pointless."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

KNOWN = ("play", "pause", "resume", "stop", "seek", "volume", "next")
_ENDED_BY_STOP = ("play", "pause", "resume", "seek", "next")
_SWITCHES = ("pause", "resume")


class Intent(NamedTuple):
    """What the reducer knows of a command."""

    id: int
    verb: str
    relative: bool = False
    """A seek or a volume by so much, rather than to a place."""


def reduce(line: Iterable[Intent]) -> dict[int, int]:
    """Of one key's due and unstarted commands, in order: each pointless one and what made it so.

    A stop supersedes every play, pause, resume, seek and next before it; a volume survives it. Of
    pauses and resumes in a row the last one stays; so does the last of stops, of absolute seeks and
    of absolute volumes in a row. Nothing crosses a verb that is not known.
    """
    gone: dict[int, int] = {}
    left: list[Intent] = []

    def add(intent: Intent) -> None:
        while left and _replaces(intent, left[-1]):
            gone[left.pop().id] = intent.id
        left.append(intent)

    for intent in line:
        if intent.verb == "stop":
            behind: list[Intent] = []
            while left and left[-1].verb in KNOWN:
                behind.append(left.pop())
            for earlier in reversed(behind):
                if earlier.verb in _ENDED_BY_STOP:
                    gone[earlier.id] = intent.id
                else:
                    add(earlier)  # it has new neighbours
        add(intent)
    return gone


def _replaces(later: Intent, earlier: Intent) -> bool:
    if later.verb in _SWITCHES and earlier.verb in _SWITCHES:
        return True
    if later.verb != earlier.verb:
        return False
    return later.verb == "stop" or (later.verb in ("seek", "volume") and not later.relative)
