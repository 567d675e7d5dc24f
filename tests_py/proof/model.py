"""What a queue with sessions promises, in plain Python: a dictionary, a clock and no concurrency.

Times are milliseconds. Every method does what the queue should do and returns what it should
return: a value, or the reason of the refusal as `Refused`.
"""

from __future__ import annotations

from dataclasses import dataclass

LEASE = 10_000
MOST_DEATHS = 3


@dataclass(frozen=True)
class Refused:
    """A StaleClaim with this reason."""

    reason: str


@dataclass
class Row:
    """A command in the line."""

    id: int
    key: str
    priority: int
    max_attempts: int
    not_before: int | None
    expires_at: int | None
    dedup_key: str | None
    claimed: bool = False
    lapsed: bool = False
    attempt: int = 0
    given_back: int = 0
    lease_until: int = 0


@dataclass
class Session:
    """A key's lease."""

    attempt: int = 0
    owner: str | None = None
    lease_until: int = 0


class Model:
    """The state, and what each operation makes of it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000
        self.line: dict[int, Row] = {}
        self.history: dict[int, str] = {}
        self.sessions: dict[str, Session] = {}
        self._last = 0

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
        id: int,
    ) -> int:
        """The id: the one given, which must be larger than any before, or one that is there."""
        for row in self.line.values():
            if dedup_key is not None and row.dedup_key == dedup_key:
                return row.id
        assert id > self._last
        self._last = id
        self.line[id] = Row(
            id,
            key,
            priority,
            max_attempts,
            self.now + delay if delay else None,
            None if expires_after is None else self.now + expires_after,
            dedup_key,
        )
        return self._last

    def claim(self, limit: int) -> list[tuple[int, int]]:
        """Ids and attempts."""
        self._end_leases()
        blocked = {row.key for row in self.line.values() if row.claimed}
        urgent = any(row.priority for row in self.line.values())
        heads: list[Row] = []
        for id in sorted(self.line):
            row = self.line[id]
            if row.claimed:
                continue
            if row.expires_at is not None and row.expires_at <= self.now:
                self._finish(id, "expired")
            elif (row.not_before is None or row.not_before <= self.now) and row.key not in blocked:
                blocked.add(row.key)
                heads.append(row)
                if len(heads) >= limit and not urgent:
                    break
        heads.sort(key=lambda row: (-row.priority, row.id))
        for row in heads[:limit]:
            row.claimed, row.lapsed = True, False
            row.attempt += 1
            row.lease_until = self.now + LEASE
        return [(row.id, row.attempt) for row in heads[:limit]]

    def _end_leases(self) -> None:
        for row in list(self.line.values()):
            if row.claimed and row.lease_until <= self.now:
                row.claimed, row.lapsed = False, True
                if row.attempt - row.given_back >= max(row.max_attempts, MOST_DEATHS):
                    self._finish(row.id, "failed")

    def check(self, id: int, attempt: int) -> Refused | None:
        """Whether the claim is the live one."""
        row = self.line.get(id)
        if row is None:
            return Refused("finished" if id in self.history else "unknown")
        if attempt < row.attempt:
            return Refused("taken")
        if not row.claimed:
            return Refused("expired" if row.lapsed else "unknown")
        return Refused("expired") if row.lease_until <= self.now else None

    def renew(self, id: int, attempt: int) -> Refused | None:
        """None: held for another lease."""
        if (refused := self.check(id, attempt)) is None:
            self.line[id].lease_until = self.now + LEASE
        return refused

    def ack(self, id: int, attempt: int) -> Refused | None:
        """None: done."""
        if (refused := self.check(id, attempt)) is None:
            self._finish(id, "done")
        return refused

    def nack(self, id: int, attempt: int, retry_in: int) -> Refused | bool:
        """True: it will be tried again."""
        if (refused := self.check(id, attempt)) is not None:
            return refused
        row = self.line[id]
        if attempt - row.given_back >= row.max_attempts:
            self._finish(id, "failed")
            return False
        row.claimed, row.not_before = False, self.now + retry_in
        return True

    def give_back(self, id: int, attempt: int) -> Refused | None:
        """None: as if it had not been claimed, but for the attempt."""
        if (refused := self.check(id, attempt)) is None:
            row = self.line[id]
            row.claimed = False
            row.given_back += 1
        return refused

    def cancel(self, id: int) -> bool:
        """False: it does not wait any more."""
        if id not in self.line or self.line[id].claimed:
            return False
        self._finish(id, "cancelled")
        return True

    def _finish(self, id: int, state: str) -> None:
        del self.line[id]
        self.history[id] = state

    # -- sessions ----------------------------------------------------------------------------------

    def lease(self, key: str, owner: str) -> int | Refused:
        """The attempt."""
        session = self.sessions.setdefault(key, Session())
        if session.owner is not None and session.lease_until > self.now:
            return Refused("taken")
        session.attempt += 1
        session.owner, session.lease_until = owner, self.now + LEASE
        return session.attempt

    def renew_session(self, key: str, attempt: int) -> Refused | None:
        """A lease that ran out while nobody else came can still be renewed."""
        if (refused := self._check_session(key, attempt)) is None:
            self.sessions[key].lease_until = self.now + LEASE
        return refused

    def end_session(self, key: str, attempt: int) -> Refused | None:
        """None: the key is free."""
        if (refused := self._check_session(key, attempt)) is None:
            self.sessions[key].owner = None
        return refused

    def _check_session(self, key: str, attempt: int) -> Refused | None:
        session = self.sessions[key]
        if attempt < session.attempt:
            return Refused("taken")
        return Refused("finished") if session.owner is None else None
