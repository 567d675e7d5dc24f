"""The session mutex: at most one session per key, among threads and among processes.

The claim in memory is one compare-and-exchange in the native core (lesson R21, R24); the durable
lease in the queue file holds it across processes, and its attempt fences off whoever was late.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from voicecore import _bridge, _core
from voicecore.errors import Closed, StaleClaim, VoicecoreError
from voicecore.queue import CommandQueue
from voicecore.queue.convert import entry_or_none, session_key

log = logging.getLogger("voicecore.sessions")

_ASK_AGAIN = 0.5  # seconds, while a lease cannot be ended


class SessionTaken(StaleClaim):
    """Another process leases this key's session."""


@dataclass(frozen=True, slots=True)
class HeldSession:
    """A key that is claimed in this process."""

    key: str
    entry_id: int | None
    attempt: int
    """Of the durable lease; 0 while there is none yet."""


class Claim:
    """A key, held. Made by `SessionMutex.claim_nowait`; released exactly once, however it ends.

    Usable as an async context manager that releases with "done", "failed" or "cancelled".
    """

    def __init__(self, mutex: SessionMutex, key: str, entry_id: int | None, ticket: int) -> None:
        self._mutex = mutex
        self._ticket = ticket
        self._attempt: int | None = None
        self._leasing: asyncio.Task[int] | None = None
        self._leaving = False
        self._released = False
        self._lost = False
        self.key = key
        self.entry_id = entry_id

    @property
    def attempt(self) -> int | None:
        """The lease's number, which only grows for a key; None before `persist`."""
        return self._attempt

    @property
    def held(self) -> bool:
        """Neither released, nor lost to another process as far as is known here."""
        return not (self._released or self._lost)

    async def persist(self, command_id: int | None = None) -> int:
        """Take the durable lease; returns its attempt. To be done before anything is connected.

        There is one lease for each claim: a second call waits for the same one. A call that is
        cancelled gives the claim back, and the lease when it comes.

        Raises:
            SessionTaken: another process has it; the claim in memory is given back.
            DatabaseError: the file failed; the claim in memory is given back.
            Closed: the claim was released, before or meanwhile.
        """
        if not self._leaving:
            if self._leasing is None:
                self._leasing = asyncio.ensure_future(self._lease(command_id))
            try:
                attempt = await asyncio.shield(self._leasing)
            except asyncio.CancelledError:
                self.release_nowait("cancelled")
                raise
            if not self._leaving:
                return attempt
        raise Closed(f"the claim of key {self.key} was released before")

    async def _lease(self, command_id: int | None) -> int:
        try:
            attempt = await self._mutex.queue.lease_session(self.key, self.entry_id, command_id)
        except BaseException as problem:
            self._release_memory()
            if not isinstance(problem, StaleClaim):
                raise
            taken = SessionTaken(str(problem))
            taken.reason = problem.reason
            raise taken from None
        self._attempt = attempt
        self._mutex._native.set_attempt(self.key, self._ticket, attempt)
        return attempt

    async def release(self, outcome: str = "done") -> None:
        """Give the key back, in the file first. Idempotent. A lease that was lost is no error."""
        if self._released:
            return
        self._leaving = True
        if self._leasing is not None and not self._leasing.done():
            try:
                await asyncio.wait([self._leasing])
            except asyncio.CancelledError:
                self.release_nowait(outcome)
                raise
        try:
            if self._attempt is not None and not self._released:
                with contextlib.suppress(StaleClaim):
                    await self._mutex.queue.end_session(self.key, self._attempt, outcome)
        finally:
            self._release_memory()

    def release_nowait(self, outcome: str = "done") -> None:
        """Give the key back in memory now; the lease in the file ends soon after. Idempotent."""
        if self._released:
            return
        self._release_memory()
        if self._leasing is not None:
            if self._leasing.done():
                self._end_soon(outcome, self._leasing)
            else:
                self._mutex._late.add(self._leasing)
                self._leasing.add_done_callback(functools.partial(self._end_soon, outcome))

    def _end_soon(self, outcome: str, leasing: asyncio.Future[int]) -> None:
        # What came of it is looked at, so that asyncio does not complain.
        self._mutex._late.discard(leasing)
        if not leasing.cancelled() and leasing.exception() is None:
            self._mutex._end_soon(self.key, leasing.result(), outcome)

    def check(self) -> None:
        """Refuse a stale start. Looks at what this process knows, and never waits for the file.

        Raises:
            StaleClaim: released, never leased, or followed by a later attempt. Of one in another
                process a `Scheduler` hears when it renews its leases, three times in a lease.
        """
        attempt = self._attempt or 0
        if not self.held or not self._mutex._native.holds(self.key, attempt):
            stale = StaleClaim(
                f"the session of key {self.key}, attempt {attempt}, does not hold its key any more"
            )
            stale.reason = "finished" if self._released else "taken"
            raise stale

    def _lose(self) -> None:
        """Another process has the lease by now."""
        self._lost = True

    def _release_memory(self) -> None:
        self._leaving = True
        if not self._released:
            self._released = True
            self._mutex._native.release(self.key, self._ticket)

    async def __aenter__(self) -> Self:
        if self._attempt is None:
            await self.persist()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        outcome = "done"
        if kind is not None:
            outcome = "cancelled" if issubclass(kind, asyncio.CancelledError) else "failed"
        await self.release(outcome)


class SessionMutex:
    """One session per key, a guild by default (lesson R20, D23).

    Args:
        queue: where the leases are.
        single: one session in the whole process, whatever its key.
    """

    def __init__(self, queue: CommandQueue, *, single: bool = False) -> None:
        self.queue = queue
        self.single = single
        self._native = _core.SessionMutex(single)
        self._ending: set[asyncio.Task[None]] = set()
        self._settling = 0  # how many wait for them
        self._late: set[asyncio.Future[int]] = set()  # leases that come after the release

    def claim_nowait(self, key: str | int, entry_id: int | None = None) -> Claim | None:
        """Claim a key; None when it is held. Never waits, and is safe from any thread."""
        name = session_key(key)
        ticket = self._native.claim(name, entry_or_none(entry_id))
        return None if ticket is None else Claim(self, name, entry_id, ticket)

    def held(self) -> list[HeldSession]:
        """What is claimed in this process, by key."""
        return [HeldSession(*one) for one in self._native.held()]

    def entry_of(self, key: str | int) -> int | None:
        """The entry that holds the key; None when nobody does."""
        name = session_key(key)
        return next((one.entry_id for one in self.held() if one.key == name), None)

    async def settle(self) -> None:
        """Wait until every lease that was given back without waiting has ended in the file.

        Meanwhile one that cannot be ended now is left to run out.
        """
        self._settling += 1
        try:
            while under_way := self._ending | self._late:
                await asyncio.wait(under_way)
        finally:
            self._settling -= 1

    def _end_soon(self, key: str, attempt: int, outcome: str) -> None:
        try:
            bridge = _bridge.current()
        except RuntimeError:
            return  # a session whose loop was closed by hand: its lease runs out

        began = time.monotonic()

        async def end() -> None:
            while True:
                try:
                    await self.queue.end_session(key, attempt, outcome)
                except StaleClaim:
                    pass
                except VoicecoreError as problem:
                    # Nothing renews it: it is over then.
                    left = began + self.queue.lease - time.monotonic()
                    if left > 0.0 and not self._settling and not isinstance(problem, Closed):
                        await asyncio.sleep(min(_ASK_AGAIN, left))
                        continue
                    log.warning("The lease of key %s stays until it runs out: %s", key, problem)
                return

        def ended(task: asyncio.Task[None]) -> None:
            self._ending.discard(task)
            if not self._ending:
                bridge.release(self)

        task = bridge.loop.create_task(end(), name=f"voicecore-end-{key}")
        self._ending.add(task)  # asyncio itself holds tasks weakly (lesson R22)
        task.add_done_callback(ended)
        bridge.depend(self)

    def _loop_ended(self) -> None:
        # What they asked for is done by the queue's thread all the same; only nobody tells them.
        for task in list(self._ending):
            if not task.get_loop().is_closed():
                task.cancel()
