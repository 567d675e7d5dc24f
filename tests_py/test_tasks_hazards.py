"""Eleven hazards of `discord.ext.tasks`, each shown there and absent in `voicecore.tasks`.

Both libraries run the same body on the same event loop, whose time is virtual: instead of waiting
for a timer it moves to it. discord.py reads the wall clock through the `datetime` module in two
places (`discord.ext.tasks` and `discord.utils`); these two names are patched to the virtual wall,
as is the random part of its back-off. Nothing else of it is touched.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import selectors
import types
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import discord
import discord.backoff
import discord.ext.tasks as theirs
import pytest

import voicecore.tasks as ours

SAIGON = ZoneInfo("Asia/Ho_Chi_Minh")
LONDON, BERLIN = ZoneInfo("Europe/London"), ZoneInfo("Europe/Berlin")  # London is UTC in winter
BEGINNING = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
HOUR, DAY = 3_600.0, 86_400.0


class JumpingSelector(selectors.DefaultSelector):
    """Never waits: what would have been waited for is added to `now`.

    A little more is added, as on a machine, where no timer ends exactly when it is due: discord.py
    spins for ever when one does.
    """

    now = 0.0
    late = 0.000_1

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout > 0:
            self.now += timeout + self.late
        return super().select(0)


class World(asyncio.SelectorEventLoop):
    """An event loop on virtual time, with a wall clock that can be stepped; also our `Clock`."""

    def __init__(self) -> None:
        self.jumping = JumpingSelector()
        super().__init__(self.jumping)
        self.offset = BEGINNING.timestamp()

    def time(self) -> float:
        return self.jumping.now

    def monotonic(self) -> float:
        return self.time()

    def wall(self) -> float:
        return self.offset + self.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def at(self, instant: dt.datetime) -> None:
        """Set the wall clock."""
        self.offset = instant.timestamp() - self.time()


class Subject:
    """One of the two libraries, with what a test may ask of either."""

    def __init__(self, world: World, module: types.ModuleType) -> None:
        self.world = world
        self.module = module
        self.runs: list[float] = []
        self.walls: list[str] = []

    def loop(
        self, body: Callable[[], Awaitable[None]] | None = None, **settings: Any
    ) -> ours.Loop[Any]:
        """A loop whose runs are noted; typed as ours, since the shape is the same."""

        async def noted() -> None:
            self.runs.append(round(self.world.time(), 2))
            wall = dt.datetime.fromtimestamp(self.world.wall(), dt.UTC)
            self.walls.append(f"{wall:%d %H:%M:%S}")
            if body is not None:
                await body()

        if self.module is ours:
            settings["clock"] = self.world
        made: ours.Loop[Any] = self.module.loop(**settings)(noted)
        return made

    def most_within(self, seconds: float) -> int:
        """The largest number of runs that began within any `seconds`."""
        return max(sum(a <= b <= a + seconds for b in self.runs) for a in self.runs)


class Worlds:
    """Runs one scenario against both libraries, each in a world of its own."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = lambda: 0.0

    def both(
        self, scenario: Callable[[Subject], Coroutine[Any, Any, None]]
    ) -> tuple[Subject, Subject]:
        subjects = []
        for module in (theirs, ours):
            world = World()
            self.now = world.wall
            subject = Subject(world, module)
            try:
                world.run_until_complete(scenario(subject))
                world.run_until_complete(asyncio.sleep(0))  # what was cancelled ends
            finally:
                world.close()
            subjects.append(subject)
        return subjects[0], subjects[1]


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worlds]:
    made = Worlds()

    class VirtualDatetime(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> VirtualDatetime:
            return cls.fromtimestamp(made.now(), tz)

    virtual = types.SimpleNamespace(
        datetime=VirtualDatetime, time=dt.time, timedelta=dt.timedelta, timezone=dt.timezone
    )
    monkeypatch.setattr(theirs, "datetime", virtual)
    monkeypatch.setattr(discord.utils, "datetime", virtual)
    monkeypatch.setattr(discord.backoff.ExponentialBackoff, "delay", lambda _: 1.0)
    logging.getLogger("discord.ext.tasks").setLevel(logging.CRITICAL)
    yield made
    logging.getLogger("discord.ext.tasks").setLevel(logging.NOTSET)


def hours_of(walls: Sequence[str], day: int) -> list[str]:
    return [wall[3:] for wall in walls if wall.startswith(f"{day:02}")]


def test_a_body_of_61_seconds_in_a_2_second_loop_is_not_followed_by_a_burst(
    worlds: Worlds,
) -> None:
    missed = []

    async def scenario(subject: Subject) -> None:
        async def slow_once() -> None:
            if len(subject.runs) == 1:
                await asyncio.sleep(61)

        loop = subject.loop(slow_once, seconds=2)
        loop.start()
        await asyncio.sleep(69)
        loop.cancel()
        missed.append(getattr(loop, "missed", None))

    there, here = worlds.both(scenario)
    assert there.most_within(0.001) == 30
    assert here.most_within(0.001) == 1
    assert here.runs == [0, 61, 62, 64, 66, 68]  # the grid is kept, and 2 to 58 are counted
    assert missed[1] == 29


def test_a_wall_clock_that_is_set_forward_an_hour_causes_no_run(worlds: Worlds) -> None:
    async def scenario(subject: Subject) -> None:
        loop = subject.loop(seconds=2)
        loop.start()
        await asyncio.sleep(11)
        subject.world.offset += HOUR
        await asyncio.sleep(8)
        loop.cancel()

    there, here = worlds.both(scenario)
    assert there.most_within(1) >= 1_800
    assert here.runs == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]


def test_a_wall_clock_that_is_set_back_an_hour_delays_no_run(worlds: Worlds) -> None:
    async def scenario(subject: Subject) -> None:
        loop = subject.loop(seconds=2)
        loop.start()
        await asyncio.sleep(11)
        subject.world.offset -= HOUR
        await asyncio.sleep(HOUR - 10)
        loop.cancel()

    there, here = worlds.both(scenario)
    assert [run for run in there.runs if run > 13] == []
    assert here.runs == list(range(0, 3_601, 2))


def test_a_daily_job_that_fails_is_retried_that_day_and_runs_once_the_next(
    worlds: Worlds,
) -> None:
    async def scenario(subject: Subject) -> None:
        async def fails_once() -> None:
            if len(subject.runs) == 1:
                raise OSError("the network is away")

        loop = subject.loop(fails_once, time=dt.time(8))
        loop.start()
        await asyncio.sleep(3 * DAY)
        loop.cancel()

    there, here = worlds.both(scenario)
    assert there.walls == ["05 08:00:00", "06 08:00:00", "06 08:00:00", "07 08:00:00"]
    assert here.walls == ["05 08:00:00", "05 08:00:01", "06 08:00:00", "07 08:00:00"]


def test_stop_while_it_waits_does_not_run_the_body_once_more(worlds: Worlds) -> None:
    ended = []

    async def scenario(subject: Subject) -> None:
        loop = subject.loop(seconds=10)
        task = loop.start()
        await asyncio.sleep(15)
        loop.stop()
        await task
        ended.append(round(subject.world.time(), 2))

    there, here = worlds.both(scenario)
    assert (there.runs, here.runs) == ([0, 10, 20], [0, 10])
    assert ended == [20, 15]


def test_change_interval_before_the_first_run_is_obeyed(worlds: Worlds) -> None:
    async def scenario(subject: Subject) -> None:
        loop = subject.loop(time=dt.time(23))
        loop.start()
        await asyncio.sleep(HOUR)
        loop.change_interval(time=dt.time(10))
        await asyncio.sleep(DAY - HOUR)
        loop.cancel()

    there, here = worlds.both(scenario)
    assert there.walls == ["05 23:00:00"]
    assert here.walls == ["05 10:00:00"]


def test_two_times_in_different_zones_both_run_every_day(worlds: Worlds) -> None:
    async def scenario(subject: Subject) -> None:
        times = [dt.time(8, tzinfo=LONDON), dt.time(9, tzinfo=SAIGON)]  # 09:00 there is 02:00 UTC
        loop = subject.loop(time=times)
        loop.start()
        await asyncio.sleep(3 * DAY)
        loop.cancel()

    there, here = worlds.both(scenario)
    assert there.walls == ["05 08:00:00", "06 08:00:00", "07 08:00:00"]
    for day in (5, 6, 7):
        assert hours_of(here.walls, day) == ["02:00:00", "08:00:00"]


def test_two_equal_times_in_two_zones_are_two_runs(worlds: Worlds) -> None:
    async def scenario(subject: Subject) -> None:
        loop = subject.loop(time=[dt.time(8, tzinfo=LONDON), dt.time(8, tzinfo=SAIGON)])
        loop.start()
        await asyncio.sleep(2 * DAY)
        loop.cancel()

    there, here = worlds.both(scenario)
    assert [len(hours_of(there.walls, day)) for day in (5, 6)] == [1, 1]
    for day in (5, 6):
        assert hours_of(here.walls, day) == ["01:00:00", "08:00:00"]


def test_a_restart_one_second_late_does_not_lose_the_day(worlds: Worlds) -> None:
    async def scenario(subject: Subject) -> None:
        subject.world.at(dt.datetime(2026, 1, 5, 8, 0, 1, tzinfo=dt.UTC))
        loop = subject.loop(time=dt.time(8))
        loop.start()
        await asyncio.sleep(DAY)
        loop.cancel()

    there, here = worlds.both(scenario)
    assert there.walls == ["06 08:00:00"]
    assert here.walls == ["05 08:00:01", "06 08:00:00"]


def test_on_the_day_of_the_gap_three_o_clock_is_not_lost(worlds: Worlds) -> None:
    async def scenario(subject: Subject) -> None:
        # On 29 March clocks in Berlin go from 02:00 to 03:00, which is 01:00 UTC.
        subject.world.at(dt.datetime(2026, 3, 28, 12, tzinfo=dt.UTC))
        times = [dt.time(2, 30, tzinfo=BERLIN), dt.time(3, tzinfo=BERLIN)]
        loop = subject.loop(time=times)
        loop.start()
        await asyncio.sleep(2 * DAY)
        loop.cancel()

    there, here = worlds.both(scenario)
    assert hours_of(there.walls, 29) == ["01:30:00"]  # 02:30 became 03:30; 03:00 never came
    assert hours_of(here.walls, 29) == ["01:00:00", "01:00:00"]  # both, at the first valid instant
    assert hours_of(there.walls, 30) == hours_of(here.walls, 30) == ["00:30:00", "01:00:00"]


def test_an_unexpected_error_is_not_silent_even_with_an_error_hook(worlds: Worlds) -> None:
    told: list[list[str]] = []

    async def scenario(subject: Subject) -> None:
        heard: list[str] = []
        told.append(heard)
        subject.world.set_exception_handler(lambda _, context: heard.append(context["message"]))

        async def buggy() -> None:
            raise KeyError("a bug")

        loop = subject.loop(buggy, seconds=2)

        @loop.error
        async def quiet(error: BaseException) -> None:
            pass

        loop.start()
        await asyncio.sleep(10)
        assert not loop.is_running()  # it stays down in both: D02
        assert loop.failed()
        if subject.module is ours:
            assert loop in ours.unhealthy()
            task = loop.get_task()
            assert task is not None
            with pytest.raises(KeyError):
                await task

    there, here = worlds.both(scenario)
    assert (len(there.runs), len(here.runs)) == (1, 1)
    assert told[0] == []
    assert len(told[1]) == 1
    assert "has ended: KeyError" in told[1][0]
