"""Times of day as instants: each local date once, whatever clocks do there."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecore.tasks import _times
from voicecore.tasks._plans import Daily, Grid
from voicecore.tasks.clock import VirtualClock

# Gaps and overlaps of an hour and of half an hour, at midnight and across it, north and south.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "America/Nuuk",
    "Asia/Ho_Chi_Minh",
)
zones = st.sampled_from(ZONES).map(ZoneInfo)
times = st.times()
dates = st.dates(dt.date(2025, 1, 1), dt.date(2027, 12, 31))


def utc(instant: float) -> str:
    return f"{dt.datetime.fromtimestamp(instant, dt.UTC):%Y-%m-%d %H:%M:%S}"


def due(zone: str, date: str, time: str) -> str | None:
    slot = _times.Slot(dt.time.fromisoformat(time), ZoneInfo(zone))
    found = _times.occurrence(slot, dt.date.fromisoformat(date))
    return None if found is None else utc(found.instant)


@pytest.mark.parametrize(
    ("zone", "date", "time", "expected"),
    [
        ("Asia/Ho_Chi_Minh", "2026-03-29", "08:00", "2026-03-29 01:00:00"),
        ("Europe/Berlin", "2026-03-29", "01:59:59", "2026-03-29 00:59:59"),
        ("Europe/Berlin", "2026-03-29", "02:00", "2026-03-29 01:00:00"),
        ("Europe/Berlin", "2026-03-29", "02:59:59.5", "2026-03-29 01:00:00"),
        ("Europe/Berlin", "2026-03-29", "03:00", "2026-03-29 01:00:00"),
        ("Europe/Berlin", "2026-03-29", "03:00:01", "2026-03-29 01:00:01"),
        ("Europe/Berlin", "2026-10-25", "01:59:59", "2026-10-24 23:59:59"),
        ("Europe/Berlin", "2026-10-25", "02:00", "2026-10-25 00:00:00"),
        ("Europe/Berlin", "2026-10-25", "02:59:59", "2026-10-25 00:59:59"),
        ("Europe/Berlin", "2026-10-25", "03:00", "2026-10-25 02:00:00"),
        ("Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03 15:30:00"),  # half an hour
        ("Africa/Cairo", "2026-04-24", "00:30", "2026-04-23 22:00:00"),  # the gap at midnight
        ("America/Nuuk", "2026-03-28", "23:30", "2026-03-29 01:00:00"),  # the gap before midnight
        ("Pacific/Apia", "2011-12-29", "12:00", "2011-12-29 22:00:00"),
        ("Pacific/Apia", "2011-12-30", "12:00", None),  # a date that Samoa did not have
    ],
)
def test_a_local_time_is_due_at(zone: str, date: str, time: str, expected: str | None) -> None:
    assert due(zone, date, time) == expected


@given(zone=zones, time=times, date=dates)
def test_an_occurrence_is_the_first_instant_that_shows_its_time_or_later(
    zone: ZoneInfo, time: dt.time, date: dt.date
) -> None:
    found = _times.occurrence(_times.Slot(time, zone), date)
    assert found is not None
    naive = dt.datetime.combine(date, time)

    def shown(instant: float) -> dt.datetime:
        moment = dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(seconds=instant)
        return moment.astimezone(zone).replace(tzinfo=None)

    assert shown(found.instant) >= naive - dt.timedelta(microseconds=1)
    for earlier in (0.001, 1, 1_800, 3_600, 7_200):
        assert shown(found.instant - earlier) < naive


@pytest.mark.parametrize("time", ["00:00", "00:30", "02:00", "02:15", "02:30", "03:00", "23:30"])
def test_in_a_year_each_local_date_of_six_zones_comes_once(time: str) -> None:
    slots = [_times.Slot(dt.time.fromisoformat(time), ZoneInfo(zone)) for zone in ZONES]
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()
    found = _times.between(slots, begin, begin + 365 * 86_400)
    counted = Counter((one.slot, one.date) for one in found)
    assert set(counted.values()) == {1}
    for slot in slots:
        assert sum(key[0] == slot for key in counted) == 365


@given(zone=zones, time=times, date=dates, cut=st.floats(0, 1))
def test_no_occurrence_falls_between_two_looks(
    zone: ZoneInfo, time: dt.time, date: dt.date, cut: float
) -> None:
    slots = [_times.Slot(time, zone)]
    begin = dt.datetime.combine(date, dt.time(), dt.UTC).timestamp()
    end = begin + 3 * 86_400
    middle = begin + cut * (end - begin)
    whole = _times.between(slots, begin, end)
    assert _times.between(slots, begin, middle) + _times.between(slots, middle, end) == whole


@given(
    period=st.floats(0.01, 3_600),
    pauses=st.lists(st.floats(0, 20_000), min_size=1, max_size=20),
)
def test_runs_and_missed_account_for_every_deadline_and_none_drifts(
    period: float, pauses: list[float]
) -> None:
    clock = VirtualClock()
    skipped: list[int] = []
    grid = Grid(skipped.append, period, clock.monotonic())
    runs = 0
    for pause in pauses:
        clock.jump(pause)
        if grid.wait(clock) > 0:
            continue
        late = grid.take(clock)
        runs += 1
        assert 0 <= late < period * (1 + 1e-9) + 1e-9
        assert grid.index == runs + sum(skipped)
        assert grid.deadline == grid.epoch + grid.index * period
        assert grid.deadline > clock.monotonic() - period * 1e-9 - 1e-9


@given(
    steps=st.lists(st.floats(-4 * 3_600, 4 * 3_600), max_size=12),
    time=times,
    zone=zones,
)
def test_no_local_date_runs_twice_however_the_wall_clock_is_stepped(
    steps: list[float], time: dt.time, zone: ZoneInfo
) -> None:
    begin = dt.datetime(2026, 3, 27, tzinfo=dt.UTC).timestamp()
    clock = VirtualClock(begin)
    plan = Daily(lambda _: None, [_times.Slot(time, zone)], set(), 120.0, begin)
    ran = []
    for step in [*steps, 0.0, 0.0]:
        for _ in range(60):
            clock.jump(600)
            if plan.wait(clock) <= 0:
                plan.take(clock)
                assert plan.running is not None
                ran.append(plan.running.date)
                plan.finish()
        clock.step_wall(step)
    assert len(set(ran)) == len(ran)
