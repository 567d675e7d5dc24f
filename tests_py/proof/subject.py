"""The native queue as the model sees it, and three queues with a bug planted in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from voicecore.errors import StaleClaim
from voicecore.queue import Command, CommandQueue, SyncCommandQueue
from voicecore.sessions import Claim, SessionMutex

from .model import LEASE, Refused

T = TypeVar("T")
WORKERS = ("one", "two")


_STATES = (
    "SELECT id, state, attempt, 0 FROM bot_commands"
    " UNION ALL SELECT id, state, attempt, 1 FROM bot_command_history"
)


def _refusal(call: Callable[[], T]) -> T | Refused:
    try:
        return call()
    except StaleClaim as stale:
        return Refused(stale.reason)


class Native:
    """Two workers and their sender on one file; the wall clock is the model's."""

    def __init__(
        self, db: Path, now: Callable[[], int], due_now: Callable[[int], list[int]]
    ) -> None:
        self._db = db
        self._now = now
        self.due_now = due_now  # for whoever looks before it claims
        self._found: dict[str, list[int]] = {}
        self._queues = {
            name: SyncCommandQueue(
                db,
                owner=name,
                role="worker",
                synchronous="normal",
                lease=LEASE / 1000,
                wall_clock=self._seconds,
            )
            for name in WORKERS
        }
        self._held: dict[tuple[int, int], Command] = {}
        self._picked: dict[str, int] = {}
        # Sessions are asyncio's; the loop and its connections are made when one is asked for.
        self._runner = asyncio.Runner()
        self._leases: dict[str, CommandQueue] = {}
        self._mutexes: dict[str, SessionMutex] = {}

    def _seconds(self) -> float:
        return self._now() / 1000

    def close(self) -> None:
        for queue in self._queues.values():
            queue.close()
        for lease in self._leases.values():
            self._wait(lease.aclose())
        self._runner.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    # -- commands ----------------------------------------------------------------------------------

    def enqueue(
        self,
        key: str,
        *,
        priority: int,
        max_attempts: int,
        delay: int,
        expires_after: int | None,
        dedup_key: str | None,
    ) -> int:
        return self._queues["one"].enqueue(
            "work",
            key=key,
            priority=priority,
            max_attempts=max_attempts,
            delay=delay / 1000,
            expires_after=None if expires_after is None else expires_after / 1000,
            dedup_key=dedup_key,
        )

    def begin_claim(self, worker: str, limit: int) -> None:
        """A claim has two ends, so that others can come in between; the native one is all end."""
        self._picked[worker] = limit

    def finish_claim(self, worker: str) -> list[tuple[int, int]]:
        claimed = self._queues[worker].claim(self._picked.pop(worker))
        return [self._remember(one) for one in claimed]

    def _remember(self, one: Command) -> tuple[int, int]:
        self._held[one.id, one.attempt] = one
        return one.id, one.attempt

    def renew(self, worker: str, id: int, attempt: int) -> Refused | None:
        return _refusal(lambda: self._queues[worker].renew(self._held[id, attempt]))

    def ack(self, worker: str, id: int, attempt: int) -> Refused | None:
        return _refusal(lambda: self._queues[worker].ack(self._held[id, attempt]))

    def nack(self, worker: str, id: int, attempt: int, retry_in: int) -> Refused | bool:
        held = self._held[id, attempt]
        nack = self._queues[worker].nack
        return _refusal(lambda: nack(held, "broke", retry_in=retry_in / 1000))

    def give_back(self, worker: str, id: int, attempt: int) -> Refused | None:
        held = self._held[id, attempt]
        return _refusal(lambda: self._wait(self._lease_queue(worker).give_back(held)))

    def cancel(self, id: int) -> bool:
        return self._queues["one"].cancel(id)

    def states(self) -> tuple[dict[int, tuple[str, int]], dict[int, str]]:
        """Line and history."""
        line: dict[int, tuple[str, int]] = {}
        past: dict[int, str] = {}
        for id, state, attempt, ended in self._queues["one"].execute(_STATES):
            assert isinstance(id, int)
            assert isinstance(attempt, int)
            if ended:
                past[id] = str(state)
            else:
                line[id] = (str(state), attempt)
        return line, past

    # -- sessions ----------------------------------------------------------------------------------

    def _lease_queue(self, worker: str) -> CommandQueue:
        if worker not in self._leases:
            self._leases[worker] = CommandQueue(
                self._db,
                owner=worker,
                synchronous="normal",
                lease=LEASE / 1000,
                wall_clock=self._seconds,
            )
        return self._leases[worker]

    def claim_session(self, worker: str, key: str) -> Claim | None:
        if worker not in self._mutexes:
            self._mutexes[worker] = SessionMutex(self._lease_queue(worker))
        return self._mutexes[worker].claim_nowait(key, 1)

    def persist(self, claim: Claim) -> int | Refused:
        return _refusal(lambda: self._wait(claim.persist()))

    def renew_session(self, worker: str, key: str, attempt: int) -> Refused | None:
        return _refusal(lambda: self._wait(self._leases[worker].renew_session(key, attempt)))

    def release(self, claim: Claim) -> None:
        self._wait(claim.release())

    def forget(self, worker: str) -> None:
        """The worker's process dies; another one takes its place."""
        self._mutexes.pop(worker, None)


class ChecksThenClaims(Native):
    """Planted: looks for what is due, awaits, and then also claims what it had found before.

    When nobody comes in between this is the native claim.
    """

    def begin_claim(self, worker: str, limit: int) -> None:
        super().begin_claim(worker, limit)
        self._found[worker] = self.due_now(limit)

    def finish_claim(self, worker: str) -> list[tuple[int, int]]:
        claimed = super().finish_claim(worker)
        now, queue = self._now(), self._queues[worker]
        for id in self._found.pop(worker):
            live = queue.get(id)
            if live is None or live.finished_at is not None or id in dict(claimed):
                continue
            queue.execute(
                "UPDATE bot_commands SET state = 'claimed', attempt = attempt + 1,"
                " lease_until = ?, owner = ?, claimed_at = ? WHERE id = ?",
                (now + LEASE, worker, now, id),
            )
            if (again := queue.get(id)) is not None:
                claimed.append(self._remember(again))
        return claimed


class AcksWithoutAttempt(Native):
    """Planted: whoever once held a command may end it."""

    def ack(self, worker: str, id: int, attempt: int) -> Refused | None:
        live = self._queues[worker].get(id)
        assert live is not None
        return _refusal(lambda: self._queues[worker].ack(live))


class DoesNotRenew(Native):
    """Planted: a renewal is accepted, and forgotten."""

    def renew(self, worker: str, id: int, attempt: int) -> Refused | None:
        held = self._held[id, attempt]
        live = self._queues[worker].get(id)
        left = ((live.lease_until if live is not None else None) or 0.0) - self._now() / 1000
        return _refusal(lambda: self._queues[worker].renew(held, lease=max(left, 0.05)))
