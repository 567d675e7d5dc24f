"""The start of a session, whoever asks for it, and its run to the end."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from voicecore.database import DatabaseError
from voicecore.errors import InvalidArgument, StaleClaim, WrongType
from voicecore.queue import Command, key_text
from voicecore.scheduler.session import Session
from voicecore.sessions import SessionTaken

if TYPE_CHECKING:
    from voicecore.scheduler.scheduler import Scheduler


class FileRefuses(DatabaseError):
    """The queue's own file takes no lease, or does not tell an entry: the start can be repeated."""

    @classmethod
    def because(cls, problem: DatabaseError) -> FileRefuses:
        """As SQLite said it."""
        return cls(str(problem), problem.sqlite_errorcode)


class SessionStarts:
    """Starts at most one session for each key, and frees the key when it has ended.

    Attributes:
        running: the sessions that have started and not ended, by key.
        by_hand: the entry that a subclass plays in its own way; None when it says of none.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.running: dict[str, Session] = {}
        self.by_hand: int | None = None
        self._refused: object = None

    async def ask(self, entry: Any, command: Command | None) -> bool:
        """Call `_maybe_start`, which may be a subclass's own, in the lesson's form."""
        scheduler = self._scheduler
        before = self._playing(entry, command)
        if _takes_command(scheduler._maybe_start):
            started: bool | None = await scheduler._maybe_start(entry, command=command)
        else:
            started = await scheduler._maybe_start(entry)
        if started is None:
            # It does not say. Nothing that plays has to show it, unless something did before.
            changed = self._playing(entry, command) != before
            return self._refused is not entry and (changed or not any(before))
        return started

    def _playing(self, entry: Any, command: Command | None) -> tuple[object, ...]:
        return (self.by_hand, *self.in_the_way_of(self.key_of(entry, command)))

    async def maybe_start(self, entry: Any, command: Command | None) -> bool:
        """Start a session unless its key has one; False: busy (R21).

        The key is claimed before anything is awaited; the durable lease follows before anything is
        connected.
        """
        started = await self._start(entry, command)
        if not started:
            self._refused = entry
        return started

    async def _start(self, entry: Any, command: Command | None) -> bool:
        scheduler = self._scheduler
        if not scheduler._admitting:
            return False
        with _as_data():
            claim = scheduler.sessions.claim_nowait(self.key_of(entry, command), entry.id)
        if claim is None:
            return False
        try:
            await claim.persist(None if command is None else command.id)
        except SessionTaken:
            return False
        except DatabaseError as problem:
            raise FileRefuses.because(problem) from problem
        if not scheduler._admitting:
            await claim.release("cancelled")
            return False
        session = Session(claim, entry, command, scheduler._native)
        session.detach()  # nothing to steer yet, but its lease is renewed from now on
        self.running[claim.key] = session
        scheduler._supervisor.spawn(self._run(session))
        return True

    def in_the_way_of(self, key: str) -> list[Session]:
        """The sessions here that have to end before one of `key` can start."""
        if self._scheduler.sessions.single:
            return list(self.running.values())
        return [self.running[key]] if key in self.running else []

    def key_of(self, entry: Any, command: Command | None) -> str:
        """The key that an entry plays under."""
        # A bare play got the default key where the file does not know its entry's.
        default = self._scheduler.queue.default_key
        if command is not None and command.key not in (None, default):
            return str(command.key)
        with _as_data():
            key = key_text(getattr(entry, "key", None))
        return key if key is not None else default

    async def _run(self, session: Session) -> None:
        scheduler = self._scheduler
        outcome = "failed"
        try:
            await scheduler.play_session(session)
            outcome = "stopped" if session.stop_requested else "done"
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except StaleClaim as stale:
            # `Session.attach` refused: somebody else has the key, or this session has ended.
            scheduler._supervisor.warn("Session of entry %s ends: %s", session.entry_id, stale)
        except Exception as problem:
            if not scheduler._supervisor.survives(problem):
                raise
            scheduler._supervisor.warn("Session of entry %s failed: %s", session.entry_id, problem)
        finally:
            # Silence before the key is free: two must not be heard.
            if session.player is not None:
                session.player.stop()
            if self.running.get(session.key) is session:
                del self.running[session.key]
            if scheduler._native is not None:
                scheduler._native.detach(session.key, session.attempt or 0)
            session.claim.release_nowait(outcome)
            scheduler._turns.wake()


@contextlib.contextmanager
def _as_data() -> Iterator[None]:
    """What was loaded is no code: a wrong type in it fails its command, as any other value does."""
    try:
        yield
    except WrongType as problem:
        raise InvalidArgument(str(problem)) from None


def _takes_command(maybe_start: Callable[..., object]) -> bool:
    try:
        inspect.signature(maybe_start).bind(None, command=None)
    except TypeError:
        return False
    return True
