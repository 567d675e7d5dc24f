"""Files in and out: nothing is lost, and nothing is approximated."""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from dateutil import rrule as peer
from hypothesis import given, settings
from hypothesis import strategies as st

from voicecore.errors import InvalidArgument
from voicecore.schedule import (
    CronLine,
    FixedTimes,
    Interval,
    NotRepresentable,
    Policy,
    ScheduleEntry,
    UnknownZone,
    from_icalendar,
    from_json,
    from_toml,
    to_json,
    to_toml,
)
from voicecore.schedule.occurrences import iterate

TEXT = st.text(
    st.characters(
        exclude_categories=["Cs"], exclude_characters=[*map(chr, range(32)), "\x7f"]
    ),
    min_size=1,
    max_size=40,
)  # fmt: skip
DATES = st.dates(date(1970, 1, 1), date(2199, 1, 1))
FIXED = st.builds(
    lambda times, days, first, length: FixedTimes(
        times, days, first, None if first is None or length is None else first + length
    ),
    st.lists(st.times().map(lambda t: t.replace(microsecond=0)), min_size=1, max_size=5),
    st.sets(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1),
    st.none() | DATES,
    st.none() | st.timedeltas(timedelta(0), timedelta(300)),
)
RULES = st.one_of(
    FIXED,
    st.builds(Interval, st.integers(1, 366 * 86_400), st.integers(0, 4_000_000_000)),
    st.builds(
        CronLine,
        st.sampled_from(["*/5 * * * *", "0 8 L * MON#1", "30 0 8 * JAN-MAR *", "0 0 * * 5L"]),
        st.none() | DATES,
    ),
)
IDS = st.none() | st.integers(1, 2**63 - 1)
ENTRIES = st.builds(
    ScheduleEntry,
    name=TEXT,
    rule=RULES,
    zone=st.sampled_from(["UTC", "Asia/Ho_Chi_Minh", "Australia/Lord_Howe"]),
    remind_minutes=st.integers(0, 10_080),
    key=st.none() | TEXT.filter(lambda key: key != "*"),
    voice_channel_id=IDS,
    text_channel_id=IDS,
    files=st.lists(TEXT, max_size=4),
    enabled=st.booleans(),
    policy=st.builds(
        Policy,
        gap=st.sampled_from(["shift", "skip"]),
        overlap=st.sampled_from(["first", "second"]),
        misfire_grace_time=st.floats(1, 7 * 86_400),
        coalesce=st.sampled_from(["latest", "all"]),
        busy=st.sampled_from(["drop", "replace", "queue"]),
    ),
    id=IDS,
    generation=st.integers(1, 2**63 - 1),
)


@given(st.lists(ENTRIES, max_size=4))
def test_toml_and_json_give_back_what_was_written(entries: list[ScheduleEntry]) -> None:
    assert from_toml(to_toml(entries)) == entries
    assert from_json(to_json(entries)) == entries
    # And both say the same, to readers that are not ours.
    assert tomllib.loads(to_toml(entries)) == json.loads(to_json(entries)) or not entries


def test_a_toml_file_may_use_its_own_times_and_dates() -> None:
    (entry,) = from_toml(
        '[[entry]]\nname = "Yoga"\n'
        "rule = { times = [08:00:00, 20:30:00], days = ['mon'], first = 2026-03-01 }"
    )
    assert entry.rule == FixedTimes(["08:00", "20:30"], ["mon"], "2026-03-01")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "not TOML"),
        ("schema = 2", "schema: got 2"),
        ("schema = true", "schema"),
        ("entries = []", "'entries'"),
        ("entry = 3", "list"),
        ("entry = [3]", "entry 1: .*table"),
        ('[[entry]]\nname = "x"\nrule = {every = 0}', "entry 1: every"),
        ('[[entry]]\nname = "x"\nrule = {every = 9}\n[[entry]]\nname = ""', "entry 2"),
    ],
)
def test_a_wrong_toml_file_is_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        from_toml(text)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"entry": {}}', "[" * 100_000])
def test_a_wrong_json_file_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        from_json(text)


@pytest.mark.parametrize(
    "number", ["9" * 5000, "-" + "9" * 5000, "9" * 4000, "0x" + "f" * 5000, "1e999", "1e5000"]
)
@pytest.mark.parametrize("field", ["EVERY", "GRACE", "ID"])
@pytest.mark.parametrize(
    ("read", "text"),
    [
        (
            from_toml,
            "[[entry]]\nname = 'x'\nid = ID\nrule.every = EVERY\npolicy.misfire_grace_time = GRACE",
        ),
        (
            from_json,
            '{"entry": [{"name": "x", "id": ID, "rule": {"every": EVERY}, '
            '"policy": {"misfire_grace_time": GRACE}}]}',
        ),
    ],
)
def test_a_number_of_any_length_is_an_invalid_argument(
    read: Any, text: str, field: str, number: str
) -> None:
    with pytest.raises(InvalidArgument):
        read(re.sub("EVERY|GRACE|ID", "60", text.replace(field, number)))


@pytest.mark.parametrize("read", [from_toml, from_json])
def test_a_number_that_is_too_long_is_refused_in_words(read: Any) -> None:
    text = f"schema = {'9' * 5000}" if read is from_toml else f'{{"schema": {"9" * 5000}}}'
    with pytest.raises(InvalidArgument, match="too many digits"):
        read(text)


def test_an_unknown_zone_in_a_file_says_so_with_its_type() -> None:
    with pytest.raises(UnknownZone, match=r"entry 1: zone.*Mars"):
        from_toml('[[entry]]\nname = "x"\nzone = "Mars/Olympus"\nrule = {every = 60}')


# -- iCalendar ---------------------------------------------------------------------------------

START = "DTSTART;TZID=Europe/Berlin:20260302T080000\n"  # a Monday
ACCEPTED = [
    "FREQ=DAILY",
    "FREQ=DAILY;BYDAY=MO,WE,FR",
    "FREQ=DAILY;BYHOUR=8,20;BYMINUTE=0,30",
    "FREQ=DAILY;COUNT=5",
    "FREQ=DAILY;UNTIL=20260310T070000Z",
    "FREQ=DAILY;UNTIL=20260310",
    "FREQ=DAILY;BYMONTH=3,4,5",
    "FREQ=WEEKLY",
    "FREQ=WEEKLY;WKST=SU;BYDAY=MO,TH",
    "FREQ=WEEKLY;BYDAY=MO;BYMONTH=3,9",
    "FREQ=MONTHLY",
    "FREQ=MONTHLY;BYMONTHDAY=2,15,-1",
    "FREQ=MONTHLY;BYDAY=1MO,3MO",
    "FREQ=MONTHLY;BYDAY=1MO,-1FR",
    "FREQ=MONTHLY;BYDAY=MO",
    "FREQ=MONTHLY;INTERVAL=3",
    "FREQ=YEARLY",
    "FREQ=YEARLY;BYMONTH=3,6;BYDAY=1MO",
    "FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=2",
    "FREQ=MONTHLY;COUNT=4;BYDAY=1MO",
    "FREQ=HOURLY;INTERVAL=6",
    "FREQ=MINUTELY;INTERVAL=90",
]


@pytest.mark.parametrize("rule", ACCEPTED)
def test_an_rrule_gives_the_times_that_an_independent_library_gives(rule: str) -> None:
    # In UTC, where the two cannot differ about clock changes.
    (entry,) = from_icalendar(f"DTSTART:20260302T080000Z\nRRULE:{rule}")
    start = datetime(2026, 3, 2, 8, tzinfo=UTC)
    until = rule
    if "UNTIL=20260310" in rule and "Z" not in rule:
        until = rule.replace("20260310", "20260310T235959Z")
    theirs = peer.rrulestr(until, dtstart=start)
    wanted = [one.timestamp() for one in islice(theirs, 60)]
    ours = [one.due for one in islice(iterate(entry, start.timestamp() - 90_000), 60)]
    assert ours == wanted


CLOCK = f"BYHOUR={','.join(map(str, range(24)))};BYMINUTE={','.join(map(str, range(60)))}"


@pytest.mark.parametrize("end", ["UNTIL=21991231", "UNTIL=99991231T235959Z", "COUNT=72000"])
def test_many_times_a_day_with_an_end_far_away_are_not_gone_through(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0

    def counted(*given: Any) -> Any:
        nonlocal seen
        for one in iterate(*given):
            seen += 1
            yield one

    monkeypatch.setattr("voicecore.schedule.rrule.iterate", counted)
    start = "DTSTART:20260302T000000Z\n"
    (entry,) = from_icalendar(f"{start}RRULE:FREQ=DAILY;{CLOCK};{end}")
    assert isinstance(entry.rule, FixedTimes)
    assert entry.rule.last == (date(2026, 4, 20) if "COUNT" in end else date(2199, 12, 31))
    assert seen < 80_000


@pytest.mark.parametrize("end", ["UNTIL=21991231", "UNTIL=99991231"])
def test_an_end_after_all_that_comes_is_the_last_that_comes(end: str) -> None:
    (entry,) = from_icalendar(f"{START}RRULE:FREQ=YEARLY;{end}")
    assert isinstance(entry.rule, CronLine)
    assert entry.rule.last == date(2199, 3, 2)


def test_more_times_a_day_than_minutes_are_refused() -> None:
    seconds = f"BYSECOND={','.join(map(str, range(60)))}"
    with pytest.raises(NotRepresentable, match="86,400 times a day"):
        from_icalendar(f"DTSTART:20260302T000000Z\nRRULE:FREQ=DAILY;{CLOCK};{seconds}")


@given(
    st.sampled_from([rule for rule in ACCEPTED if not re.search("COUNT|UNTIL|LY;INTERVAL", rule)]),
    st.datetimes(datetime(2026, 3, 2, 8), datetime(2046, 12, 31)),
)
@settings(max_examples=60)
def test_an_end_is_where_an_independent_library_has_it(rule: str, until: datetime) -> None:
    begin = datetime(2026, 3, 2, 8, tzinfo=UTC)
    end = until.replace(microsecond=0, tzinfo=UTC)
    theirs = peer.rrulestr(rule, dtstart=begin).before(end, inc=True)
    assert theirs is not None
    text = f"DTSTART:20260302T080000Z\nRRULE:{rule};UNTIL={end:%Y%m%dT%H%M%SZ}"
    following = peer.rrulestr(rule, dtstart=begin).after(end)
    if following is not None and following.date() == theirs.date():
        with pytest.raises(NotRepresentable, match="middle of a day"):
            from_icalendar(text)
        return
    (entry,) = from_icalendar(text)
    assert isinstance(entry.rule, FixedTimes | CronLine)
    assert entry.rule.last == theirs.date()


def test_an_event_becomes_an_entry_in_its_zone() -> None:
    (entry,) = from_icalendar(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\n"
        "BEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\n"
        "END:STANDARD\r\nEND:VTIMEZONE\r\n"
        "BEGIN:VEVENT\r\nUID:1\r\nSUMMARY;LANGUAGE=de:Yoga\\, fr\r\n üh\r\n"
        "DTSTART;TZID=Europe/Berlin:20260302T080000\r\n"
        "RRULE:FREQ=WEEKLY;BYDAY=MO,WE;UNTIL=20260701T000000Z\r\n"
        "BEGIN:VALARM\r\nTRIGGER:-PT10M\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    rule = FixedTimes(["08:00"], ["mon", "wed"], "2026-03-02", "2026-06-29")
    assert entry == ScheduleEntry("Yoga, früh", rule, "Europe/Berlin")


EVENT = "BEGIN:VEVENT\r\nSUMMARY:Yoga\r\n{}\r\nDTSTART:20260302T080000Z\r\nEND:VEVENT\r\n"


@pytest.mark.parametrize("between", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_only_line_ends_end_a_line_of_a_calendar(between: str) -> None:
    (entry,) = from_icalendar(EVENT.format(f"DESCRIPTION:first{between}RRULE:FREQ=DAILY"))
    assert entry.rule == FixedTimes(["08:00"], first="2026-03-02", last="2026-03-02")


@pytest.mark.parametrize("end", ["\n", "\r"])
def test_lines_of_a_calendar_may_end_with_lf_or_cr_alone(end: str) -> None:
    text = EVENT.format("RRULE:FREQ=DA\r\n ILY").replace("\r\n", end)
    assert from_icalendar(text)[0].rule == FixedTimes(["08:00"], first="2026-03-02")


def test_a_line_may_be_folded_within_a_character() -> None:
    data = EVENT.format("X:").replace("Yoga", "früh").encode()
    cut = data.index("ü".encode()) + 1
    folded = data[:cut] + b"\r\n " + data[cut:]
    assert from_icalendar(folded)[0].name == "früh"
    assert from_icalendar(b"\xef\xbb\xbf" + data)[0].name == "früh"
    with pytest.raises(InvalidArgument, match="not UTF-8"):
        from_icalendar(data[:cut] + data[cut + 1 :])


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (r"Line one\nLine two\, and\; more", "Line one Line two, and; more"),
        (r"A\NB", "A B"),
        (r"C:\\new\\n", r"C:\new\n"),
        (r"Yoga\n", "Yoga"),
        ("Yo\u2028ga", "Yo ga"),
    ],
)
def test_a_name_is_one_line_of_what_the_summary_says(written: str, name: str) -> None:
    assert from_icalendar(f"SUMMARY:{written}\n{START}")[0].name == name


@pytest.mark.parametrize(
    "parameters",
    [
        'MEMBER="mailto:a@example.com","mailto:b@example.com"',
        'CN="Doe; John: x";ROLE=REQ',
        'CN="a",b,"c;d"',
        "X=",
        "X=;Y=a,,b",
    ],
)
def test_parameters_may_be_lists_and_quoted(parameters: str) -> None:
    text = f"ATTENDEE;{parameters}:mailto:c@example.com\n{START}"
    assert from_icalendar(text)[0].zone == "Europe/Berlin"


def test_a_quoted_zone_is_read_behind_other_parameters() -> None:
    (entry,) = from_icalendar('DTSTART;X="a;TZID=UTC";TZID="Europe/Berlin":20260302T080000')
    assert entry.zone == "Europe/Berlin"


def test_a_line_of_many_parameters_takes_no_time() -> None:
    # A pattern that tries every way to cut it would never end.
    with pytest.raises(InvalidArgument, match="NAME:VALUE"):
        from_icalendar(f'ATTENDEE{";A=b" * 50_000};X="')


def test_a_cancelled_event_is_disabled() -> None:
    for status, enabled in (("CANCELLED", False), ("cancelled", False), ("CONFIRMED", True)):
        assert from_icalendar(f"STATUS:{status}\n{START}")[0].enabled is enabled


def test_an_event_without_a_rule_comes_once() -> None:
    (entry,) = from_icalendar(START)
    assert entry.rule == FixedTimes(["08:00"], first="2026-03-02", last="2026-03-02")


def test_a_time_without_a_zone_takes_the_one_given_or_is_refused() -> None:
    text = "DTSTART:20260302T080000\nRRULE:FREQ=DAILY"
    assert from_icalendar(text, zone="Asia/Ho_Chi_Minh")[0].zone == "Asia/Ho_Chi_Minh"
    with pytest.raises(InvalidArgument, match="no zone"):
        from_icalendar(text)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("FREQ=DAILY;INTERVAL=2", "local clock"),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "BYDAY"),
        ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1", "BYSETPOS"),
        ("FREQ=YEARLY;BYWEEKNO=20", "BYWEEKNO"),
        ("FREQ=YEARLY;BYYEARDAY=100", "BYYEARDAY"),
        ("FREQ=YEARLY;INTERVAL=2", "2 years"),
        ("FREQ=YEARLY;BYDAY=MO", "BYMONTH"),
        ("FREQ=MONTHLY;INTERVAL=5", "INTERVAL=5"),
        ("FREQ=MONTHLY;BYMONTHDAY=-2", "-2"),
        ("FREQ=MONTHLY;BYDAY=-2MO", "-2MO"),
        ("FREQ=MONTHLY;BYDAY=MO;BYMONTHDAY=2", "together"),
        ("FREQ=HOURLY;COUNT=5", "COUNT"),
        ("FREQ=HOURLY;BYDAY=MO", "BYDAY"),
        ("FREQ=WEEKLY;BYDAY=TU", "DTSTART is not the first"),
        ("FREQ=DAILY;BYHOUR=6,8", "DTSTART is not the first"),
        ("FREQ=DAILY;BYHOUR=8,20;COUNT=3", "middle of a day"),
        ("FREQ=DAILY;BYHOUR=8,20;UNTIL=20260310T120000", "middle of a day"),
    ],
)
def test_what_an_entry_cannot_say_is_refused_with_the_reason(rule: str, words: str) -> None:
    with pytest.raises(NotRepresentable, match=words):
        from_icalendar(f"{START}RRULE:{rule}")


@pytest.mark.parametrize(
    "line", ["EXDATE:20260309T080000", "RDATE:20260309T080000", "RRULE:FREQ=DAILY"]
)
def test_exceptions_and_second_rules_are_refused_not_ignored(line: str) -> None:
    with pytest.raises(NotRepresentable, match=line.split(":")[0]):
        from_icalendar(f"{START}RRULE:FREQ=DAILY\n{line}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no event"),
        ("BEGIN:VCALENDAR\nEND:VCALENDAR", "no event"),
        ("BEGIN:VEVENT\n" + START, "does not end"),
        ("END:VEVENT", "without its BEGIN"),
        ("nonsense", "NAME:VALUE"),
        ("RRULE:FREQ=DAILY", "no DTSTART"),
        ("DTSTART;VALUE=DATE:20260302", "whole day"),
        ("DTSTART:20260302T250000Z", "DTSTART"),
        ("DTSTART;TZID=Mars/Olympus:20260302T080000", "Mars"),
        (START + "RRULE:FREQ=FORTNIGHTLY", "FREQ"),
        (START + "RRULE:FREQ=DAILY;FREQ=DAILY", "once"),
        (START + "RRULE:FREQ=DAILY;COLOUR=RED", "RFC 5545"),
        (START + "RRULE:FREQ=DAILY;INTERVAL=0", "INTERVAL"),
        (START + "RRULE:FREQ=DAILY;COUNT=2;UNTIL=20270101", "one of them"),
        (START + "RRULE:FREQ=DAILY;UNTIL=20250101", "before DTSTART"),
        (START + "RRULE:FREQ=DAILY;BYHOUR=24", "BYHOUR"),
        (START + "RRULE:FREQ=WEEKLY;BYDAY=1MO", "BYDAY"),
        (START + "RRULE:FREQ=MONTHLY;BYDAY=XX", "BYDAY"),
    ],
)
def test_what_is_not_icalendar_is_an_invalid_argument(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        from_icalendar(text)


@given(st.text(max_size=200) | st.text("FREQ=DAILY;BY0123456789,:\nRUNTIL", max_size=80).map(
    lambda tail: f"{START}RRULE:FREQ={tail}"
))  # fmt: skip
def test_no_text_makes_the_reader_fail_otherwise(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        from_icalendar(text)
