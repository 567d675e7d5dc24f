"""`explain` and `lint`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schedule.clock import at
from voicecore.errors import InvalidArgument
from voicecore.schedule import (
    CronLine,
    DamagedEntry,
    Finding,
    FixedTimes,
    Interval,
    Policy,
    Rule,
    ScheduleEntry,
    explain,
    lint,
)
from voicecore.schedule.zones import Gap

NOW = at("2026-01-01 00:00")
YOGA = ScheduleEntry(
    "Yoga", FixedTimes(["08:00"]), "Europe/Berlin", key="guild", files=("a.mp3",), id=1
)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (FixedTimes(["08:00"]), "every day at 08:00"),
        (FixedTimes(["08:00", "20:30:05"], ["mon"]), "every Monday at 08:00 and 20:30:05"),
        (
            FixedTimes(["08:00"], ["mon", "tue", "wed", "thu", "fri"], "2026-03-01", "2026-04-01"),
            "Monday to Friday at 08:00, from 2026-03-01, until 2026-04-01",
        ),
        (Interval(3600), "every hour of elapsed time"),
        (Interval(5400), "every 1 hour 30 minutes of elapsed time"),
        (Interval(60, 86_400), "every minute of elapsed time from 1970-01-02 00:00:00 UTC on"),
        (CronLine("30 8 * * MON-FRI"), "at 08:30 on Monday through Friday (cron 30 8 * * MON-FRI)"),
        (
            CronLine("0 8 1,11,12,21,22,23,31 * *"),
            "at 08:00 on the first, the 11th, the 12th, the 21st, the 22nd, the 23rd, and the 31st "
            "day of month (cron 0 8 1,11,12,21,22,23,31 * *)",
        ),
        (
            CronLine("0 8 13 * FRI"),
            "at 08:00 on the 13th day of month or on Friday (cron 0 8 13 * FRI)",
        ),
        (
            CronLine("30 0 8 1,15 6 MON,FRI"),
            "at 08:00:30 on the first and the 15th day of month or on Monday and Friday in June "
            "(cron 30 0 8 1,15 6 MON,FRI)",
        ),
        (
            CronLine("0 8 */2 * FRI"),
            "at 08:00 on every second day of month if it's on Friday (cron 0 8 */2 * FRI)",
        ),
        # By the "or" of the two days: daily.
        (CronLine("0 8 1-31 * FRI"), "at 08:00 every day (cron 0 8 1-31 * FRI)"),
        (CronLine("0 8 1/1 * FRI"), "at 08:00 every day (cron 0 8 1/1 * FRI)"),
        (CronLine("0 8 5,* * FRI"), "at 08:00 every day (cron 0 8 5,* * FRI)"),
        (
            CronLine("0 8 1-15,16-31 6 MON"),
            "at 08:00 every day in June (cron 0 8 1-15,16-31 6 MON)",
        ),
        (CronLine("0 8 1 * 0-6"), "at 08:00 every day (cron 0 8 1 * 0-6)"),
        (CronLine("0 8 13 * 1-7"), "at 08:00 every day (cron 0 8 13 * 1-7)"),
        (CronLine("0 8 1 * sun-sat"), "at 08:00 every day (cron 0 8 1 * sun-sat)"),
        # By the "and" of a field that begins with a star.
        (CronLine("0 8 */1 * FRI"), "at 08:00 on Friday (cron 0 8 */1 * FRI)"),
        (
            CronLine("0 8 1-30 * FRI"),
            "at 08:00 on every day of month from 1 through 30 or on Friday (cron 0 8 1-30 * FRI)",
        ),
        (
            CronLine("0 8 4-4/3 * *"),
            "at 08:00 on the fourth day of every month (cron 0 8 4-4/3 * *)",
        ),
        (CronLine("0 0/30 * * *"), "at 00:00 every day (cron 0 0/30 * * *)"),
        (CronLine("*/90 * * * *"), "at the start of every hour (cron */90 * * * *)"),
        (CronLine("0 8 */31 * *"), "at 08:00 on the first day of every month (cron 0 8 */31 * *)"),
        (CronLine("0 8 * * */7"), "at 08:00 on Sunday (cron 0 8 * * */7)"),
        (CronLine("0 8 */31 * FRI"), "by the cron line 0 8 */31 * FRI"),
    ],
)
def test_a_rule_is_said_in_words(rule: Rule, words: str) -> None:
    first = explain(replace(YOGA, rule=rule), NOW).splitlines()[0]
    assert first == f"Yoga: {words}, time zone Europe/Berlin."


def test_an_explanation_says_what_happens_on_awkward_days() -> None:
    text = explain(replace(YOGA, remind_minutes=90, policy=Policy(gap="skip", coalesce="all")), NOW)
    assert text.splitlines() == [
        "Yoga: every day at 08:00, time zone Europe/Berlin.",
        "Plays 1 file under the key guild; when the key already plays, it is dropped and recorded "
        "as busy.",
        "A reminder goes out 1 hour 30 minutes before.",
        "A time that clocks jump over comes not at all; one that comes twice, on the first pass "
        "only.",
        "Up to 2 minutes late it still starts, then it is recorded as missed; of several due at "
        "once all start.",
        "Next: Thursday 2026-01-01 08:00 CET (07:00 UTC).",
    ]


def test_an_explanation_says_how_long_it_waits_for_its_key() -> None:
    text = explain(replace(YOGA, policy=Policy(busy="queue", misfire_grace_time=300)), NOW)
    assert "it waits for the other to end, 5 minutes at most." in text.splitlines()[1]


def test_an_explanation_names_a_shifted_occurrence() -> None:
    early = replace(YOGA, rule=FixedTimes(["02:30"]))
    last = explain(early, at("2026-03-28 12:00")).splitlines()[-1]
    assert last == (
        "Next: Sunday 2026-03-29 03:00 CEST (01:00 UTC), "
        "shifted from 02:30, which the clocks jump over."
    )


def test_an_explanation_says_when_nothing_comes_and_when_it_is_disabled() -> None:
    over = replace(YOGA, rule=FixedTimes(["08:00"], last="2025-12-31"), enabled=False)
    text = explain(over, NOW)
    assert "It never comes again." in text
    assert "It is disabled" in text


def found(*entries: ScheduleEntry | DamagedEntry) -> list[Finding]:
    return lint(entries, after=NOW)


def codes(*entries: ScheduleEntry | DamagedEntry) -> list[str]:
    return [one.code for one in found(*entries)]


def test_an_ordinary_entry_gives_nothing() -> None:
    assert found(YOGA) == []
    assert found(replace(YOGA, rule=CronLine("*/5 * * * *"))) == []


def test_a_time_in_a_gap_and_one_in_an_overlap_are_found_in_words() -> None:
    gap, overlap = found(replace(YOGA, rule=FixedTimes(["02:30"])))
    assert (gap.code, gap.at) == ("gap", at("2026-03-29 01:00"))
    assert gap.message == (
        "Yoga: 2026-03-29 02:30 does not exist in Europe/Berlin; it starts at 03:00"
    )
    assert (overlap.code, overlap.at) == ("overlap", at("2026-10-25 01:00"))
    assert "comes twice" in overlap.message


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ("01:59:59", []),
        ("02:00", ["gap", "overlap"]),
        ("02:59:59", ["gap", "overlap"]),
        ("03:00", []),
    ],
)
def test_the_windows_are_exact_to_the_second(clock: str, expected: list[str]) -> None:
    assert codes(replace(YOGA, rule=FixedTimes([clock]))) == expected


def test_only_the_days_on_which_it_is_due_count() -> None:
    assert codes(replace(YOGA, rule=FixedTimes(["02:30"], ["mon"]))) == []
    assert codes(replace(YOGA, rule=CronLine("30 2 * * SUN"))) == ["gap", "overlap"]


def test_half_an_hour_on_lord_howe_is_found() -> None:
    assert codes(replace(YOGA, rule=FixedTimes(["02:15"]), zone="Australia/Lord_Howe")) == ["gap"]
    assert codes(replace(YOGA, rule=FixedTimes(["01:45"]), zone="Australia/Lord_Howe")) == [
        "overlap"
    ]


@pytest.mark.parametrize("gap", ["shift", "skip"])
def test_a_date_that_a_zone_leaves_out_starts_nothing(gap: Gap) -> None:
    samoa = replace(YOGA, zone="Pacific/Apia", policy=Policy(gap=gap))
    (one,) = lint([samoa], after=at("2011-12-20 00:00"), days=30)
    assert (one.code, one.at) == ("gap", at("2011-12-30 10:00"))
    assert one.message == (
        "Yoga: 2011-12-30 08:00 does not exist in Pacific/Apia; it is skipped that day"
    )


def test_entries_of_one_key_at_the_same_instant_collide() -> None:
    other = replace(YOGA, name="Talk", id=2)
    (one,) = found(YOGA, other)
    assert (one.code, one.entries, one.at) == ("collision", (1, 2), at("2026-01-01 07:00"))
    assert "collide 731 times" in one.message
    assert found(YOGA, replace(other, key="elsewhere")) == []
    assert found(YOGA, replace(other, enabled=False)) == []


def test_no_key_is_the_default_key() -> None:
    bare, named = replace(YOGA, key=None), replace(YOGA, name="Talk", key="default", id=2)
    assert codes(bare, named) == ["collision"]
    assert lint([bare, named], after=NOW, default_key="main") == []
    main = replace(named, key="main")
    assert [one.code for one in lint([bare, main], after=NOW, default_key="main")] == ["collision"]


@pytest.mark.parametrize(("clock", "number"), [("08:00:59", 1), ("08:01", 0), ("07:59:01", 1)])
def test_starts_closer_than_the_spacing_collide(clock: str, number: int) -> None:
    assert len(found(YOGA, replace(YOGA, name="b", id=2, rule=FixedTimes([clock])))) == number


def test_entries_that_only_a_clock_change_brings_together_collide() -> None:
    east = replace(YOGA, name="east", id=2, zone="America/New_York", rule=FixedTimes(["02:00"]))
    first = lint([YOGA, east], after=NOW)[-1]
    assert first.code == "collision"
    spring = replace(YOGA, rule=FixedTimes(["02:30"]))
    three = replace(YOGA, name="three", id=2, rule=FixedTimes(["03:00"]))
    (hit,) = [one for one in found(spring, three) if one.code == "collision"]
    assert hit.at == at("2026-03-29 01:00")


def test_other_surprises_are_found() -> None:
    assert codes(replace(YOGA, files=())) == ["no-files"]
    assert codes(YOGA, replace(YOGA, name="yoga", key="b", id=2)) == ["same-name"]
    assert codes(replace(YOGA, rule=FixedTimes(["08:00"], last="2025-01-01"))) == ["never"]
    assert codes(replace(YOGA, rule=CronLine("0 0 */20 * 1L"))) == ["never"]
    assert codes(replace(YOGA, rule=Interval(600), remind_minutes=10)) == ["long-reminder"]
    assert codes(replace(YOGA, rule=Interval(60), policy=Policy(coalesce="all"))) == [
        "grace-overlaps"
    ]


def test_damage_comes_first_and_is_an_error() -> None:
    result = found(replace(YOGA, files=()), DamagedEntry(9, "x", "zone: got 'Mars'"))
    assert [(one.severity, one.code) for one in result] == [
        ("error", "damaged"),
        ("warning", "no-files"),
    ]
    assert "Mars" in result[0].message


@pytest.mark.parametrize("wrong", [{"days": 0}, {"spacing": -1}, {"after": -5}])
def test_wrong_arguments_of_lint_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        lint([], **wrong)
