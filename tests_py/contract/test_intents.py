"""Intents: which waiting commands become pointless, seen through claims."""

from __future__ import annotations

import itertools

import pytest

from contract.harness import Bench, one
from voicecore.reference.intents import KNOWN, Intent, reduce


async def outcome_of(bench: Bench, line: list[str], *, key: str | None = "a") -> list[str]:
    """The words of `line` that run, in order. `seek-5` and `volume-5` are relative."""
    async with bench.queue() as queue:
        numbered = {}
        for word in line:
            verb, relative, _ = word.partition("-")
            args = {"by": -5} if relative else {"to": 5}
            numbered[await queue.enqueue(verb, 1, key=key, args=args)] = word
        ran = []
        while claimed := await queue.claim(10):
            ran += [numbered[command.id] for command in claimed]
            for command in claimed:
                await queue.ack(command)
        gone = {row.id for row in await queue.history() if row.state == "superseded"}
        assert len(ran) + len(gone) == len(line)
        return ran


@pytest.mark.parametrize(
    ("line", "runs"),
    [
        ("play stop", "stop"),
        ("play pause resume seek next stop play", "stop play"),
        ("play volume stop", "volume stop"),
        ("play work stop", "play work stop"),
        ("play work play stop", "play work stop"),
        ("pause resume", "resume"),
        ("resume pause pause resume pause", "pause"),
        ("pause play resume", "pause play resume"),
        ("stop stop stop", "stop"),
        ("stop volume stop", "stop volume stop"),
        ("seek seek", "seek"),
        ("seek-5 seek-5", "seek-5 seek-5"),
        ("seek-5 seek", "seek"),
        ("seek seek-5", "seek seek-5"),
        ("volume volume", "volume"),
        ("volume play volume stop", "volume stop"),
        ("next next", "next next"),
        ("play play", "play play"),
        ("work work", "work work"),
    ],
)
async def test_of_a_line_these_run(bench: Bench, line: str, runs: str) -> None:
    assert await outcome_of(bench, line.split()) == runs.split()


async def test_a_superseded_command_says_by_which(bench: Bench) -> None:
    async with bench.queue() as queue:
        play = await queue.enqueue("play", 1, key="a")
        stop = await queue.enqueue("stop", key="a")
        await queue.ack(await one(queue))
        assert (await queue.wait_result(play, 1)).text == "superseded"
        past = await queue.get(play)
        assert past is not None
        assert past.error == f"superseded by command {stop}"


async def test_a_stop_concerns_its_own_key_only(bench: Bench) -> None:
    async with bench.queue() as queue:
        other = await queue.enqueue("play", 1, key="b")
        stop = await queue.enqueue("stop", key="a")
        assert {command.id for command in await queue.claim(10)} == {other, stop}


@pytest.mark.parametrize("overtakes", [False, True])
async def test_a_stop_for_all_supersedes_the_waiting_plays_of_every_key(
    bench: Bench, overtakes: bool
) -> None:
    async with bench.queue() as queue:
        plays = [await queue.enqueue("play", 1, key=key) for key in ("a", "b")]
        stop = await queue.enqueue("stop", overtakes=overtakes)
        assert (await one(queue)).id == stop
        for id in plays:
            assert (await queue.wait_result(id, 1)).text == "superseded"


async def test_a_stop_of_one_key_does_not_supersede_a_pause_for_all(bench: Bench) -> None:
    async with bench.queue() as queue:
        pause = await queue.enqueue("pause")
        await queue.enqueue("stop", key="a")
        assert (await one(queue)).id == pause


async def test_a_claimed_play_is_not_superseded(bench: Bench) -> None:
    async with bench.queue() as queue:
        await queue.enqueue("play", 1, key="a")
        command = await one(queue)
        await queue.enqueue("stop", key="a", overtakes=True)
        await queue.claim()
        await queue.ack(command, "started")


async def test_a_delayed_play_outlives_a_stop_before_its_time(bench: Bench) -> None:
    async with bench.queue() as queue:
        later = await queue.enqueue("play", 1, key="a", delay=60)
        await queue.enqueue("stop", key="a")
        await queue.ack(await one(queue))
        bench.wall.pass_(60)
        assert (await one(queue)).id == later


async def test_an_expired_stop_supersedes_nothing(bench: Bench) -> None:
    async with bench.queue() as queue:
        play = await queue.enqueue("play", 1, key="a")
        await queue.enqueue("stop", key="a", expires_after=5)
        bench.wall.pass_(6)
        assert (await one(queue)).id == play


async def test_steering_from_before_the_start_is_superseded_and_plays_are_not(bench: Bench) -> None:
    async with bench.queue() as queue:
        old = [await queue.enqueue(verb, key=verb) for verb in ("pause", "resume", "stop")]
        kept = [await queue.enqueue(verb, key=verb) for verb in ("play", "volume", "work")]
        bench.wall.pass_(1)
        claimed = await queue.claim(10, started_at=bench.wall())
        assert [command.id for command in claimed] == kept
        for id in old:
            assert (await queue.wait_result(id, 1)).text == "superseded"


def test_reducing_what_is_left_changes_nothing_more() -> None:
    verbs = (*KNOWN, "work")
    for length in range(1, 5):
        for line in itertools.product(verbs, repeat=length):
            intents = [Intent(n, verb) for n, verb in enumerate(line)]
            gone = reduce(intents)
            left = [intent for intent in intents if intent.id not in gone]
            assert reduce(left) == {}
            assert all(by > id for id, by in gone.items())
