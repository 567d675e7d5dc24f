"""`voicecore schedule`: the entries in a queue file, from the command line."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from voicecore.cli import options as opt
from voicecore.cli.exits import Exit, Failure, one_line
from voicecore.cli.output import ResultFile, complain, print_json
from voicecore.cli.tables import print_table
from voicecore.errors import InvalidArgument, VoicecoreError
from voicecore.schedule import (
    CronLine,
    FixedTimes,
    Interval,
    Occurrence,
    Policy,
    Rule,
    ScheduleEntry,
    ScheduleStore,
    SqliteScheduleStore,
    UnknownEntry,
    explain,
    from_icalendar,
    from_json,
    from_toml,
    lint,
    next_occurrences,
    to_json,
    to_toml,
)
from voicecore.schedule.words import occurrence_words, rule_words
from voicecore.schedule.zones import instant

if TYPE_CHECKING:
    from voicecore.queue import SyncCommandQueue

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class _Blocking:
    """The synchronous queue behind the store's asynchronous port: this process has nothing else
    to do while it waits."""

    def __init__(self, queue: SyncCommandQueue) -> None:
        self._queue = queue

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._queue.execute(sql, parameters)

    async def transaction(
        self, steps: Sequence[tuple[str, Sequence[Any]]]
    ) -> list[list[tuple[Any, ...]]]:
        return self._queue.transaction(steps)


def _with_store(
    path: str, work: Callable[[ScheduleStore], Awaitable[T]], *, new: bool = False
) -> T:
    """Run `work` on the file's schedule.

    Args:
        new: create the file if there is none.

    Raises:
        Failure: exit code 3, the file cannot be opened or used.
    """
    from voicecore.queue import SyncCommandQueue

    if not new and not os.path.exists(path):
        raise Failure(Exit.INPUT, f"{path}: there is no such file (schedule add makes one)")

    async def run() -> T:
        return await work(SqliteScheduleStore(_Blocking(queue)))

    try:
        with SyncCommandQueue(path) as queue:
            return asyncio.run(run())
    except InvalidArgument:
        raise
    except VoicecoreError as error:
        raise Failure(Exit.INPUT, error, path) from error


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


_db = click.option(
    "--db", metavar="FILE", required=True, envvar="VOICECORE_DB", help="The queue file."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words.")
_id = click.argument("number", metavar="ID", type=opt.Whole(1, 2**63 - 1))
_ids = click.argument(
    "numbers", metavar="ID...", type=opt.Whole(1, 2**63 - 1), nargs=-1, required=True
)
_after = click.option("--after", metavar="TIME", help="ISO 8601 with an offset; now by default.")


@schedule.command(short_help="Add an entry.")
@click.argument("name")
@_db
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
@_json
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
    added = _with_store(db, lambda store: store.add(entry, now=time.time()), new=True)
    if as_json:
        print_json("schedule add", {"entry": _record(added)})
    else:
        click.echo(f"Added entry {added.id}.")
        _echo(explain(added))
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
        anchor = _instant("--anchor", given["anchor"]) if given["anchor"] else 0.0
        return Interval(given["every"], int(anchor))
    if given["cron"]:
        return CronLine(given["cron"], first, last)
    if given["days"] is None:
        return FixedTimes(given["times"], first=first, last=last)
    return FixedTimes(given["times"], given["days"].replace(",", " ").split(), first, last)


@schedule.command("list", short_help="All entries.")
@_db
@_json
def list_(db: str, as_json: bool) -> int:
    """All entries with their next occurrence; damaged rows too."""
    entries, damaged = _with_store(db, lambda store: store.read())
    now = time.time()
    if as_json:
        records = [
            _record(one) | {"next": _occurrences(one, next_occurrences(one, 1, now))}
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
@_db
@click.option("-n", "count", type=opt.Whole(1, 10_000), default=10, show_default=True)
@_after
@_json
def next_(number: int | None, db: str, count: int, after: str | None, as_json: bool) -> int:
    """The next occurrences of one entry, or of all that are enabled."""
    begin = _instant("--after", after)
    if number is None:
        entries = [one for one in _with_store(db, lambda store: store.read())[0] if one.enabled]
    else:
        entries = [_with_store(db, lambda store: store.get(number))]
    found = [(one, entry) for entry in entries for one in next_occurrences(entry, count, begin)]
    found.sort(key=lambda pair: pair[0])
    del found[count:]
    if as_json:
        records = [
            {"id": entry.id, "name": entry.name} | record
            for one, entry in found
            for record in _occurrences(entry, [one])
        ]
        print_json("schedule next", {"occurrences": records})
        return Exit.DONE
    rows = [(str(entry.id), entry.name, occurrence_words(entry, one)) for one, entry in found]
    print_table(("ID", "Name", "When"), rows, "Nothing comes.")
    return Exit.DONE


@schedule.command("explain", short_help="An entry in words.")
@_id
@_db
@_after
@_json
def explain_(number: int, db: str, after: str | None, as_json: bool) -> int:
    """Say in words what an entry does, also on the days on which clocks change."""
    begin = _instant("--after", after)
    entry = _with_store(db, lambda store: store.get(number))
    text = explain(entry, begin)
    if as_json:
        upcoming = _occurrences(entry, next_occurrences(entry, 1, begin))
        print_json("schedule explain", {"entry": _record(entry), "text": text, "next": upcoming})
    else:
        _echo(text)
    return Exit.DONE


@schedule.command("lint", short_help="Entries that will surprise somebody.")
@_db
@click.option(
    "--days", type=opt.Whole(1, 3660), default=731, show_default=True, help="How far ahead."
)
@click.option("--spacing", type=opt.Number(0, 86_400, "seconds"), default=60.0, show_default=True,
              help="Starts of one key closer than this collide.")  # fmt: skip
@click.option("--check", is_flag=True, help="Exit with 1 if anything is found.")
@_after
@_json
def lint_(db: str, days: int, spacing: float, check: bool, after: str | None, as_json: bool) -> int:
    """Times in clock changes, collisions, missing files, unknown zones and the like."""
    entries, damaged = _with_store(db, lambda store: store.read())
    begin = _instant("--after", after)
    found = lint([*entries, *damaged], after=begin, days=days, spacing=spacing)
    if as_json:
        records = [
            {
                "code": one.code,
                "severity": one.severity,
                "entries": list(one.entries),
                "message": one.message,
                "at": None if one.at is None else _utc(one.at),
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

    changed = _with_store(db, work)
    word = "enable" if enabled else "disable"
    if as_json:
        print_json(f"schedule {word}", {"entries": [_record(one) for one in changed]})
    else:
        for one in changed:
            _echo(f"{word.capitalize()}d entry {one.id}, {one.name}.")
    return Exit.DONE


@schedule.command(short_help="Let entries start again.")
@_ids
@_db
@_json
def enable(numbers: tuple[int, ...], db: str, as_json: bool) -> int:
    """Let entries start again, with their next occurrence."""
    return _switch(numbers, db, as_json, True)


@schedule.command(short_help="Keep entries, but never start them.")
@_ids
@_db
@_json
def disable(numbers: tuple[int, ...], db: str, as_json: bool) -> int:
    """Keep entries, but never start them."""
    return _switch(numbers, db, as_json, False)


@schedule.command(short_help="Delete entries.")
@_ids
@_db
@_json
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

    _with_store(db, work)
    if as_json:
        print_json("schedule remove", {"removed": wanted})
    else:
        click.echo(f"Removed {', '.join(map(str, wanted))}.")
    return Exit.DONE


@schedule.command("import", short_help="Entries from TOML, JSON or iCalendar.")
@click.argument("path", metavar="FILE")
@_db
@click.option("--format", "kind", type=click.Choice(["toml", "json", "ics"]),
              help="By the file's suffix if not given.")  # fmt: skip
@click.option("--zone", help="For iCalendar times without a zone.")
@click.option("--update", is_flag=True, help="Replace entries of the same id; keep ids.")
@click.option("--refire", is_flag=True, help="With --update: what fired today may fire again.")
@click.option("--dry-run", is_flag=True, help="Read the file and say what would be added.")
@_json
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
    cannot is refused with the reason.
    """
    if refire and not update:
        raise click.UsageError("--refire goes with --update")
    entries = _read_file(path, kind, zone)

    async def work(store: ScheduleStore) -> list[ScheduleEntry]:
        now = time.time()
        if not update:
            return await store.add_many([replace(one, generation=1) for one in entries], now=now)
        known = {one.id: one for one in (await store.read())[0]}
        done = []
        for one in entries:
            if one.id in known:
                current = replace(one, generation=known[one.id].generation)
                done.append(await store.update(current, now=now, refire=refire))
            else:
                done.append(await store.add(one, now=now))
        return done

    if update:
        ids = [one.id for one in entries if one.id is not None]
        if len(ids) != len(set(ids)):
            raise InvalidArgument(f"{path}: two entries have the same id, expected different ones")
    done = list(entries) if dry_run else _with_store(db, work, new=True)
    if as_json:
        record = {"dry_run": dry_run, "entries": [_record(one) for one in done]}
        print_json("schedule import", record)
    else:
        word = "Would import" if dry_run else "Imported"
        for one in done:
            number = "" if one.id is None else f" as {one.id}"
            _echo(f"{word} {one.name}{number}: {rule_words(one.rule)} ({one.zone}).")
    return Exit.DONE


def _read_file(path: str, kind: str | None, zone: str | None) -> list[ScheduleEntry]:
    if kind is None:
        kind = Path(path).suffix.lower().removeprefix(".")
        if kind not in ("toml", "json", "ics"):
            raise click.UsageError(f"{path}: expected .toml, .json or .ics, or --format")
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise Failure(Exit.INPUT, f"{path}: {reason}") from None
    try:
        if kind == "ics":
            return from_icalendar(text, zone=zone)
        return from_toml(text) if kind == "toml" else from_json(text)
    except InvalidArgument as error:
        raise Failure(Exit.INPUT, error, path) from error


@schedule.command(short_help="Entries as TOML or JSON.")
@click.argument("path", metavar="[FILE]", default="-")
@_db
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
    entries, damaged = _with_store(db, lambda store: store.read())
    file = ResultFile("FILE", path)
    if kind == "json":
        file.write(to_json(entries).encode())
    else:
        file.write(to_toml(entries).encode())
    for one in damaged:
        complain(f"entry {one.id} ({one.name}) is damaged and was left out: {one.error}")
    return Exit.INPUT if damaged else Exit.DONE


def _instant(option: str, text: str | None) -> float:
    if text is None:
        return time.time()
    try:
        return instant(option, datetime.fromisoformat(text))
    except ValueError as error:
        if isinstance(error, InvalidArgument):
            raise
        raise InvalidArgument(
            f"{option}: got {text!r}, expected a time such as 2026-03-29T08:00+02:00"
        ) from None


def _record(entry: ScheduleEntry) -> dict[str, Any]:
    """Every field, also those at their default: scripts should not need to know the defaults."""
    return {
        "id": entry.id,
        "name": entry.name,
        "rule": entry.rule.to_dict(),
        "zone": entry.zone,
        "remind_minutes": entry.remind_minutes,
        "key": entry.key,
        "voice_channel_id": entry.voice_channel_id,
        "text_channel_id": entry.text_channel_id,
        "files": list(entry.files),
        "enabled": entry.enabled,
        "policy": {
            "gap": entry.policy.gap,
            "overlap": entry.policy.overlap,
            "misfire_grace_time": entry.policy.misfire_grace_time,
            "coalesce": entry.policy.coalesce,
            "busy": entry.policy.busy,
        },
        "generation": entry.generation,
    }


def _occurrences(entry: ScheduleEntry, found: Sequence[Occurrence]) -> list[dict[str, Any]]:
    return [
        {
            "slot": one.slot,
            "due": one.due,
            "utc": _utc(one.due),
            "local": one.local(entry.zone).isoformat(),
            "shifted": one.shifted,
        }
        for one in found
    ]


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _echo(text: str) -> None:
    for line in text.splitlines():
        click.echo(one_line(line))
