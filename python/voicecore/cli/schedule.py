"""`voicecore schedule`: the entries in a queue file, from the command line."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import click

from voicecore.cli import options as opt
from voicecore.cli.exits import Exit
from voicecore.cli.output import print_json
from voicecore.cli.schedule_exchange import export, import_
from voicecore.cli.schedule_file import db_option, json_option, with_store
from voicecore.cli.schedule_words import (
    echo_lines,
    entry_record,
    instant_of,
    occurrence_records,
    utc,
)
from voicecore.cli.tables import print_table
from voicecore.schedule import (
    CronLine,
    FixedTimes,
    Interval,
    Policy,
    Rule,
    ScheduleEntry,
    ScheduleStore,
    UnknownEntry,
    explain,
    lint,
    next_occurrences,
)
from voicecore.schedule.words import occurrence_words, rule_words


@click.group(
    short_help="What plays when.",
    epilog="""\b
Examples:
  voicecore schedule add Yoga --db bot.db --at 08:00 --days mon,wed,fri \\
      --zone Asia/Ho_Chi_Minh --remind 10 --file yoga.mp3
  voicecore schedule next --db bot.db
  voicecore schedule import calendar.ics --db bot.db
  voicecore schedule export --db bot.db --format toml

\b
Exit codes: 0 done, 1 internal error (and findings of lint --check), 2 usage or no
such entry, 3 a file cannot be opened or is damaged.
""",
)
def schedule() -> None:
    """Entries of the schedule in a queue file: add, look at, check, exchange."""


_id = click.argument("number", metavar="ID", type=opt.Whole(1, 2**63 - 1))
_ids = click.argument(
    "numbers", metavar="ID...", type=opt.Whole(1, 2**63 - 1), nargs=-1, required=True
)
_after = click.option("--after", metavar="TIME", help="ISO 8601 with an offset; now by default.")


@schedule.command(short_help="Add an entry.")
@click.argument("name")
@db_option
@click.option(
    "--at", "times", metavar="HH:MM", multiple=True, help="A time of the day. Repeatable."
)
@click.option("--days", metavar="DAYS", help="mon,tue,...; every day by default.")
@click.option(
    "--every", type=opt.Whole(1, 366 * 86_400, "seconds"), help="Seconds of elapsed time."
)
@click.option("--anchor", metavar="TIME", help="One instant of the interval, ISO 8601 with offset.")
@click.option("--cron", metavar="LINE", help="A cron line: '30 8 * * MON-FRI'.")
@click.option("--first", metavar="DATE", help="The first date.")
@click.option("--last", metavar="DATE", help="The last date.")
@click.option("--zone", default="UTC", show_default=True, help="The time zone, an IANA name.")
@click.option("--remind", type=opt.Whole(0, 10_080, "minutes"), default=0, help="Minutes before.")
@click.option("--key", help="At most one session per key; the guild's id, usually.")
@click.option("--voice", type=opt.Whole(1, 2**63 - 1), metavar="ID", help="Voice channel.")
@click.option("--text", type=opt.Whole(1, 2**63 - 1), metavar="ID", help="Text channel.")
@click.option("--file", "files", multiple=True, help="What to play, in order. Repeatable.")
@click.option("--disabled", is_flag=True, help="Keep it, but never start it.")
@click.option("--gap", type=click.Choice(["shift", "skip"]), default="shift", show_default=True,
              help="A time that the clocks jump over.")  # fmt: skip
@click.option("--overlap", type=click.Choice(["first", "second"]), default="first",
              show_default=True, help="Which pass of a time that comes twice.")  # fmt: skip
@click.option("--grace", type=opt.Number(1, 604_800, "seconds"), default=120.0, show_default=True,
              help="Start up to so many seconds late.")  # fmt: skip
@click.option("--coalesce", type=click.Choice(["latest", "all"]), default="latest",
              show_default=True, help="Of several due at once.")  # fmt: skip
@click.option("--busy", type=click.Choice(["drop", "replace", "queue"]), default="drop",
              show_default=True, help="When the key already plays.")  # fmt: skip
@json_option
def add(name: str, db: str, as_json: bool, **given: Any) -> int:
    """Add an entry: --at times, --every seconds or a --cron line."""
    entry = ScheduleEntry(
        name=name,
        rule=_rule(given),
        zone=given["zone"],
        remind_minutes=given["remind"],
        key=given["key"],
        voice_channel_id=given["voice"],
        text_channel_id=given["text"],
        files=given["files"],
        enabled=not given["disabled"],
        policy=Policy(
            gap=given["gap"],
            overlap=given["overlap"],
            misfire_grace_time=given["grace"],
            coalesce=given["coalesce"],
            busy=given["busy"],
        ),
    )
    added = with_store(db, lambda store: store.add(entry, now=time.time()), new=True)
    if as_json:
        print_json("schedule add", {"entry": entry_record(added)})
    else:
        click.echo(f"Added entry {added.id}.")
        echo_lines(explain(added))
    return Exit.DONE


def _rule(given: dict[str, Any]) -> Rule:
    kinds = [name for name in ("times", "every", "cron") if given[name]]
    if len(kinds) != 1:
        raise click.UsageError("expected one of --at, --every and --cron")
    first, last = given["first"], given["last"]
    allowed = {"times": ("days", "first", "last"), "every": ("anchor",), "cron": ("first", "last")}
    for name in ("days", "anchor", "first", "last"):
        if given[name] is not None and name not in allowed[kinds[0]]:
            option = "at" if kinds[0] == "times" else kinds[0]
            raise click.UsageError(f"--{name} does not go with --{option}")
    if given["every"]:
        anchor = instant_of("--anchor", given["anchor"]) if given["anchor"] else 0.0
        return Interval(given["every"], int(anchor))
    if given["cron"]:
        return CronLine(given["cron"], first, last)
    if given["days"] is None:
        return FixedTimes(given["times"], first=first, last=last)
    return FixedTimes(given["times"], given["days"].replace(",", " ").split(), first, last)


@schedule.command("list", short_help="All entries.")
@db_option
@json_option
def list_(db: str, as_json: bool) -> int:
    """All entries with their next occurrence; damaged rows too."""
    entries, damaged = with_store(db, lambda store: store.read())
    now = time.time()
    if as_json:
        records = [
            entry_record(one) | {"next": occurrence_records(one, next_occurrences(one, 1, now))}
            for one in entries
        ]
        broken = [{"id": one.id, "name": one.name, "error": one.error} for one in damaged]
        print_json("schedule list", {"entries": records, "damaged": broken})
        return Exit.DONE
    rows = []
    for one in entries:
        upcoming = next_occurrences(one, 1, now)
        soon = occurrence_words(one, upcoming[0]) if upcoming else "never again"
        rows.append(
            (str(one.id), one.name, rule_words(one.rule), one.zone, one.key or "",
             soon if one.enabled else "disabled")
        )  # fmt: skip
    rows += [(str(one.id), one.name, f"damaged: {one.error}", "", "", "") for one in damaged]
    print_table(("ID", "Name", "When", "Zone", "Key", "Next"), rows, "No entries.")
    return Exit.DONE


@schedule.command("next", short_help="What comes next.")
@click.argument("number", metavar="[ID]", type=opt.Whole(1, 2**63 - 1), required=False)
@db_option
@click.option("-n", "count", type=opt.Whole(1, 10_000), default=10, show_default=True)
@_after
@json_option
def next_(number: int | None, db: str, count: int, after: str | None, as_json: bool) -> int:
    """The next occurrences of one entry, or of all that are enabled."""
    begin = instant_of("--after", after)
    if number is None:
        entries = [one for one in with_store(db, lambda store: store.read())[0] if one.enabled]
    else:
        entries = [with_store(db, lambda store: store.get(number))]
    found = [(one, entry) for entry in entries for one in next_occurrences(entry, count, begin)]
    found.sort(key=lambda pair: pair[0])
    del found[count:]
    if as_json:
        records = [
            {"id": entry.id, "name": entry.name} | record
            for one, entry in found
            for record in occurrence_records(entry, [one])
        ]
        print_json("schedule next", {"occurrences": records})
        return Exit.DONE
    rows = [(str(entry.id), entry.name, occurrence_words(entry, one)) for one, entry in found]
    print_table(("ID", "Name", "When"), rows, "Nothing comes.")
    return Exit.DONE


@schedule.command("explain", short_help="An entry in words.")
@_id
@db_option
@_after
@json_option
def explain_(number: int, db: str, after: str | None, as_json: bool) -> int:
    """Say in words what an entry does, also on the days on which clocks change."""
    begin = instant_of("--after", after)
    entry = with_store(db, lambda store: store.get(number))
    text = explain(entry, begin)
    if as_json:
        upcoming = occurrence_records(entry, next_occurrences(entry, 1, begin))
        print_json(
            "schedule explain", {"entry": entry_record(entry), "text": text, "next": upcoming}
        )
    else:
        echo_lines(text)
    return Exit.DONE


@schedule.command("lint", short_help="Entries that will surprise somebody.")
@db_option
@click.option(
    "--days", type=opt.Whole(1, 3660), default=731, show_default=True, help="How far ahead."
)
@click.option("--spacing", type=opt.Number(0, 86_400, "seconds"), default=60.0, show_default=True,
              help="Starts of one key closer than this collide.")  # fmt: skip
@click.option("--check", is_flag=True, help="Exit with 1 if anything is found.")
@_after
@json_option
def lint_(db: str, days: int, spacing: float, check: bool, after: str | None, as_json: bool) -> int:
    """Times in clock changes, collisions, missing files, unknown zones and the like."""
    entries, damaged = with_store(db, lambda store: store.read())
    begin = instant_of("--after", after)
    found = lint([*entries, *damaged], after=begin, days=days, spacing=spacing)
    if as_json:
        records = [
            {
                "code": one.code,
                "severity": one.severity,
                "entries": list(one.entries),
                "message": one.message,
                "at": None if one.at is None else utc(one.at),
            }
            for one in found
        ]
        print_json("schedule lint", {"findings": records})
    else:
        rows = [
            (one.severity, one.code, ", ".join(map(str, one.entries)), one.message) for one in found
        ]
        print_table(("Severity", "Code", "IDs", "What"), rows, "Nothing found.")
    return Exit.INTERNAL if check and found else Exit.DONE


def _switch(numbers: tuple[int, ...], db: str, as_json: bool, enabled: bool) -> int:
    async def work(store: ScheduleStore) -> list[ScheduleEntry]:
        entries = [await store.get(number) for number in dict.fromkeys(numbers)]
        return [
            entry
            if entry.enabled == enabled
            else await store.update(replace(entry, enabled=enabled), now=time.time())
            for entry in entries
        ]

    changed = with_store(db, work)
    word = "enable" if enabled else "disable"
    if as_json:
        print_json(f"schedule {word}", {"entries": [entry_record(one) for one in changed]})
    else:
        for one in changed:
            echo_lines(f"{word.capitalize()}d entry {one.id}, {one.name}.")
    return Exit.DONE


@schedule.command(short_help="Let entries start again.")
@_ids
@db_option
@json_option
def enable(numbers: tuple[int, ...], db: str, as_json: bool) -> int:
    """Let entries start again, with their next occurrence."""
    return _switch(numbers, db, as_json, True)


@schedule.command(short_help="Keep entries, but never start them.")
@_ids
@db_option
@json_option
def disable(numbers: tuple[int, ...], db: str, as_json: bool) -> int:
    """Keep entries, but never start them."""
    return _switch(numbers, db, as_json, False)


@schedule.command(short_help="Delete entries.")
@_ids
@db_option
@json_option
def remove(numbers: tuple[int, ...], db: str, as_json: bool) -> int:
    """Delete entries and the record of their occurrences; damaged ones too."""
    wanted = list(dict.fromkeys(numbers))

    async def work(store: ScheduleStore) -> None:
        entries, damaged = await store.read()
        known = {one.id for one in entries} | {one.id for one in damaged}
        for number in wanted:
            if number not in known:
                raise UnknownEntry(number)
        for number in wanted:
            await store.remove(number)

    with_store(db, work)
    if as_json:
        print_json("schedule remove", {"removed": wanted})
    else:
        click.echo(f"Removed {', '.join(map(str, wanted))}.")
    return Exit.DONE


for _command in (import_, export):
    schedule.add_command(_command)
