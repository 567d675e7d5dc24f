"""`voicecore schedule import` and `export`: entries from files, and into them."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from voicecore.cli.exits import Exit, Failure
from voicecore.cli.output import ResultFile, complain, print_json
from voicecore.cli.schedule_file import db_option, json_option, with_store
from voicecore.cli.schedule_words import echo_lines, entry_record
from voicecore.errors import InvalidArgument
from voicecore.schedule import (
    ScheduleEntry,
    SqliteScheduleStore,
    from_icalendar,
    from_json,
    from_toml,
    to_json,
    to_toml,
)
from voicecore.schedule.words import rule_words


@click.command("import", short_help="Entries from TOML, JSON or iCalendar.")
@click.argument("path", metavar="FILE")
@db_option
@click.option("--format", "kind", type=click.Choice(["toml", "json", "ics"]),
              help="By the file's suffix if not given.")  # fmt: skip
@click.option("--zone", help="For iCalendar times without a zone.")
@click.option("--update", is_flag=True, help="Replace entries of the same id; keep ids.")
@click.option("--refire", is_flag=True, help="With --update: what fired today may fire again.")
@click.option("--dry-run", is_flag=True, help="Read the file and say what would be added.")
@json_option
def import_(
    path: str,
    db: str,
    kind: str | None,
    zone: str | None,
    update: bool,
    refire: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Add the entries of a file ("-" is stdin); nothing is added if any of them is wrong.

    Ids in the file are ignored unless --update is given. What iCalendar can say and an entry
    cannot is refused with the reason. Cancelled events become disabled entries.
    """
    if refire and not update:
        raise click.UsageError("--refire goes with --update")
    entries = _read_file(path, kind, zone)

    async def work(store: SqliteScheduleStore) -> list[ScheduleEntry]:
        now = time.time()
        if not update:
            return await store.add_many([replace(one, generation=1) for one in entries], now=now)
        try:
            return await store.merge(entries, now=now, refire=refire)
        except InvalidArgument as error:
            raise Failure(Exit.INPUT, error, path) from error

    if update:
        ids = [one.id for one in entries if one.id is not None]
        if len(ids) != len(set(ids)):
            raise InvalidArgument(f"{path}: two entries have the same id, expected different ones")
    done = list(entries) if dry_run else with_store(db, work, new=True)
    if as_json:
        record = {"dry_run": dry_run, "entries": [entry_record(one) for one in done]}
        print_json("schedule import", record)
    else:
        word = "Would import" if dry_run else "Imported"
        for one in done:
            number = "" if one.id is None else f" as {one.id}"
            off = "" if one.enabled else ", disabled"
            echo_lines(f"{word} {one.name}{number}: {rule_words(one.rule)} ({one.zone}){off}.")
    return Exit.DONE


def _read_file(path: str, kind: str | None, zone: str | None) -> list[ScheduleEntry]:
    if kind is None:
        kind = Path(path).suffix.lower().removeprefix(".")
        if kind not in ("toml", "json", "ics"):
            raise click.UsageError(f"{path}: expected .toml, .json or .ics, or --format")
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        if kind == "ics":
            return from_icalendar(data, zone=zone)
        text = data.decode("utf-8-sig")
        return from_toml(text) if kind == "toml" else from_json(text)
    except OSError as error:
        raise Failure(Exit.INPUT, f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failure(Exit.INPUT, f"{path}: not UTF-8") from None
    except InvalidArgument as error:
        raise Failure(Exit.INPUT, error, path) from error


@click.command(short_help="Entries as TOML or JSON.")
@click.argument("path", metavar="[FILE]", default="-")
@db_option
@click.option("--format", "kind", type=click.Choice(["toml", "json"]),
              help="By the file's suffix if not given; TOML on stdout.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def export(path: str, db: str, kind: str | None, as_json: bool) -> int:
    """Write all entries in a form that import reads back without loss.

    Damaged rows cannot be written: they are named on stderr and the exit code is 3.
    """
    if as_json and kind == "toml":
        raise click.UsageError("--json and --format toml exclude each other")
    if kind is None:
        kind = "json" if as_json or Path(path).suffix.lower() == ".json" else "toml"
    entries, damaged = with_store(db, lambda store: store.read())
    with ResultFile("FILE", path) as file:
        file.write((to_json if kind == "json" else to_toml)(entries).encode())
    for one in damaged:
        complain(f"entry {one.id} ({one.name}) is damaged and was left out: {one.error}")
    return Exit.INPUT if damaged else Exit.DONE
