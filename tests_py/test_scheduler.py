"""The scheduler on virtual time: real files, real native turns, no waiting."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from voicecore import Command, CommandQueue, Scheduler, Session
from voicecore.testing import VirtualTime

# Close to the hour at which the classes begin: an hour of ticks takes two seconds of real time.
QUARTER_TO_EIGHT = datetime(2025, 6, 16, 7, 45, tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class Entry:
    id: int
    key: str | None = None


class Stage:
    """Sessions that run until told to end, and a record of what happened."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.ended: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    async def load(self, entry_id: int) -> Entry | None:
        return None if entry_id == 404 else Entry(entry_id, f"g{entry_id % 10}")

    async def play(self, session: Session) -> None:
        self.started.append((session.key, session.entry.id))
        gate = self.gates.setdefault(session.key, asyncio.Event())
        gate.clear()
        stop = asyncio.ensure_future(session.wait_stop())
        go = asyncio.ensure_future(gate.wait())
        try:
            await asyncio.wait({stop, go}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            go.cancel()
            self.ended.append(session.key)

    async def end(self, key: str) -> None:
        self.gates[key].set()
        await asyncio.sleep(0.01)


@dataclass
class Rig:
    time: VirtualTime
    queue: CommandQueue
    stage: Stage
    path: Path
    scheduler: Scheduler

    async def send(self, *args: Any, **kwargs: Any) -> int:
        number = await self.queue.enqueue(*args, **kwargs)
        await self.time.wake()
        return number

    async def text(self, number: int) -> str:
        return (await self.queue.wait_result(number, 2.0)).text


Make = Callable[..., contextlib.AbstractAsyncContextManager[Rig]]


@pytest.fixture
def rig(tmp_path: Path) -> Make:
    @contextlib.asynccontextmanager
    async def make(kind: type[Scheduler] = Scheduler, **settings: Any) -> AsyncIterator[Rig]:
        time = VirtualTime(QUARTER_TO_EIGHT)
        path = tmp_path / "bot.db"
        stage = Stage()
        async with CommandQueue(
            path, synchronous="normal", wall_clock=time.time, role="worker"
        ) as queue:
            scheduler = kind(
                None, queue, time=time, play_session=stage.play, load_entry=stage.load, **settings
            )
            scheduler.start()
            await scheduler.wait_started()
            await time.settle()
            try:
                yield Rig(time, queue, stage, path, scheduler)
            finally:
                await scheduler.shutdown()

    return make


async def test_a_play_is_answered_when_its_session_has_started_not_when_it_ends(rig: Make) -> None:
    async with rig() as r:
        number = await r.send("play", 3)
        assert await r.text(number) == "started"
        assert r.scheduler.current_entry_id == 3
        assert r.stage.ended == []


async def test_a_second_play_of_a_busy_key_is_recorded_as_busy(rig: Make) -> None:  # D14
    async with rig() as r:
        await r.send("play", 3)
        assert await r.text(await r.send("play", 13)) == "busy"
        assert r.stage.started == [("g3", 3)]


async def test_keys_play_beside_one_another(rig: Make) -> None:  # D23
    async with rig() as r:
        await r.send("play", 3)
        await r.send("play", 4)
        assert r.stage.started == [("g3", 3), ("g4", 4)]
        with pytest.raises(RuntimeError, match="several sessions"):
            _ = r.scheduler.current_entry_id
        assert r.scheduler.entry_of("g4") == 4


async def test_a_single_mutex_plays_one_session_in_all(rig: Make) -> None:  # D23
    async with rig(single=True) as r:
        await r.send("play", 3)
        assert await r.text(await r.send("play", 4)) == "busy"


async def test_stop_ends_the_session_and_the_next_play_is_not_stopped(rig: Make) -> None:  # D04
    async with rig() as r:
        await r.send("play", 3)
        assert await r.text(await r.send("stop", key="g3")) == "done"
        await asyncio.sleep(0.01)
        assert r.stage.ended == ["g3"]
        await r.send("play", 3)
        await asyncio.sleep(0.01)
        assert len(r.stage.started) == 2
        assert r.stage.ended == ["g3"]


async def test_a_keyless_stop_ends_every_session(rig: Make) -> None:
    async with rig() as r:
        await r.send("play", 3)
        await r.send("play", 4)
        await r.send("stop")
        await asyncio.sleep(0.01)
        assert sorted(r.stage.ended) == ["g3", "g4"]


async def test_replace_stops_what_plays_and_starts(rig: Make) -> None:
    async with rig(busy="replace") as r:
        await r.send("play", 3)
        number = await r.send("play", 13)
        assert await r.text(number) == "started"
        assert r.stage.started == [("g3", 3), ("g3", 13)]


async def test_with_one_session_in_all_replace_stops_whatever_plays(rig: Make) -> None:
    async with rig(single=True, busy="replace") as r:
        await r.send("play", 3)
        assert await r.text(await r.send("play", 4)) == "started"
        assert r.stage.started == [("g3", 3), ("g4", 4)]
        assert r.stage.ended == ["g3"]


async def test_replace_leaves_the_sessions_of_other_keys_alone(rig: Make) -> None:
    async with rig(busy="replace") as r:
        await r.send("play", 3)
        await r.send("play", 4)
        assert await r.text(await r.send("play", 13)) == "started"
        assert r.stage.ended == ["g3"]


async def test_queue_waits_for_the_key(rig: Make) -> None:
    async with rig(busy="queue") as r:
        await r.send("play", 3)
        number = await r.send("play", 13)
        await r.time.advance(5)
        assert (await r.queue.get(number)).finished_at is None  # type: ignore[union-attr]
        await r.stage.end("g3")
        await r.time.advance(5)
        assert await r.text(number) == "started"


async def test_a_missing_entry_fails_its_command_and_nothing_else(rig: Make) -> None:  # D08
    async with rig() as r:
        bad = await r.send("play", 404)
        good = await r.send("play", 3)
        assert await r.text(bad) == "failed: there is no entry 404"
        assert await r.text(good) == "started"
        assert r.scheduler.healthy


async def test_an_entry_with_an_id_that_is_no_number_fails_its_command_alone(rig: Make) -> None:
    async with rig() as r:

        async def load(_entry_id: int) -> Any:
            return Entry("seven")  # type: ignore[arg-type]

        r.scheduler._load_entry = load
        number = await r.send("play", 3)
        assert await r.text(number) == (
            "failed: entry_id: got 'seven', expected an integer"
            " -9223372036854775807 to 9223372036854775807"
        )
        assert r.scheduler.healthy


async def test_an_unknown_verb_fails_with_that_reason(rig: Make) -> None:
    async with rig() as r:
        assert "expected one of" in await r.text(await r.send("dance"))


async def test_a_verb_of_the_users_own_is_carried_out(rig: Make) -> None:
    async with rig() as r:

        @r.scheduler.handler("dance")
        async def dance(command: Any) -> object:
            return {"steps": command.args["steps"] * 2}

        assert await r.text(await r.send("dance", args={"steps": 4})) == '{"steps": 8}'


async def test_a_recoverable_error_is_survived(rig: Make) -> None:  # R13
    async with rig() as r:

        @r.scheduler.handler("fail")
        async def fail(_command: Any) -> None:
            raise OSError("no such line")

        assert await r.text(await r.send("fail")) == "failed: no such line"
        assert r.scheduler.healthy
        assert await r.text(await r.send("play", 3)) == "started"


@pytest.mark.parametrize("error", [OSError, RuntimeError])
async def test_a_failure_is_kept_whatever_letters_it_has(
    rig: Make, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    # A traceback has the letters as they are, and no process can tell another what it logged then.
    caplog.set_level(logging.CRITICAL + 1, logger="voicecore")
    async with rig() as r:

        @r.scheduler.handler("read")
        async def read(_command: Any) -> None:
            raise error(os.fsdecode(b"caf\xe9.mp3"))

        number = await r.queue.enqueue("read")
        await r.time.wake()
        assert r"caf\udce9.mp3" in await r.text(number)
        assert r.scheduler.healthy is (error is OSError)


async def test_a_bug_ends_the_loop_loudly(rig: Make) -> None:  # R13, D02
    seen: list[BaseException] = []
    async with rig(on_fatal=seen.append) as r:

        @r.scheduler.handler("fail")
        async def fail(_command: Any) -> None:
            raise KeyError("a bug")

        number = await r.queue.enqueue("fail")
        await r.time.wake()
        with pytest.raises(KeyError):
            await r.scheduler
        assert not r.scheduler.healthy
        assert isinstance(seen[0], KeyError)
        assert (await r.text(number)).startswith("failed")


async def test_a_bug_in_a_session_is_loud_as_well(rig: Make) -> None:
    seen: list[BaseException] = []
    async with rig(on_fatal=seen.append) as r:

        async def broken(_session: Session) -> None:
            raise TypeError("a bug")

        r.scheduler._play_session = broken
        await r.send("play", 3)
        await asyncio.sleep(0.01)
        assert isinstance(seen[0], TypeError)
        assert r.scheduler.sessions.held() == []


async def test_the_key_is_free_after_a_session_that_failed(rig: Make) -> None:  # R21
    async with rig() as r:

        async def failing(_session: Session) -> None:
            raise OSError("voice went away")

        r.scheduler._play_session = failing
        await r.send("play", 3)
        await asyncio.sleep(0.01)
        r.scheduler._play_session = r.stage.play
        assert await r.text(await r.send("play", 3)) == "started"


async def test_ticks_do_not_burst_after_a_long_stall(rig: Make) -> None:  # R10
    async with rig() as r:
        await r.time.advance(10)
        before = r.scheduler.statistics()
        r.time._native.advance(61)
        await r.time.wake()
        after = r.scheduler.statistics()
        assert after.ticks - before.ticks == 1
        assert after.missed - before.missed == 29


async def test_a_shorter_period_makes_nothing_missed_that_was_never_due(rig: Make) -> None:
    async with rig(period=60.0, schedule=False) as r:
        await r.time.advance(30)
        before = r.scheduler.statistics()
        r.scheduler.change_interval(seconds=1)
        await r.time.advance(5)
        after = r.scheduler.statistics()
        assert after.missed == before.missed
        assert after.ticks - before.ticks == 6  # one at once, the last due


async def test_a_step_of_the_wall_clock_moves_no_tick(rig: Make) -> None:
    async with rig() as r:
        await r.time.advance(10)
        before = r.scheduler.statistics().ticks
        r.time.step_wall(3600)
        await r.time.advance(10)
        r.time.step_wall(-7200)
        await r.time.advance(10)
        assert r.scheduler.statistics().ticks - before == 10


async def test_a_stop_is_heard_after_the_wall_clock_was_set_back(rig: Make) -> None:
    async with rig() as r:
        before = await r.queue.enqueue("stop", key="g3")
        await r.time.advance(10)
        assert await r.text(before) == "not playing"
        await r.send("play", 3)
        r.time.step_wall(-3600)
        assert await r.text(await r.send("stop", key="g3")) == "done"
        await r.time.settle()
        assert r.stage.ended == ["g3"]


@pytest.mark.parametrize("step", [3600, -3600])
async def test_a_command_in_hand_is_not_claimed_again_when_the_wall_clock_is_set(
    rig: Make, step: int
) -> None:
    calls: list[tuple[int, int | None]] = []
    begun = asyncio.Event()
    release = asyncio.Event()

    async with rig() as r:

        @r.scheduler.handler("job")
        async def job(command: Command) -> None:
            calls.append((command.id, command.attempt))
            begun.set()
            await release.wait()

        native = r.scheduler._native
        assert native is not None
        number = await r.queue.enqueue("job")
        native.nudge()
        native.turn()
        await asyncio.wait_for(begun.wait(), 5)
        r.time.step_wall(step)
        for _ in range(3):
            r.time._native.advance(2.0)
            native.turn()
        assert r.scheduler.statistics().lost_leases == 0
        release.set()
        await r.time.settle()
        assert await r.text(number) == "done"
        assert calls == [(number, 1)]


async def test_what_was_claimed_too_long_ago_is_not_carried_out(rig: Make) -> None:
    async with rig(schedule=False) as r:
        native = r.scheduler._native
        assert native is not None
        number = await r.queue.enqueue("play", 3)
        native.nudge()
        native.turn()  # claimed; the loop has not come to it yet
        r.time._native.advance(3600.0)  # the machine stands still
        native.turn()
        assert r.scheduler.statistics().lost_leases == 1
        await r.time.settle()
        assert r.stage.started == []
        await r.time.advance(4)
        assert await r.text(number) == "expired"


async def test_commands_come_before_the_schedule_within_one_tick(rig: Make) -> None:  # R10
    order: list[str] = []

    class Recording(Scheduler):
        async def _drain_commands(self) -> None:
            order.append("drain")
            await super()._drain_commands()

        async def _check_schedule(self) -> None:
            order.append("check")

    async with rig(Recording) as r:
        await r.time.advance(1)
        order.clear()
        await r.time.advance(4)
        assert order == ["drain", "check", "drain", "check"]


async def test_an_error_in_the_drain_does_not_skip_the_schedule(rig: Make) -> None:  # D16
    checks: list[float] = []

    class Failing(Scheduler):
        async def _drain_commands(self) -> None:
            raise sqlite3_like()

        async def _check_schedule(self) -> None:
            checks.append(1)

    def sqlite3_like() -> Exception:
        from voicecore import DatabaseError

        return DatabaseError("database is locked", sqlite3.SQLITE_BUSY)

    async with rig(Failing) as r:
        await r.time.advance(4)
        assert len(checks) >= 2
        assert r.scheduler.healthy


async def test_a_subclass_that_drains_itself_is_honoured(rig: Make) -> None:
    seen: list[str] = []

    class Own(Scheduler):
        async def _drain_commands(self) -> None:
            for command in await self.queue.claim(10):
                seen.append(command.command)
                await self.queue.ack(command)

    async with rig(Own) as r:
        number = await r.send("anything")
        assert await r.text(number) == "done"
        assert seen == ["anything"]


async def test_a_drain_of_ones_own_ends_what_it_carries_out(rig: Make) -> None:
    class Own(Scheduler):
        async def _drain_commands(self) -> None:
            for command in await self._take_commands():
                await self._carry_out(command)
                found = await self.queue.get(command.id)
                states.append("" if found is None else found.state)

    states: list[str] = []
    async with rig(Own) as r:

        @r.scheduler.handler("dance")
        async def dance(_command: Any) -> str:
            return "danced"

        for verb in ("dance", "sing"):
            await r.queue.enqueue(verb, key=verb)
        assert await r.text(await r.send("play", 3)) == "started"
        assert sorted(states) == ["done", "done", "failed"]


async def test_a_tick_of_ones_own_may_fail_and_comes_again(rig: Make) -> None:  # R13
    class Own(Scheduler):
        async def tick(self) -> None:
            await super().tick()
            ticks.append(len(ticks))
            raise OSError("no state file")

    ticks: list[int] = []
    async with rig(Own) as r:
        await r.time.advance(1)
        before = len(ticks)
        await r.time.advance(10)
        assert len(ticks) - before == 5
        assert r.scheduler.healthy
        assert r.scheduler.statistics().warnings == len(ticks)


async def test_start_is_idempotent(rig: Make) -> None:  # R12
    async with rig() as r:
        assert r.scheduler.start() is r.scheduler.start()


async def test_waiting_for_a_scheduler_can_be_cancelled_and_leaves_it_running(rig: Make) -> None:
    async with rig() as r:
        waiting = asyncio.ensure_future(r.scheduler.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert r.scheduler.running


async def test_a_wait_for_a_scheduler_returns_when_it_is_shut_down(rig: Make) -> None:
    async with rig() as r:
        waiting = asyncio.ensure_future(r.scheduler.wait())
        await r.scheduler.shutdown()
        await asyncio.wait_for(waiting, 1)


async def test_before_loop_runs_once_and_before_the_first_tick(rig: Make) -> None:  # R11
    order: list[str] = []

    class Recording(Scheduler):
        async def before_loop(self) -> None:
            order.append("before")
            await super().before_loop()

        async def tick(self) -> None:
            order.append("tick")
            await super().tick()

    async with rig(Recording) as r:
        await r.time.advance(6)
        assert order[0] == "before"
        assert order.count("before") == 1
        assert order.count("tick") >= 3


async def test_a_pause_from_before_the_start_is_superseded(tmp_path: Path) -> None:
    time = VirtualTime()
    async with CommandQueue(tmp_path / "bot.db", wall_clock=time.time) as queue:
        number = await queue.enqueue("pause", key="g3")
        await time.advance(1)
        stage = Stage()
        scheduler = Scheduler(
            None, queue, time=time, play_session=stage.play, load_entry=stage.load
        )
        scheduler.start()
        await scheduler.wait_started()
        await time.advance(2)
        assert (await queue.wait_result(number, 2)).text == "superseded"
        await scheduler.shutdown()


async def test_shutdown_ends_sessions_and_leaves_pending_commands(rig: Make) -> None:  # flow 6
    async with rig() as r:
        await r.send("play", 3)
        pending = await r.queue.enqueue("play", 4)
        await r.scheduler.shutdown()
        assert r.stage.ended == ["g3"]
        waiting = await r.queue.get(pending)
        assert waiting is not None
        assert waiting.state == "ready"
        assert await r.scheduler.state_repo.running() == []


async def test_every_shutdown_step_runs_when_others_fail(rig: Make) -> None:  # D05, R40
    closed: list[bool] = []

    class Client:
        async def wait_until_ready(self) -> None: ...

        async def close(self) -> None:
            closed.append(True)

    async with rig() as r:
        r.scheduler.client = Client()

        async def broken() -> int:
            raise OSError("disk gone")

        r.scheduler.state_repo.clear = broken  # type: ignore[method-assign]
        await r.scheduler.shutdown()
        assert closed == [True]
        assert not r.scheduler.running


async def test_shutdown_does_not_wait_longer_than_its_time(rig: Make) -> None:  # R40
    class Short(Scheduler):
        SHUTDOWN_TIMEOUT_SECONDS = 0.4

    async with rig(Short) as r:
        cancelled: list[bool] = []

        async def stubborn(_session: Session) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        r.scheduler._play_session = stubborn
        await r.send("play", 3)
        await r.scheduler.shutdown()
        assert cancelled == [True]


async def test_nothing_starts_once_shutdown_began(rig: Make) -> None:  # D06
    async with rig() as r:
        await r.scheduler.shutdown()
        assert not await r.scheduler._maybe_start(Entry(9))


async def test_a_lease_of_another_process_refuses_the_session(rig: Make) -> None:
    async with rig() as r, CommandQueue(r.path, owner="another", wall_clock=r.time.time) as other:
        await other.lease_session("g3", 77)
        assert await r.text(await r.send("play", 3)) == "busy"
        assert r.scheduler.sessions.held() == []
        await r.time.advance(31)  # its lease runs out
        assert await r.text(await r.send("play", 3)) == "started"


async def test_a_running_session_keeps_its_lease(rig: Make) -> None:
    async with rig() as r, CommandQueue(r.path, owner="another", wall_clock=r.time.time) as other:
        await r.send("play", 3)
        await r.time.advance(300)
        with pytest.raises(Exception, match="leased"):
            await other.lease_session("g3", 77)


async def test_a_session_whose_lease_was_taken_ends(rig: Make) -> None:
    async with rig() as r, CommandQueue(r.path, owner="another", wall_clock=r.time.time) as other:
        await r.send("play", 3)
        r.time.step_wall(60)  # this process stood still for longer than its lease
        await other.lease_session("g3", 77)
        await r.time.advance(11)
        await asyncio.sleep(0.01)
        assert r.stage.ended == ["g3"]
        assert await r.scheduler.state_repo.running() == [("g3", 77, 2)]


async def add_class(r: Rig, **more: Any) -> int:
    """A class every day at 08:00 UTC."""
    from voicecore.schedule import FixedTimes, ScheduleEntry, SqliteScheduleStore

    entry = ScheduleEntry("yoga", FixedTimes(["08:00"]), key="g3", **more)
    return (await SqliteScheduleStore(r.queue).add(entry, now=r.time.time())).id or 0


async def until_eight(r: Rig, seconds: float = 0.0) -> None:
    """To 08:00 UTC, and so much further."""
    await r.time.advance(QUARTER_TO_EIGHT + 900 + seconds - r.time.time())


async def test_the_schedule_starts_a_class_within_one_tick(rig: Make) -> None:  # flow 3
    async with rig() as r:
        number = await add_class(r)
        await until_eight(r, -3)
        assert r.stage.started == []
        await r.time.advance(6)
        await asyncio.sleep(0.01)
        assert r.stage.started == [("g3", number)]


async def test_a_bot_that_restarts_a_second_after_eight_still_plays_the_class_once(
    rig: Make, tmp_path: Path
) -> None:
    async with rig() as r:
        number = await add_class(r)
        await until_eight(r, -60)
        await r.scheduler.shutdown()
        r.time._native.advance(61)
        for _ in range(2):
            again = Scheduler(
                None, r.queue, time=r.time, play_session=r.stage.play, load_entry=r.stage.load
            )
            again.start()
            await again.wait_started()
            await r.time.advance(5)
            await asyncio.sleep(0.01)
            assert r.stage.started == [("g3", number)]
            await again.shutdown()


async def test_a_reminder_goes_out_once_before_the_class(rig: Make) -> None:  # R62
    reminded: list[str] = []

    async def remind(due: Any) -> None:
        reminded.append(due.entry.name)

    async with rig(remind=remind) as r:
        await add_class(r, remind_minutes=10)
        await until_eight(r, -601)
        assert reminded == []
        await r.time.advance(120)
        assert reminded == ["yoga"]


async def test_a_command_wins_over_the_schedule(rig: Make) -> None:  # R10
    async with rig() as r:
        await add_class(r)
        await until_eight(r, -5)
        await r.send("play", 13)
        await r.time.advance(10)
        await asyncio.sleep(0.01)
        assert r.stage.started == [("g3", 13)]
        found = await r.queue.history()
        assert [one.result for one in found if one.command == "play"] == ["busy", "started"]


async def test_a_play_that_waits_for_its_key_outlives_the_default_expiry(rig: Make) -> None:
    async with rig(busy="queue") as r:
        await r.send("play", 3)
        number = await r.send("play", 13)
        await r.time.advance(1300)  # plays expire after 600 s
        assert r.stage.started == [("g3", 3)]
        await r.stage.end("g3")
        await r.time.advance(3)
        assert await r.text(number) == "started"


async def test_a_play_that_waits_is_stale_some_time_after_its_scheduler_has_gone(
    rig: Make,
) -> None:
    async with rig(busy="queue") as r:
        await r.send("play", 3)
        number = await r.send("play", 13)
        await r.time.advance(1800)
        await r.scheduler.shutdown()
        r.time._native.advance(601)
        assert await r.queue.claim() == []
        assert await r.text(number) == "expired"


async def test_a_play_that_waits_expires_when_its_sender_said_so(rig: Make) -> None:
    async with rig(busy="queue") as r:
        await r.send("play", 3)
        number = await r.send("play", 13, expires_after=60)
        await r.time.advance(62)
        assert await r.text(number) == "expired"
