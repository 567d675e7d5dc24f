"""The scheduler against a model, by any sequence of steps in virtual time."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from voicecore import Command, CommandQueue, Scheduler, Session
from voicecore.queue import SyncCommandQueue
from voicecore.testing import VirtualTime

from .actors import Entry
from .bot_model import EVERY, PERIOD, BotModel, Busy, Row
from .scale import scaled
from .test_model import steps

T = TypeVar("T")
PARTS = (4_000, 2_000, 4_000)
"""Time passes in these: behind each, what has been due comes to rest. A replacement takes real
time, in which no virtual time may pass."""
STEP = sum(PARTS)
PATIENCE = 3.0

keys = st.sampled_from(["a", "b"])
busy_policies: st.SearchStrategy[Busy] = st.sampled_from(["drop", "replace", "queue"])


class _Template:
    """An empty queue file to copy."""

    def __init__(self) -> None:
        self.folder = Path()
        self.file = Path()


TEMPLATE = _Template()


@pytest.fixture(autouse=True)
def template(ram: Path) -> None:
    TEMPLATE.folder, TEMPLATE.file = ram, ram / "template.db"
    with SyncCommandQueue(TEMPLATE.file):
        pass


class BotMachine(RuleBasedStateMachine):
    """Each rule does the same to the model and to a scheduler, and lets it come to rest."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="bot-", dir=TEMPLATE.folder))
        shutil.copy(TEMPLATE.file, self.folder / "queue.db")
        self.runner = asyncio.Runner()
        self.time = VirtualTime()
        self.model = BotModel(self._now())
        self.gates: dict[str, asyncio.Event] = {}
        self.journal: dict[str, list[int]] = {}
        self.overlaps: list[str] = []
        self._wait(self._open())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def _now(self) -> int:
        return round(self.time.time() * 1000)

    async def _open(self) -> None:
        self.queue = CommandQueue(
            self.folder / "queue.db",
            role="worker",
            synchronous="normal",
            lease=60.0,
            play_expires_after=None,
            wall_clock=self.time.time,
        )
        await self.queue.open()
        await self._start()
        self.model.start()

    async def _start(self) -> None:
        self.scheduler = Scheduler(
            None,
            self.queue,
            period=PERIOD / 1000,
            play_session=self._play,
            load_entry=self._load,
            schedule=False,
            doorbell=False,
            time=self.time,
        )

        @self.scheduler.handler("work")
        async def work(command: Command) -> None:
            assert command.key is not None
            self.journal.setdefault(command.key, []).append(command.id)

        self.scheduler.start()
        await self.scheduler.wait_started()
        await self.time.wake()

    async def _load(self, entry_id: int) -> Entry:
        return Entry(entry_id)

    async def _play(self, session: Session) -> None:
        assert session.command is not None
        if session.key in self.gates:
            self.overlaps.append(session.key)
        self.journal.setdefault(session.key, []).append(session.command.id)
        gate = self.gates[session.key] = asyncio.Event()
        ends = [asyncio.ensure_future(one) for one in (gate.wait(), session.wait_stop())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in ends:
                one.cancel()
            del self.gates[session.key]

    # -- steps -------------------------------------------------------------------------------------

    def _send(self, verb: str, key: str, **more: Any) -> None:
        now = self.model.now
        delay, expires_after = more.pop("delay", 0), more.pop("expires_after", None)
        busy, dedup_key = more.pop("busy", "drop"), more.pop("dedup_key", None)
        id = self._wait(
            self.queue.enqueue(
                verb,
                1 if verb == "play" else None,
                key=key,
                args={"busy": busy} if verb == "play" else None,
                delay=delay / 1000,
                expires_after=None if expires_after is None else expires_after / 1000,
                dedup_key=dedup_key,
                **more,
            )
        )
        expires_at = None if expires_after is None else now + expires_after
        row = Row(id, verb, key, busy, now + delay, expires_at, dedup_key, now)
        assert self.model.send(row) == id
        self.model.settle()
        self._come_to_rest()

    def _come_to_rest(self) -> None:
        """Tasks beside the ticks, and their last writes, take a moment of real time."""
        self._wait(self._rest())

    async def _rest(self) -> None:
        deadline = time.monotonic() + PATIENCE
        await self.time.wake()
        while not await self._is_as_the_model_says() and time.monotonic() < deadline:
            await asyncio.sleep(0.002)
            await self.time.wake()

    async def _is_as_the_model_says(self) -> bool:
        line = {one.id for one in await self.queue.peek(1_000)}
        held = {one.key for one in self.scheduler.sessions.held()}
        return (
            line == set(self.model.line)
            and held == self.gates.keys() == self.model.playing.keys()
            and not any(one.state == "claimed" for one in await self.queue.peek(1_000))
        )

    # Few rules, each of which does several things: a run mixes them all that way.

    @initialize(policies=st.lists(busy_policies, max_size=3))
    def start(self, policies: list[Busy]) -> None:
        self.contend("a", policies)

    @rule(key=keys, policies=st.lists(busy_policies, min_size=1, max_size=3))
    def contend(self, key: str, policies: list[Busy]) -> None:
        for busy in policies:
            self._send("play", key, busy=busy)

    @rule(
        key=keys,
        busy=busy_policies,
        delay=st.sampled_from([0, 5_000, 15_000]),
        expires_after=st.sampled_from([None, 18_000]),
    )
    def send_a_play(self, key: str, busy: Busy, delay: int, expires_after: int | None) -> None:
        expires_after = None if delay else expires_after
        self._send("play", key, busy=busy, delay=delay, expires_after=expires_after)

    @rule(key=keys, delay=st.sampled_from([0, 5_000, 15_000]), dedup=st.booleans())
    def send_work(self, key: str, delay: int, dedup: bool) -> None:
        self._send("work", key, delay=delay, dedup_key="work" if dedup else None)

    @rule(
        key=st.sampled_from(["a", "a", "b", EVERY]),
        verb=st.sampled_from(["stop", "stop", "stop", "pause", "resume", "nonsense"]),
        overtakes=st.booleans(),
    )
    def send_another(self, key: str, verb: str, overtakes: bool) -> None:
        self._send(verb, key, overtakes=overtakes and verb == "stop")

    @precondition(lambda self: self.model.playing)
    @rule(pick=st.integers(0, 10))
    def end_a_session(self, pick: int) -> None:
        key = sorted(self.model.playing)[pick % len(self.model.playing)]
        self.gates[key].set()
        self.model.end_session(key)
        self.advance(1)

    @rule(steps=st.integers(1, 3))
    def advance(self, steps: int) -> None:
        for part in PARTS * steps:
            self._wait(self.time.advance(part / 1000))
            self.model.pass_time(part)
            self._come_to_rest()

    @rule(what=st.sampled_from(["stall", "forward", "back"]))
    def disturb_time(self, what: str) -> None:
        if what == "stall":
            # The process stands still: one tick, late, and the others are counted.
            self.time._native.advance(STEP / 1000)
            self.model.pass_time(STEP, stalled=True)
        elif what == "forward" or not self.model.line:
            # Back only when nothing waits: what does waits for an hour on the wall.
            step = 3600 if what == "forward" else -3600
            self.time.step_wall(step)
            self.model.now += step * 1000
            self.model.settle()
            self.advance(1)
        self._come_to_rest()

    @rule(sent=st.lists(st.sampled_from(["work", "play", "stop", "pause"]), max_size=3))
    def restart(self, sent: list[str]) -> None:
        self._wait(self.scheduler.shutdown())
        self.model.shut_down()
        for verb in sent:
            self._send(verb, "a", busy="queue")
        self.advance(1)
        self._wait(self._start())
        self.model.start()
        self.advance(1)

    # -- always ------------------------------------------------------------------------------------

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        line = {one.id for one in self._wait(self.queue.peek(1_000))}
        past = {one.id: (one.state, one.result) for one in self._wait(self.queue.history(1_000))}
        expected = self.model.history
        wrong = {id: (past.get(id), expected.get(id)) for id in past.keys() | expected.keys()}
        wrong = {id: (found, due) for id, (found, due) in wrong.items() if found != due}
        assert not wrong, f"id: (found, expected): {wrong}"
        assert line == set(self.model.line)
        assert self.journal == self.model.journal, "carried out, in this order"
        assert self.gates.keys() == self.model.playing.keys()
        assert {one.key for one in self.scheduler.sessions.held()} == self.gates.keys()
        assert not self.overlaps, "two sessions of one key"

    @invariant()
    def ticks_are_on_the_grid(self) -> None:
        if self.model.running:
            seen = self.scheduler.statistics()
            assert (seen.ticks, seen.missed) == (
                self.model.due_ticks - self.model.missed,
                self.model.missed,
            )
            assert seen.healthy
            assert seen.lost_leases == 0

    def teardown(self) -> None:
        try:
            self._wait(self._close())
        finally:
            self.runner.close()
            shutil.rmtree(self.folder)

    async def _close(self) -> None:
        await self.scheduler.shutdown()
        await self.queue.aclose()


def test_any_sequence_of_steps_leaves_the_scheduler_as_the_model_says() -> None:
    # Not made shorter: whatever is wrong is waited for in vain, each time.
    run_state_machine_as_test(BotMachine, settings=steps(scaled(15, 1_000), Phase.generate))
