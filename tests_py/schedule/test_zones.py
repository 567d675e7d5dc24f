"""The days on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedule.clock import at
from voicecore.errors import InvalidArgument
from voicecore.schedule import (
    CronLine,
    FixedTimes,
    Interval,
    Policy,
    ScheduleEntry,
    UnknownZone,
    next_occurrences,
    occurrences,
)
from voicecore.schedule.zones import changes, resolve, zone_of

BERLIN, YORK, HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
CASABLANCA, PAULO, SAIGON = "Africa/Casablanca", "America/Sao_Paulo", "Asia/Ho_Chi_Minh"

GAPS = [
    (BERLIN, "2026-03-29 02:00", "2026-03-29 01:00"),
    (BERLIN, "2026-03-29 02:30", "2026-03-29 01:00"),
    (BERLIN, "2026-03-29 02:59:59", "2026-03-29 01:00"),
    (YORK, "2026-03-08 02:30", "2026-03-08 07:00"),
    (HOWE, "2025-10-05 02:00", "2025-10-04 15:30"),
    (HOWE, "2025-10-05 02:29", "2025-10-04 15:30"),
    (CASABLANCA, "2024-04-14 02:30", "2024-04-14 02:00"),
    (PAULO, "2018-11-04 00:00", "2018-11-04 03:00"),
    (PAULO, "2018-11-04 00:30", "2018-11-04 03:00"),
]
ONCE = [
    (BERLIN, "2026-03-29 01:59:59", "2026-03-29 00:59:59"),
    (BERLIN, "2026-03-29 03:00", "2026-03-29 01:00"),
    (HOWE, "2025-10-05 01:59", "2025-10-04 15:29"),
    (HOWE, "2025-10-05 02:30", "2025-10-04 15:30"),
    (CASABLANCA, "2024-04-14 01:59", "2024-04-14 01:59"),
    (PAULO, "2018-11-03 23:59", "2018-11-04 02:59"),
    (PAULO, "2018-11-04 01:00", "2018-11-04 03:00"),
    (SAIGON, "2026-03-29 02:30", "2026-03-28 19:30"),
    (SAIGON, "2026-10-25 02:30", "2026-10-24 19:30"),
]
OVERLAPS = [
    (BERLIN, "2026-10-25 02:00", "2026-10-25 00:00", 3600),
    (BERLIN, "2026-10-25 02:59:59", "2026-10-25 00:59:59", 3600),
    (YORK, "2026-11-01 01:30", "2026-11-01 05:30", 3600),
    (HOWE, "2025-04-06 01:30", "2025-04-05 14:30", 1800),
    (HOWE, "2025-04-06 01:59", "2025-04-05 14:59", 1800),
    (CASABLANCA, "2024-03-10 02:30", "2024-03-10 01:30", 3600),
    (PAULO, "2018-02-17 23:30", "2018-02-18 01:30", 3600),
]


def local(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(("zone", "wanted", "instant"), GAPS)
def test_a_time_in_a_gap_comes_at_its_end(zone: str, wanted: str, instant: str) -> None:
    assert resolve(local(wanted), zone_of(zone)) == (at(instant), True)


@pytest.mark.parametrize(("zone", "wanted", "instant"), GAPS)
def test_a_time_in_a_gap_can_be_skipped(zone: str, wanted: str, instant: str) -> None:
    assert resolve(local(wanted), zone_of(zone), gap="skip") is None


@pytest.mark.parametrize(("zone", "wanted", "instant"), ONCE)
def test_a_time_beside_a_gap_is_taken_as_it_is(zone: str, wanted: str, instant: str) -> None:
    assert resolve(local(wanted), zone_of(zone), gap="skip") == (at(instant), False)


@pytest.mark.parametrize(("zone", "wanted", "instant", "apart"), OVERLAPS)
def test_a_time_that_comes_twice_is_taken_on_the_pass_that_was_chosen(
    zone: str, wanted: str, instant: str, apart: int
) -> None:
    there = zone_of(zone)
    assert resolve(local(wanted), there) == (at(instant), False)
    assert resolve(local(wanted), there, overlap="second") == (at(instant) + apart, False)


def test_a_gap_that_ends_at_midnight_keeps_the_date_that_was_wanted() -> None:
    entry = ScheduleEntry("late", FixedTimes(["23:30"], ["sat"]), "America/Nuuk")
    (one,) = next_occurrences(entry, 1, at("2024-03-30 12:00"))
    assert (one.slot, one.due, one.shifted) == ("2024-03-30 23:30", at("2024-03-31 01:00"), True)


def test_a_date_that_a_zone_never_had_has_no_occurrence() -> None:
    entry = ScheduleEntry("Samoa", FixedTimes(["00:00", "08:00"]), "Pacific/Apia")
    found = occurrences(entry, at("2011-12-29 12:00"), at("2011-12-31 00:00"))
    assert [one.slot for one in found] == [
        "2011-12-29 08:00",
        "2011-12-31 00:00",
        "2011-12-31 08:00",
    ]


def test_a_window_that_begins_with_a_change_has_what_was_shifted_there() -> None:
    entry = ScheduleEntry("early", FixedTimes(["02:30"]), BERLIN)
    change = at("2026-03-29 01:00")
    assert [one.slot for one in occurrences(entry, change, change + 1)] == ["2026-03-29 02:30"]


def test_a_window_that_begins_between_two_passes_has_the_second() -> None:
    policy = Policy(overlap="second")
    entry = ScheduleEntry("early", FixedTimes(["02:10"]), BERLIN, policy=policy)
    found = occurrences(entry, at("2026-10-25 00:50"), at("2026-10-25 12:00"))
    assert [one.due for one in found] == [at("2026-10-25 01:10")]


def test_an_interval_follows_elapsed_time_across_a_change() -> None:
    entry = ScheduleEntry("hourly", Interval(3600), BERLIN)
    found = occurrences(entry, at("2026-10-24 22:00"), at("2026-10-25 04:00"))
    assert [one.due for one in found] == [at("2026-10-24 22:00") + 3600 * k for k in range(6)]


def test_an_hourly_cron_line_runs_in_both_passes_and_not_in_a_gap() -> None:
    entry = ScheduleEntry("hourly", CronLine("30 * * * *"), BERLIN)
    autumn = occurrences(entry, at("2026-10-24 23:00"), at("2026-10-25 03:00"))
    hours = [f"{one.local(BERLIN):%H:%M %Z}" for one in autumn]
    assert hours == ["01:30 CEST", "02:30 CEST", "02:30 CET", "03:30 CET"]
    spring = occurrences(entry, at("2026-03-29 00:00"), at("2026-03-29 02:00"))
    assert [f"{one.local(BERLIN):%H:%M}" for one in spring] == ["01:30", "03:30"]


def test_a_half_hour_change_does_not_lose_an_hourly_cron_line() -> None:
    entry = ScheduleEntry("hourly", CronLine("0 * * * *"), HOWE)
    found = occurrences(entry, at("2025-10-04 14:00"), at("2025-10-04 18:00"))
    hours = [f"{one.local(HOWE):%H:%M}" for one in found]
    assert hours == ["01:00", "03:00", "04:00"]  # 02:00 fell into the gap


def test_a_cron_line_at_a_fixed_time_runs_once_on_both_days() -> None:
    entry = ScheduleEntry("early", CronLine("30 2 * * *"), BERLIN)
    spring = occurrences(entry, at("2026-03-28 12:00"), at("2026-03-29 12:00"))
    autumn = occurrences(entry, at("2026-10-24 12:00"), at("2026-10-25 12:00"))
    assert [one.due for one in spring] == [at("2026-03-29 01:00")]
    assert [one.due for one in autumn] == [at("2026-10-25 00:30")]


def test_skip_and_second_are_selectable_per_entry() -> None:
    rule = FixedTimes(["02:30"])
    entry = ScheduleEntry("early", rule, BERLIN, policy=Policy(gap="skip", overlap="second"))
    assert occurrences(entry, at("2026-03-28 12:00"), at("2026-03-29 12:00")) == []
    (one,) = occurrences(entry, at("2026-10-24 12:00"), at("2026-10-25 12:00"))
    assert one.due == at("2026-10-25 01:30")


@pytest.mark.parametrize("zone", [BERLIN, YORK, HOWE, CASABLANCA, PAULO, SAIGON, "Africa/Cairo"])
def test_changes_are_found_to_the_second(zone: str) -> None:
    there, start, end = zone_of(zone), int(at("2018-01-01 00:00")), int(at("2020-01-01 00:00"))
    found = {change for change, _, _ in changes(there, start, end)}
    slow = set()
    for second in range(start, end, 900):  # no change of these years is off the quarter hour
        before = datetime.fromtimestamp(second - 1, there).utcoffset()
        if datetime.fromtimestamp(second, there).utcoffset() != before:
            slow.add(second)
    assert found == slow
    assert bool(found) == (zone not in (SAIGON, "Africa/Cairo"))


@given(
    st.datetimes(datetime(1972, 1, 1), datetime(2100, 1, 1)).map(
        lambda d: d.replace(microsecond=0)
    ),
    st.sampled_from([BERLIN, YORK, HOWE, CASABLANCA, PAULO, SAIGON, "Pacific/Apia"]),
)
def test_a_resolved_time_reads_as_wanted_or_is_the_first_valid_one_after(
    naive: datetime, zone: str
) -> None:
    there = ZoneInfo(zone)
    placed = resolve(naive, there)
    if placed is None:
        assert zone == "Pacific/Apia"
        return
    due, shifted = placed
    read = datetime.fromtimestamp(due, UTC).astimezone(there).replace(tzinfo=None)
    if not shifted:
        assert read == naive
        return
    assert read > naive
    just_before = datetime.fromtimestamp(due - 1, UTC).astimezone(there).replace(tzinfo=None)
    assert just_before < naive
    assert read - just_before > timedelta(seconds=1)


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "Europe", "a\0b", 3, None])
def test_an_unknown_zone_is_refused_by_name(name: object) -> None:
    with pytest.raises(UnknownZone, match="zone"):
        ScheduleEntry("x", FixedTimes(["08:00"]), name)  # type: ignore[arg-type]


def test_a_naive_datetime_is_no_instant() -> None:
    entry = ScheduleEntry("x", FixedTimes(["08:00"]))
    with pytest.raises(InvalidArgument, match="without a zone"):
        next_occurrences(entry, 1, datetime(2026, 1, 1))
