"""Claims: leases, their ends, and who is refused."""

from __future__ import annotations

import asyncio
import math

import pytest

from contract.harness import Bench, ids, one, refusal
from voicecore.errors import Closed, InvalidArgument, QueueTimeout


async def test_a_claim_is_given_to_the_next_when_its_lease_has_run_out(bench: Bench) -> None:
    async with bench.queue(lease=30) as dead, bench.queue(lease=30) as alive:
        await dead.enqueue("work", key="a")
        lost = await one(dead)
        bench.wall.pass_(29.999)
        assert await alive.claim() == []
        bench.wall.pass_(0.001)
        command = await one(alive)
        assert (command.id, command.attempt, command.owner) == (lost.id, 2, alive.owner)


async def test_a_renewed_lease_counts_from_the_renewal(bench: Bench) -> None:
    async with bench.queue(lease=30) as queue:
        await queue.enqueue("work", key="a")
        command = await one(queue)
        bench.wall.pass_(20)
        await queue.renew(command)
        bench.wall.pass_(29)
        assert await queue.claim() == []
        await queue.renew(command, lease=100)
        bench.wall.pass_(99)
        assert await queue.claim() == []
        bench.wall.pass_(1)
        assert (await one(queue)).attempt == 2


@pytest.mark.parametrize("call", ["ack", "nack", "renew"])
class TestStaleHoldersAreRefusedAndToldWhy:
    async def act(self, queue: object, call: str, command: object) -> str:
        extra = ("late",) if call == "nack" else ()
        return await refusal(getattr(queue, call)(command, *extra))

    async def test_expired_even_if_nobody_took_it(self, bench: Bench, call: str) -> None:
        async with bench.queue(lease=30) as queue:
            await queue.enqueue("work", key="a")
            command = await one(queue)
            bench.wall.pass_(30)
            assert await self.act(queue, call, command) == "expired"
            row = await queue.get(command.id)
            assert row is not None
            assert row.finished_at is None

    async def test_taken_by_a_later_attempt(self, bench: Bench, call: str) -> None:
        async with bench.queue(lease=30) as queue:
            await queue.enqueue("work", key="a")
            zombie = await one(queue)
            bench.wall.pass_(31)
            live = await one(queue)
            assert await self.act(queue, call, zombie) == "taken"
            await queue.ack(live)
            assert await self.act(queue, call, zombie) == "finished"

    async def test_finished(self, bench: Bench, call: str) -> None:
        async with bench.queue() as queue:
            await queue.enqueue("work", key="a")
            command = await one(queue)
            await queue.ack(command)
            assert await self.act(queue, call, command) == "finished"

    async def test_unknown(self, bench: Bench, call: str) -> None:
        async with bench.queue() as queue:
            await queue.enqueue("work", key="a", max_attempts=2)
            command = await one(queue)
            await queue.nack(command, "not now")
            assert await self.act(queue, call, command) == "unknown"
            bench.stranger("DELETE FROM bot_commands")
            assert await self.act(queue, call, command) == "unknown"


async def test_a_refused_ack_changes_nothing(bench: Bench) -> None:
    async with bench.queue(lease=30) as queue:
        await queue.enqueue("work", key="a")
        zombie = await one(queue)
        bench.wall.pass_(31)
        live = await one(queue)
        await refusal(queue.ack(zombie, "mine"))
        await refusal(queue.nack(zombie, "mine"))
        assert await queue.get(live.id) == live
        assert await queue.history() == []


# -- errors and deaths -----------------------------------------------------------------------------


async def test_by_default_a_command_that_fails_is_gone(bench: Bench) -> None:
    """R52: removed whatever its outcome."""
    async with bench.queue() as queue:
        id = await queue.enqueue("work", key="a")
        assert await queue.nack(await one(queue), "it broke") is False
        assert await queue.peek() == []
        outcome = await queue.wait_result(id, 1)
        assert (outcome.state, outcome.text) == ("failed", "failed: it broke")


async def test_retries_wait_longer_each_time_and_end(bench: Bench) -> None:
    async with bench.queue() as queue:
        id = await queue.enqueue("work", key="a", max_attempts=4)
        for wait in (1, 2, 4):
            command = await one(queue)
            assert await queue.nack(command, f"attempt {command.attempt}") is True
            bench.wall.pass_(wait - 0.001)
            assert await queue.claim() == []
            bench.wall.pass_(0.001)
        assert await queue.nack(await one(queue), "the last") is False
        assert (await queue.wait_result(id, 1)).text == "failed: the last"


async def test_the_wait_for_a_retry_ends_at_five_minutes(bench: Bench) -> None:
    async with bench.queue() as queue:
        await queue.enqueue("work", key="a", max_attempts=100)
        waits = []
        for _ in range(12):
            command = await one(queue)
            await queue.nack(command, "no")
            (row,) = await queue.peek()
            assert row.not_before is not None
            waits.append(row.not_before - bench.wall())
            bench.wall.seconds = row.not_before
        assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


async def test_a_handler_can_say_when_to_try_again(bench: Bench) -> None:
    async with bench.queue() as queue:
        await queue.enqueue("work", key="a", max_attempts=2)
        assert await queue.nack(await one(queue), "busy", retry_in=90)
        bench.wall.pass_(89)
        assert await queue.claim() == []
        bench.wall.pass_(1)
        command = await one(queue)
        assert (command.attempt, command.error) == (2, "busy")


async def test_who_carries_it_out_can_allow_more_tries_than_the_command(bench: Bench) -> None:
    async with bench.queue() as queue:
        id = await queue.enqueue("work", key="a")
        assert await queue.nack(await one(queue), "busy", retry_in=0, max_attempts=3)
        command = await one(queue)
        assert (command.attempt, command.max_attempts) == (2, 3)  # deaths count by it too
        assert await queue.nack(command, "busy", retry_in=0, max_attempts=3)
        assert not await queue.nack(await one(queue), "busy", retry_in=0, max_attempts=3)
        assert (await queue.wait_result(id, 1)).text == "failed: busy"


async def test_the_wait_for_a_retry_does_not_grow_with_what_was_given_back(bench: Bench) -> None:
    async with bench.queue() as queue:
        await queue.enqueue("work", key="a", max_attempts=2)
        for _ in range(5):
            await queue.give_back(await one(queue))
        command = await one(queue)
        assert (command.attempt, command.given_back) == (6, 5)
        assert await queue.nack(command, "no")
        (row,) = await queue.peek()
        assert row.not_before == bench.wall() + 1


async def test_a_waiting_retry_does_not_hold_its_key(bench: Bench) -> None:
    """R52: one failing command never blocks the next."""
    async with bench.queue() as queue:
        await queue.enqueue("work", key="a", max_attempts=5)
        second = await queue.enqueue("work", key="a")
        await queue.nack(await one(queue), "later")
        assert (await one(queue)).id == second


@pytest.mark.parametrize(("max_attempts", "deaths"), [(1, 3), (2, 3), (3, 3), (5, 5)])
async def test_a_command_that_kills_its_holders_ends_as_failed(
    bench: Bench, max_attempts: int, deaths: int
) -> None:
    async with bench.queue(lease=30) as queue:
        id = await queue.enqueue("work", key="a", max_attempts=max_attempts)
        following = await queue.enqueue("work", key="a")
        for attempt in range(1, deaths + 1):
            assert (await one(queue)).attempt == attempt
            bench.wall.pass_(31)
        assert (await one(queue)).id == following
        outcome = await queue.wait_result(id, 1)
        assert outcome.state == "failed"
        assert f"lost {deaths} times" in outcome.text


async def test_a_death_is_not_an_error(bench: Bench) -> None:
    """max_attempts = 1 forbids the retry of an error, not of a crash."""
    async with bench.queue(lease=30) as queue:
        await queue.enqueue("work", key="a")
        await queue.claim()
        bench.wall.pass_(31)
        await queue.ack(await one(queue))


async def test_a_retry_that_is_due_again_and_a_lost_claim_of_its_key_come_in_order(
    bench: Bench,
) -> None:
    async with bench.queue(lease=30) as queue:
        retried = await queue.enqueue("work", key="a", max_attempts=5)
        lost = await queue.enqueue("work", key="a")
        await queue.nack(await one(queue), "later", retry_in=20)
        assert (await one(queue)).id == lost
        bench.wall.pass_(31)  # the retry is due, and the holder of the other is gone
        for expected in (retried, lost):
            command = await one(queue)
            assert command.id == expected
            await queue.ack(command)


async def test_a_retry_that_is_due_waits_for_the_command_of_its_key_that_has_passed_it(
    bench: Bench,
) -> None:
    async with bench.queue() as queue:
        retried = await queue.enqueue("work", key="a", max_attempts=5)
        await queue.enqueue("work", key="a")
        await queue.nack(await one(queue), "later", retry_in=5)
        running = await one(queue)
        bench.wall.pass_(6)
        assert await queue.claim() == []
        await queue.ack(running)
        assert (await one(queue)).id == retried


async def test_a_wall_clock_that_is_set_back_does_not_make_leases_longer(bench: Bench) -> None:
    async with bench.queue(lease=30) as queue:
        id = await queue.enqueue("work", key="a", expires_after=None)
        await queue.claim()
        bench.wall.pass_(-3_600)
        assert await queue.claim() == []
        bench.wall.pass_(31)
        assert (await one(queue)).id == id


async def test_a_holder_that_renews_first_keeps_its_claim_when_the_clock_is_set_back(
    bench: Bench,
) -> None:
    async with bench.queue(lease=30) as queue:
        await queue.enqueue("work", key="a", expires_after=None)
        command = await one(queue)
        bench.wall.pass_(-3_600)
        await queue.renew(command)
        for _ in range(2):
            assert await queue.claim() == []
            bench.wall.pass_(10)
        await queue.ack(command)


async def test_a_claim_can_be_given_back(bench: Bench) -> None:
    async with bench.queue() as queue:
        await queue.enqueue("work", key="a")
        command = await one(queue)
        await queue.give_back(command)
        assert await refusal(queue.ack(command)) == "unknown"
        assert (await one(queue)).attempt == 2


async def test_claims_that_were_given_back_are_not_held_against_a_command(bench: Bench) -> None:
    async with bench.queue(lease=30) as queue:
        await queue.enqueue("work", key="a", max_attempts=2)
        for _ in range(5):
            await queue.give_back(await one(queue))
        await one(queue)  # and its holder dies
        bench.wall.pass_(31)
        command = await one(queue)
        assert command.attempt == 7
        assert not await queue.nack(command, "broke")  # the second of its two tries


# -- ends ------------------------------------------------------------------------------------------


async def test_an_acked_command_moves_to_the_history_with_everything_it_had(bench: Bench) -> None:
    async with bench.queue(owner="me") as queue:
        await queue.enqueue("work", 7, key="a", args={"x": 1}, requested_by="ann")
        command = await one(queue)
        bench.wall.pass_(2.5)
        await queue.ack(command, {"pages": 3})
        assert await queue.peek() == []
        (past,) = await queue.history()
        assert past == await queue.get(command.id)
        assert (past.state, past.result, past.error) == ("done", '{"pages": 3}', None)
        assert past.finished_at == bench.wall()
        for kept in ("id", "command", "entry_id", "key", "args", "requested_by", "created_at"):
            assert getattr(past, kept) == getattr(command, kept)
        for kept in ("attempt", "max_attempts", "owner", "claimed_at", "priority", "expires_at"):
            assert getattr(past, kept) == getattr(command, kept)


async def test_a_command_is_always_in_exactly_one_of_both_tables(bench: Bench) -> None:
    """Seen by another process, whose snapshot is of one transaction or the next."""
    async with bench.queue() as queue:
        await queue.enqueue_many([("work", n, f"k{n}") for n in range(30)])
        claimed = await queue.claim(30)
        both = (
            "SELECT (SELECT count(*) FROM bot_commands)"
            " + (SELECT count(*) FROM bot_command_history)"
        )

        async def look() -> None:
            for _ in range(5):
                (counted,) = await asyncio.to_thread(bench.stranger, both)
                assert counted == [30]

        looking = asyncio.create_task(look())
        for command in claimed:
            await queue.ack(command)
            await asyncio.sleep(0.005)
        await looking


async def test_the_history_is_read_newest_first_in_pages(bench: Bench) -> None:
    async with bench.queue() as queue:
        sent = await queue.enqueue_many([("work", n, f"k{n}") for n in range(7)])
        for command in await queue.claim(7):
            await queue.ack(command)
        assert ids(await queue.history(3)) == sent[:-4:-1]
        assert ids(await queue.history(3, before=sent[4])) == [sent[3], sent[2], sent[1]]


async def test_only_a_waiting_command_can_be_cancelled(bench: Bench) -> None:
    async with bench.queue() as queue:
        waiting = await queue.enqueue("work", key="a", delay=60)
        running = await queue.enqueue("work", key="a")
        command = await one(queue)
        assert await queue.cancel(waiting) is True
        assert await queue.cancel(waiting) is False
        assert await queue.cancel(running) is False
        assert await queue.cancel(12_345) is False
        assert (await queue.wait_result(waiting, 1)).text == "cancelled"
        await queue.ack(command)


@pytest.mark.parametrize(
    ("result", "text"), [("done", "done"), ("started", "started"), ("busy", "busy")]
)
async def test_the_sender_learns_the_result(bench: Bench, result: str, text: str) -> None:
    """D14: a play that found its key busy is not dropped in silence."""
    async with bench.queue() as worker, bench.queue() as sender:
        id = await sender.enqueue("play", 1)
        waiting = asyncio.create_task(sender.wait_result(id, 10))
        command = await one(worker)
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await worker.ack(command, result)
        outcome = await waiting
        assert (outcome.id, outcome.state, outcome.text) == (id, "done", text)


async def test_waiting_for_a_result_can_end_without_one(bench: Bench) -> None:
    async with bench.queue() as queue:
        id = await queue.enqueue("work", key="a")
        with pytest.raises(QueueTimeout, match="has not ended"):
            await queue.wait_result(id, 0.01)
        assert issubclass(QueueTimeout, TimeoutError)
        with pytest.raises(InvalidArgument, match="command 999"):
            await queue.wait_result(999, 1)


async def test_pruning_takes_the_oldest_in_small_batches(bench: Bench) -> None:
    async with bench.queue() as queue:
        sent = []
        for n in range(5):
            sent.append(await queue.enqueue("work", n))
            await queue.ack(await one(queue))
            bench.wall.pass_(100)
        assert await queue.prune(250, limit=2) == 2
        assert await queue.prune(250, limit=2) == 1
        assert await queue.prune(250) == 0
        assert ids(await queue.history()) == [sent[4], sent[3]]
        assert await queue.get(sent[0]) is None


async def test_statistics_count_what_there_is(bench: Bench) -> None:
    async with bench.queue() as queue:
        began = bench.wall()
        await queue.enqueue_many([("work", n, "a") for n in range(3)])
        await queue.enqueue("work", key="b", delay=60)
        await queue.ack((await queue.claim())[0])
        await queue.nack((await queue.claim())[0], "no")
        await queue.enqueue("play", 1, expires_after=1)
        await queue.claim()
        bench.wall.pass_(2)
        await queue.claim()
        found = await queue.statistics()
        assert (found.ready, found.delayed, found.claimed, found.sessions) == (0, 1, 1, 0)
        assert found.oldest_ready is None  # the one that waits for its time is not late
        bench.wall.pass_(60)
        assert (await queue.statistics()).oldest_ready == began
        assert found.history == {"done": 1, "failed": 1, "expired": 1}
        assert found.wal_bytes > 0


async def test_a_closed_queue_says_so_and_closes_twice(bench: Bench) -> None:
    queue = bench.queue()
    await queue.enqueue("work")
    await queue.aclose()
    await queue.aclose()
    with pytest.raises(Closed):
        await queue.peek()


@pytest.mark.parametrize(
    "wrong",
    [
        {"command": ""},
        {"command": "work", "key": ""},
        {"command": "work", "args": {"x": math.nan}},
        {"command": "work", "args": {"x": {1}}},
        {"command": "work", "delay": -1},
        {"command": "work", "max_attempts": 0},
        {"command": "work", "colour": "red"},
        {"entry_id": 3},
    ],
    ids=str,
)
async def test_a_wrong_command_is_refused_and_nothing_is_sent(
    bench: Bench, wrong: dict[str, object]
) -> None:
    async with bench.queue() as queue:
        with pytest.raises(InvalidArgument):
            await queue.enqueue_many([wrong])
        assert await queue.peek() == []


async def test_args_that_are_not_an_object_are_the_handlers_value_error(bench: Bench) -> None:
    async with bench.queue() as queue:
        bench.stranger("INSERT INTO bot_commands(command, args) VALUES ('work', '[1')")
        command = await one(queue)
        with pytest.raises(ValueError, match="args"):
            _ = command.args
        await queue.nack(command, "bad args")


async def test_what_is_told_of_the_end_is_kept_also_when_utf_8_cannot_hold_it(bench: Bench) -> None:
    odd, kept = "caf\udce9.mp3", "caf\\udce9.mp3"
    async with bench.queue() as queue:
        for end in (queue.ack, queue.nack):
            number = await queue.enqueue("work")
            await end(await one(queue), odd)
            outcome = await queue.wait_result(number, 5)
            assert kept in (outcome.result, outcome.error)
        number = await queue.enqueue("work")
        await queue.nack(await one(queue), odd, max_attempts=2)
        found = await queue.get(number)
        assert found is not None
        assert found.error == kept


@pytest.mark.parametrize(
    "fields", [{"key": "\udce9"}, {"requested_by": "\udce9"}, {"args": {"a": "\udce9"}}], ids=str
)
async def test_what_is_sent_is_text_that_utf_8_can_hold(
    bench: Bench, fields: dict[str, str]
) -> None:
    async with bench.queue() as queue:
        with pytest.raises(InvalidArgument, match="UTF-8"):
            await queue.enqueue("work", **fields)  # type: ignore[arg-type]
        assert await queue.peek() == []
