"""The durable command queue: what one process sends, another carries out, and nothing is lost.

The rows live in SQLite (`bot_commands`, lesson R50); the native core does the work with the GIL
released. `CommandQueue` is for asyncio and never blocks the loop, `SyncCommandQueue` for scripts
and web handlers.
"""

from __future__ import annotations

import asyncio
import enum
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self, cast

from voicecore import _bridge, _core, _validate
from voicecore.errors import Closed, InvalidArgument, QueueTimeout

DEFAULT_KEY: Final = "default"
EVERY_KEY: Final = "*"
"""The key of a pause, resume or stop that names none: every running session."""
KNOWN_VERBS: Final = ("play", "pause", "resume", "stop", "seek", "volume", "next")

Value = None | int | float | str | bytes
Row = tuple[Value, ...]

_POLL_FIRST: Final = 0.005
_POLL_LONGEST: Final = 0.05
_MAX_INTEGER: Final = 2**63 - 1


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
        except ValueError as problem:
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


def _seconds(value: int | None) -> float | None:
    return None if value is None else value / 1000.0


def _millis(value: float) -> int:
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
        not_before=_seconds(row[9]),
        expires_at=float("inf") if expires == 0 else _seconds(expires),
        overtakes=row[11],
        attempt=row[12],
        max_attempts=row[13],
        lease_until=_seconds(row[14]),
        owner=row[15],
        claimed_at=_seconds(row[16]),
        result=row[17],
        error=row[18],
        state=row[19],
        finished_at=_seconds(row[20]),
    )


def key_text(key: str | int | None) -> str | None:
    """A key as it is stored; guild ids may be given as integers."""
    if key is None or isinstance(key, str):
        if key == "":
            raise InvalidArgument("key: got an empty text, expected a name or None")
        return _text("key", key)
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    raise InvalidArgument(f"key: got {key!r}, expected a text, an integer or None")


def _text(name: str, value: str | None) -> str | None:
    """A text that SQLite can hold."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidArgument(f"{name}: got {value!r}, expected a text or None")
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise InvalidArgument(f"{name}: {problem}; expected text that UTF-8 can hold") from None
    return value


def _id(value: int) -> int:
    return _validate.whole("id", value, -_MAX_INTEGER, _MAX_INTEGER)


def _args_text(args: Mapping[str, Any] | None) -> str:
    if args is None:
        return "{}"
    if not isinstance(args, Mapping):
        raise InvalidArgument(f"args: got {args!r}, expected a mapping")
    try:
        return json.dumps(dict(args), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as problem:
        raise InvalidArgument(f"args: {problem}; expected what JSON can hold") from None


def _fields(one: NewCommand, now: float) -> tuple[Any, ...]:
    if not isinstance(one.command, str) or not one.command:
        raise InvalidArgument(f"command: got {one.command!r}, expected a word such as 'play'")
    if one.entry_id is not None:
        _validate.whole("entry_id", one.entry_id, -_MAX_INTEGER, _MAX_INTEGER)
    _validate.seconds("delay", one.delay)
    expires: int | None
    if one.expires_after is DEFAULT:
        expires = None
    elif one.expires_after is None:
        expires = 0
    else:
        expires = _millis(now + _validate.seconds("expires_after", one.expires_after))
    return (
        cast(str, _text("command", one.command)),
        one.entry_id,
        key_text(one.key),
        cast(str, _text("args", _args_text(one.args))),
        _text("requested_by", one.requested_by),
        _text("dedup_key", one.dedup_key),
        _validate.whole("priority", one.priority, -(2**31), 2**31),
        _millis(now + one.delay) if one.delay > 0 else None,
        expires,
        bool(one.overtakes),
        _validate.whole("max_attempts", one.max_attempts, 1, 1_000_000),
    )


def _new(one: NewCommand | Mapping[str, Any] | Sequence[Any]) -> NewCommand:
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


def _result_text(result: object) -> str:
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


class Executor(Protocol):
    """Whatever runs SQL through `?` parameters: `sqlite3.Connection`, or a cursor."""

    def execute(self, sql: str, parameters: Sequence[Value], /) -> Any: ...


_INSERT: Final = (
    "INSERT INTO bot_commands(command, entry_id, key, args, requested_by, created_at, dedup_key,"
    " priority, not_before, expires_at, overtakes, max_attempts)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class _Queue:
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
        fault_hook: _core.FaultHook | None = None,
    ) -> None:
        if synchronous not in ("full", "normal"):
            raise InvalidArgument(f"synchronous: got {synchronous!r}, expected 'full' or 'normal'")
        if role not in ("client", "worker"):
            raise InvalidArgument(f"role: got {role!r}, expected 'client' or 'worker'")
        if not default_key or default_key == EVERY_KEY:
            raise InvalidArgument(f"default_key: got {default_key!r}, expected a name")
        self._path = os.fsdecode(path)
        if "\0" in self._path or not self._path:
            raise InvalidArgument(f"path: got {self._path!r}, expected the name of a file")
        self._lease = _validate.number("lease", lease, 0.05, 24 * 3600.0, "seconds")
        self._wall = wall_clock if wall_clock is not None else time.time
        if play_expires_after is not None:
            _validate.seconds("play_expires_after", play_expires_after)
        self._settings: dict[str, Any] = {
            "path": os.fsencode(self._path),
            "owner": owner if owner is not None else _core.make_owner(),
            "role": role,
            "full": synchronous == "full",
            "busy_timeout_ms": _millis(_validate.number("busy_timeout", busy_timeout, 0.0, 600.0)),
            "default_key": default_key,
            "play_expires_after": (
                None if play_expires_after is None else _millis(play_expires_after)
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

    def now(self) -> float:
        """The wall clock's time, seconds since 1970 UTC."""
        return self._wall()

    def enqueue_in(self, connection: Executor, command: str, *args: Any, **fields: Any) -> None:
        """Send within the caller's own transaction, on a connection to the same file.

        The command is there exactly if that transaction commits. Call `ring` after the commit, or
        leave it: workers find it within 300 ms. Only for a process whose Python shares its copy
        of SQLite with the core (see `voicecore doctor`), or that has not opened the file otherwise.

        Args:
            connection: anything with `execute(sql, parameters)`.
            command: as for `enqueue`, with the same further arguments.

        Raises:
            InvalidArgument: a value out of its range.
        """
        now = self.now()
        fields_ = _fields(NewCommand(command, *args, **fields), now)
        connection.execute(_INSERT, (*fields_[:5], _millis(now), *fields_[5:]))

    # -- native calls ------------------------------------------------------------------------------

    def _enqueue(self, commands: Iterable[NewCommand]) -> _core.QueueCall:
        now = self.now()
        return self._native.enqueue([_fields(one, now) for one in commands], _millis(now))

    def _claim(self, limit: int, lease: float | None, started_at: float | None) -> _core.QueueCall:
        _validate.whole("limit", limit, 1, 100_000)
        return self._native.claim(
            _millis(self.now()),
            limit,
            self._lease_millis(lease),
            None if started_at is None else _millis(started_at),
        )

    def _ack_many(self, done: Iterable[tuple[Command, object]]) -> _core.QueueCall:
        finished = [(command.id, command.attempt, _result_text(result)) for command, result in done]
        return self._native.ack_many(finished, _millis(self.now()))

    def _lease_millis(self, lease: float | None) -> int:
        if lease is None:
            return _millis(self._lease)
        return _millis(_validate.number("lease", lease, 0.05, 24 * 3600.0, "seconds"))

    def _transact(self, steps: Sequence[tuple[str, Sequence[Value]]]) -> _core.QueueCall:
        return self._native.transact([(sql, list(values)) for sql, values in steps])

    def _statistics(self, found: dict[str, Any]) -> QueueStatistics:
        return QueueStatistics(
            ready=found["ready"],
            delayed=found["delayed"],
            claimed=found["claimed"],
            sessions=found["sessions"],
            oldest_ready=_seconds(found["oldest_ready"]),
            history=dict(found["history"]),
            wal_bytes=found["wal_bytes"],
        )

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"the queue {self._path} is closed")


def _commands(rows: Iterable[tuple[Any, ...]]) -> list[Command]:
    return [command_from_row(row) for row in rows]


def _workers(rows: Iterable[tuple[Any, ...]]) -> list[WorkerInfo]:
    return [
        WorkerInfo(owner, pid, role, bell, version, seen / 1000.0)
        for owner, pid, role, bell, version, seen in rows
    ]


def _outcome(found: Command | None, id: int) -> Outcome | None:
    if found is None:
        raise InvalidArgument(f"command {id}: there is none, or its history was pruned")
    if found.finished_at is None:
        return None
    return Outcome(found.id, found.state, found.result, found.error)


class CommandQueue(_Queue):
    """A queue file, for asyncio. An async context manager.

    Every method runs on a native thread of the queue's own and may be awaited from any loop.
    Cancelling an await does not undo what was sent; a cancelled `claim` gives its commands back.

    Args:
        path: the file; made when it is not there. Must be on a local file system.
        owner: the name of its claims; by default one that tells whether the process still lives.
        role: "worker" for whoever claims, so that it looks after the write-ahead log.
        synchronous: "full" survives a power cut, "normal" only the process (the last commits may
            be undone by a power cut).
        busy_timeout: seconds to wait for another process's transaction.
        default_key: the key of commands that name none.
        play_expires_after: seconds after which a `play` that still waits does not start any more;
            None as in the lesson, never.
        lease: seconds that a claim is held for without a renewal.
        wall_clock: seconds since 1970; tests give their own.
        fault_hook: for tests, see `voicecore.testing`.
    """

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Open now rather than with the first call.

        Raises:
            DatabaseError: not a queue file, not writable, locked for too long.
            OSError: no such folder, no permission.
            UnsupportedMedia: a network file system, or a file of a newer voicecore.
        """
        await self._do(self._native.open())

    async def aclose(self) -> None:
        """Finish what was asked for, then close. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(None, self._native.close)

    async def enqueue(
        self,
        command: str,
        entry_id: int | None = None,
        *,
        key: str | int | None = None,
        args: Mapping[str, Any] | None = None,
        requested_by: str | None = None,
        dedup_key: str | None = None,
        delay: float = 0.0,
        expires_after: float | _Default | None = DEFAULT,
        priority: int = 0,
        max_attempts: int = 1,
        overtakes: bool = False,
    ) -> int:
        """Send a command; returns its id once it is committed.

        Args:
            command: the verb.
            entry_id: of the schedule, for `play`.
            key: the session it is for, a guild by default; None lets the worker find it.
            args: what JSON can hold: `{"to": 12.5}` or `{"by": -5}` for seek and volume.
            requested_by: who asked, for the history.
            dedup_key: while a command with the same one waits or runs, its id comes back instead.
            delay: seconds before it is due.
            expires_after: seconds after which it is not started any more; None: never.
            priority: larger first, among commands of different keys.
            max_attempts: how often it is tried when its handler fails (lesson R52: once).
            overtakes: a `stop` that does not wait for the command of its key that is under way.

        Raises:
            InvalidArgument: a value out of its range.
            DatabaseError: nothing was sent.
        """
        one = NewCommand(
            command,
            entry_id,
            key,
            args,
            requested_by,
            dedup_key,
            delay,
            expires_after,
            priority,
            max_attempts,
            overtakes,
        )
        return cast(int, (await self._do(self._enqueue((one,))))[0])

    async def enqueue_many(
        self, commands: Iterable[NewCommand | Mapping[str, Any] | Sequence[Any]]
    ) -> list[int]:
        """Send many in one transaction: all or none. Returns their ids in the same order."""
        return cast(list[int], await self._do(self._enqueue([_new(one) for one in commands])))

    async def ring(self) -> None:
        """Wake the workers, after an insert that was not made by this object."""
        await self._do(self._native.ring())

    async def claim(
        self, limit: int = 1, *, lease: float | None = None, started_at: float | None = None
    ) -> list[Command]:
        """Take commands that are due: at most one of each key, in the order of their ids.

        Args:
            limit: how many at most.
            lease: seconds to hold them for, instead of the queue's.
            started_at: pauses, resumes and stops sent before this are superseded.
        """
        return _commands(
            await self._do(self._claim(limit, lease, started_at), unwanted=self._unclaim)
        )

    async def renew(self, command: Command, lease: float | None = None) -> None:
        """Hold a claim for longer.

        Raises:
            StaleClaim: it is not the live one.
        """
        await self._do(
            self._native.renew(
                command.id, command.attempt, _millis(self.now()), self._lease_millis(lease)
            )
        )

    async def ack(self, command: Command, result: object = "done") -> None:
        """It is done: the row moves to the history in the same transaction.

        Raises:
            StaleClaim: the claim is not the live one; nothing was changed.
        """
        await self._do(
            self._native.ack(command.id, command.attempt, _millis(self.now()), _result_text(result))
        )

    async def ack_many(self, done: Iterable[tuple[Command, object]]) -> list[int]:
        """Acknowledge several, each with its result, in one transaction.

        Returns:
            The ids of those whose claims are not the live ones any more; they were left alone.
        """
        return cast(list[int], await self._do(self._ack_many(done)))

    async def nack(self, command: Command, error: str, *, retry_in: float | None = None) -> bool:
        """It failed. True: it will be tried again, after `retry_in` seconds (default 1, doubling).

        Raises:
            StaleClaim: the claim is not the live one; nothing was changed.
        """
        wait = None if retry_in is None else _millis(_validate.seconds("retry_in", retry_in))
        return cast(
            bool,
            await self._do(
                self._native.nack(
                    command.id, command.attempt, _millis(self.now()), str(error), wait
                )
            ),
        )

    async def fail(self, command: Command, error: str) -> None:
        """It failed for good, whatever tries are left.

        Raises:
            StaleClaim: the claim is not the live one; nothing was changed.
        """
        await self._do(
            self._native.fail(command.id, command.attempt, _millis(self.now()), str(error))
        )

    async def give_back(self, command: Command, *, delay: float = 0.0) -> None:
        """Undo a claim: the next one may take it, `delay` seconds from now.

        Raises:
            StaleClaim: the claim is not the live one.
        """
        wait = _millis(_validate.seconds("delay", delay))
        await self._do(
            self._native.give_back(command.id, command.attempt, _millis(self.now()), wait)
        )

    async def cancel(self, id: int) -> bool:
        """Take a command back. False: it is no longer waiting."""
        return cast(bool, await self._do(self._native.cancel(_id(id), _millis(self.now()))))

    async def get(self, id: int) -> Command | None:
        """A command, in the line or in the history."""
        row = await self._do(self._native.get(_id(id)))
        return None if row is None else command_from_row(row)

    async def wait_result(
        self,
        id: int,
        timeout: float | None = None,  # noqa: ASYNC109  # raises our own error
    ) -> Outcome:
        """Wait for a command's end. A `play` ends when its session has started.

        Raises:
            QueueTimeout: `timeout` seconds have passed.
            InvalidArgument: there is no such command.
        """
        began = time.monotonic()
        pause = _POLL_FIRST
        while (outcome := _outcome(await self.get(id), id)) is None:
            if timeout is not None and time.monotonic() - began >= timeout:
                raise QueueTimeout(f"command {id} has not ended within {timeout:g} seconds")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _POLL_LONGEST)
        return outcome

    async def wait_session(
        self,
        key: str | int,
        attempt: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # raises our own error
    ) -> str | None:
        """Wait for the end of a key's session; returns its outcome, None when there was none.

        Args:
            key: whose.
            attempt: which; by default the one that runs now.
            timeout: seconds.

        Raises:
            QueueTimeout: it still runs.
        """
        began = time.monotonic()
        pause = _POLL_FIRST
        sql = "SELECT attempt, owner, outcome FROM bot_sessions WHERE key = ?"
        while True:
            rows = await self.execute(sql, (key_text(key),))
            if not rows:
                return None
            live, owner, outcome = rows[0]
            attempt = cast(int, live) if attempt is None else attempt
            if cast(int, live) > attempt:
                return "lost"
            if owner is None:
                return cast("str | None", outcome)
            if timeout is not None and time.monotonic() - began >= timeout:
                raise QueueTimeout(f"the session of {key} still runs after {timeout:g} seconds")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _POLL_LONGEST)

    async def peek(self, limit: int = 100) -> list[Command]:
        """What waits or runs, oldest first."""
        _validate.whole("limit", limit, 1, _MAX_INTEGER)
        return _commands(await self._do(self._native.peek(limit)))

    async def history(self, limit: int = 100, *, before: int | None = None) -> list[Command]:
        """What has ended, newest first; `before` an id, to page on."""
        _validate.whole("limit", limit, 1, _MAX_INTEGER)
        return _commands(
            await self._do(self._native.history(limit, None if before is None else _id(before)))
        )

    async def statistics(self) -> QueueStatistics:
        """A snapshot. Counts the whole history: not for every tick."""
        return self._statistics(await self._do(self._native.statistics(_millis(self.now()))))

    async def prune(self, older_than: float, limit: int = 1000) -> int:
        """Delete finished commands that ended more than `older_than` seconds ago; how many went."""
        _validate.seconds("older_than", older_than)
        past = _millis(self.now() - older_than)
        return cast(int, await self._do(self._native.prune(past, limit)))

    async def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement of the caller's own on the file; returns its rows."""
        return cast(list[Row], (await self._do(self._transact([(sql, parameters)])))[0])

    async def transaction(self, steps: Sequence[tuple[str, Sequence[Value]]]) -> list[list[Row]]:
        """Run statements in one immediate transaction: all or none. Returns the rows of each."""
        return cast(list[list[Row]], await self._do(self._transact(steps)))

    async def workers(self) -> list[WorkerInfo]:
        """Who has announced itself in the file."""
        return _workers(await self._do(self._native.workers()))

    async def lease_session(
        self,
        key: str | int,
        entry_id: int | None = None,
        command_id: int | None = None,
        *,
        lease: float | None = None,
    ) -> int:
        """Take the durable lease of a key's session; returns the attempt that fences off others.

        Raises:
            StaleClaim: somebody else holds it (`reason` "taken").
        """
        call = self._native.lease_session(
            cast(str, key_text(key)),
            entry_id,
            command_id,
            _millis(self.now()),
            self._lease_millis(lease),
        )
        return cast(int, await self._do(call))

    async def renew_session(
        self, key: str | int, attempt: int, *, lease: float | None = None
    ) -> None:
        """Hold a session's lease for longer.

        Raises:
            StaleClaim: it is somebody else's by now, or over.
        """
        await self._do(
            self._native.renew_session(
                cast(str, key_text(key)), attempt, _millis(self.now()), self._lease_millis(lease)
            )
        )

    async def end_session(self, key: str | int, attempt: int, outcome: str = "done") -> None:
        """Give a session's lease back.

        Raises:
            StaleClaim: it is somebody else's by now, or over.
        """
        await self._do(
            self._native.end_session(
                cast(str, key_text(key)), attempt, _millis(self.now()), outcome
            )
        )

    async def clear_dead(self) -> int:
        """Free what processes of this machine held that no longer live; how much it was."""
        return cast(int, await self._do(self._native.clear_dead(_millis(self.now()))))

    async def audit(self) -> None:
        """Check that the file is still the one that was opened, with our locks on it.

        Raises:
            DatabaseError: it is not; every later call is refused as well.
        """
        await self._do(self._native.audit())

    async def _do(
        self, call: _core.QueueCall, unwanted: Callable[[Any], object] | None = None
    ) -> Any:
        self._check_open()
        bridge = _bridge.current()
        waiter: asyncio.Future[None] = bridge.loop.create_future()

        def on_event(_kind: int, _value: int) -> None:
            bridge.unsubscribe(subject)
            if not waiter.done():
                waiter.set_result(None)
            elif unwanted is not None:
                unwanted(call.result())

        def sweep() -> None:
            # Events were lost: whether this one was among them only the call itself can tell.
            if call.done:
                on_event(0, 0)

        subject = self._native.submit(call, bridge.channel)
        bridge.subscribe(subject, on_event, sweep)
        await waiter
        return call.result()

    def _unclaim(self, rows: list[tuple[Any, ...]]) -> None:
        """Whoever asked for these has gone: give them back, in the order of the queue's thread."""
        bridge = _bridge.current()
        for row in rows:
            self._native.submit(
                self._native.give_back(row[0], row[12], _millis(self.now()), 0), bridge.channel
            )


class SyncCommandQueue(_Queue):
    """A queue file, for scripts, web handlers and threads. A context manager; any thread may call.

    The arguments and methods are those of `CommandQueue`; every call blocks, with the GIL released.
    """

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Open now rather than with the first call."""
        self._run(self._native.open())

    def close(self) -> None:
        """Idempotent."""
        if not self._closed:
            self._closed = True
            self._native.close()

    def enqueue(self, command: str, entry_id: int | None = None, **fields: Any) -> int:
        """Send a command; returns its id once it is committed."""
        return cast(int, self._run(self._enqueue((NewCommand(command, entry_id, **fields),)))[0])

    def enqueue_many(
        self, commands: Iterable[NewCommand | Mapping[str, Any] | Sequence[Any]]
    ) -> list[int]:
        """Send many in one transaction."""
        return cast(list[int], self._run(self._enqueue([_new(one) for one in commands])))

    def ring(self) -> None:
        """Wake the workers, after an insert that was not made by this object."""
        self._run(self._native.ring())

    def claim(
        self, limit: int = 1, *, lease: float | None = None, started_at: float | None = None
    ) -> list[Command]:
        """Take commands that are due."""
        return _commands(self._run(self._claim(limit, lease, started_at)))

    def renew(self, command: Command, lease: float | None = None) -> None:
        """Hold a claim for longer."""
        now = _millis(self.now())
        self._run(self._native.renew(command.id, command.attempt, now, self._lease_millis(lease)))

    def ack(self, command: Command, result: object = "done") -> None:
        """It is done."""
        now = _millis(self.now())
        self._run(self._native.ack(command.id, command.attempt, now, _result_text(result)))

    def ack_many(self, done: Iterable[tuple[Command, object]]) -> list[int]:
        """Acknowledge several in one transaction; the ids of those that were not ours any more."""
        return cast(list[int], self._run(self._ack_many(done)))

    def nack(self, command: Command, error: str, *, retry_in: float | None = None) -> bool:
        """It failed. True: it will be tried again."""
        wait = None if retry_in is None else _millis(_validate.seconds("retry_in", retry_in))
        now = _millis(self.now())
        return cast(
            bool,
            self._run(self._native.nack(command.id, command.attempt, now, str(error), wait)),
        )

    def cancel(self, id: int) -> bool:
        """Take a command back. False: it is no longer waiting."""
        return cast(bool, self._run(self._native.cancel(_id(id), _millis(self.now()))))

    def get(self, id: int) -> Command | None:
        """A command, in the line or in the history."""
        row = self._run(self._native.get(_id(id)))
        return None if row is None else command_from_row(row)

    def wait_result(self, id: int, timeout: float | None = None) -> Outcome:
        """Wait for a command's end.

        Raises:
            QueueTimeout: `timeout` seconds have passed.
            InvalidArgument: there is no such command.
        """
        began = time.monotonic()
        pause = _POLL_FIRST
        while (outcome := _outcome(self.get(id), id)) is None:
            if timeout is not None and time.monotonic() - began >= timeout:
                raise QueueTimeout(f"command {id} has not ended within {timeout:g} seconds")
            time.sleep(pause)
            pause = min(pause * 1.5, _POLL_LONGEST)
        return outcome

    def peek(self, limit: int = 100) -> list[Command]:
        """What waits or runs, oldest first."""
        _validate.whole("limit", limit, 1, _MAX_INTEGER)
        return _commands(self._run(self._native.peek(limit)))

    def history(self, limit: int = 100, *, before: int | None = None) -> list[Command]:
        """What has ended, newest first."""
        _validate.whole("limit", limit, 1, _MAX_INTEGER)
        return _commands(
            self._run(self._native.history(limit, None if before is None else _id(before)))
        )

    def statistics(self) -> QueueStatistics:
        """A snapshot."""
        return self._statistics(self._run(self._native.statistics(_millis(self.now()))))

    def prune(self, older_than: float, limit: int = 1000) -> int:
        """Delete finished commands that ended more than `older_than` seconds ago."""
        _validate.seconds("older_than", older_than)
        return cast(int, self._run(self._native.prune(_millis(self.now() - older_than), limit)))

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement of the caller's own on the file."""
        return cast(list[Row], self._run(self._transact([(sql, parameters)]))[0])

    def transaction(self, steps: Sequence[tuple[str, Sequence[Value]]]) -> list[list[Row]]:
        """Run statements in one immediate transaction."""
        return cast(list[list[Row]], self._run(self._transact(steps)))

    def workers(self) -> list[WorkerInfo]:
        """Who has announced itself in the file."""
        return _workers(self._run(self._native.workers()))

    def audit(self) -> None:
        """Check that the file is still the one that was opened, with our locks on it."""
        self._run(self._native.audit())

    def _run(self, call: _core.QueueCall) -> Any:
        self._check_open()
        return self._native.run(call)
