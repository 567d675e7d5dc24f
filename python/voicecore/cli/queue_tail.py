"""What happens to a queue while one looks: commands that come, commands that end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import cast

from voicecore.queue import Command, SyncCommandQueue

_LOOK_EVERY_S = 0.1

# One statement, so one snapshot: a command is in the line or in the history, never in neither.
_IDS = (
    "SELECT id, 0 FROM bot_commands"
    " UNION ALL SELECT id, 1 FROM bot_command_history WHERE id > ? ORDER BY 1"
)


class Tail:
    """Follows a queue file. Costs one cheap question each tenth of a second while nothing moves."""

    def __init__(self, queue: SyncCommandQueue) -> None:
        self._queue = queue
        self._version: object = None
        found = queue.execute(
            "SELECT coalesce(max(id), 0) FROM"
            " (SELECT id FROM bot_commands UNION ALL SELECT id FROM bot_command_history)"
        )
        self._last = cast(int, found[0][0])
        self._waiting = {cast(int, row[0]) for row in queue.execute("SELECT id FROM bot_commands")}

    def follow(self, seconds: float | None) -> Iterator[tuple[str, Command]]:
        """Give ("new", command) and ("finished", command) until `seconds` have passed."""
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            yield from self.look()
            left = _LOOK_EVERY_S if end is None else min(_LOOK_EVERY_S, end - time.monotonic())
            if left <= 0:
                return
            time.sleep(left)

    def look(self) -> Iterator[tuple[str, Command]]:
        """What has happened since the last look."""
        version = self._queue.execute("PRAGMA data_version")[0][0]
        if version == self._version:
            return
        self._version = version
        rows = cast("list[tuple[int, int]]", self._queue.execute(_IDS, (self._last,)))
        line = {id for id, ended in rows if not ended}
        fresh = [(id, ended) for id, ended in rows if id > self._last]
        for id in sorted(self._waiting - line):
            # None: pruned meanwhile.
            if (one := self._queue.get(id)) is not None and one.finished_at is not None:
                yield "finished", one
        for id, ended in fresh:
            if (one := self._queue.get(id)) is None:
                continue
            yield "new", one
            if ended:
                yield "finished", one
        self._waiting = line
        self._last = max((id for id, _ in fresh), default=self._last)
