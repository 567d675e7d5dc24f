"""The queue for whoever may block."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

from voicecore import _core, _validate
from voicecore.queue.base import QueueBase, SessionWait, claim_of, pauses
from voicecore.queue.convert import (
    MAX_INTEGER,
    command_from_row,
    commands_from_rows,
    id_of,
    millis,
    new_commands,
    outcome_of,
    result_text,
    row_of,
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


class SyncCommandQueue(QueueBase):
    """A queue file, for scripts, web handlers and threads. A context manager; any thread may call.

    The arguments and methods are those of `CommandQueue`, except that whoever holds a session does
    so on an event loop: `lease_session`, `renew_session`, `end_session` and `clear_dead` are only
    there. Every call blocks, with the GIL released.
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

    def enqueue(
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
        """Send a command; returns its id once it is committed."""
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
        return cast(list[int], self._run(self._native.enqueue([row], millis(now))))[0]

    def enqueue_many(
        self, commands: Iterable[NewCommand | Mapping[str, Any] | Sequence[Any]]
    ) -> list[int]:
        """Send many in one transaction."""
        return cast(list[int], self._run(self._enqueue(new_commands(commands))))

    def ring(self) -> None:
        """Wake the workers, after an insert that was not made by this object."""
        self._run(self._native.ring())

    def claim(
        self, limit: int = 1, *, lease: float | None = None, started_at: float | None = None
    ) -> list[Command]:
        """Take commands that are due."""
        return commands_from_rows(self._run(self._claim(limit, lease, started_at)))

    def renew(self, command: Command, lease: float | None = None) -> None:
        """Hold a claim for longer."""
        now = millis(self.now())
        self._run(self._native.renew(*claim_of(command), now, self._lease_millis(lease)))

    def ack(self, command: Command, result: object = "done") -> None:
        """It is done."""
        now = millis(self.now())
        self._run(self._native.ack(*claim_of(command), now, result_text(result)))

    def ack_many(self, done: Iterable[tuple[Command, object]]) -> list[int]:
        """Acknowledge several in one transaction; the ids of those that were not ours any more."""
        return cast(list[int], self._run(self._ack_many(done)))

    def nack(
        self,
        command: Command,
        error: str,
        *,
        retry_in: float | None = None,
        max_attempts: int = 1,
    ) -> bool:
        """It failed. True: it will be tried again. See `CommandQueue.nack`."""
        return cast(bool, self._run(self._nack(command, error, retry_in, max_attempts)))

    def fail(self, command: Command, error: str) -> None:
        """It failed for good, whatever tries are left."""
        self._run(self._native.fail(*claim_of(command), millis(self.now()), told(error)))

    def give_back(self, command: Command, *, delay: float = 0.0) -> None:
        """Undo a claim, as `CommandQueue.give_back` does."""
        self._run(self._give_back(command, delay))

    def cancel(self, id: int) -> bool:
        """Take a command back. False: it is no longer waiting."""
        return cast(bool, self._run(self._native.cancel(id_of(id), millis(self.now()))))

    def get(self, id: int) -> Command | None:
        """A command, in the line or in the history."""
        row = self._run(self._native.get(id_of(id)))
        return None if row is None else command_from_row(row)

    def wait_result(self, id: int, timeout: float | None = None) -> Outcome:
        """Wait for a command's end.

        Raises:
            QueueTimeout: `timeout` seconds have passed.
            InvalidArgument: there is no such command.
        """
        waiting = pauses(timeout, f"command {id}")
        while (outcome := outcome_of(self.get(id), id)) is None:
            time.sleep(next(waiting))
        return outcome

    def wait_session(
        self, key: str | int, attempt: int | None = None, timeout: float | None = None
    ) -> str | None:
        """Wait for the end of a key's session; returns its outcome, None when there was none.

        See `CommandQueue.wait_session`.

        Raises:
            QueueTimeout: it still runs.
        """
        wait = SessionWait(self, key, attempt, timeout)
        while not wait.look(self.execute(*wait.question)):
            time.sleep(next(wait.pauses))
        return wait.outcome

    def peek(self, limit: int = 100) -> list[Command]:
        """What waits or runs, oldest first."""
        limit = _validate.whole("limit", limit, 1, MAX_INTEGER)
        return commands_from_rows(self._run(self._native.peek(limit)))

    def history(self, limit: int = 100, *, before: int | None = None) -> list[Command]:
        """What has ended, newest first."""
        limit = _validate.whole("limit", limit, 1, MAX_INTEGER)
        return commands_from_rows(
            self._run(self._native.history(limit, None if before is None else id_of(before)))
        )

    def statistics(self) -> QueueStatistics:
        """A snapshot."""
        return self._statistics(self._run(self._native.statistics(millis(self.now()))))

    def prune(self, older_than: float, limit: int = 1000) -> int:
        """Delete finished commands that ended more than `older_than` seconds ago."""
        return cast(int, self._run(self._prune(older_than, limit)))

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement of the caller's own on the file."""
        return cast(list[Row], self._run(self._transact([(sql, parameters)]))[0])

    def transaction(self, steps: Sequence[tuple[str, Sequence[Value]]]) -> list[list[Row]]:
        """Run statements in one immediate transaction."""
        return cast(list[list[Row]], self._run(self._transact(steps)))

    def workers(self) -> list[WorkerInfo]:
        """Who has announced itself in the file."""
        return workers_from_rows(self._run(self._native.workers()))

    def audit(self) -> None:
        """Check that the file is still the one that was opened, with our locks on it."""
        self._run(self._native.audit())

    def _run(self, call: _core.QueueCall) -> Any:
        self._check_open()
        return self._native.run(call)
