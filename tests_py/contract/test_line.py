"""The line: who is next, and who waits for whom."""

from __future__ import annotations

import pytest

from contract.harness import Bench, ids, one, verbs
from voicecore.errors import InvalidArgument


async def test_commands_of_a_key_come_one_by_one_in_the_order_of_their_ids(bench: Bench) -> None:
    """R50."""
    async with bench.queue() as queue:
        sent = [await queue.enqueue("work", number, key="a") for number in range(5)]
        done = []
        while claimed := await queue.claim(10):
            assert len(claimed) == 1
            done.append((claimed[0].id, claimed[0].entry_id))
            await queue.ack(claimed[0])
        assert done == [(id, number) for number, id in enumerate(sent)]


async def test_a_key_has_one_claim_and_others_do_not_wait_for_it(bench: Bench) -> None:
    async with bench.queue() as queue:
        first = await queue.enqueue("work", key="a")
        await queue.enqueue("work", key="a")
        other = await queue.enqueue("work", key="b")
        assert ids(await queue.claim(10)) == [first, other]
        assert await queue.claim(10) == []


async def test_two_workers_never_claim_the_same_command(bench: Bench) -> None:
    async with bench.queue() as one_worker, bench.queue() as another:
        sent = await one_worker.enqueue_many([("work", n, f"key{n}") for n in range(20)])
        taken = []
        for _ in range(10):
            taken += ids(await one_worker.claim(1)) + ids(await another.claim(1))
        assert sorted(taken) == sent


async def test_a_claim_says_what_and_by_whom(bench: Bench) -> None:
    async with bench.queue(owner="me", lease=12.0) as queue:
        id = await queue.enqueue(
            "seek", 3, key=77, args={"to": 12.5, "text": "Hà Nội"}, requested_by="ann", priority=2
        )
        command = await one(queue)
        assert (command.id, command.command, command.entry_id, command.key) == (id, "seek", 3, "77")
        assert command.args == {"to": 12.5, "text": "Hà Nội"}
        assert (command.requested_by, command.priority, command.attempt) == ("ann", 2, 1)
        assert (command.state, command.owner) == ("claimed", "me")
        assert command.created_at == command.claimed_at == bench.wall()
        assert command.lease_until == bench.wall() + 12.0
        assert command == await queue.get(id)


async def test_many_are_sent_in_one_transaction_or_none(bench: Bench) -> None:
    async with bench.queue() as queue:
        sent = await queue.enqueue_many(
            [{"command": "work", "key": "a"}, ("work", 2), ("work", None, "b")]
        )
        assert sent == sorted(sent)
        with pytest.raises(InvalidArgument):
            await queue.enqueue_many([("work", 4), ("",)])
        assert ids(await queue.peek()) == sent


async def test_larger_priority_goes_first_among_keys_and_never_within_one(bench: Bench) -> None:
    async with bench.queue() as queue:
        plain = await queue.enqueue("work", key="a")
        urgent = await queue.enqueue("work", key="b", priority=5)
        behind = await queue.enqueue("work", key="a", priority=9)
        assert ids(await queue.claim(1)) == [urgent]
        assert ids(await queue.claim(1)) == [plain]
        assert await queue.claim(1) == []
        await queue.ack((await queue.peek(1))[0])
        assert ids(await queue.claim(1)) == [behind]


async def test_a_delayed_command_is_not_in_line_until_it_is_due(bench: Bench) -> None:
    async with bench.queue() as queue:
        later = await queue.enqueue("work", key="a", delay=60)
        now = await queue.enqueue("work", key="a")
        command = await one(queue)
        assert command.id == now
        await queue.ack(command)
        bench.wall.pass_(59.999)
        assert await queue.claim() == []
        bench.wall.pass_(0.001)
        assert (await one(queue)).id == later


async def test_the_same_dedup_key_gives_the_id_of_the_one_that_waits_or_runs(bench: Bench) -> None:
    async with bench.queue() as queue:
        first = await queue.enqueue("work", key="a", dedup_key="daily")
        assert await queue.enqueue("work", key="a", dedup_key="daily") == first
        command = await one(queue)
        assert await queue.enqueue("work", key="b", dedup_key="daily") == first
        assert len(await queue.peek()) == 1
        await queue.ack(command)
        again = await queue.enqueue("work", key="a", dedup_key="daily")
        assert again > first
        many = await queue.enqueue_many([("work", n, None, None, None, "x") for n in range(3)])
        assert len(set(many)) == 1


# -- keys ------------------------------------------------------------------------------------------


async def test_a_bare_insert_is_a_complete_command(bench: Bench) -> None:
    async with bench.queue(default_key="home") as queue:
        bench.stranger("INSERT INTO bot_commands(command, entry_id) VALUES ('play', 3)")
        command = await one(queue)
        assert (command.command, command.entry_id, command.key) == ("play", 3, "home")
        assert (command.args, command.attempt, command.max_attempts) == ({}, 1, 1)
        assert abs(command.created_at - bench.wall()) < 60
        await queue.ack(command)


async def test_a_play_without_a_key_takes_its_entrys_and_others_the_default(bench: Bench) -> None:
    async with bench.queue(default_key="home") as queue:
        bench.stranger(
            "INSERT INTO schedule_entries(id, name, key, rule, zone)"
            " VALUES (3, 'Yoga', 'guild', '{}', 'UTC'), (4, 'Tea', NULL, '{}', 'UTC')"
        )
        await queue.enqueue("play", 3)
        assert (await one(queue)).key == "guild"
        await queue.enqueue("play", 4)
        assert (await one(queue)).key == "home"
        await queue.enqueue("play", 99, key="elsewhere")
        assert (await one(queue)).key == "elsewhere"


@pytest.mark.parametrize("verb", ["pause", "resume", "stop"])
async def test_a_steering_command_without_a_key_is_for_all(bench: Bench, verb: str) -> None:
    async with bench.queue() as queue:
        await queue.enqueue(verb)
        assert (await one(queue)).key == "*"


@pytest.mark.parametrize("verb", ["seek", "volume", "next", "my own"])
async def test_other_verbs_without_a_key_are_for_the_default(bench: Bench, verb: str) -> None:
    async with bench.queue(default_key="home") as queue:
        await queue.enqueue(verb)
        assert (await one(queue)).key == "home"


async def test_a_command_for_all_is_a_barrier(bench: Bench) -> None:
    async with bench.queue() as queue:
        before = [await queue.enqueue("work", key=key) for key in ("a", "b")]
        barrier = await queue.enqueue("pause")
        behind = [await queue.enqueue("work", key=key) for key in ("a", "c")]
        claimed = await queue.claim(10)
        assert ids(claimed) == before
        await queue.ack(claimed[0])
        assert await queue.claim(10) == []  # b still runs
        await queue.ack(claimed[1])
        command = await one(queue)
        assert command.id == barrier
        assert await queue.claim(10) == []  # the barrier runs alone
        await queue.ack(command)
        assert ids(await queue.claim(10)) == behind


async def test_a_delayed_barrier_holds_nobody(bench: Bench) -> None:
    async with bench.queue() as queue:
        await queue.enqueue("pause", delay=60)
        work = await queue.enqueue("work", key="a")
        assert ids(await queue.claim(10)) == [work]


# -- stops that overtake ---------------------------------------------------------------------------


async def test_an_overtaking_stop_does_not_wait_for_what_runs(bench: Bench) -> None:
    async with bench.queue() as queue:
        await queue.enqueue("work", key="a")
        running = await one(queue)
        plain = await queue.enqueue("stop", key="a")
        assert await queue.claim(10) == []
        await queue.cancel(plain)
        stop = await queue.enqueue("stop", key="a", overtakes=True)
        overtaking = await one(queue)
        assert overtaking.id == stop
        await queue.ack(overtaking)
        await queue.ack(running)  # its claim is still the live one


async def test_an_overtaking_stop_passes_a_barrier_and_holds_nobody(bench: Bench) -> None:
    async with bench.queue() as queue:
        await queue.enqueue("pause")
        barrier = await one(queue)
        stop = await queue.enqueue("stop", key="a", overtakes=True)
        assert (await one(queue)).id == stop
        await queue.ack(barrier)
        work = await queue.enqueue("work", key="a")
        assert (await one(queue)).id == work


async def test_an_overtaking_stop_passes_what_is_urgent(bench: Bench) -> None:
    async with bench.queue() as queue:
        stop = await queue.enqueue("stop", key="a", overtakes=True)
        urgent = await queue.enqueue("play", 1, key="b", priority=5)
        assert ids(await queue.claim(1)) == [stop]
        assert ids(await queue.claim(1)) == [urgent]


async def test_only_a_stop_can_overtake(bench: Bench) -> None:
    async with bench.queue() as queue:
        await queue.enqueue("work", key="a")
        await queue.claim()
        await queue.enqueue("play", 1, key="a", overtakes=True)
        assert await queue.claim(10) == []


# -- old age ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "expires"),
    [
        ({"command": "play"}, 600.0),
        ({"command": "play", "expires_after": 5.0}, 5.0),
        ({"command": "work", "expires_after": 5.0}, 5.0),
    ],
)
async def test_an_expired_command_never_runs(
    bench: Bench, sent: dict[str, object], expires: float
) -> None:
    async with bench.queue() as queue:
        young = await queue.enqueue_many([{"key": "a", **sent}])
        bench.wall.pass_(expires - 0.001)
        claimed = await one(queue)
        assert [claimed.id] == young
        await queue.ack(claimed)
        (old,) = await queue.enqueue_many([{"key": "a", **sent}])
        bench.wall.pass_(expires)
        assert await queue.claim() == []
        assert (await queue.wait_result(old, 1)).text == "expired"


@pytest.mark.parametrize(
    "sent", [{"command": "work"}, {"command": "play", "expires_after": None}, {"command": "stop"}]
)
async def test_what_does_not_expire_waits_a_month(bench: Bench, sent: dict[str, object]) -> None:
    async with bench.queue() as queue:
        await queue.enqueue_many([{"key": "a", **sent}])
        bench.wall.pass_(30 * 86_400)
        assert len(await queue.claim()) == 1


async def test_the_lessons_play_never_expires(bench: Bench) -> None:
    async with bench.queue(play_expires_after=None) as queue:
        await queue.enqueue("play", 1)
        bench.wall.pass_(86_400)
        assert len(await queue.claim()) == 1


async def test_zero_in_a_bare_insert_means_that_it_never_expires(bench: Bench) -> None:
    async with bench.queue() as queue:
        bench.stranger("INSERT INTO bot_commands(command, expires_at) VALUES ('play', 0)")
        bench.wall.pass_(86_400)
        assert len(await queue.claim()) == 1


async def test_an_expired_command_lets_the_next_one_through_at_once(bench: Bench) -> None:
    async with bench.queue() as queue:
        await queue.enqueue("play", 1, key="a", expires_after=1)
        work = await queue.enqueue("work", key="a")
        bench.wall.pass_(2)
        assert (await one(queue)).id == work


async def test_a_claimed_play_is_not_expired_while_its_holder_renews(bench: Bench) -> None:
    async with bench.queue(lease=30) as queue:
        await queue.enqueue("play", 1)
        command = await one(queue)
        for _ in range(30):
            bench.wall.pass_(25)
            await queue.renew(command)
        assert await queue.claim() == []
        await queue.ack(command, "started")


async def test_a_play_whose_holder_was_lost_does_not_start_when_it_has_expired(
    bench: Bench,
) -> None:
    """A bot that dies with a claim and comes back an hour later must not start that class."""
    async with bench.queue() as queue:
        id = await queue.enqueue("play", 1)
        await queue.claim()
        bench.wall.pass_(3_600)
        assert await queue.claim() == []
        assert (await queue.wait_result(id, 1)).text == "expired"


async def test_verbs_are_kept_as_they_are(bench: Bench) -> None:
    async with bench.queue() as queue:
        words = ["Play", "dừng", "DROP TABLE bot_commands; --", "x" * 500]
        await queue.enqueue_many([(word, n, f"k{n}") for n, word in enumerate(words)])
        assert verbs(await queue.claim(10)) == words
