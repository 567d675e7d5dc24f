"""`SessionMutex`: one session per key, in memory and in the file."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from voicecore.errors import Closed
from voicecore.queue.convert import entry_or_none, session_key, told
from voicecore.reference.queue import STEP_BACK, CommandQueue
from voicecore.sessions import SessionTaken

T = TypeVar("T")
_ONLY_KEY = ""


class Claim:
    """A key, held. Released exactly once, however the session ends (R21)."""

    def __init__(self, mutex: SessionMutex, key: str, entry_id: int | None) -> None:
        self._mutex = mutex
        self.key = key
        self.entry_id = entry_id
        self.attempt: int | None = None
        self.held = True
        self._leasing: asyncio.Task[int] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def persist(self, command_id: int | None = None) -> int:
        """Take the durable lease, before anything is connected; its attempt fences off others.

        There is one lease for each claim: a second call waits for the same one. A call that is
        cancelled gives the claim back, and the lease when it comes.

        Raises:
            SessionTaken: another process has it; the claim in memory is given back.
            Closed: the claim was released, before or meanwhile.
        """
        if self.held and self._ending is None:
            if self._leasing is None:
                self._leasing = self._mutex._task(self._lease(command_id))
            try:
                attempt = await asyncio.shield(self._leasing)
            except asyncio.CancelledError:
                self._end_once("cancelled")
                self._forget()
                raise
            if self._ending is None:
                return attempt
        raise Closed(f"the claim of key {self.key} was released before")

    async def _lease(self, command_id: int | None) -> int:
        queue, now = self._mutex.queue, self._mutex.queue._now()
        try:
            # From before the wall clock was set back: it would last for as long as it was set back.
            await queue.execute(
                "UPDATE bot_sessions SET lease_until = lease_until - started_at + ?2,"
                " started_at = ?2 WHERE key = ?1 AND owner IS NOT NULL AND started_at > ?2 + ?3",
                (self.key, now, STEP_BACK),
            )
            rows = await queue.execute(
                "INSERT INTO bot_sessions(key, attempt, entry_id, command_id, owner, lease_until,"
                " started_at, state) VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, 'running')"
                " ON CONFLICT (key) DO UPDATE SET attempt = attempt + 1,"
                " entry_id = excluded.entry_id, command_id = excluded.command_id,"
                " owner = excluded.owner, lease_until = excluded.lease_until,"
                " started_at = excluded.started_at, state = 'running', ended_at = NULL,"
                " outcome = NULL, position = NULL WHERE owner IS NULL OR lease_until <= ?6"
                " RETURNING attempt",
                (
                    self.key,
                    self.entry_id,
                    command_id,
                    queue.owner,
                    now + round(queue.lease * 1000),
                    now,
                ),
            )
            if not rows:
                taken = SessionTaken(f"the session of key {self.key} is leased to somebody else")
                taken.reason = "taken"
                raise taken
        except BaseException:
            self._forget()
            raise
        self.attempt = int(rows[0][0])
        return self.attempt

    async def release(self, outcome: str = "done") -> None:
        """Give the key back, in the file first. Idempotent; a lease that was lost is no error."""
        if self.held:
            await asyncio.shield(self._end_once(outcome))

    def _end_once(self, outcome: str) -> asyncio.Task[None]:
        """Goes on also when who waits for it is cancelled."""
        if self._ending is None:
            self._ending = self._mutex._task(self._end(outcome))
        return self._ending

    async def _end(self, outcome: str) -> None:
        queue = self._mutex.queue
        try:
            if self._leasing is not None:
                await asyncio.wait([self._leasing])
            if self.attempt is not None:
                await queue.execute(
                    "UPDATE bot_sessions SET owner = NULL, lease_until = NULL, ended_at = ?,"
                    " outcome = ?, state = 'ended' WHERE key = ? AND attempt = ? AND owner = ?",
                    (queue._now(), told(outcome), self.key, self.attempt, queue.owner),
                )
        finally:
            self._forget()

    def _forget(self) -> None:
        if self.held:  # later the key may be somebody else's
            self.held = False
            del self._mutex._claims[self._mutex._slot(self.key)]


class SessionMutex:
    """One session per key, a guild by default (R20, D23).

    Atomic among the tasks of one event loop only, because nothing awaits between looking and
    assigning. Two threads can both find the key free: the native one uses compare-and-exchange.

    Args:
        queue: where the leases are.
        single: one session in the whole process, whatever its key.
    """

    def __init__(self, queue: CommandQueue, *, single: bool = False) -> None:
        self.queue = queue
        self._single = single
        self._claims: dict[str, Claim] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def claim_nowait(self, key: str | int, entry_id: int | None = None) -> Claim | None:
        """Claim a key; None when it is held. Never waits."""
        name = session_key(key)
        slot = self._slot(name)
        if slot in self._claims:
            return None
        claim = self._claims[slot] = Claim(self, name, entry_or_none(entry_id))
        return claim

    def entry_of(self, key: str | int) -> int | None:
        """The entry that holds the key; None when nobody does."""
        name = session_key(key)
        return next((one.entry_id for one in self._claims.values() if one.key == name), None)

    def _slot(self, key: str) -> str:
        return _ONLY_KEY if self._single else key

    def _task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # asyncio itself holds tasks weakly (R22)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Who waits is told; when nobody does any more, a lease that could not be ended runs out.
        task.cancelled() or task.exception()
