"""`voicecore.tasks.loop`: the shape of discord.py's, moved by a clock that a test holds."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import gc
import inspect
import logging
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import discord
import discord.ext.tasks as theirs
import pytest
import uvloop

from conftest import Runner
from voicecore import tasks
from voicecore.errors import InvalidArgument, VoicecoreError
from voicecore.tasks import AlreadyRunning, Loop, SystemClock, VirtualClock, WrongType

MIDNIGHT = dt.datetime(2026, 1, 5, tzinfo=dt.UTC).timestamp()
BERLIN = ZoneInfo("Europe/Berlin")


class Ticker:
    """A body that notes when it ran, and does what it is told."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.runs: list[float] = []
        self.then: list[BaseException | float | None] = []

    async def __call__(self) -> None:
        self.runs.append(self.clock.monotonic())
        todo = self.then.pop(0) if self.then else None
        if isinstance(todo, BaseException):
            raise todo
        if todo is not None:
            await self.clock.sleep(todo)

    def loop(self, **settings: object) -> Loop[Callable[[], object]]:  # type: ignore[type-var]
        async def body() -> None:
            await self()

        made: Loop[Callable[[], object]] = tasks.loop(clock=self.clock, **settings)(body)  # type: ignore
        return made


def quiet() -> None:
    """The tests of failures expect what asyncio would print."""
    asyncio.get_running_loop().set_exception_handler(lambda _, __: None)


def test_everything_public_in_discords_loop_is_here() -> None:
    public = {name for name in dir(theirs.Loop) if not name.startswith("_")}
    assert public <= set(dir(Loop))
    assert set(inspect.signature(theirs.loop).parameters) <= set(
        inspect.signature(Loop.__init__).parameters
    )


def test_the_module_needs_no_discord() -> None:
    code = "import sys; sys.modules['discord'] = None; sys.modules['aiohttp'] = None\n"
    code += "from voicecore import tasks; print(tasks.loop)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


# -- the grid --------------------------------------------------------------------------------------


def test_a_thousand_runs_with_bodies_of_any_length_do_not_drift(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        ticker.then = [0.3, 0.7, 1.9] * 400
        loop = ticker.loop(seconds=2)
        loop.start()
        await ticker.clock.advance(2_000)
        assert ticker.runs == [2.0 * k for k in range(1_001)]
        assert loop.missed == 0
        loop.cancel()

    run(main())


@pytest.mark.parametrize(("length", "missed", "following"), [(3.9, 0, 3.9), (4.0, 1, 4.0)])
def test_late_by_less_than_a_period_runs_at_once_and_by_a_whole_one_counts_it(
    run: Runner, length: float, missed: int, following: float
) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        ticker.then = [length]
        loop = ticker.loop(seconds=2)
        loop.start()
        await ticker.clock.advance(7)
        assert ticker.runs == [0.0, following, *[4.0, 6.0][missed:]]
        assert loop.missed == missed
        loop.cancel()

    run(main())


def test_a_blocked_event_loop_is_followed_by_one_run(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        loop = ticker.loop(seconds=2)
        loop.start()
        await ticker.clock.advance(1)
        ticker.clock.jump(100)
        await ticker.clock.advance(3)
        assert ticker.runs == [0.0, 101.0, 102.0, 104.0]
        statistics = loop.statistics()
        assert (statistics.runs, statistics.missed, statistics.lateness_max) == (4, 49, 1.0)
        loop.cancel()

    run(main())


def test_a_body_never_overlaps_itself(run: Runner) -> None:
    async def main() -> None:
        clock, inside, most = VirtualClock(), 0, 0

        async def body() -> None:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await clock.sleep(7)
            inside -= 1

        loop = tasks.loop(seconds=2, clock=clock)(body)
        loop.start()
        await clock.advance(100)
        assert most == 1
        loop.cancel()

    run(main())


def test_a_period_of_zero_lets_others_run(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        loop = ticker.loop(count=1_000)
        task = loop.start()
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        assert len(ticker.runs) == 1_000
        assert turns >= 1_000

    run(main())


def test_minutes_and_hours_add_up(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        loop = ticker.loop(seconds=1, minutes=2, hours=3)
        loop.start()
        await ticker.clock.advance(11_000)
        assert ticker.runs == [0.0, 10_921.0]
        assert (loop.seconds, loop.minutes, loop.hours, loop.time) == (1.0, 2.0, 3.0, None)
        loop.cancel()

    run(main())


def test_the_grid_keeps_time_on_the_real_clock_and_on_uvloop() -> None:
    async def main() -> None:
        clock = SystemClock()
        runs: list[float] = []

        @tasks.loop(seconds=0.02, count=5)
        async def tick() -> None:
            runs.append(clock.monotonic())

        await tick.start()
        assert len(runs) + tick.missed >= 5
        for index, at in enumerate(runs):
            assert at - runs[0] >= index * 0.02 - 0.002 * (index > 0) - runs[0] * 1e-12
        assert abs(clock.wall() - dt.datetime.now(dt.UTC).timestamp()) < 1

    asyncio.run(main())
    uvloop.run(main())


# -- ending ----------------------------------------------------------------------------------------


def test_count_ends_after_the_last_body_and_not_a_period_later(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        loop = ticker.loop(hours=1, count=3)
        task = loop.start()
        await ticker.clock.advance(7_200)
        assert ticker.runs == [0.0, 3_600.0, 7_200.0]
        assert task.done()
        assert not loop.is_running()
        assert loop.next_iteration is None

    run(main())


def test_stop_lets_the_body_finish(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        ticker.then = [5.0]
        loop = ticker.loop(seconds=10)
        task = loop.start()
        await ticker.clock.advance(1)
        loop.stop()
        await ticker.clock.advance(3)
        assert not task.done()
        await ticker.clock.advance(1)
        assert task.done()
        assert loop.statistics().runs == 1

    run(main())


def test_stop_in_before_loop_means_no_run(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        loop = ticker.loop(seconds=1)

        @loop.before_loop
        async def before() -> None:
            loop.stop()

        await loop.start()
        assert ticker.runs == []

    run(main())


def test_stop_ends_a_loop_that_is_waiting_to_retry(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        ticker.then = [OSError("away")]
        loop = ticker.loop(hours=1, retry_delay=lambda _: 60.0)
        task = loop.start()
        await ticker.clock.advance(1)
        loop.stop()
        await ticker.clock.advance(0)
        assert task.done()
        assert ticker.runs == [0.0]

    run(main())


def test_cancel_interrupts_the_body_and_after_loop_knows(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        ticker.then = [100.0]
        loop = ticker.loop(seconds=1)
        seen = []

        @loop.after_loop
        async def after() -> None:
            seen.append((loop.is_being_cancelled(), loop.is_running()))

        task = loop.start()
        await ticker.clock.advance(1)
        loop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == [(True, True)]
        assert not loop.is_being_cancelled()
        assert not loop.failed()

    run(main())


def test_restart_begins_anew_with_new_arguments(run: Runner) -> None:
    async def main() -> None:
        clock, seen = VirtualClock(), []

        @tasks.loop(seconds=10, clock=clock)
        async def body(word: str) -> None:
            seen.append((word, clock.monotonic()))

        body.start("first")
        await clock.advance(13)
        body.restart(word="second")
        await clock.advance(11)
        assert seen == [("first", 0), ("first", 10), ("second", 13), ("second", 23)]
        body.cancel()

    run(main())


def test_a_loop_can_be_started_again_after_each_way_to_end(run: Runner) -> None:
    async def main() -> None:
        quiet()
        ticker = Ticker(VirtualClock())
        loop = ticker.loop(seconds=1, count=1)
        await loop.start()
        ticker.then = [KeyError()]
        with pytest.raises(KeyError):
            await loop.start()
        assert loop.failed()
        loop.start()
        loop.cancel()
        await ticker.clock.advance(0)
        await loop.start()
        assert not loop.failed()
        assert loop not in tasks.unhealthy()
        assert loop.statistics().runs == 2

    run(main())


def test_starting_twice_is_refused(run: Runner) -> None:
    async def main() -> None:
        loop = Ticker(VirtualClock()).loop(seconds=1)
        loop.start()
        with pytest.raises(AlreadyRunning, match="is running"):
            loop.start()
        assert issubclass(AlreadyRunning, RuntimeError)
        loop.cancel()

    run(main())


def test_starting_without_an_event_loop_is_refused_and_leaves_no_coroutine() -> None:
    loop = Ticker(VirtualClock()).loop(seconds=1)
    with pytest.raises(RuntimeError, match="no running event loop"):
        loop.start()
    assert not loop.is_running()


def test_a_loop_that_nobody_refers_to_keeps_running(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        ticker.loop(seconds=1).start()
        gc.collect()
        await ticker.clock.advance(3)
        gc.collect()
        await ticker.clock.advance(3)
        assert len(ticker.runs) == 7

    run(main())


def test_a_body_that_waits_for_what_only_it_knows_is_not_collected(run: Runner) -> None:
    """R22: asyncio holds tasks weakly."""

    async def main() -> None:
        async def body() -> None:
            await asyncio.get_running_loop().create_future()

        task = weakref.ref(tasks.loop(seconds=1)(body).start())
        await asyncio.sleep(0.01)
        gc.collect()
        held = task()
        assert held is not None
        held.cancel()

    run(main())


# -- hooks -----------------------------------------------------------------------------------------


def test_before_loop_runs_once_before_the_first_run_and_delays_the_grid(run: Runner) -> None:
    """R11."""

    async def main() -> None:
        ticker = Ticker(VirtualClock())
        loop = ticker.loop(seconds=2)
        begun = []

        @loop.before_loop
        async def before() -> None:
            begun.append(ticker.clock.monotonic())
            await ticker.clock.sleep(5)

        loop.start()
        await ticker.clock.advance(9)
        assert (begun, ticker.runs) == ([0.0], [5.0, 7.0, 9.0])
        loop.cancel()

    run(main())


def test_a_failing_before_loop_is_loud_and_nothing_runs(run: Runner) -> None:
    async def main() -> None:
        quiet()
        ticker = Ticker(VirtualClock())
        loop = ticker.loop(seconds=2)
        told = []

        @loop.before_loop
        async def before() -> None:
            raise OSError("no database")

        @loop.error
        async def error(what: BaseException) -> None:
            told.append(what)

        with pytest.raises(OSError, match="no database") as raised:
            await loop.start()
        assert told == [raised.value]
        assert loop.failed()
        assert ticker.runs == []

    run(main())


def test_a_failing_error_hook_hides_nothing(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        quiet()
        ticker = Ticker(VirtualClock())
        ticker.then = [KeyError("the bug")]
        loop = ticker.loop(seconds=2)
        ended = []

        @loop.error
        async def error(_: BaseException) -> None:
            raise ZeroDivisionError

        @loop.after_loop
        async def after() -> None:
            ended.append(True)

        with pytest.raises(KeyError, match="the bug"):
            await loop.start()
        assert ended == [True]

    run(main())
    assert any("error hook failed" in record.message for record in caplog.records)


@pytest.mark.parametrize("bug", [KeyError("flush failed"), asyncio.CancelledError()])
def test_a_failing_after_loop_is_as_loud_as_a_failing_body(run: Runner, bug: BaseException) -> None:
    async def main() -> None:
        heard: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: heard.append(context["exception"])
        )
        ticker = Ticker(VirtualClock())
        loop = ticker.loop(seconds=2, count=1)

        @loop.after_loop
        async def after() -> None:
            raise bug

        @loop.error
        async def error(one: BaseException) -> None:
            heard.append(one)

        with pytest.raises(type(bug)):
            await loop.start()
        assert heard == [bug, bug]
        assert loop.failed()
        assert loop in tasks.unhealthy()
        loop.start()
        assert not loop.failed()
        loop.cancel()

    run(main())


def test_a_cancelled_after_loop_is_no_failure(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        loop = ticker.loop(seconds=2, count=1)
        reached = asyncio.Event()

        @loop.after_loop
        async def after() -> None:
            reached.set()
            await asyncio.Event().wait()

        task = loop.start()
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not loop.failed()

    run(main())


def test_an_overridden_loop_can_call_the_one_that_it_overrides(run: Runner) -> None:
    async def main() -> None:
        clock = VirtualClock()
        seen: list[str] = []

        class Base:
            @tasks.loop(seconds=1, clock=clock)
            async def tick(self) -> None:
                seen.append("base")

        class Cog(Base):
            def __init__(self) -> None:
                self.inherited = super().tick

            @tasks.loop(seconds=2, clock=clock)
            async def tick(self) -> None:  # type: ignore[override]
                seen.append("cog")
                await super().tick()

        class Deep(Cog):
            @tasks.loop(seconds=3, clock=clock)
            async def tick(self) -> None:  # type: ignore[override]
                seen.append("deep")
                await super().tick()

        cog, deep = Cog(), Deep()
        cog.tick.start()
        await clock.advance(2)
        assert seen == ["cog", "base"] * 2
        cog.tick.cancel()
        seen.clear()
        await deep.tick()
        assert seen == ["deep", "cog", "base"]
        assert cog.tick is not cog.inherited
        assert cog.inherited is super(Cog, cog).tick

    run(main())


def test_each_instance_has_a_loop_of_its_own(run: Runner) -> None:
    async def main() -> None:
        clock = VirtualClock()

        class Bot:
            def __init__(self, name: str) -> None:
                self.name = name
                self.seen: list[str] = []

            @tasks.loop(seconds=1, clock=clock)
            async def tick(self, word: str) -> None:
                self.seen.append(word)
                raise ZeroDivisionError if word == "bug" else ConnectionError

            @tick.before_loop
            async def before(self) -> None:
                self.seen.append(f"before {self.name}")

            @tick.error
            async def failed(self, error: BaseException) -> None:
                self.seen.append(type(error).__name__)

            tick.add_exception_type(ZeroDivisionError)
            tick.remove_exception_type(OSError)

        quiet()
        one, two = Bot("one"), Bot("two")
        assert one.tick is one.tick
        assert one.tick is not two.tick
        assert isinstance(Bot.tick, Loop)
        one.tick.start("bug")  # recoverable: the list of types is copied too
        await clock.advance(0.5)
        assert one.seen == ["before one", "bug"]
        assert not two.tick.is_running()
        two.tick.start("other")
        await clock.advance(0)
        assert two.seen == ["before two", "other", "ConnectionError"]
        one.tick.cancel()
        with pytest.raises(ConnectionError):
            await two.tick("by hand")
        assert two.seen[-1] == "by hand"

    run(main())


def test_an_instance_that_cannot_keep_a_loop_says_so() -> None:
    class Slim:
        __slots__ = ()

        @tasks.loop(seconds=1)
        async def tick(self) -> None: ...

    with pytest.raises(WrongType, match="__slots__"):
        _ = Slim().tick


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        OSError("x"),
        TimeoutError(),
        ConnectionResetError(),
        aiohttp.ClientError(),
        discord.GatewayNotFound(),  # type: ignore[no-untyped-call]
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_discords_loops_retry_is_retried(run: Runner, error: BaseException) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        ticker.then = [error]
        loop = ticker.loop(hours=1)
        loop.start()
        await ticker.clock.advance(1)
        assert ticker.runs == [0.0, 1.0]
        assert (loop.current_loop, loop.statistics().failures) == (1, 1)
        loop.cancel()

    run(main())


@pytest.mark.parametrize("kind", [KeyError, TypeError, AttributeError, ValueError, VoicecoreError])
def test_a_bug_ends_the_loop_loudly(
    run: Runner, caplog: pytest.LogCaptureFixture, kind: type[Exception]
) -> None:
    """R13, D02."""

    async def main() -> None:
        ticker = Ticker(VirtualClock())
        ticker.then = [kind("a bug")]
        loop = ticker.loop(seconds=1, name="the tick")
        task = loop.start()
        await ticker.clock.advance(5)
        assert ticker.runs == [0.0]
        assert loop.failed()
        assert loop in tasks.unhealthy()
        with pytest.raises(kind):
            await task

    with caplog.at_level(logging.ERROR):
        run(main())
    assert "the tick has ended" in caplog.text


def test_retries_back_off_up_to_the_next_due_time(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        ticker.then = [OSError()] * 12
        loop = ticker.loop(minutes=1)
        loop.start()
        await ticker.clock.advance(61)
        # 1, 2, 4, 8, 16 s; after another 32 s the next minute would be over, so it takes over.
        assert ticker.runs == [0, 1, 3, 7, 15, 31, 60, 61]
        assert loop.missed == 1
        loop.cancel()

    run(main())


def test_the_delay_doubles_from_one_second_to_three_hundred() -> None:
    delays = [tasks.default_retry_delay(failures) for failures in (1, 2, 3, 8, 9, 10, 10_000)]
    assert delays == [1, 2, 4, 128, 256, 300, 300]


def test_a_fast_loop_that_keeps_failing_tries_once_a_second(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        ticker.then = [OSError()] * 1_000
        loop = ticker.loop(seconds=0)
        loop.start()
        await ticker.clock.advance(10)
        assert ticker.runs == list(range(11))
        loop.cancel()

    run(main())


def test_without_reconnect_a_recoverable_error_ends_the_loop(run: Runner) -> None:
    async def main() -> None:
        quiet()
        ticker = Ticker(VirtualClock())
        ticker.then = [OSError("once")]
        loop = ticker.loop(seconds=1, reconnect=False)
        with pytest.raises(OSError, match="once"):
            await loop.start()
        assert loop.failed()

    run(main())


def test_the_list_of_exception_types_can_be_changed() -> None:
    loop = Ticker(VirtualClock()).loop(seconds=1)
    loop.add_exception_type(KeyError, ValueError)
    assert loop.remove_exception_type(KeyError, OSError, aiohttp.ClientError)
    assert not loop.remove_exception_type(KeyError)
    assert ValueError in loop._recoverable()
    assert not set(loop._recoverable()) & {KeyError, OSError, aiohttp.ClientError}
    loop.clear_exception_types()
    assert loop._recoverable() == ()
    for wrong in (KeyError(), int, "OSError"):
        with pytest.raises(TypeError, match="expected exception classes"):
            loop.add_exception_type(wrong)  # type: ignore[arg-type]


def test_cancellation_is_never_retried_whatever_is_listed(run: Runner) -> None:
    """R13: CancelledError is never swallowed."""

    async def main() -> None:
        ticker = Ticker(VirtualClock())
        ticker.then = [100.0]
        loop = ticker.loop(seconds=1)
        loop.add_exception_type(BaseException)
        task = loop.start()
        await ticker.clock.advance(1)
        loop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(ticker.runs) == 1

    run(main())


def test_a_body_that_awaited_something_cancelled_does_not_end_in_silence(run: Runner) -> None:
    async def main() -> None:
        quiet()
        ticker = Ticker(VirtualClock())
        ticker.then = [asyncio.CancelledError()]
        loop = ticker.loop(seconds=1)
        task = loop.start()
        await ticker.clock.advance(3)
        assert task.done()
        assert loop.failed()
        assert loop in tasks.unhealthy()

    run(main())


# -- times of day ----------------------------------------------------------------------------------


def test_a_daily_loop_runs_at_its_times_and_says_for_which(run: Runner) -> None:
    async def main() -> None:
        clock = VirtualClock(MIDNIGHT)
        seen: list[tuple[float, str]] = []
        times = [dt.time(8), dt.time(9, tzinfo=BERLIN)]  # both are 08:00 UTC in winter

        @tasks.loop(time=times, clock=clock)
        async def body() -> None:
            assert body.due is not None
            seen.append((clock.monotonic() / 3_600, body.due.isoformat()))

        body.start()
        await clock.advance(86_400)
        assert [hour for hour, _ in seen] == pytest.approx([8, 8])
        assert [due for _, due in seen] == [
            "2026-01-05T08:00:00+00:00",
            "2026-01-05T09:00:00+01:00",
        ]
        assert body.time == [dt.time(8, tzinfo=dt.UTC), dt.time(9, tzinfo=BERLIN)]
        assert (body.seconds, body.minutes, body.hours) == (None, None, None)
        assert body.next_iteration == dt.datetime(2026, 1, 6, 8, tzinfo=dt.UTC)
        body.cancel()

    run(main())


@pytest.mark.parametrize(("late", "runs"), [(0.0, 1), (119.0, 1), (121.0, 0)])
def test_a_start_within_the_grace_time_still_runs(run: Runner, late: float, runs: int) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock(MIDNIGHT + late))
        loop = ticker.loop(time=dt.time(0))
        loop.start()
        await ticker.clock.advance(10)
        assert len(ticker.runs) == runs
        loop.cancel()

    run(main())


def test_without_grace_a_start_that_is_late_waits_for_tomorrow(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock(MIDNIGHT + 1))
        loop = ticker.loop(time=dt.time(0), misfire_grace_time=0)
        loop.start()
        await ticker.clock.advance(86_400)
        assert ticker.runs == pytest.approx([86_399])
        loop.cancel()

    run(main())


def test_a_restart_in_the_process_does_not_repeat_what_has_run(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock(MIDNIGHT + 1))
        loop = ticker.loop(time=dt.time(0))
        loop.start()
        await ticker.clock.advance(1)
        loop.restart()
        await ticker.clock.advance(60)
        assert len(ticker.runs) == 1
        loop.cancel()

    run(main())


def test_a_run_that_was_cancelled_is_begun_again_by_a_restart(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock(MIDNIGHT))
        ticker.then = [100.0]
        loop = ticker.loop(time=dt.time(0))
        loop.start()
        await ticker.clock.advance(30)
        loop.restart()
        await ticker.clock.advance(1)
        assert ticker.runs == [0.0, 30.0]
        loop.cancel()

    run(main())


@pytest.mark.parametrize("step", [3_600.0, -3_600.0, -90_000.0])
def test_a_stepped_wall_clock_repeats_no_date(run: Runner, step: float) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock(MIDNIGHT + 7 * 3_600))
        loop = ticker.loop(time=dt.time(8))
        loop.start()
        await ticker.clock.advance(5_400)
        ticker.clock.step_wall(step)
        await ticker.clock.advance(7_200)
        assert len(ticker.runs) == (2 if step < -80_000 else 1)  # yesterday had not run yet
        loop.cancel()

    run(main())


def test_a_wall_clock_set_right_after_a_wrong_start_is_noticed_in_seconds(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock(0.0))  # no battery: 1970
        loop = ticker.loop(time=dt.time(8))
        loop.start()
        await ticker.clock.advance(10)
        ticker.clock.step_wall(MIDNIGHT + 8 * 3_600 - 2)
        await ticker.clock.advance(10)
        assert len(ticker.runs) == 1
        assert loop.missed <= 8  # of 56 years
        loop.cancel()

    run(main())


def test_a_bug_in_a_daily_body_is_not_met_again_at_once_by_who_starts_it_again(
    run: Runner,
) -> None:
    async def main() -> None:
        quiet()
        ticker = Ticker(VirtualClock(MIDNIGHT))
        ticker.then = [KeyError()] * 100
        loop = ticker.loop(time=dt.time(0))

        loop.start()
        await ticker.clock.advance(10)
        assert not loop.is_running()
        loop.start()
        await ticker.clock.advance(10)
        assert loop.is_running()  # it waits for tomorrow
        assert len(ticker.runs) == 1
        loop.cancel()

    run(main())


def test_a_clock_set_back_during_retries_does_not_count_the_run_twice(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock(MIDNIGHT - 1))
        ticker.then = [OSError()] * 4
        loop = ticker.loop(time=dt.time(0))
        loop.start()
        await ticker.clock.advance(2.5)
        ticker.clock.step_wall(-60)
        await ticker.clock.advance(120)
        assert (loop.current_loop, loop.missed) == (1, 0)
        loop.cancel()

    run(main())


def test_overdue_times_coalesce_into_the_latest(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock(MIDNIGHT - 1))
        loop = ticker.loop(time=[dt.time(0, 0, second) for second in range(0, 50, 10)])
        loop.start()
        await ticker.clock.advance(0.5)
        ticker.clock.jump(60)
        await ticker.clock.advance(10)
        assert len(ticker.runs) == 1
        assert loop.due == dt.datetime(2026, 1, 5, 0, 0, 40, tzinfo=dt.UTC)
        assert loop.missed == 4
        loop.cancel()

    run(main())


def test_a_suspended_machine_misses_what_is_older_than_the_grace_time(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock(MIDNIGHT))
        loop = ticker.loop(time=dt.time(8))
        loop.start()
        await ticker.clock.advance(3_600)
        ticker.clock.step_wall(10 * 3_600)  # the wall went on, the monotonic clock did not
        await ticker.clock.advance(60)
        assert (ticker.runs, loop.missed) == ([], 1)
        loop.cancel()

    run(main())


def test_a_daily_failure_is_given_up_when_the_next_time_is_due(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock(MIDNIGHT))
        ticker.then = [OSError()] * 3
        loop = ticker.loop(time=[dt.time(0), dt.time(0, 0, 5)])
        loop.start()
        await ticker.clock.advance(6)
        assert ticker.runs == pytest.approx([0, 1, 3, 5])
        assert (loop.current_loop, loop.missed) == (1, 1)
        loop.cancel()

    run(main())


# -- change_interval -------------------------------------------------------------------------------


def test_a_new_period_is_counted_from_the_last_due_time(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        loop = ticker.loop(seconds=100)
        loop.start()
        await ticker.clock.advance(110)
        loop.change_interval(seconds=30)
        await ticker.clock.advance(60)
        assert ticker.runs == [0, 100, 130, 160]
        loop.change_interval(hours=1)
        assert loop.next_iteration == dt.datetime.fromtimestamp(3_760, dt.UTC)
        loop.cancel()

    run(main())


def test_a_new_period_set_by_the_body_holds_for_its_next_run(run: Runner) -> None:
    async def main() -> None:
        clock, runs = VirtualClock(), []

        @tasks.loop(seconds=1, clock=clock)
        async def body() -> None:
            runs.append(clock.monotonic())
            body.change_interval(seconds=len(runs))

        body.start()
        await clock.advance(10)
        assert runs == [0, 1, 3, 6, 10]
        body.cancel()

    run(main())


def test_a_period_and_times_of_day_can_replace_each_other(run: Runner) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock(MIDNIGHT))
        loop = ticker.loop(seconds=10)
        loop.start()
        await ticker.clock.advance(15)
        loop.change_interval(time=dt.time(1))
        await ticker.clock.advance(3_600)
        assert ticker.runs == pytest.approx([0, 10, 3_600])
        loop.change_interval(minutes=1)
        await ticker.clock.advance(61)
        assert ticker.runs == pytest.approx([0, 10, 3_600, 3_675])
        loop.cancel()

    run(main())


# -- arguments -------------------------------------------------------------------------------------


async def nothing() -> None: ...


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"seconds": -1}, ValueError, "interval"),
        ({"seconds": float("nan")}, ValueError, "seconds"),
        ({"seconds": "2"}, ValueError, "expected a number"),
        ({"hours": 10_000}, ValueError, "interval"),
        ({"count": 0}, ValueError, "count"),
        ({"count": 1.5}, ValueError, "count"),
        ({"time": []}, ValueError, "at least one"),
        ({"time": 8}, TypeError, "datetime.time"),
        ({"time": [dt.time(8), "09:00"]}, TypeError, "index 1"),
        ({"time": dt.time(8), "seconds": 1}, TypeError, "combined"),
        ({"time": dt.time(8), "misfire_grace_time": -1}, ValueError, "misfire_grace_time"),
    ],
)
def test_wrong_settings_get_one_clear_error(
    settings: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as raised:
        tasks.loop(**settings)(nothing)  # type: ignore[call-overload]
    assert isinstance(raised.value, InvalidArgument)


def test_only_coroutine_functions_are_taken() -> None:
    def plain() -> None: ...

    with pytest.raises(TypeError, match="async def"):
        tasks.loop(seconds=1)(plain)  # type: ignore
    loop = tasks.loop(seconds=1)(nothing)
    for hook in (loop.before_loop, loop.after_loop, loop.error):
        with pytest.raises(TypeError, match="async def"):
            hook(plain)  # type: ignore


def test_a_refused_change_leaves_the_loop_as_it_was() -> None:
    loop = tasks.loop(seconds=5)(nothing)
    for wrong in ({"seconds": -1}, {"time": "x"}, {"time": dt.time(8), "minutes": 1}):
        with pytest.raises(InvalidArgument):
            loop.change_interval(**wrong)
    assert (loop.seconds, loop.time) == (5.0, None)


def test_a_loop_has_a_name() -> None:
    assert tasks.loop(name="tick")(nothing).name == "tick"
    assert tasks.loop()(nothing).name == "voicecore-tasks: nothing"


async def _twice(seen: list[str], what: str) -> None:
    seen.append(what)


async def test_a_partial_is_a_body_and_names_its_loop() -> None:
    seen: list[str] = []
    body = functools.partial(functools.partial(_twice, seen), "ran")
    loop = tasks.loop(seconds=0, count=2)(body)
    await loop.start()
    assert seen == ["ran", "ran"]
    assert loop.name == "voicecore-tasks: _twice"


class Odd(BaseException):
    pass


async def test_a_listed_base_exception_is_retried_and_one_that_is_not_ends_the_loop() -> None:
    ticker = Ticker(VirtualClock())
    ticker.then = [Odd()]
    loop = ticker.loop(hours=1)
    loop.add_exception_type(Odd)
    task = loop.start()
    quiet()
    await ticker.clock.advance(1)
    assert ticker.runs == [0.0, 1.0]
    loop.remove_exception_type(Odd)
    ticker.then = [Odd()]
    await ticker.clock.advance(3600)
    assert loop.failed()
    with pytest.raises(Odd):
        await task


@pytest.mark.parametrize("ends", [SystemExit, KeyboardInterrupt])
def test_the_end_of_the_process_is_never_retried_whatever_is_listed(
    ends: type[BaseException],
) -> None:
    async def main() -> None:
        ticker = Ticker(VirtualClock())
        ticker.then = [ends()]
        loop = ticker.loop(seconds=0)
        loop.add_exception_type(BaseException)
        await loop.start()

    with pytest.raises(ends):
        asyncio.run(main())


def test_none_is_no_part_of_a_period() -> None:
    loop = tasks.loop(seconds=None, minutes=5, hours=None)(_twice)
    assert (loop.seconds, loop.minutes, loop.hours) == (0, 5, 0)
    loop.change_interval(seconds=None, minutes=1)
    assert (loop.seconds, loop.minutes, loop.hours) == (0, 1, 0)
    loop.change_interval(seconds=None, time=dt.time(8))
    assert loop.time == [dt.time(8, tzinfo=dt.UTC)]


def test_times_of_day_are_sorted() -> None:
    loop = tasks.loop(time=[dt.time(9, tzinfo=BERLIN), dt.time(8), dt.time(7, tzinfo=BERLIN)])
    assert [time.hour for time in loop(_twice).time or ()] == [7, 8, 9]


@pytest.mark.parametrize("when", [{"seconds": 1}, {"time": dt.time(8)}])
async def test_cancel_in_before_loop_runs_after_loop_and_never_the_body(when: Any) -> None:
    seen: list[str] = []

    @tasks.loop(**when)
    async def body() -> None:
        seen.append("body")

    @body.before_loop
    async def before() -> None:
        body.cancel()

    @body.after_loop
    async def after() -> None:
        seen.append(f"after, {body.is_being_cancelled()}")

    with pytest.raises(asyncio.CancelledError):
        await body.start()
    assert seen == ["after, True"]
