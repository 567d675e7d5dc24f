"""What the queue's rows are in Python, and the words that they hold."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from voicecore.errors import InvalidArgument

DEFAULT_KEY: Final = "default"
EVERY_KEY: Final = "*"
"""The key of a pause, resume or stop that names none: every running session."""
STEERING_VERBS: Final = ("pause", "resume", "stop", "seek", "volume", "next")
"""What a running session is told."""
KNOWN_VERBS: Final = ("play", *STEERING_VERBS)

Value = None | int | float | str | bytes
Row = tuple[Value, ...]


class _Default(enum.Enum):
    DEFAULT = "default"


DEFAULT: Final = _Default.DEFAULT
"""The queue's own setting."""


@dataclass(frozen=True)
class Command:
    """A row of the queue or of its history. Times are seconds since 1970 UTC."""

    id: int
    command: str
    entry_id: int | None
    key: str | None
    """None until the first claim of a row that was inserted without one."""
    args_json: str
    requested_by: str | None
    created_at: float
    dedup_key: str | None
    priority: int
    not_before: float | None
    expires_at: float | None
    """None: the verb's default. `math.inf`: never."""
    overtakes: bool
    state: str
    """ "ready", "claimed", or in the history "done", "failed", "expired", "superseded",
    "cancelled"."""
    attempt: int
    """How often it was claimed: the fence that a late holder does not pass."""
    given_back: int
    """How many of these claims came to nothing; they are not held against it."""
    max_attempts: int
    lease_until: float | None
    owner: str | None
    claimed_at: float | None
    result: str | None
    error: str | None
    finished_at: float | None

    @cached_property
    def args(self) -> dict[str, Any]:
        """The arguments.

        Raises:
            InvalidArgument: the column does not hold a JSON object.
        """
        try:
            value = json.loads(self.args_json)
        except (ValueError, RecursionError) as problem:  # RecursionError: nested too deeply
            raise InvalidArgument(
                f"args of command {self.id}: {problem}; expected a JSON object"
            ) from None
        if not isinstance(value, dict):
            raise InvalidArgument(
                f"args of command {self.id}: {self.args_json[:80]!r}, expected a JSON object"
            )
        return value


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    id: int
    state: str
    """ "done", "failed", "expired", "superseded" or "cancelled"."""
    result: str | None
    error: str | None

    @property
    def text(self) -> str:
        """ "started", "busy", "done", "failed: …", "expired", "superseded" or "cancelled"."""
        if self.state == "done":
            return self.result or "done"
        if self.state == "failed":
            return f"failed: {self.error or 'no reason given'}"
        return self.state

    @property
    def ok(self) -> bool:
        """It was carried out (a `play` that found its key busy was not)."""
        return self.state == "done" and self.result != "busy"


@dataclass(frozen=True, slots=True)
class NewCommand:
    """What `enqueue_many` takes; the fields are those of `CommandQueue.enqueue`."""

    command: str
    entry_id: int | None = None
    key: str | int | None = None
    args: Mapping[str, Any] | None = None
    requested_by: str | None = None
    dedup_key: str | None = None
    delay: float = 0.0
    expires_after: float | _Default | None = DEFAULT
    priority: int = 0
    max_attempts: int = 1
    overtakes: bool = False


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """How full the queue is, and what became of its commands."""

    ready: int
    """Due and waiting."""
    delayed: int
    """Waiting for their time."""
    claimed: int
    sessions: int
    """Leased now."""
    oldest_ready: float | None
    """When the one that has waited longest was sent; seconds since 1970."""
    history: Mapping[str, int]
    """Finished commands by state."""
    wal_bytes: int
    """Size of the write-ahead log."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A process that has the file open."""

    owner: str
    pid: int
    role: str
    bell: str | None
    sqlite_version: str
    seen_at: float
