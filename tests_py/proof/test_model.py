"""The native queue and session mutex against a model, by any sequence of steps; and proof that the
same steps find bugs that are there."""

from __future__ import annotations

import shutil
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from voicecore.queue import SyncCommandQueue
from voicecore.sessions import Claim

from .model import LEASE, Model, Refused
from .scale import scaled
from .subject import WORKERS, AcksWithoutAttempt, ChecksThenClaims, DoesNotRenew, Native

workers = st.sampled_from(WORKERS)
keys = st.sampled_from(["a", "b"])
picks = st.integers(0, 1_000)


class _Template:
    """An empty queue file to copy: making one takes longer than all that a machine does with it."""

    def __init__(self) -> None:
        self.folder = Path()
        self.file = Path()


TEMPLATE = _Template()


@pytest.fixture(autouse=True)
def template(ram: Path) -> None:
    TEMPLATE.folder, TEMPLATE.file = ram, ram / "template.db"
    with SyncCommandQueue(TEMPLATE.file):
        pass


class QueueMachine(RuleBasedStateMachine):
    """Each rule does the same to the model and to the queue, and compares what comes back."""

    subject_class: ClassVar[type[Native]] = Native

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-", dir=TEMPLATE.folder))
        shutil.copy(TEMPLATE.file, self.folder / "queue.db")
        self.model = Model()
        self.subject = self.subject_class(
            self.folder / "queue.db", lambda: self.model.now, self._due_now
        )
        self.handles: list[tuple[str, int, int]] = []  # every claim that was ever given out
        self.pending: dict[str, int] = {}
        self.claims: dict[tuple[str, str], Claim] = {}

    def _due_now(self, limit: int) -> list[int]:
        return [id for id, _ in deepcopy(self.model).claim(limit)]

    @initialize(count=st.integers(0, 3))
    def start(self, count: int) -> None:
        assert self.subject.states() == ({}, {})
        for _ in range(count):
            self.enqueue("a", 0, 5, 0, None, None)

    # -- commands ----------------------------------------------------------------------------------

    @rule(
        key=keys,
        priority=st.sampled_from([0, 0, 0, 1]),
        max_attempts=st.sampled_from([1, 1, 2, 5]),
        delay=st.sampled_from([0, 0, 0, 5_000]),
        expires_after=st.sampled_from([None, None, LEASE // 2, 2 * LEASE]),
        dedup_key=st.sampled_from([None, None, "d"]),
    )
    def enqueue(
        self,
        key: str,
        priority: int,
        max_attempts: int,
        delay: int,
        expires_after: int | None,
        dedup_key: str | None,
    ) -> None:
        fields = {
            "priority": priority,
            "max_attempts": max_attempts,
            "delay": delay,
            "expires_after": expires_after,
            "dedup_key": dedup_key,
        }
        id = self.subject.enqueue(key, **fields)  # type: ignore[arg-type]
        assert self.model.enqueue(key, id=id, **fields) == id  # type: ignore[arg-type]

    @rule(worker=workers, limit=st.integers(1, 3))
    def begin_claim(self, worker: str, limit: int) -> None:
        self.pending[worker] = limit
        self.subject.begin_claim(worker, limit)

    @precondition(lambda self: self.pending)
    @rule(pick=picks)
    def finish_claim(self, pick: int) -> None:
        self._finish(sorted(self.pending)[pick % len(self.pending)])

    def _finish(self, worker: str) -> None:
        expected = self.model.claim(self.pending.pop(worker))
        assert self.subject.finish_claim(worker) == expected
        self.handles += [(worker, id, attempt) for id, attempt in expected]

    @rule(worker=workers, limit=st.integers(1, 3))
    def claim(self, worker: str, limit: int) -> None:
        self.begin_claim(worker, limit)
        self._finish(worker)

    @rule(first=workers, limit=st.integers(1, 3))
    def both_claim_at_the_same_time(self, first: str, limit: int) -> None:
        for worker in WORKERS:
            self.begin_claim(worker, limit)
        for worker in sorted(WORKERS, key=lambda name: name != first):
            self._finish(worker)

    @rule(worker=workers)
    def claim_once_all_leases_are_over(self, worker: str) -> None:
        self.advance(LEASE)
        self.claim(worker, 3)

    @precondition(lambda self: self.handles)
    @rule(pick=picks)
    def renew(self, pick: int) -> None:
        worker, id, attempt = self._handle(pick)
        assert self.subject.renew(worker, id, attempt) == self.model.renew(id, attempt)

    @precondition(lambda self: self.handles)
    @rule(pick=picks, times=st.integers(2, 3))
    def work_for_long(self, pick: int, times: int) -> None:
        """Renewed at half time, a claim outlives its first lease."""
        for _ in range(times):
            self.renew(pick)
            self.advance(LEASE // 2)

    @precondition(lambda self: self.handles)
    @rule(pick=picks)
    def ack(self, pick: int) -> None:
        worker, id, attempt = self._handle(pick)
        assert self.subject.ack(worker, id, attempt) == self.model.ack(id, attempt)

    @precondition(lambda self: self.handles)
    @rule(pick=picks, retry_in=st.sampled_from([0, 1_000, LEASE]))
    def nack(self, pick: int, retry_in: int) -> None:
        worker, id, attempt = self._handle(pick)
        expected = self.model.nack(id, attempt, retry_in)
        assert self.subject.nack(worker, id, attempt, retry_in) == expected

    @precondition(lambda self: self.handles)
    @rule(pick=picks)
    def give_back(self, pick: int) -> None:
        worker, id, attempt = self._handle(pick)
        assert self.subject.give_back(worker, id, attempt) == self.model.give_back(id, attempt)

    @precondition(lambda self: self.model.line)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        id = sorted(self.model.line)[pick % len(self.model.line)]
        assert self.subject.cancel(id) == self.model.cancel(id)

    def _handle(self, pick: int) -> tuple[str, int, int]:
        return self.handles[pick % len(self.handles)]

    # -- sessions ----------------------------------------------------------------------------------

    @rule(worker=workers, key=keys)
    def claim_session(self, worker: str, key: str) -> None:
        claim = self.subject.claim_session(worker, key)
        assert (claim is None) == ((worker, key) in self.claims), "R21: one holder in memory"
        if claim is not None:
            self.claims[worker, key] = claim

    @precondition(lambda self: any(one.attempt is None for one in self.claims.values()))
    @rule(pick=picks)
    def persist(self, pick: int) -> None:
        waiting = [which for which, one in self.claims.items() if one.attempt is None]
        worker, key = waiting[pick % len(waiting)]
        expected = self.model.lease(key, worker)
        assert self.subject.persist(self.claims[worker, key]) == expected
        if isinstance(expected, Refused):
            assert not self.claims.pop((worker, key)).held, "a refusal gives the key back"

    @precondition(lambda self: any(one.attempt is not None for one in self.claims.values()))
    @rule(pick=picks)
    def renew_session(self, pick: int) -> None:
        leased = [(which, one.attempt) for which, one in self.claims.items() if one.attempt]
        (worker, key), attempt = leased[pick % len(leased)]
        expected = self.model.renew_session(key, attempt)
        assert self.subject.renew_session(worker, key, attempt) == expected

    @precondition(lambda self: self.claims)
    @rule(pick=picks)
    def release(self, pick: int) -> None:
        which = sorted(self.claims)[pick % len(self.claims)]
        claim = self.claims.pop(which)
        if claim.attempt is not None:
            self.model.end_session(claim.key, claim.attempt)
        self.subject.release(claim)

    # -- time and death ----------------------------------------------------------------------------

    @rule(by=st.sampled_from([1, LEASE // 2, LEASE // 2, LEASE - 1, LEASE, 2 * LEASE]))
    def advance(self, by: int) -> None:
        self.model.now += by

    @rule(worker=workers)
    def die(self, worker: str) -> None:
        """What it held stays held, until its leases run out."""
        self.subject.forget(worker)
        self.pending.pop(worker, None)
        self.claims = {which: one for which, one in self.claims.items() if which[0] != worker}

    # -- always ------------------------------------------------------------------------------------

    @invariant()
    def line_and_history_are_as_the_model_says(self) -> None:
        line, past = self.subject.states()
        assert past == self.model.history
        assert line == {
            row.id: ("claimed" if row.claimed else "ready", row.attempt)
            for row in self.model.line.values()
        }

    def teardown(self) -> None:
        try:
            self._everything_ends()
        finally:
            self.subject.close()
            shutil.rmtree(self.folder)

    def _everything_ends(self) -> None:
        """After every lease and delay has passed nothing is stuck."""
        if self.subject_class is not Native:
            return
        self.model.now += 3 * LEASE
        while self.model.line:
            self.subject.begin_claim("one", 10)
            claimed = self.subject.finish_claim("one")
            assert claimed == self.model.claim(10)
            assert claimed or not self.model.line, "a command is stuck"
            for id, attempt in claimed:
                assert self.subject.ack("one", id, attempt) is None
                self.model.ack(id, attempt)


def steps(examples: int, *phases: Phase) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=phases or (Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


def test_any_sequence_of_steps_leaves_queue_and_mutex_as_the_model_says() -> None:
    run_state_machine_as_test(QueueMachine, settings=steps(scaled(150, 10_000)))


@pytest.mark.parametrize("planted", [ChecksThenClaims, AcksWithoutAttempt, DoesNotRenew])
def test_the_same_steps_find_a_planted_bug(planted: type[Native]) -> None:
    machine = type(planted.__name__, (QueueMachine,), {"subject_class": planted})
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(machine, settings=steps(1_000, Phase.generate))
    where = str(caught.traceback[-1].path)
    assert where == __file__, f"broken rather than found, in {where}"
