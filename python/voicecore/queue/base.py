"""Settings, checks and native calls: what both clients are made of."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Literal, Protocol, cast

from voicecore import _core, _validate
from voicecore.errors import Closed, InvalidArgument, QueueTimeout, WrongType
from voicecore.queue import own_sql
from voicecore.queue.convert import (
    MAX_INTEGER,
    millis,
    result_text,
    row_of_new,
    seconds_or_none,
    session_key,
    told,
)
from voicecore.queue.model import (
    DEFAULT_KEY,
    EVERY_KEY,
    Command,
    NewCommand,
    QueueStatistics,
    Value,
)

# Seconds between two looks at a command or a session that is waited for.
_PAUSE_FIRST: Final = 0.005
_PAUSE_LONGEST: Final = 0.05


class Executor(Protocol):
    """Whatever runs SQL through `?` parameters: `sqlite3.Connection`, or a cursor."""

    def execute(self, sql: str, parameters: Sequence[Value], /) -> Any: ...


_INSERT: Final = (
    "INSERT INTO bot_commands(command, entry_id, key, args, requested_by, created_at, dedup_key,"
    " priority, not_before, expires_at, overtakes, max_attempts)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (dedup_key) WHERE dedup_key IS NOT NULL DO NOTHING"
)


def pauses(timeout: float | None, what: str) -> Iterator[float]:
    """Seconds until the next look at `what`, growing; `QueueTimeout` when the time is up."""
    began = time.monotonic()
    pause = _PAUSE_FIRST
    while timeout is None or time.monotonic() - began < timeout:
        yield pause
        pause = min(pause * 1.5, _PAUSE_LONGEST)
    raise QueueTimeout(f"{what} has not ended within {timeout:g} seconds")


def claim_of(command: Command) -> tuple[int, int]:
    """What a claim is known by: the id and the attempt."""
    _validate.instance("command", command, Command, "a command, as `claim` gives it")
    return command.id, command.attempt


def attempt_of(value: int) -> int:
    """The attempt of a session's lease."""
    return _validate.whole("attempt", value, 0, MAX_INTEGER)


class SessionWait:
    """What `wait_session` asks the file, and what it makes of the answers.

    Attributes:
        question: the SQL and its parameters.
        pauses: seconds between two looks; `QueueTimeout` at the end.
        outcome: once `look` has said so.
    """

    def __init__(
        self, queue: QueueBase, key: str | int, attempt: int | None, timeout: float | None
    ) -> None:
        self._queue = queue
        self._attempt = None if attempt is None else attempt_of(attempt)
        self.question = (
            "SELECT attempt, owner, outcome, lease_until FROM bot_sessions WHERE key = ?",
            (session_key(key),),
        )
        self.pauses = pauses(timeout, f"the session of {key}")
        self.outcome: str | None = None

    def look(self, rows: Sequence[Sequence[Value]]) -> bool:
        """Whether it has ended; then `outcome` is there."""
        if not rows:
            return True
        live, owner, outcome, lease_until = rows[0]
        if self._attempt is None:
            self._attempt = cast(int, live)
        over = isinstance(lease_until, int) and lease_until <= millis(self._queue.now())
        if cast(int, live) > self._attempt or (owner is not None and over):
            self.outcome = "lost"
            return True
        if owner is None:
            self.outcome = cast("str | None", outcome)
        return owner is None


class QueueBase:
    """What the two clients share: settings, checks and the native handle."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        owner: str | None = None,
        role: Literal["client", "worker"] = "client",
        synchronous: Literal["full", "normal"] = "full",
        busy_timeout: float = 5.0,
        default_key: str = DEFAULT_KEY,
        play_expires_after: float | None = 600.0,
        lease: float = 30.0,
        wall_clock: Callable[[], float] | None = None,
        create: bool = True,
        fault_hook: _core.FaultHook | None = None,
    ) -> None:
        if synchronous not in ("full", "normal"):
            raise InvalidArgument(f"synchronous: got {synchronous!r}, expected 'full' or 'normal'")
        if role not in ("client", "worker"):
            raise InvalidArgument(f"role: got {role!r}, expected 'client' or 'worker'")
        _validate.word("default_key", default_key, "a name")
        if not default_key or default_key == EVERY_KEY:
            raise InvalidArgument(f"default_key: got {default_key!r}, expected a name")
        if owner is not None:
            _validate.word("owner", owner, "a name")
        _validate.function("wall_clock", wall_clock)
        self._path = os.fsdecode(_validate.path("path", path))
        self._lease = _validate.number("lease", lease, 0.05, 24 * 3600.0, "seconds")
        self._wall = wall_clock if wall_clock is not None else time.time
        if play_expires_after is not None:
            play_expires_after = _validate.seconds("play_expires_after", play_expires_after)
        self._settings: dict[str, Any] = {
            "path": os.fsencode(self._path),
            "owner": owner if owner is not None else _core.make_owner(),
            "role": role,
            "full": synchronous == "full",
            "busy_timeout_ms": millis(_validate.number("busy_timeout", busy_timeout, 0.0, 600.0)),
            "create": bool(create),
            "default_key": default_key,
            "play_expires_after": (
                None if play_expires_after is None else millis(play_expires_after)
            ),
            "hook": fault_hook,
        }
        self._native = _core.Queue(self._settings)
        self._closed = False

    @property
    def path(self) -> str:
        """The queue file."""
        return self._path

    @property
    def owner(self) -> str:
        """The name that this object's claims and leases carry."""
        return cast(str, self._settings["owner"])

    @property
    def default_key(self) -> str:
        """The key of commands that name none."""
        return cast(str, self._settings["default_key"])

    @property
    def lease(self) -> float:
        """Seconds that a claim is held for without a renewal."""
        return self._lease

    @property
    def play_expires_after(self) -> float | None:
        """Seconds after which a `play` that still waits does not start any more; None: never."""
        return seconds_or_none(self._settings["play_expires_after"])

    def now(self) -> float:
        """The wall clock's time, seconds since 1970 UTC."""
        return self._wall()

    def enqueue_in(self, connection: Executor, command: str, *args: Any, **fields: Any) -> None:
        """Send within the caller's own transaction, on a connection to the same file.

        The command is there exactly if that transaction commits. Call `ring` after the commit, or
        leave it: workers find it within 300 ms. Only for a process whose Python shares its copy
        of SQLite with the core (see `voicecore doctor`), or that has not opened the file otherwise.

        With a `dedup_key` nothing is inserted while a command with the same one waits or runs, as
        that transaction sees it; the caller's own rows are not touched by that.

        Args:
            connection: anything with an `execute(sql, parameters)` that blocks, as
                `sqlite3.Connection` has it and `aiosqlite` has not.
            command: as for `enqueue`, with the same further arguments.

        Raises:
            InvalidArgument: a value out of its range.
            WrongType: `execute` gave something to await; nothing was sent.
        """
        now = self.now()
        row = row_of_new(NewCommand(command, *args, **fields), now)
        done = connection.execute(_INSERT, (*row[:5], millis(now), *row[5:]))
        if inspect.isawaitable(done):
            for end in ("close", "cancel"):  # a coroutine, a future: it must not run later
                if hasattr(done, end):
                    getattr(done, end)()
            raise WrongType(
                f"connection: execute() of {connection!r} gave {type(done).__name__}, to be"
                " awaited; expected a blocking one, as sqlite3.Connection has it"
            )

    # -- native calls ------------------------------------------------------------------------------

    def _enqueue(self, commands: Iterable[NewCommand]) -> _core.QueueCall:
        now = self.now()
        return self._native.enqueue([row_of_new(one, now) for one in commands], millis(now))

    def _claim(self, limit: int, lease: float | None, started_at: float | None) -> _core.QueueCall:
        limit = _validate.whole("limit", limit, 1, 100_000)
        return self._native.claim(
            millis(self.now()),
            limit,
            self._lease_millis(lease),
            None if started_at is None else millis(started_at),
        )

    def _ack_many(self, done: Iterable[tuple[Command, object]]) -> _core.QueueCall:
        finished = []
        for pair in _validate.items("done", done, "pairs of a command and its result"):
            try:
                command, result = pair
            except (TypeError, ValueError):
                raise WrongType(
                    f"done: got {pair!r}, expected pairs of a command and its result"
                ) from None
            finished.append((*claim_of(command), result_text(result)))
        return self._native.ack_many(finished, millis(self.now()))

    def _nack(
        self, command: Command, error: str, retry_in: float | None, max_attempts: int
    ) -> _core.QueueCall:
        wait = None if retry_in is None else millis(_validate.seconds("retry_in", retry_in))
        max_attempts = _validate.whole("max_attempts", max_attempts, 1, 1_000_000)
        now = millis(self.now())
        return self._native.nack(*claim_of(command), now, told(error), wait, max_attempts)

    def _give_back(self, command: Command, delay: float) -> _core.QueueCall:
        wait = millis(_validate.seconds("delay", delay))
        return self._native.give_back(*claim_of(command), millis(self.now()), wait)

    def _prune(self, older_than: float, limit: int) -> _core.QueueCall:
        older_than = _validate.seconds("older_than", older_than)
        limit = _validate.whole("limit", limit, 1, 1_000_000)
        return self._native.prune(millis(self.now() - older_than), limit)

    def _lease_millis(self, lease: float | None) -> int:
        if lease is None:
            return millis(self._lease)
        return millis(_validate.number("lease", lease, 0.05, 24 * 3600.0, "seconds"))

    def _transact(self, steps: Sequence[tuple[str, Sequence[Value]]]) -> _core.QueueCall:
        return self._native.transact(
            [(own_sql.statement(sql), own_sql.parameters(values)) for sql, values in steps]
        )

    def _statistics(self, found: dict[str, Any]) -> QueueStatistics:
        return QueueStatistics(
            ready=found["ready"],
            delayed=found["delayed"],
            claimed=found["claimed"],
            sessions=found["sessions"],
            oldest_ready=seconds_or_none(found["oldest_ready"]),
            history=dict(found["history"]),
            wal_bytes=found["wal_bytes"],
        )

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"the queue {self._path} is closed")
