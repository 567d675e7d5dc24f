"""`voicecore queue`: send, look at and take back commands."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from typing import Any

import click

from voicecore.cli import options as opt
from voicecore.cli import queue_words as words
from voicecore.cli.durations import NEVER, Duration
from voicecore.cli.exits import Exit, Interrupted, one_line, text_of
from voicecore.cli.odd_values import seconds, text
from voicecore.cli.output import complain, give_up_stdout, json_line, print_json
from voicecore.cli.queue_file import db_option, json_option, open_queue
from voicecore.cli.queue_tail import Tail
from voicecore.cli.tables import local, print_pairs, print_table, span
from voicecore.cli.words import count
from voicecore.errors import QueueTimeout
from voicecore.queue import Command, NewCommand, Outcome, SyncCommandQueue, Value
from voicecore.queue.convert import row_of_new

_MAX = 2**63 - 1
_PRUNE_BATCH = 1000
_PRUNE_PAUSE_S = 0.005


@click.group(
    short_help="Send commands to a bot, and see what became of them.",
    epilog="""\b
Examples:
  voicecore queue add play --entry 3 --db bot.db --wait 10
  voicecore queue add stop --key 1234 --overtakes --db bot.db
  voicecore queue list --db bot.db
  voicecore queue tail --db bot.db --json

\b
--db can be given as VOICECORE_DB. Durations are seconds, or carry a unit: 500ms,
15m, 12h, 30d. Exit codes: 0 done, 2 usage, 3 the file cannot be opened or used;
of add --wait also 4 refused, busy, superseded or cancelled, 5 failed, 6 expired,
7 it has not ended in time (it stays in the queue).
""",
)
def queue() -> None:
    """The command queue in a file, whether or not a bot is running."""


@queue.command(
    short_help="Send a command.",
    epilog="""\b
Examples:
  voicecore queue add play --entry 3 --db bot.db
  voicecore queue add seek --args '{"to": 90}' --key 1234 --db bot.db
  voicecore queue add play --entry 3 --delay 15m --expires-after never --db bot.db
""",
)
@click.argument("verb")
@db_option
@click.option("--entry", type=opt.Whole(-_MAX, _MAX), metavar="N", help="The entry, for play.")
@click.option("--key", metavar="KEY", help="Whose session: a guild. Otherwise the entry's own.")
@click.option("--args", "args_text", metavar="JSON", default="{}", help="Arguments, an object.")
@click.option("--dedup", metavar="KEY", help="Nothing new while one with this KEY waits or runs.")
@click.option("--delay", type=Duration(), default="0", metavar="S", help="Not before this passed.")
@click.option(
    "--expires-after",
    type=Duration(never=True),
    metavar="S|never",
    help="Do not start it later than this. Without: a play after 10 minutes, unless a bot has it "
    "wait for its key; never for 'voicecore work', and for other commands.",
)
@click.option(
    "--priority",
    type=opt.Whole(-(2**31), 2**31 - 1),
    default=0,
    help="Larger first, across keys, behind stops that overtake; a signed number of 32 bits.",
)
@click.option(
    "--max-attempts", type=opt.Whole(1, 1_000_000), default=1, help="Tries in all when it fails."
)
@click.option("--overtakes", is_flag=True, help="A stop that waits for nothing of its key.")
@click.option("--requested-by", metavar="WHO", help="Who asks, for the history.")
@click.option("--wait", type=Duration(), metavar="SECONDS", help="Wait for its end; see above.")
@json_option
def add(
    verb: str,
    path: str,
    entry: int | None,
    key: str | None,
    args_text: str,
    dedup: str | None,
    delay: float,
    expires_after: float | None,
    priority: int,
    max_attempts: int,
    overtakes: bool,
    requested_by: str | None,
    wait: float | None,
    as_json: bool,
) -> int:
    """Send VERB: play, pause, resume, stop, seek, volume, next, or one that your worker knows.

    It is in the file for good when this returns, whoever dies then. With --dedup a command that
    waits or runs already may answer for it; the output says so ("existing" in JSON).
    """
    fields: dict[str, Any] = {}
    if expires_after is not None:
        fields["expires_after"] = None if expires_after == NEVER else expires_after
    command = NewCommand(
        verb,
        entry,
        key=key,
        args=words.args_of(args_text),
        requested_by=requested_by,
        dedup_key=dedup,
        delay=delay,
        priority=priority,
        max_attempts=max_attempts,
        overtakes=overtakes,
        **fields,
    )
    row_of_new(command, time.time())  # what is refused makes no file
    with open_queue(path, create=True) as file:
        before = None if dedup is None else _changes(file)
        (id,) = file.enqueue_many([command])
        existing = dedup is not None and _changes(file) == before
        if existing and not as_json:
            with _committed(id):
                click.echo(f"Command {id} has this dedup key and answers for it; none was sent.")
        if wait is not None:
            return _wait(file, id, existing, wait, as_json)
        with _committed(id):
            if as_json:
                print_json("queue add", {"id": id, "existing": existing})
            elif not existing:
                click.echo(f"Command {id} is in the queue.")
        return Exit.DONE


@contextlib.contextmanager
def _committed(id: int) -> Iterator[None]:
    """Around what is printed of a command that is in the file for good.

    Where stdout takes nothing, the exit code says what became of the command all the same: whoever
    takes it for a failure sends it twice.
    """
    try:
        yield
    except OSError as problem:
        give_up_stdout()
        complain(f"command {id} is in the queue; stdout cannot say so: {text_of(problem)}")


def _changes(file: SyncCommandQueue) -> Value:
    """How many rows this connection has changed: what others do meanwhile does not count."""
    file.enqueue_many([])  # announces the process, which the first command would do otherwise
    return file.execute("SELECT total_changes()")[0][0]


def _wait(file: SyncCommandQueue, id: int, existing: bool, seconds: float, as_json: bool) -> int:
    outcome: Outcome | None = None
    try:
        outcome = file.wait_result(id, timeout=seconds)
    except QueueTimeout:
        if not as_json:
            complain(f"command {id} has not ended within {span(seconds)}; it stays in the queue")
    with _committed(id):
        if as_json:
            record = None if outcome is None else words.outcome_record(outcome)
            answer = {
                "id": id,
                "existing": existing,
                "timed_out": outcome is None,
                "outcome": record,
            }
            print_json("queue add", answer)
        elif outcome is not None:
            click.echo(f"Command {id}: {outcome.text}")
    return Exit.TIMED_OUT if outcome is None else _exit_of(outcome)


def _exit_of(outcome: Outcome) -> Exit:
    match outcome.state:
        case "done":
            return Exit.DONE if outcome.ok else Exit.REFUSED
        case "superseded" | "cancelled":
            return Exit.REFUSED
        case "expired":
            return Exit.EXPIRED
        case _:
            return Exit.FAILED


@queue.command("list", short_help="What waits and runs, or what has ended.")
@db_option
@click.option("--history", is_flag=True, help="What has ended, newest first.")
@click.option("--key", metavar="KEY", help="Only this key's.")
@click.option(
    "--limit", type=opt.Whole(1, 1_000_000), default=50, show_default=True, help="At most so many."
)
@json_option
def list_(path: str, history: bool, key: str | None, limit: int, as_json: bool) -> int:
    """What waits and runs, oldest first; with --history what has ended, newest first."""
    with open_queue(path) as file:
        now = file.now()
        found = _of_key(file, history, key, limit)
    if as_json:
        print_json("queue list", {"commands": [words.command_record(one) for one in found]})
        return Exit.DONE
    empty = "Nothing has ended yet." if history else "Nothing waits or runs."
    print_table(words.TITLES, [words.table_row(one, now) for one in found], empty)
    return Exit.DONE


def _of_key(file: SyncCommandQueue, history: bool, key: str | None, limit: int) -> list[Command]:
    if key is None:
        return file.history(limit) if history else file.peek(limit)
    table, order = ("bot_command_history", "DESC") if history else ("bot_commands", "ASC")
    rows = file.execute(
        f"SELECT id FROM {table} WHERE key = ? ORDER BY id {order} LIMIT ?", (key, limit)
    )
    # One that moved on in between is shown where it is now.
    found = (file.get(int(row[0] or 0)) for row in rows)
    return [one for one in found if one is not None]


_id = click.argument("id", metavar="ID", type=opt.Whole(1, _MAX))


@queue.command(short_help="Everything about one command.")
@_id
@db_option
@json_option
def show(id: int, path: str, as_json: bool) -> int:
    """Everything about command ID, wherever it is."""
    with open_queue(path) as file:
        now = file.now()
        one = file.get(id)
    if one is None:
        raise click.UsageError(f"{path}: there is no command {id}, or its history was pruned")
    if as_json:
        print_json("queue show", {"item": words.command_record(one)})
    else:
        print_pairs(words.command_pairs(one, now))
    return Exit.DONE


@queue.command(short_help="Take waiting commands back.")
@click.argument("ids", metavar="ID...", type=opt.Whole(1, _MAX), nargs=-1, required=True)
@db_option
@json_option
def cancel(ids: tuple[int, ...], path: str, as_json: bool) -> int:
    """Take commands back that still wait. Exit code 4 when one of them does not wait any more."""
    record = []
    with open_queue(path) as file:
        for id in ids:
            done = file.cancel(id)
            one = None if done else file.get(id)
            state = "cancelled" if done else "unknown" if one is None else one.state
            record.append({"id": id, "cancelled": done, "state": state})
    if as_json:
        print_json("queue cancel", {"commands": record})
    else:
        for row in record:
            if row["cancelled"]:
                click.echo(f"Command {row['id']} is cancelled.")
            else:
                complain(f"command {row['id']} does not wait any more: {row['state']}")
    return Exit.DONE if all(row["cancelled"] for row in record) else Exit.REFUSED


@queue.command(
    short_help="Follow what comes and what ends.",
    epilog="""\b
With --json one object on each line: "event" is "new" or "finished". Ends at
SIGINT with exit code 130, after --for with 0.
""",
)
@db_option
@click.option("--for", "seconds", type=Duration(), metavar="SECONDS", help="End after this long.")
@json_option
def tail(path: str, seconds: float | None, as_json: bool) -> int:
    """Follow the queue: one line for each command that comes, and one when it ends."""
    try:
        with open_queue(path) as file:
            for event, one in Tail(file).follow(seconds):
                if as_json:
                    record = {"event": event, "item": words.command_record(one)}
                    click.echo(json_line("queue tail", record), nl=False)
                else:
                    click.echo(one_line(words.event_line(event, one)))
    except KeyboardInterrupt:
        raise Interrupted(signal.SIGINT) from None  # otherwise click ends the line on stderr
    return Exit.DONE


@queue.command(short_help="The queue in numbers.")
@db_option
@json_option
def stats(path: str, as_json: bool) -> int:
    """How many wait, run and have ended how; who serves the file."""
    with open_queue(path) as file:
        now = file.now()
        numbers, workers = file.statistics(), _workers(file)
    if as_json:
        print_json("queue stats", words.statistics_record(numbers, workers, now))
        return Exit.DONE
    oldest = numbers.oldest_ready
    waits = "" if oldest is None else f", the oldest for {span(max(0.0, now - oldest))}"
    ended = ", ".join(f"{n:,} {state}" for state, n in numbers.history.items()) or "none"
    pairs = [
        ("Waiting", f"{numbers.ready:,}{waits}"),
        ("Delayed", f"{numbers.delayed:,}"),
        ("Claimed", f"{numbers.claimed:,}"),
        ("Sessions", f"{numbers.sessions:,}"),
        ("Ended", ended),
        ("WAL", f"{numbers.wal_bytes / 1024:,.0f} KiB"),
    ]
    pairs += [
        ("Worker", f"process {one['pid']}, {one['role']}, last seen {local(one['seen'])}")
        for one in workers
    ]
    print_pairs(pairs)
    return Exit.DONE


def _workers(file: SyncCommandQueue) -> list[dict[str, Any]]:
    """Who has announced itself, whatever somebody typed into that table."""
    rows = file.execute(
        "SELECT owner, pid, role, sqlite_version, seen_at FROM bot_workers ORDER BY started_at"
    )
    return [
        {
            "owner": text(owner),
            "pid": pid if isinstance(pid, int) else text(pid),
            "role": text(role),
            "sqlite": text(version),
            "seen": seconds(seen),
        }
        for owner, pid, role, version, seen in rows
    ]


@queue.command(short_help="Delete old history.")
@db_option
@click.option(
    "--older-than", type=Duration(), default="30d", show_default=True, help="Ended before this."
)
@json_option
def prune(path: str, older_than: float, as_json: bool) -> int:
    """Delete finished commands from the history, in small batches: a running bot is not held up."""
    gone = 0
    with open_queue(path) as file:
        while batch := file.prune(older_than, _PRUNE_BATCH):
            gone += batch
            time.sleep(_PRUNE_PAUSE_S)  # writers that wait get their turn
    if as_json:
        print_json("queue prune", {"deleted": gone})
    else:
        click.echo(f"{count(gone, 'finished command')} deleted.")
    return Exit.DONE
