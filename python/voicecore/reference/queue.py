"""`CommandQueue` over `aiosqlite`: each of its methods is a transaction."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, Self

import aiosqlite

from voicecore.errors import Closed, InvalidArgument, QueueTimeout
from voicecore.queue import DEFAULT_KEY, Command, NewCommand, Outcome, QueueStatistics
from voicecore.queue.convert import result_text, told
from voicecore.reference import line as lines
from voicecore.reference import schema
from voicecore.reference.rows import COLUMNS, commands, new_row, stale

_POLL = 0.01  # seconds between two looks at a result
STEP_BACK = 15_000  # milliseconds; less is a transaction that waited while another claimed
_STEERING = ("pause", "resume", "stop")


class CommandQueue:
    """A queue file, for one event loop. An async context manager.

    Arguments and methods are those of `voicecore.CommandQueue`, as far as there are any. SQLite's
    own failures come as `sqlite3.Error`, which the native `DatabaseError` is as well.

    It lacks `ack_many`, `fail`, `wait_session`, `transaction`, `enqueue_in` and `ring`; `workers`
    and `audit`; the session leases as calls (`lease_session`, `renew_session`, `end_session`,
    `clear_dead`; `reference.SessionMutex` has its own); `now`, and the properties `default_key`
    and `play_expires_after`. Its `give_back` has no `delay`; it has no `role`, as it is none of
    the file's workers, and neither `create` nor `fault_hook`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        owner: str | None = None,
        synchronous: Literal["full", "normal"] = "full",
        busy_timeout: float = 5.0,
        default_key: str = DEFAULT_KEY,
        play_expires_after: float | None = 600.0,
        lease: float = 30.0,
        wall_clock: Callable[[], float] | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self.owner = owner or f"reference-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.lease = lease
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._default_key = default_key
        self._play_expires_after = play_expires_after
        self._wall = wall_clock or time.time
        self._lock = asyncio.Lock()  # tasks share the connection, transactions must not interleave
        self._db: aiosqlite.Connection | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Open now rather than with the first call; make the tables where there are none."""
        async with self._writing():
            pass

    async def aclose(self) -> None:
        """Wait for the transaction under way, then close. Idempotent."""
        async with self._lock:
            self._closed = True
            if self._db is not None:
                db, self._db = self._db, None
                await db.close()

    # -- senders -----------------------------------------------------------------------------------

    async def enqueue(self, command: str, entry_id: int | None = None, **fields: Any) -> int:
        """Send a command; returns its id once it is committed. The keywords are `NewCommand`'s."""
        return (await self.enqueue_many([NewCommand(command, entry_id, **fields)]))[0]

    async def enqueue_many(
        self, new: Iterable[NewCommand | Mapping[str, Any] | Sequence[Any]]
    ) -> list[int]:
        """Send many in one transaction: all or none. Returns their ids in the same order."""
        now = self._now()
        rows = [new_row(one, now) for one in new]
        ids = []
        async with self._writing() as db:
            for row in rows:
                inserted = await db.execute_fetchall(
                    "INSERT INTO bot_commands(command, entry_id, key, args, requested_by,"
                    " created_at, dedup_key, priority, not_before, expires_at, overtakes,"
                    " max_attempts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (dedup_key) WHERE dedup_key IS NOT NULL DO NOTHING RETURNING id",
                    row,
                ) or await db.execute_fetchall(  # it waits or runs already
                    "SELECT id FROM bot_commands WHERE dedup_key = ?", (row[6],)
                )
                ids += [id for (id,) in inserted]
        return ids

    async def cancel(self, id: int) -> bool:
        """Take a command back. False: it is no longer waiting."""
        async with self._writing() as db:
            waits = await db.execute_fetchall(
                "SELECT 1 FROM bot_commands WHERE id = ? AND state = 'ready'", (id,)
            )
            if waits:
                await self._finish(db, id, "cancelled")
        return bool(waits)

    async def wait_result(
        self,
        id: int,
        timeout: float | None = None,  # noqa: ASYNC109  # raises our own error
    ) -> Outcome:
        """Wait for a command's end, by asking again and again.

        Raises:
            QueueTimeout: `timeout` seconds have passed.
            InvalidArgument: there is no such command.
        """
        began = time.monotonic()
        while True:
            found = await self.get(id)
            if found is None:
                raise InvalidArgument(f"command {id}: there is none, or its history was pruned")
            if found.finished_at is not None:
                return Outcome(id, found.state, found.result, found.error)
            if timeout is not None and time.monotonic() - began >= timeout:
                raise QueueTimeout(f"command {id} has not ended within {timeout:g} seconds")
            await asyncio.sleep(_POLL)

    # -- workers -----------------------------------------------------------------------------------

    async def claim(
        self, limit: int = 1, *, lease: float | None = None, started_at: float | None = None
    ) -> list[Command]:
        """Take commands that are due: at most one of each key."""
        if limit < 1:
            raise InvalidArgument(f"limit: got {limit!r}, expected 1 or more")
        now = self._now()
        until = now + round((self.lease if lease is None else lease) * 1000)
        if not await self.peek(1):
            return []  # without the write lock
        async with self._writing() as db:
            await self._look_at_leases(db, now)
            await self._give_keys(db)
            line = await self._without_expired(db, await commands(db, "bot_commands"), now)
            line = await self._without_superseded(db, line, now, started_at)
            taken = lines.heads(line, now / 1000)[:limit]
            for row in taken:
                await db.execute_fetchall(
                    "UPDATE bot_commands SET state = 'claimed', attempt = attempt + 1,"
                    " lease_until = ?, owner = ?, claimed_at = ?,"
                    " overtakes = CASE command WHEN 'stop' THEN overtakes ELSE 0 END WHERE id = ?",
                    (until, self.owner, now, row.id),
                )
            claimed = {row.id: row for row in await commands(db, "bot_commands")} if taken else {}
        return [claimed[row.id] for row in taken]

    async def _look_at_leases(self, db: aiosqlite.Connection, now: int) -> None:
        # From before the wall clock was set back: they would last for as long as it was set back.
        await db.execute_fetchall(
            "UPDATE bot_commands SET lease_until = lease_until - claimed_at + ?1, claimed_at = ?1"
            " WHERE state = 'claimed' AND lease_until > ?1 AND claimed_at > ?1 + ?2",
            (now, STEP_BACK),
        )
        # A claim that was given back counts for nothing but the fence.
        worn_out = await db.execute_fetchall(
            "SELECT id, attempt - given_back FROM bot_commands WHERE state = 'claimed'"
            " AND lease_until <= ? AND attempt - given_back >= max(max_attempts, ?) ORDER BY id",
            (now, lines.MOST_DEATHS),
        )
        for id, times in worn_out:
            await self._finish(db, id, "failed", error=f"its holders were lost {times} times")
        # Back into the line, and out of the unique index. The lease stays as a mark that it ran
        # out: its holder may still come and ask.
        await db.execute_fetchall(
            "UPDATE bot_commands SET state = 'ready', owner = NULL"
            " WHERE state = 'claimed' AND lease_until <= ? AND overtakes = 0",
            (now,),
        )

    async def _give_keys(self, db: aiosqlite.Connection) -> None:
        await db.execute_fetchall(
            "UPDATE bot_commands SET key = CASE"
            " WHEN command = 'play' THEN"
            " coalesce((SELECT key FROM schedule_entries AS e WHERE e.id = entry_id), ?1)"
            " WHEN command IN ('pause', 'resume', 'stop') THEN '*' ELSE ?1 END WHERE key IS NULL",
            (self._default_key,),
        )

    async def _without_expired(
        self, db: aiosqlite.Connection, line: list[Command], now: int
    ) -> list[Command]:
        left = []
        for row in line:
            if lines.expired(row, now / 1000, self._play_expires_after):
                await self._finish(db, row.id, "expired")
            else:
                left.append(row)
        return left

    async def _without_superseded(
        self, db: aiosqlite.Connection, line: list[Command], now: int, started_at: float | None
    ) -> list[Command]:
        reasons = {
            row.id: "sent before this run began"
            for row in line
            if started_at is not None
            and row.state == "ready"
            and row.command in _STEERING
            and row.created_at < started_at
        }
        line = [row for row in line if row.id not in reasons]
        for id, by in lines.superseded(line, now / 1000).items():
            reasons[id] = f"superseded by command {by}"
        for id, reason in reasons.items():
            await self._finish(db, id, "superseded", error=reason)
        return [row for row in line if row.id not in reasons]

    async def renew(self, command: Command, lease: float | None = None) -> None:
        """Hold a claim for longer. Raises `StaleClaim` if it is not the live one."""
        until = self._now() + round((self.lease if lease is None else lease) * 1000)
        async with self._writing() as db:
            await self._check(db, command)
            # Not begun after its renewal: see `_look_at_leases`.
            await db.execute_fetchall(
                "UPDATE bot_commands SET lease_until = ?, claimed_at = min(claimed_at, ?)"
                " WHERE id = ?",
                (until, self._now(), command.id),
            )

    async def ack(self, command: Command, result: object = "done") -> None:
        """It is done: into the history, in one transaction. Raises `StaleClaim`."""
        text = result_text(result)
        async with self._writing() as db:
            await self._check(db, command)
            await self._finish(db, command.id, "done", result=text)

    async def nack(
        self,
        command: Command,
        error: str,
        *,
        retry_in: float | None = None,
        max_attempts: int = 1,
    ) -> bool:
        """It failed. True: it will be tried again (after 1, 2, 4 … 300 s by default)."""
        text = told(error)
        async with self._writing() as db:
            row = await self._check(db, command)
            tried, most = row.attempt - row.given_back, max(row.max_attempts, max_attempts)
            if retry_in is None:
                retry_in = min(300.0, 2.0 ** min(tried - 1, 20))
            again = tried < most
            if again:
                await db.execute_fetchall(
                    "UPDATE bot_commands SET state = 'ready', lease_until = NULL, owner = NULL,"
                    " not_before = ?, error = ?, max_attempts = ? WHERE id = ?",
                    (self._now() + round(retry_in * 1000), text, most, command.id),
                )
            else:
                await self._finish(db, command.id, "failed", error=text)
        return again

    async def give_back(self, command: Command) -> None:
        """Undo a claim: the next one may take it at once. Raises `StaleClaim`."""
        async with self._writing() as db:
            await self._check(db, command)
            await db.execute_fetchall(
                "UPDATE bot_commands SET state = 'ready', lease_until = NULL, owner = NULL,"
                " given_back = given_back + 1 WHERE id = ?",
                (command.id,),
            )

    async def _check(self, db: aiosqlite.Connection, command: Command) -> Command:
        """The live row of this claim; everybody else is told why not."""
        rows = await commands(db, "bot_commands", "WHERE id = ?", command.id)
        name = f"command {command.id}, attempt {command.attempt}"
        if not rows:
            past = await commands(db, "bot_command_history", "WHERE id = ?", command.id)
            raise stale("finished", f"{name}: it is over") if past else stale("unknown", name)
        row = rows[0]
        if command.attempt < row.attempt:
            raise stale("taken", f"{name}: attempt {row.attempt} has followed")
        if command.attempt > row.attempt or row.lease_until is None:
            raise stale("unknown", f"{name}: it is not claimed")
        if row.state != "claimed" or row.lease_until <= self._now() / 1000:
            raise stale("expired", f"{name}: the lease ran out")
        return row

    # -- everybody ---------------------------------------------------------------------------------

    async def get(self, id: int) -> Command | None:
        """A command, in the line or in the history."""
        async with self._reading() as db:
            # The line first: a command moves from there to the history, never back.
            for table in ("bot_commands", "bot_command_history"):
                for row in await commands(db, table, "WHERE id = ?", id):
                    return row
        return None

    async def peek(self, limit: int = 100) -> list[Command]:
        """What waits or runs, oldest first."""
        async with self._reading() as db:
            return await commands(db, "bot_commands", "ORDER BY id LIMIT ?", limit)

    async def history(self, limit: int = 100, *, before: int | None = None) -> list[Command]:
        """What has ended, newest first; `before` an id, to page on."""
        where = "WHERE id < ? ORDER BY id DESC LIMIT ?"
        async with self._reading() as db:
            return await commands(
                db, "bot_command_history", where, 2**63 - 1 if before is None else before, limit
            )

    async def statistics(self) -> QueueStatistics:
        """A snapshot."""
        now = self._now()
        async with self._reading() as db:
            line = await commands(db, "bot_commands")
            past = await db.execute_fetchall(
                "SELECT state, count(*) FROM bot_command_history GROUP BY state"
            )
            sessions = await db.execute_fetchall(
                "SELECT count(*) FROM bot_sessions WHERE owner IS NOT NULL AND lease_until > ?",
                (now,),
            )
        waiting = [row for row in line if row.state == "ready"]
        ready = [row for row in waiting if lines.due(row, now / 1000)]
        return QueueStatistics(
            ready=len(ready),
            delayed=len(waiting) - len(ready),
            claimed=len(line) - len(waiting),
            sessions=next(iter(sessions))[0],
            oldest_ready=min((row.created_at for row in ready), default=None),
            history={str(state): int(number) for state, number in past},
            wal_bytes=_size(self.path + "-wal"),
        )

    async def prune(self, older_than: float, limit: int = 1000) -> int:
        """Delete finished commands that ended more than `older_than` seconds ago; how many went."""
        async with self._writing() as db:
            gone = await db.execute_fetchall(
                "DELETE FROM bot_command_history WHERE id IN (SELECT id FROM bot_command_history"
                " WHERE finished_at < ? ORDER BY finished_at LIMIT ?) RETURNING id",
                (self._now() - round(older_than * 1000), limit),
            )
        return len(list(gone))

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement of the caller's own on the file; returns its rows."""
        async with self._writing() as db:
            return [tuple(row) for row in await db.execute_fetchall(sql, parameters)]

    # -- transactions ------------------------------------------------------------------------------

    def _now(self) -> int:
        return round(self._wall() * 1000)

    async def _finish(
        self,
        db: aiosqlite.Connection,
        id: int,
        state: str,
        *,
        result: str | None = None,
        error: str | None = None,
    ) -> None:
        """Out of the line, into the history: within a transaction, so that it is always in one."""
        kept = COLUMNS.replace("result, error, state", "")
        await db.execute_fetchall(
            f"INSERT INTO bot_command_history({COLUMNS}, finished_at)"
            f" SELECT {kept} ?2, coalesce(?3, error), ?4, ?5"
            " FROM bot_commands WHERE id = ?1",
            (id, result, error, state, self._now()),
        )
        await db.execute_fetchall("DELETE FROM bot_commands WHERE id = ?", (id,))

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[aiosqlite.Connection]:
        async with self._lock:
            yield await self._connection()

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[aiosqlite.Connection]:
        # IMMEDIATE: one that reads first and then wants to write would fail at once when another
        # process has written in between, whatever the busy time-out says.
        async with self._lock:
            db = await self._connection()
            try:
                await db.execute_fetchall("BEGIN IMMEDIATE")
                yield db
                await db.execute_fetchall("COMMIT")
            except BaseException:
                await db.rollback()  # runs behind whatever was cancelled; nothing open: no effect
                raise

    async def _connection(self) -> aiosqlite.Connection:
        if self._closed:
            raise Closed(f"the queue {self.path} is closed")
        if self._db is None:
            db = await aiosqlite.connect(
                self.path, timeout=self._busy_timeout, isolation_level=None
            )
            try:
                await self._prepare(db)
            except BaseException:
                await db.close()
                raise
            self._db = db
        return self._db

    async def _prepare(self, db: aiosqlite.Connection) -> None:
        mode = [row[0] for row in await db.execute_fetchall("PRAGMA journal_mode = WAL")]
        if mode != ["wal"]:  # R51: verify it
            raise Closed(f"{self.path} cannot be put into WAL mode: SQLite keeps {mode}")
        await db.execute_fetchall(f"PRAGMA synchronous = {self._synchronous}")
        try:
            await db.execute_fetchall("BEGIN IMMEDIATE")
            known = await db.execute_fetchall(
                "SELECT 1 FROM sqlite_master WHERE name = 'voicecore_schema'"
            )
            for statement in () if known else schema.CREATE:
                await db.execute_fetchall(statement)
            await db.execute_fetchall("COMMIT")
        except BaseException:
            await db.rollback()
            raise


def _size(path: str) -> int:
    return os.stat(path).st_size if os.path.exists(path) else 0
