"""The two engines side by side: any story told to both has the same end."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.harness import Bench
from voicecore.errors import StaleClaim
from voicecore.queue import Command

VERBS = ("play", "pause", "resume", "stop", "seek", "volume", "next", "work")

Story = list[tuple[str, Any]]


@st.composite
def stories(draw: st.DrawFn) -> tuple[bool, Story]:
    """(do commands age, what happens). Engines may end an expired command when they meet it: where
    commands age, every claim asks for all there is."""
    age = draw(st.booleans())
    details: dict[str, st.SearchStrategy[Any]] = {
        "delay": st.sampled_from([0.0, 5.0, 40.0]),
        "priority": st.integers(-1, 1),
        "max_attempts": st.integers(1, 4),
        "overtakes": st.booleans(),
        "dedup_key": st.sampled_from(["x", "y"]),
        "args": st.sampled_from([{"to": 1}, {"by": 1}]),
    }
    if age:
        details["expires_after"] = st.sampled_from([None, 3.0, 50.0])
    command = st.fixed_dictionaries(
        {"command": st.sampled_from(VERBS), "key": st.sampled_from([None, "a", "b"])},
        optional=details,
    )
    step = st.one_of(
        st.tuples(st.just("send"), st.lists(command, min_size=1, max_size=4)),
        st.tuples(st.just("claim"), st.just(100) if age else st.integers(1, 4)),
        st.tuples(st.sampled_from(["ack", "nack", "renew", "give_back"]), st.integers(0, 5)),
        st.tuples(st.just("cancel"), st.integers(1, 8)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 2.0, 31.0, 700.0])),
    )
    return age, draw(st.lists(step, min_size=1, max_size=25))


def comparable(rows: list[Command]) -> list[Command]:
    """Without the owner, and without `overtakes`, which is cleared on what cannot overtake."""
    return [replace(row, owner=None, overtakes=False) for row in rows]


class Teller:
    """Tells one story to one engine, and notes each answer."""

    def __init__(self, bench: Bench, age: bool) -> None:
        self.bench = bench
        self.queue = bench.queue(lease=30.0, play_expires_after=600.0 if age else None)
        self.claims: list[Command] = []

    async def tell(self, what: str, value: Any) -> object:
        if what == "send":
            return await self.queue.enqueue_many(value)
        if what == "claim":
            claimed = await self.queue.claim(value)
            self.claims += claimed
            return comparable(claimed)
        if what == "wait":
            self.bench.wall.pass_(value)
            return None
        if what == "cancel":
            return await self.queue.cancel(value)
        if value >= len(self.claims):
            return None
        command = self.claims[-1 - value]
        try:
            if what == "nack":
                return await self.queue.nack(command, "no")
            return await getattr(self.queue, what)(command)
        except StaleClaim as stale:
            return stale.reason

    async def end(self) -> tuple[list[Command], list[Command]]:
        return comparable(await self.queue.peek()), comparable(await self.queue.history())


@pytest.mark.timeout(300)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(told=stories())
def test_both_engines_tell_the_same_story(told: tuple[bool, Story]) -> None:
    age, story = told

    async def main(folder: Path) -> None:
        tellers = [Teller(Bench(name, folder / name), age) for name in ("reference", "native")]
        tellers[1].bench.wall.seconds = tellers[0].bench.wall.seconds
        try:
            for what, value in story:
                answers = [await teller.tell(what, value) for teller in tellers]
                assert answers[0] == answers[1], (what, value)
            ends = [await teller.end() for teller in tellers]
            assert ends[0] == ends[1]
        finally:
            for teller in tellers:
                await teller.queue.aclose()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
