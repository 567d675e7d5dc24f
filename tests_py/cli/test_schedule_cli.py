"""`voicecore schedule`."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cli.command import VOICECORE, Here

YOGA = ("--at", "08:00", "--days", "mon,fri", "--zone", "Asia/Ho_Chi_Minh", "--file", "a.mp3")


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """The path of a queue file that does not exist yet."""
    return tmp_path / "bot.db"


def damage(db: Path, number: int = 1) -> None:
    """An edit by hand, from a process of its own: this one has the file open natively."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "c.execute(\"UPDATE schedule_entries SET zone = 'Mars' WHERE id = ?\", sys.argv[2:]);"
        "c.commit()"
    )
    subprocess.run([sys.executable, "-c", code, str(db), str(number)], check=True)


def add(here: Here, db: Path, name: str = "Yoga", *options: str) -> Any:
    done = here("schedule", "add", name, "--db", db, "--json", *(options or YOGA))
    assert done.code == 0, done.err
    return done.json["entry"]


def names(here: Here, db: Path) -> list[str]:
    listed = here("schedule", "list", "--db", db, "--json").json
    return [entry["name"] for entry in listed["entries"]]


def test_add_makes_the_file_and_tells_what_the_entry_does(here: Here, db: Path) -> None:
    done = here("schedule", "add", "Yoga", "--db", db, *YOGA, "--remind", "10")
    assert done.code == 0
    assert done.out.splitlines()[:2] == [
        "Added entry 1.",
        "Yoga: every Monday and Friday at 08:00, time zone Asia/Ho_Chi_Minh.",
    ]
    assert "A reminder goes out 10 minutes before." in done.out


def test_add_takes_every_setting(here: Here, db: Path) -> None:
    entry = add(
        here, db, "All", "--cron", "0 8 * * *", "--first", "2026-01-01", "--last", "2026-02-01",
        "--zone", "Europe/Berlin", "--remind", "5", "--key", "42", "--voice", "7", "--text", "8",
        "--file", "a", "--file", "b", "--disabled", "--gap", "skip", "--overlap", "second",
        "--grace", "30", "--coalesce", "all", "--busy", "queue",
    )  # fmt: skip
    assert entry == {
        "id": 1,
        "name": "All",
        "rule": {"cron": "0 8 * * *", "first": "2026-01-01", "last": "2026-02-01"},
        "zone": "Europe/Berlin",
        "remind_minutes": 5,
        "key": "42",
        "voice_channel_id": 7,
        "text_channel_id": 8,
        "files": ["a", "b"],
        "enabled": False,
        "policy": {
            "gap": "skip",
            "overlap": "second",
            "misfire_grace_time": 30.0,
            "coalesce": "all",
            "busy": "queue",
        },
        "generation": 1,
    }


def test_an_interval_has_an_anchor(here: Here, db: Path) -> None:
    entry = add(here, db, "x", "--every", "90", "--anchor", "2026-01-01T00:00:00+01:00")
    assert entry["rule"] == {"every": 90, "anchor": 1767222000}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--at, --every and --cron"),
        (("--at", "08:00", "--every", "60"), "--at, --every and --cron"),
        (("--at", "25:00"), "HH:MM"),
        (("--every", "60", "--days", "mon"), "--days does not go with --every"),
        (("--cron", "* *"), "fields"),
        (("--at", "08:00", "--zone", "Mars/Olympus"), "Mars"),
        (("--at", "08:00", "--anchor", "2026-01-01T00:00Z"), "--anchor does not go with --at"),
        (("--every", "60", "--anchor", "soon"), "--anchor"),
        (("--every", "60", "--anchor", "2026-01-01"), "without a zone"),
        (("--at", "08:00", "--grace", "0"), "1 to"),
        (("--at", "08:00", "--days", "funday"), "funday"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_2(
    here: Here, db: Path, options: tuple[str, ...], words: str
) -> None:
    done = here("schedule", "add", "x", "--db", db, *options)
    assert done.code == 2
    assert words in done.one_line()
    assert not db.exists()


def test_list_shows_a_table_that_names_cannot_break(here: Here, db: Path) -> None:
    add(here, db, "[red]bold[/]")
    add(here, db, "Off", "--every", "60", "--disabled")
    done = here("schedule", "list", "--db", db)
    assert done.code == 0
    _, _, first, second = done.out.splitlines()
    assert "[red]bold[/]" in first
    assert "every Monday and Friday at 08:00" in first
    assert "disabled" in second


def test_an_empty_schedule_says_so(here: Here, db: Path) -> None:
    add(here, db)
    here("schedule", "remove", "1", "--db", db)
    assert here("schedule", "list", "--db", db).out == "No entries.\n"
    assert here("schedule", "next", "--db", db).out == "Nothing comes.\n"
    assert here("schedule", "lint", "--db", db).out == "Nothing found.\n"


def test_next_merges_the_entries_in_order(here: Here, db: Path) -> None:
    add(here, db, "Hourly", "--every", "3600")
    add(here, db, "Early", "--at", "02:30", "--zone", "Europe/Berlin")
    add(here, db, "Off", "--every", "60", "--disabled")
    done = here(
        "schedule", "next", "--db", db, "-n", "3", "--after", "2026-03-29T00:30Z", "--json"
    ).json
    assert (done["schema"], done["command"]) == (1, "schedule next")
    assert [(one["name"], one["utc"], one["shifted"]) for one in done["occurrences"]] == [
        ("Early", "2026-03-29T01:00:00Z", True),
        ("Hourly", "2026-03-29T01:00:00Z", False),
        ("Hourly", "2026-03-29T02:00:00Z", False),
    ]
    assert done["occurrences"][0]["local"] == "2026-03-29T03:00:00+02:00"
    one = here("schedule", "next", "3", "--db", db, "-n", "1", "--after", "2026-03-29T00:30Z")
    assert "Off" in one.out


def test_explain_says_it_in_words_and_in_json(here: Here, db: Path) -> None:
    add(here, db)
    words = here("schedule", "explain", "1", "--db", db, "--after", "2026-06-01T00:30Z")
    assert words.out.endswith("Next: Monday 2026-06-01 08:00 +07 (01:00 UTC).\n")
    record = here("schedule", "explain", "1", "--db", db, "--json").json
    assert record["text"].startswith("Yoga: every Monday")
    assert record["entry"]["id"] == 1


def test_lint_finds_and_with_check_fails(here: Here, db: Path) -> None:
    add(here, db, "Early", "--at", "02:30", "--zone", "Europe/Berlin", "--file", "a")
    done = here("schedule", "lint", "--db", db, "--json")
    assert done.code == 0
    assert [one["code"] for one in done.json["findings"]] == ["gap", "overlap"]
    assert here("schedule", "lint", "--db", db, "--check").code == 1


def test_disable_and_enable_change_only_what_is_named(here: Here, db: Path) -> None:
    for name in "abc":
        add(here, db, name)
    done = here("schedule", "disable", "1", "3", "--db", db)
    assert done.out == "Disabled entry 1, a.\nDisabled entry 3, c.\n"
    listed = here("schedule", "list", "--db", db, "--json").json["entries"]
    assert [entry["enabled"] for entry in listed] == [False, True, False]
    back = here("schedule", "enable", "1", "2", "--db", db, "--json").json["entries"]
    assert [(entry["enabled"], entry["generation"]) for entry in back] == [(True, 3), (True, 1)]


@pytest.mark.parametrize("command", ["enable", "disable", "remove", "explain", "next"])
def test_an_unknown_id_is_exit_2_and_changes_nothing(here: Here, db: Path, command: str) -> None:
    add(here, db)
    numbers = ("1", "9") if command in ("enable", "disable", "remove") else ("9",)
    done = here("schedule", command, *numbers, "--db", db)
    assert done.code == 2
    assert "entry 9" in done.one_line()
    listed = here("schedule", "list", "--db", db, "--json").json["entries"]
    assert [(entry["enabled"], entry["generation"]) for entry in listed] == [(True, 1)]


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_what_is_exported_is_imported_without_loss(
    here: Here, db: Path, tmp_path: Path, suffix: str
) -> None:
    add(here, db, 'Yoga "🧘" \\', *YOGA, "--gap", "skip")
    add(here, db, "Every", "--every", "90", "--disabled")
    file, other = tmp_path / f"s.{suffix}", tmp_path / "other.db"
    assert here("schedule", "export", file, "--db", db).code == 0
    done = here("schedule", "import", file, "--db", other, "--json")
    assert done.code == 0
    mine, theirs = (
        here("schedule", "export", "--db", path, "--json").json["entry"] for path in (db, other)
    )
    assert mine == theirs


def test_export_on_stdout_is_toml_and_with_json_has_a_schema(here: Here, db: Path) -> None:
    add(here, db)
    toml = tomllib.loads(here("schedule", "export", "--db", db).out)
    record = json.loads(here("schedule", "export", "--db", db, "--json").out)
    assert toml == record
    assert record["schema"] == 1


def test_import_adds_and_with_update_replaces(here: Here, db: Path, tmp_path: Path) -> None:
    add(here, db)
    file = tmp_path / "s.toml"
    here("schedule", "export", file, "--db", db)
    file.write_text(file.read_text().replace("Yoga", "Yoga 2"))
    assert here("schedule", "import", file, "--db", db, "--update").code == 0
    assert names(here, db) == ["Yoga 2"]
    assert here("schedule", "import", file, "--db", db).code == 0
    assert names(here, db) == ["Yoga 2", "Yoga 2"]
    assert here("schedule", "import", file, "--db", db, "--refire").code == 2


def test_an_update_that_meets_a_damaged_row_changes_nothing(
    here: Here, db: Path, tmp_path: Path
) -> None:
    for name in ("one", "two", "three"):
        add(here, db, name)
    file = tmp_path / "s.toml"
    here("schedule", "export", file, "--db", db)
    file.write_text(file.read_text().replace("08:00", "09:30"))
    damage(db, 2)
    before = here("schedule", "list", "--db", db, "--json").json["entries"]
    done = here("schedule", "import", file, "--db", db, "--update")
    assert done.code == 3
    assert done.one_line().startswith(f"{file}: entry 2 (two): the stored entry 2 is damaged")
    after = here("schedule", "list", "--db", db, "--json").json["entries"]
    assert [one["rule"] for one in after] == [one["rule"] for one in before]


def test_an_update_keeps_ids_also_behind_entries_without_one(
    here: Here, db: Path, tmp_path: Path
) -> None:
    add(here, db)
    file = tmp_path / "s.toml"
    entries = ("name = 'new'", "id = 2\nname = 'second'", "id = 1\nname = 'first'")
    file.write_text("".join(f"[[entry]]\n{one}\nrule.every = 60\n" for one in entries))
    done = here("schedule", "import", file, "--db", db, "--update", "--json")
    assert [(one["id"], one["name"]) for one in done.json["entries"]] == [
        (3, "new"), (2, "second"), (1, "first"),
    ]  # fmt: skip
    assert names(here, db) == ["first", "second", "new"]


def test_an_id_that_would_leave_no_ids_is_refused(here: Here, db: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    text = "[[entry]]\nid = {}\nname = 'x'\nrule.every = 60\n"
    file.write_text(text.format(2**62 + 1))
    done = here("schedule", "import", file, "--db", db, "--update")
    assert done.code == 3
    assert done.one_line().startswith(f"{file}: entry 1 (x): id: got {2**62 + 1:,}, expected 1 to")
    file.write_text(text.format(2**62))
    assert here("schedule", "import", file, "--db", db, "--update").code == 0
    assert add(here, db)["id"] == 2**62 + 1


def test_import_reads_a_calendar_or_refuses_it_whole(here: Here, db: Path, tmp_path: Path) -> None:
    add(here, db)
    good = "BEGIN:VEVENT\nSUMMARY:A\nDTSTART:20260302T080000Z\nRRULE:FREQ=DAILY\nEND:VEVENT\n"
    file = tmp_path / "c.ics"
    file.write_text(good + good.replace("FREQ=DAILY", "FREQ=YEARLY;BYWEEKNO=3"))
    done = here("schedule", "import", file, "--db", db)
    assert done.code == 3
    assert "BYWEEKNO" in done.one_line()
    assert names(here, db) == ["Yoga"]
    file.write_text(good)
    dry = here("schedule", "import", file, "--db", db, "--dry-run")
    assert dry.out.startswith("Would import A: every day at 08:00")
    assert names(here, db) == ["Yoga"]
    assert here("schedule", "import", file, "--db", db).code == 0
    assert names(here, db) == ["Yoga", "A"]


def test_import_says_which_entries_are_disabled(here: Here, db: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.ics"
    file.write_text("SUMMARY:Off\nSTATUS:CANCELLED\nDTSTART:20260302T080000Z\nRRULE:FREQ=DAILY\n")
    done = here("schedule", "import", file, "--db", db)
    assert done.out == ("Imported Off as 1: every day at 08:00, from 2026-03-02 (UTC), disabled.\n")
    assert here("schedule", "next", "--db", db).out == "Nothing comes.\n"


def test_a_calendar_may_be_folded_within_a_character(here: Here, db: Path, tmp_path: Path) -> None:
    data = "BEGIN:VEVENT\r\nSUMMARY:früh\r\nDTSTART:20260302T080000Z\r\nEND:VEVENT\r\n".encode()
    cut = data.index("ü".encode()) + 1
    file = tmp_path / "c.ics"
    file.write_bytes(data[:cut] + b"\r\n " + data[cut:])
    assert here("schedule", "import", file, "--db", db).code == 0
    assert names(here, db) == ["früh"]


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("no.toml", None, 3),
        ("bad.toml", b"[", 3),
        ("bytes.json", b"\xff", 3),
        ("bytes.ics", b"DTSTART:\xff", 3),
        ("long.toml", b"schema = " + b"9" * 5000, 3),
        ("long.json", b'{"schema": ' + b"9" * 5000 + b"}", 3),
        ("what.txt", b"", 2),
    ],
)
def test_a_file_that_cannot_be_imported_has_its_exit_code(
    here: Here, db: Path, tmp_path: Path, name: str, data: bytes | None, code: int
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    done = here("schedule", "import", tmp_path / name, "--db", db)
    assert done.code == code
    assert name in done.one_line()
    assert not db.exists()


def test_a_missing_file_is_exit_3_and_is_not_made(here: Here, db: Path) -> None:
    for command in ("list", "next", "lint", "export"):
        done = here("schedule", command, "--db", db)
        assert done.code == 3
        assert str(db) in done.one_line()
    assert not db.exists()


def test_a_file_that_is_no_database_is_exit_3(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "song.mp3"
    file.write_bytes(b"ID3" * 1000)
    done = here("schedule", "list", "--db", file)
    assert done.code == 3
    assert str(file) in done.one_line()


def test_a_damaged_row_is_shown_linted_left_out_of_exports_and_removable(
    here: Here, db: Path
) -> None:
    add(here, db)
    add(here, db, "Good")
    damage(db)
    listed = here("schedule", "list", "--db", db, "--json").json
    assert [one["id"] for one in listed["damaged"]] == [1]
    assert "damaged: zone" in here("schedule", "list", "--db", db).out
    findings = here("schedule", "lint", "--db", db, "--json").json["findings"]
    assert findings[0]["code"] == "damaged"
    exported = here("schedule", "export", "--db", db, "--json")
    assert exported.code == 3
    assert [one["name"] for one in exported.json["entry"]] == ["Good"]
    assert "left out" in exported.one_line()
    assert here("schedule", "remove", "1", "--db", db).code == 0
    assert names(here, db) == ["Good"]


def test_each_subcommand_has_help(here: Here) -> None:
    for command in [
        "add",
        "list",
        "next",
        "explain",
        "lint",
        "enable",
        "disable",
        "remove",
        "import",
        "export",
    ]:
        done = here("schedule", command, "--help")
        assert done.code == 0
        assert "Usage: voicecore schedule" in done.out


@pytest.mark.slow
def test_a_row_of_another_language_is_listed_by_the_command(db: Path) -> None:
    # The command runs in a process of its own: this one uses Python's SQLite on the file.
    made = [*VOICECORE, "schedule", "add", "A", "--db", str(db), "--every", "60"]
    assert subprocess.run(made, capture_output=True, check=False).returncode == 0
    connection = sqlite3.connect(db)
    connection.execute(
        "INSERT INTO schedule_entries(name, rule, zone) "
        """VALUES ('Yoga', '{"times": ["08:00"]}', 'Asia/Ho_Chi_Minh')"""
    )
    connection.commit()
    connection.close()
    listing = [*VOICECORE, "schedule", "list", "--db", str(db), "--json"]
    done = subprocess.run(listing, capture_output=True, check=True)
    assert [entry["name"] for entry in json.loads(done.stdout)["entries"]] == ["A", "Yoga"]
