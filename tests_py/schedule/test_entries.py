"""What an entry may be, and what it is due at on ordinary days."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedule.clock import at
from voicecore.errors import InvalidArgument, VoicecoreError
from voicecore.schedule import (
    CronLine,
    FixedTimes,
    Interval,
    Policy,
    Rule,
    ScheduleEntry,
    next_occurrences,
    occurrences,
)
from voicecore.schedule.occurrences import iterate, last_occurrences

YOGA = ScheduleEntry("Yoga", FixedTimes(["08:00"]), "Asia/Ho_Chi_Minh")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "control"),
        ({"name": "x" * 1001}, "1,000"),
        ({"rule": "daily"}, "FixedTimes"),
        ({"remind_minutes": -1}, "0 to 10080"),
        ({"remind_minutes": True}, "integer"),
        ({"key": "*"}, "every key"),
        ({"key": ""}, "key"),
        ({"voice_channel_id": 0}, "voice_channel_id"),
        ({"text_channel_id": 2**63}, "text_channel_id"),
        ({"files": "song.mp3"}, "list"),
        ({"files": ["a\udcff"]}, "UTF-8"),
        ({"files": [""]}, "paths"),
        ({"enabled": 1}, "True or False"),
        ({"policy": {}}, "Policy"),
        ({"generation": 0}, "generation"),
    ],
)
def test_a_wrong_value_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        replace(YOGA, **change)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, VoicecoreError)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FixedTimes([]), "at least one"),
        (lambda: FixedTimes("08:00"), "lists"),
        (lambda: FixedTimes(["8:00"]), "HH:MM"),
        (lambda: FixedTimes(["24:00"]), "23:59:59"),
        (lambda: FixedTimes([time(8, tzinfo=UTC)]), "no zone"),
        (lambda: FixedTimes([time(8, 0, 0, 1)]), "whole seconds"),
        (lambda: FixedTimes(["08:00"], []), "days"),
        (lambda: FixedTimes(["08:00"], ["monday"]), "mon, tue"),
        (lambda: FixedTimes(["08:00"], first="2026-02-30"), "date"),
        (lambda: FixedTimes(["08:00"], first="2026-02-02", last="2026-02-01"), "or later"),
        (lambda: Interval(0), "1 to"),
        (lambda: Interval(1.5), "integer"),  # type: ignore[arg-type]
        (lambda: Interval(60, -1), "anchor"),
        (lambda: CronLine("61 * * * *"), "Bad minute"),
        (lambda: CronLine("* * * *"), "fields"),
        (lambda: CronLine("0 0 30 2 *"), "Bad day-of-month"),
        (lambda: CronLine(""), "fields"),
        (lambda: CronLine("@daily"), "fields"),
        (lambda: CronLine("٣ * * * *"), "cron"),
        (lambda: Policy(gap="jump"), "shift or skip"),  # type: ignore[arg-type]
        (lambda: Policy(misfire_grace_time=0), "1 to"),
        (lambda: Policy(misfire_grace_time=math.nan), "misfire"),
    ],
)
def test_a_wrong_rule_or_policy_is_refused_with_what_was_expected(make: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        make()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"rule": {"times": ["08:00"]}}, "no name"),
        ({"name": "x"}, "no rule"),
        ({"name": "x", "rule": {}}, "one of times"),
        ({"name": "x", "rule": {"times": ["08:00"], "every": 3}}, "one of times"),
        ({"name": "x", "rule": {"times": ["08:00"], "day": ["mon"]}}, "'day'"),
        ({"name": "x", "rule": {"times": ["08:00"]}, "polcy": {}}, "'polcy'"),
        ({"name": "x", "rule": {"times": ["08:00"]}, "policy": {"grace": 3}}, "'grace'"),
        ({"name": "x", "rule": {"times": "08:00"}}, "lists"),
        ({"name": "x", "rule": {"times": ["08:00"]}, "files": "a"}, "list"),
        (3, "table"),
    ],
)
def test_a_misspelt_record_is_refused_not_ignored(record: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        ScheduleEntry.from_dict(record)


def test_times_and_days_are_sorted_and_without_repeats() -> None:
    rule = FixedTimes(["20:00", time(8), "08:00"], ["SUN", "mon", "mon"])
    assert (rule.times, rule.days) == ((time(8), time(20)), ("mon", "sun"))


def test_a_number_as_key_is_its_text() -> None:
    assert replace(YOGA, key=123).key == "123"  # type: ignore[arg-type]


def test_fixed_times_come_on_their_days_only() -> None:
    entry = replace(YOGA, rule=FixedTimes(["08:00", "20:30"], ["mon", "fri"]))
    found = next_occurrences(entry, 4, at("2026-06-01 00:30"))  # a Monday, 07:30 there
    assert [one.slot for one in found] == [
        "2026-06-01 08:00",
        "2026-06-01 20:30",
        "2026-06-05 08:00",
        "2026-06-05 20:30",
    ]
    assert found[0].due == at("2026-06-01 01:00")


def test_first_and_last_date_are_both_included() -> None:
    for rule in (
        FixedTimes(["08:00"], first="2026-06-03", last=date(2026, 6, 4)),
        CronLine("0 8 * * *", date(2026, 6, 3), date(2026, 6, 4)),
    ):
        found = next_occurrences(replace(YOGA, rule=rule), 9, at("2026-06-01 00:00"))
        assert [one.slot for one in found] == ["2026-06-03 08:00", "2026-06-04 08:00"]
    busy = CronLine("*/30 * * * *", date(2026, 6, 3), date(2026, 6, 3))
    found = next_occurrences(replace(YOGA, rule=busy), 99, at("2026-06-01 00:00"))
    assert len(found) == 48


def test_an_interval_never_comes_before_its_anchor() -> None:
    entry = replace(YOGA, rule=Interval(90, int(at("2026-06-01 00:00"))))
    found = next_occurrences(entry, 2, 0.0)
    assert [one.due for one in found] == [at("2026-06-01 00:00"), at("2026-06-01 00:01:30")]
    assert found[1].slot == f"I{int(found[1].due)}"


def test_the_bounds_of_a_window_are_half_open() -> None:
    due = at("2026-06-01 01:00")
    assert len(occurrences(YOGA, due, due + 1)) == 1
    assert occurrences(YOGA, due - 86_000, due) == []
    assert [one.due for one in next_occurrences(YOGA, 1, due)] == [due + 86_400]
    assert [one.due for one in next_occurrences(YOGA, 1, due - 0.001)] == [due]


def test_a_line_that_never_comes_ends_instead_of_searching_for_ever() -> None:
    never = replace(YOGA, rule=CronLine("0 0 */20 * 1L"))
    assert next_occurrences(never, 1, at("2026-06-01 00:00")) == []


@pytest.mark.parametrize(
    ("line", "same_as"),
    [
        ("0 8 4-4/3 * *", "0 8 4 * *"),
        ("0 8 4-04/3,20 * *", "0 8 4,20 * *"),
        ("0 8 * * MON-1/2", "0 8 * * MON"),
        ("0 8 * jan-jan/5 *", "0 8 * 1 *"),
        ("0-0/15 8 * * *", "0 8 * * *"),
        ("0-0/15 0 8 * * *", "0 8 * * *"),
        ("0 8 1-31/40 * FRI", "0 8 1 * FRI"),
        ("0 8 */40 * FRI", "0 8 */31 * FRI"),
        ("*/5 8-8/2 * * *", "*/5 8 * * *"),
        ("0 8 */31 * */7", "0 8 */31 * SUN"),
    ],
)
def test_a_step_over_a_range_of_one_value_is_that_value(line: str, same_as: str) -> None:
    def slots(rule: CronLine) -> list[str]:
        entry = ScheduleEntry("Yoga", rule)
        return [one.slot for one in next_occurrences(entry, 40, 1_750_000_000)]

    assert slots(CronLine(line)) == slots(CronLine(same_as))


def test_a_step_over_a_range_of_one_value_is_refused_where_it_never_comes() -> None:
    CronLine("0 8 30 2/1 *")
    for line in ("0 8 30 2-2/1 *", "0 8 4-4/0 * *"):
        with pytest.raises(InvalidArgument):
            CronLine(line)


def test_a_cron_line_counts_as_debian_does() -> None:
    entry = ScheduleEntry("x", CronLine("0 8 1,15 * MON"))  # either of the days
    found = next_occurrences(entry, 4, at("2026-06-01 00:00"))
    assert [one.slot[:10] for one in found] == [
        "2026-06-01",
        "2026-06-08",
        "2026-06-15",
        "2026-06-22",
    ]


RULES: st.SearchStrategy[Rule] = st.one_of(
    st.builds(
        FixedTimes,
        st.lists(st.times().map(lambda t: t.replace(microsecond=0)), min_size=1, max_size=4),
        st.lists(st.sampled_from(["mon", "wed", "sat", "sun"]), min_size=1),
    ),
    st.builds(Interval, st.integers(60, 400_000), st.integers(0, 2_000_000_000)),
    st.sampled_from(
        ["*/7 * * * *", "30 2 * * *", "0 1-3 * * SUN", "15 0 L * *", "5 */2 * * *"]
    ).map(CronLine),
)
ENTRIES = st.builds(
    ScheduleEntry,
    name=st.just("x"),
    rule=RULES,
    zone=st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC"]),
    policy=st.builds(
        Policy, gap=st.sampled_from(["shift", "skip"]), overlap=st.sampled_from(["first", "second"])
    ),
)
INSTANTS = st.integers(int(at("2016-01-01 00:00")), int(at("2030-01-01 00:00")))


@given(ENTRIES, INSTANTS, st.integers(0, 5 * 86_400), st.integers(0, 5 * 86_400))
def test_two_windows_side_by_side_hold_what_the_whole_one_does(
    entry: ScheduleEntry, start: int, first: int, second: int
) -> None:
    middle, end = start + first, start + first + second
    whole = occurrences(entry, start, end)
    assert occurrences(entry, start, middle) + occurrences(entry, middle, end) == whole
    assert [one.due for one in whole] == sorted(one.due for one in whole)
    assert len({one.slot for one in whole}) == len(whole)
    assert last_occurrences(entry, start, end, 5) == whole[-5:]


@given(ENTRIES, INSTANTS)
def test_the_next_occurrence_is_later_and_has_none_before_it(
    entry: ScheduleEntry, after: int
) -> None:
    first = next(iterate(entry, after + 1), None)
    found = next_occurrences(entry, 1, after)
    assert found == ([] if first is None else [first])
    if found:
        assert found[0].due > after
        near = max(after + 1, found[0].due - 86_400)
        assert occurrences(entry, near, found[0].due) == []


def test_local_gives_the_time_of_the_place() -> None:
    (one,) = next_occurrences(YOGA, 1, at("2026-06-01 00:30"))
    assert one.local("Asia/Ho_Chi_Minh").replace(tzinfo=None) == datetime(2026, 6, 1, 8)
