"""What became of the plays that a schedule has sent, recorded with their occurrences.

An occurrence that is claimed counts as fired from then on. Its `play` is carried out, or not, by
whoever claims commands, here or in another process, perhaps after a restart: how it ended is in the
queue's history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voicecore.schedule.store import Database, State

Key = tuple[int, str]

_PLAYS = (
    "SELECT p.id, o.entry_id, o.slot, {0} FROM {1} p CROSS JOIN schedule_occurrences o "
    "WHERE p.dedup_key >= 'schedule:' AND p.dedup_key < 'schedule;' AND o.entry_id = p.entry_id "
    "AND o.slot = substr(p.dedup_key, length('schedule:' || p.entry_id || ':') + 1) "
    "AND o.state = 'fired'"
)
_LEFT = (
    f"{_PLAYS.format('p.state, p.result', 'bot_command_history')} AND p.finished_at >= ? "
    f"UNION ALL {_PLAYS.format('NULL, NULL', 'bot_commands')}"
)
_RECORD = (
    "UPDATE schedule_occurrences SET state = ? WHERE entry_id = ? AND slot = ? AND state = 'fired'"
)
_AT_A_TIME = 400


class SentPlays:
    """The plays that have not ended yet. Not safe across threads.

    Args:
        queue: a `CommandQueue`, or anything with its `execute` and `transaction`.
    """

    def __init__(self, queue: Database) -> None:
        self._queue = queue
        self._waiting: dict[Key, int] = {}
        self._loaded = False

    def add(self, occurrence: Key, command: int) -> None:
        """A `play` is in the queue; an earlier one of the same occurrence matters no more."""
        self._waiting[occurrence] = command

    async def settle(self, finished_since: int) -> list[State]:
        """Record what has not become of those that have ended; costs nothing while none waits.

        Args:
            finished_since: milliseconds since 1970 UTC: the first call also looks at plays of
                earlier runs, as far as they wait or ended since then.

        Returns:
            How those ended that waited: "fired" when they were carried out.
        """
        if not self._loaded:
            await self._load(finished_since)
        ended: dict[Key, State] = {}
        gone: list[Key] = []
        waiting = list(self._waiting.items())
        for start in range(0, len(waiting), _AT_A_TIME):
            part = waiting[start : start + _AT_A_TIME]
            ids = [command for _, command in part]
            marks = ", ".join("?" * len(ids))
            # In one statement: between two of them a command can move from the one to the other.
            rows = await self._queue.execute(
                f"SELECT id, state, result FROM bot_command_history WHERE id IN ({marks}) "
                f"UNION ALL SELECT id, NULL, NULL FROM bot_commands WHERE id IN ({marks})",
                (*ids, *ids),
            )
            found = {id: (state, result) for id, state, result in rows}
            for occurrence, command in part:
                if command not in found:
                    gone.append(occurrence)  # deleted by hand, or pruned
                elif found[command][0] is not None:
                    ended[occurrence] = _state_of(*found[command])
        await self._record(ended)
        for occurrence in (*ended, *gone):
            self._waiting.pop(occurrence, None)
        return list(ended.values())

    async def _load(self, finished_since: int) -> None:
        # In the order in which they were sent; sorted by SQLite, it would read the whole history.
        rows = sorted(await self._queue.execute(_LEFT, (finished_since,)), key=lambda row: row[0])
        latest = {(entry, slot): (id, state, result) for id, entry, slot, state, result in rows}
        await self._record(
            {
                occurrence: _state_of(state, result)
                for occurrence, (_, state, result) in latest.items()
                if state is not None
            }
        )
        for occurrence, (id, state, _) in latest.items():
            if state is None:
                self._waiting.setdefault(occurrence, id)
        self._loaded = True

    async def _record(self, ended: dict[Key, State]) -> None:
        steps: list[tuple[str, Sequence[Any]]] = [
            (_RECORD, (state, *occurrence))
            for occurrence, state in ended.items()
            if state != "fired"
        ]
        if steps:
            await self._queue.transaction(steps)


def _state_of(state: str, result: object) -> State:
    match state:
        case "done":
            return "busy" if result == "busy" else "fired"
        case "superseded" | "cancelled":
            return "skipped"  # somebody wanted it so
        case _:
            return "missed"
