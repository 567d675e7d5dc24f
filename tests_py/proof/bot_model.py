"""What a scheduler makes of commands, in plain Python: one key after the other, at rest.

Times are milliseconds. The model is asked when everything that could happen has happened: what is
in the line then waits for a time, or for the end of its key's session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Busy = Literal["drop", "replace", "queue"]
EVERY = "*"
PERIOD = 2_000
STEERING = ("stop", "pause", "resume")


@dataclass
class Row:
    """A command that waits."""

    id: int
    verb: str
    key: str
    busy: Busy
    due: int
    expires_at: int | None
    dedup_key: str | None
    sent_at: int
    looked_at: bool = False
    """A play that has found its key busy, and waits for it."""


class BotModel:
    """The line, the history, who plays, and what has been carried out, in order."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.line: dict[int, Row] = {}
        self.history: dict[int, tuple[str, str | None]] = {}
        self.playing: dict[str, int] = {}
        self.journal: dict[str, list[int]] = {}
        self.due_ticks = 0
        self.missed = 0
        self.running = True

    def send(self, row: Row) -> int:
        """The id: its own, or that of the one that is there."""
        for other in self.line.values():
            if row.dedup_key is not None and other.dedup_key == row.dedup_key:
                return other.id
        self.line[row.id] = row
        return row.id

    def pass_time(self, by: int, *, stalled: bool = False) -> None:
        """What becomes due on the way runs on the way; nothing does while the process stalls."""
        until = self.now + by
        if self.running:
            self.due_ticks += by // PERIOD
            self.missed += by // PERIOD - 1 if stalled else 0
        while self.running and not stalled:
            coming = [row.due for row in self.line.values() if self.now < row.due <= until]
            if not coming:
                break
            self.now = min(coming)
            self.settle()
        self.now = until
        self.settle()

    def settle(self) -> None:
        """Carry out what can be."""
        if not self.running:
            return
        for row in list(self.line.values()):
            if row.expires_at is not None and row.expires_at <= self.now and row.due <= self.now:
                self._end(row.id, "expired", None)
        for id in sorted(self.line):
            # A stop may have ended it.
            if id in self.line and self.line[id].due <= self.now:
                self._carry_out(self.line[id])

    def _carry_out(self, row: Row) -> None:
        if row.verb == "stop":
            stopped = [key for key in (*self.playing,) if row.key in (key, EVERY)]
            for other in list(self.line.values()):
                if other.looked_at and row.key in (other.key, EVERY):
                    self._end(other.id, "superseded", None)
            for key in stopped:
                del self.playing[key]
            self._end(row.id, "done", "done" if stopped else "not playing")
        elif row.verb in STEERING:
            self._end(row.id, "done", "not playing")
        elif row.verb == "play":
            self._play(row)
        elif row.verb == "work":
            self.journal.setdefault(row.key, []).append(row.id)
            self._end(row.id, "done", "done")
        else:
            self._end(row.id, "failed", None)

    def _play(self, row: Row) -> None:
        waits = any(
            other.looked_at and other.key == row.key and other.id < row.id
            for other in self.line.values()
        )
        if row.key in self.playing or waits:
            if row.busy == "drop" and not waits:
                self._end(row.id, "done", "busy")
                return
            if row.busy == "queue" or waits:
                row.looked_at = True
                return
        self.playing[row.key] = row.id
        self.journal.setdefault(row.key, []).append(row.id)
        self._end(row.id, "done", "started")

    def end_session(self, key: str) -> None:
        """It has come to its end: who waits for the key looks again, before others are due."""
        del self.playing[key]
        self.settle()

    def shut_down(self) -> None:
        """Every session ends; what waits, waits."""
        self.running = False
        self.playing.clear()

    def start(self) -> None:
        """A new scheduler; what was to steer the old one is void."""
        for id, row in list(self.line.items()):
            if row.verb in STEERING and row.sent_at < self.now:
                self._end(id, "superseded", None)
        self.running = True
        self.due_ticks, self.missed = 1, 0  # the grid begins with a tick
        self.settle()

    def _end(self, id: int, state: str, result: str | None) -> None:
        del self.line[id]
        self.history[id] = (state, result)
