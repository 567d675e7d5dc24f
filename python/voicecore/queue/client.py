"""The queue for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

from voicecore import _bridge, _core, _validate
from voicecore.queue.base import QueueBase, SessionWait, attempt_of, claim_of, pauses
from voicecore.queue.convert import (
    MAX_INTEGER,
    command_from_row,
    commands_from_rows,
    entry_or_none,
    id_of,
    millis,
    new_commands,
    outcome_of,
    result_text,
    row_of,
    session_key,
    told,
    workers_from_rows,
)
from voicecore.queue.model import (
    DEFAULT,
    Command,
    NewCommand,
    Outcome,
    QueueStatistics,
    Row,
    Value,
    WorkerInfo,
    _Default,
)


class CommandQueue(QueueBase):
    """A queue file, for asyncio. An async context manager.

    Every method runs on a native thread of the queue's own and may be awaited from any loop.
    Cancelling an await does not undo what was sent; a cancelled `claim` gives its commands back.

    Args:
        path: the file. Must be on a local file system.
        owner: the name of its claims; by default one that tells whether the process still lives.
        role: "worker" for whoever claims, so that it looks after the write-ahead log.
        synchronous: "full" survives a power cut, "normal" only the process (the last commits may
            be undone by a power cut).
        busy_timeout: seconds to wait for another process's transaction.
        default_key: the key of commands that name none.
        play_expires_after: seconds after which a `play` that still waits does not start any more;
            None as in the lesson, never. While a `Scheduler` lets it wait for its key, with the
            policy "queue", it counts anew.
        lease: seconds that a claim is held for without a renewal.
        wall_clock: seconds since 1970; tests give their own. Every process and `Scheduler` at the
            file must have the same: leases are judged by it.
        create: make the file, and the queue's tables in it, when they are not there. With False
            that is a `DatabaseError` and nothing is written.
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
            Closed: this process was forked by one that had the file open.
            DatabaseError: not a database, locked for too long.
            SourceIsDirectory: a directory.
            SourceNotFound: no such folder.
            SourcePermissionError: this process may not read and write it, or not in its folder.
            IOFailure: a read-only file system; not a regular file.
            UnsupportedMedia: a network file system; a file with two names (hard links), or mounted
                by itself; a file of a newer voicecore.
        """
        await self._do(self._native.open())

    async def aclose(self) -> None:
        """Finish what was asked for, then close. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await _bridge.end_in_own_thread(self._native.close, "voicecore-close")

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
            priority: larger first, among commands of different keys; -2**31 to 2**31 - 1. A stop
                that overtakes goes before all others, whatever the priority of either; of several
                such, the oldest are claimed first.
            max_attempts: how often it is tried when its handler fails (lesson R52: once). A try
                whose worker died counts too, though only three deaths end a command.
            overtakes: a `stop` that does not wait for the command of its key that is under way.

        Raises:
            InvalidArgument: a value out of its range.
            DatabaseError: nothing was sent.
        """
        now = self.now()
        row = row_of(
            now,
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
        ids = cast(list[int], await self._do(self._native.enqueue([row], millis(now))))
        return ids[0]

    async def enqueue_many(
        self, commands: Iterable[NewCommand | Mapping[str, Any] | Sequence[Any]]
    ) -> list[int]:
        """Send many in one transaction: all or none. Returns their ids in the same order."""
        return cast(list[int], await self._do(self._enqueue(new_commands(commands))))

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
        return commands_from_rows(
            await self._do(self._claim(limit, lease, started_at), unwanted=self._unclaim)
        )

    async def renew(self, command: Command, lease: float | None = None) -> None:
        """Hold a claim for longer.

        Raises:
            StaleClaim: it is not the live one.
        """
        await self._do(
            self._native.renew(*claim_of(command), millis(self.now()), self._lease_millis(lease))
        )

    async def ack(self, command: Command, result: object = "done") -> None:
        """It is done: the row moves to the history in the same transaction.

        Raises:
            StaleClaim: the claim is not the live one; nothing was changed.
        """
        await self._do(
            self._native.ack(*claim_of(command), millis(self.now()), result_text(result))
        )

    async def ack_many(self, done: Iterable[tuple[Command, object]]) -> list[int]:
        """Acknowledge several, each with its result, in one transaction.

        Returns:
            The ids of those whose claims are not the live ones any more; they were left alone.
        """
        return cast(list[int], await self._do(self._ack_many(done)))

    async def nack(
        self,
        command: Command,
        error: str,
        *,
        retry_in: float | None = None,
        max_attempts: int = 1,
    ) -> bool:
        """It failed. True: it will be tried again, as long as it has tries left.

        Args:
            command: as it was claimed.
            error: why, for the history.
            retry_in: seconds until then; 1, doubling with each try up to 300, by default.
            max_attempts: how often it is tried in all, where the command itself asks for less.

        Raises:
            StaleClaim: the claim is not the live one; nothing was changed.
        """
        again = self._do(self._nack(command, error, retry_in, max_attempts))
        return cast(bool, await again)

    async def fail(self, command: Command, error: str) -> None:
        """It failed for good, whatever tries are left.

        Raises:
            StaleClaim: the claim is not the live one; nothing was changed.
        """
        await self._do(self._native.fail(*claim_of(command), millis(self.now()), told(error)))

    async def give_back(self, command: Command, *, delay: float = 0.0) -> None:
        """Undo a claim: the next one may take it, `delay` seconds from now.

        Raises:
            StaleClaim: the claim is not the live one.
        """
        await self._do(self._give_back(command, delay))

    async def cancel(self, id: int) -> bool:
        """Take a command back. False: it is no longer waiting."""
        return cast(bool, await self._do(self._native.cancel(id_of(id), millis(self.now()))))

    async def get(self, id: int) -> Command | None:
        """A command, in the line or in the history."""
        row = await self._do(self._native.get(id_of(id)))
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
        waiting = pauses(timeout, f"command {id}")
        while (outcome := outcome_of(await self.get(id), id)) is None:  # noqa: ASYNC110  # elsewhere
            await asyncio.sleep(next(waiting))
        return outcome

    async def wait_session(
        self,
        key: str | int,
        attempt: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # raises our own error
    ) -> str | None:
        """Wait for the end of a key's session; returns its outcome, None when there was none.

        "lost": its lease ran out or somebody else has the key by now. Whoever held it has died, or
        stood still for that long. A process that was killed is known to be gone when its lease is
        over, or as soon as a scheduler starts on its machine.

        Args:
            key: whose.
            attempt: which; by default the one that runs now.
            timeout: seconds.

        Raises:
            QueueTimeout: it still runs.
        """
        wait = SessionWait(self, key, attempt, timeout)
        while not wait.look(await self.execute(*wait.question)):  # noqa: ASYNC110  # elsewhere
            await asyncio.sleep(next(wait.pauses))
        return wait.outcome

    async def peek(self, limit: int = 100) -> list[Command]:
        """What waits or runs, oldest first."""
        limit = _validate.whole("limit", limit, 1, MAX_INTEGER)
        return commands_from_rows(await self._do(self._native.peek(limit)))

    async def history(self, limit: int = 100, *, before: int | None = None) -> list[Command]:
        """What has ended, newest first; `before` an id, to page on."""
        limit = _validate.whole("limit", limit, 1, MAX_INTEGER)
        return commands_from_rows(
            await self._do(self._native.history(limit, None if before is None else id_of(before)))
        )

    async def statistics(self) -> QueueStatistics:
        """A snapshot. Counts the whole history: not for every tick."""
        return self._statistics(await self._do(self._native.statistics(millis(self.now()))))

    async def prune(self, older_than: float, limit: int = 1000) -> int:
        """Delete finished commands that ended more than `older_than` seconds ago; how many went."""
        return cast(int, await self._do(self._prune(older_than, limit)))

    async def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement of the caller's own on the file; returns its rows.

        Args:
            sql: anything but transaction control, ATTACH, DETACH and pragmas that change a setting:
                the queue itself works on that connection.
            parameters: the values of its places (`?`), in their order.

        Raises:
            InvalidArgument: one of those, several statements, or a value that SQLite cannot hold.
            DatabaseError: SQLite refused it.
        """
        return cast(list[Row], (await self._do(self._transact([(sql, parameters)])))[0])

    async def transaction(self, steps: Sequence[tuple[str, Sequence[Value]]]) -> list[list[Row]]:
        """Run statements in one immediate transaction: all or none. Returns the rows of each.

        Each is a pair of what `execute` takes.
        """
        return cast(list[list[Row]], await self._do(self._transact(steps)))

    async def workers(self) -> list[WorkerInfo]:
        """Who has announced itself in the file."""
        return workers_from_rows(await self._do(self._native.workers()))

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
            session_key(key),
            entry_or_none(entry_id),
            None if command_id is None else id_of(command_id),
            millis(self.now()),
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
                session_key(key), attempt_of(attempt), millis(self.now()), self._lease_millis(lease)
            )
        )

    async def end_session(self, key: str | int, attempt: int, outcome: str = "done") -> None:
        """Give a session's lease back.

        Raises:
            StaleClaim: it is somebody else's by now, or over.
        """
        await self._do(
            self._native.end_session(
                session_key(key), attempt_of(attempt), millis(self.now()), told(outcome)
            )
        )

    async def clear_dead(self) -> int:
        """Free what processes of this machine held that no longer live; how much it was."""
        return cast(int, await self._do(self._native.clear_dead(millis(self.now()))))

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
                self._native.give_back(row[0], row[12], millis(self.now()), 0), bridge.channel
            )
