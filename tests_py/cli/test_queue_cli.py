"""`voicecore queue`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.command import MUSIC, Here, finish, start
from voicecore.cli.queue_tail import Tail
from voicecore.cli.queue_words import table_row
from voicecore.queue import Command, CommandQueue, SyncCommandQueue

Handle = Callable[[SyncCommandQueue, Command], object]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A queue file."""
    path = tmp_path / "queue.db"
    with SyncCommandQueue(path):
        pass
    return path


class Worker:
    """Carries commands out on a thread of its own, with the handler given."""

    def __init__(self, path: Path, handle: Handle) -> None:
        self._handle = handle
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Worker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        with SyncCommandQueue(self._path, role="worker") as queue:
            while not self._stop.is_set():
                for command in queue.claim(10):
                    self._handle(queue, command)
                self._stop.wait(0.005)


def done(result: str) -> Handle:
    return lambda queue, command: queue.ack(command, result)


def failed(queue: SyncCommandQueue, command: Command) -> None:
    queue.nack(command, "no such entry")


def look_only(queue: SyncCommandQueue, command: Command) -> None:
    queue.renew(command)


# -- add -------------------------------------------------------------------------------------------


def test_add_puts_a_complete_command_into_the_file(here: Here, db: Path) -> None:
    arguments = ["--entry", 3, "--key", 7, "--args", '{"by": 5}', "--dedup", "d", "--delay", "1m"]
    arguments += ["--expires-after", "2h", "--priority", 4, "--max-attempts", 3]
    arguments += ["--overtakes", "--requested-by", "Ada"]
    assert here("queue", "add", "stop", "--db", db, *arguments, "--json").json["id"] == 1
    with SyncCommandQueue(db) as queue:
        (one,) = queue.peek()
    assert (one.command, one.entry_id, one.key, one.args) == ("stop", 3, "7", {"by": 5})
    assert (one.dedup_key, one.priority, one.max_attempts) == ("d", 4, 3)
    assert (one.overtakes, one.requested_by) == (True, "Ada")
    assert one.not_before == pytest.approx(one.created_at + 60, abs=0.01)
    assert one.expires_at == pytest.approx(one.created_at + 7200, abs=0.01)


def test_add_says_which_id_it_got(here: Here, db: Path) -> None:
    assert here("queue", "add", "play", "--entry", 3, "--db", db).out == (
        "Command 1 is in the queue.\n"
    )


def test_add_again_with_the_same_dedup_key_gives_the_same_id(here: Here, db: Path) -> None:
    ids = [here("queue", "add", "x", "--dedup", "d", "--db", db, "--json").json["id"] for _ in "ab"]
    assert ids == [1, 1]


def test_add_says_whether_an_existing_command_answers_for_it(here: Here, db: Path) -> None:
    arguments = ["queue", "add", "x", "--dedup", "d", "--db", db]
    assert here(*arguments, "--json").json["existing"] is False
    assert here(*arguments, "--json").json["existing"] is True
    assert here(*arguments, "--wait", "10ms", "--json").json["existing"] is True
    assert "Command 1 has this dedup key and answers" in here(*arguments).out
    assert "Command 1 has this dedup key and answers" in here(*arguments, "--wait", "10ms").out
    assert here("queue", "add", "x", "--dedup", "e", "--db", db).out.endswith("is in the queue.\n")
    assert here("queue", "add", "x", "--db", db, "--json").json["existing"] is False


def test_a_command_that_another_sender_was_faster_with_is_an_existing_one(
    here: Here, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue_many = SyncCommandQueue.enqueue_many

    def beaten(queue: SyncCommandQueue, commands: list[Any]) -> list[int]:
        if commands:
            with SyncCommandQueue(db) as other:
                other.enqueue("y", dedup_key="d")
        return enqueue_many(queue, commands)

    monkeypatch.setattr(SyncCommandQueue, "enqueue_many", beaten)
    ended = here("queue", "add", "x", "--dedup", "d", "--db", db, "--json")
    assert (ended.json["id"], ended.json["existing"]) == (1, True)


def test_a_command_that_never_expires_says_so(here: Here, db: Path) -> None:
    here("queue", "add", "play", "--expires-after", "never", "--db", db)
    assert here("queue", "show", 1, "--db", db, "--json").json["item"]["expires_at"] == "never"


def test_add_makes_the_file_and_mentions_it(here: Here, tmp_path: Path) -> None:
    made = here("queue", "add", "play", "--db", tmp_path / "new.db")
    assert made.code == 0
    assert "was not there: a new queue file" in made.one_line()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "play", "--args", "[1]"], "expected a JSON object"),
        (["add", "play", "--args", "{"], "expected a JSON object"),
        (["add", "play", "--entry", "three"], "expected an integer"),
        (["add", "play", "--delay", "3 weeks"], "s, m, h or d behind it"),
        (["add", "play", "--delay", "never"], "got 'never'"),
        (["add", "play", "--expires-after", "400d"], "366 days"),
        (["add", "play", "--priority", str(2**31)], "an integer -2147483648 to 2147483647 (see"),
        (["add", "play", "--max-attempts", "0"], "expected an integer 1 to"),
        (["add", "play", "--key", ""], "key: got an empty text"),
        (["add", ""], "expected a word"),
        (["show", "0"], "expected an integer 1 to"),
        (["show", "9"], "there is no command 9"),
    ],
)
def test_a_wrong_command_line_is_code_2(
    here: Here, db: Path, arguments: list[str], says: str
) -> None:
    ended = here("queue", *arguments, "--db", db)
    assert ended.code == 2
    assert says in ended.one_line()


@pytest.mark.parametrize("field", ["verb", "--key", "--dedup", "--requested-by", "--args"])
def test_a_refused_command_makes_no_file(here: Here, tmp_path: Path, field: str) -> None:
    wrong = [""] if field == "verb" else ["play", field, "" if field == "--key" else "\udc80"]
    ended = here("queue", "add", *wrong, "--db", tmp_path / "new.db")
    assert ended.code == 2
    assert ended.one_line()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["a full disk", "nobody"])
@pytest.mark.parametrize(("more", "code"), [([], 0), (["--json"], 0), (["--wait", "0"], 7)])
def test_a_command_that_is_sent_is_no_failure_because_stdout_takes_nothing(
    db: Path, to: str, more: list[str], code: int
) -> None:
    if to == "nobody":
        reader, out = os.pipe()
        os.close(reader)
    else:
        out = os.open("/dev/full", os.O_WRONLY)
    try:
        ended = finish(start("queue", "add", "play", "--db", db, *more, stdout=out))
    finally:
        os.close(out)
    assert ended.code == code
    if code == 0:
        assert "command 1 is in the queue; stdout cannot say so" in ended.one_line()
    with SyncCommandQueue(db) as queue:
        assert [one.id for one in queue.peek()] == [1]


@pytest.mark.parametrize("command", [["queue", "list"], ["queue", "stats"], ["probe", MUSIC]])
def test_a_reader_that_has_gone_is_code_1_and_silence(db: Path, command: list[str]) -> None:
    more = ["--db", str(db)] if command[0] == "queue" else []
    reader, out = os.pipe()
    os.close(reader)
    try:
        ended = finish(start(*command, *more, stdout=out))
    finally:
        os.close(out)
    assert (ended.code, ended.err) == (1, "")


def test_the_file_can_come_from_the_environment(
    here: Here, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICECORE_DB", str(db))
    assert here("queue", "list").code == 0


# -- add --wait ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handle", "code", "text"),
    [
        (done("done"), 0, "done"),
        (done("started"), 0, "started"),
        (done("busy"), 4, "busy"),
        (failed, 5, "failed: no such entry"),
    ],
)
def test_waiting_ends_with_the_outcome_of_the_worker(
    here: Here, db: Path, handle: Handle, code: int, text: str
) -> None:
    with Worker(db, handle):
        ended = here("queue", "add", "play", "--entry", 3, "--db", db, "--wait", 10)
    assert (ended.code, ended.out) == (code, f"Command 1: {text}\n")


def test_waiting_for_one_that_is_cancelled_is_code_4(here: Here, db: Path) -> None:
    with SyncCommandQueue(db) as other:
        canceller = threading.Thread(target=lambda: _when_there(other, other.cancel))
        canceller.start()
        ended = here("queue", "add", "play", "--db", db, "--wait", 10, "--json")
        canceller.join()
    assert (ended.code, ended.json["outcome"]["text"]) == (4, "cancelled")


def _when_there(queue: SyncCommandQueue, act: Callable[[int], object]) -> None:
    while not (found := queue.peek()):
        time.sleep(0.002)
    act(found[0].id)


def test_waiting_for_one_that_a_stop_supersedes_is_code_4(here: Here, db: Path) -> None:
    with SyncCommandQueue(db) as other:
        other.enqueue("other", key="7")
        (held,) = other.claim()
        stopper = threading.Thread(target=lambda: _stop_after_two(other, held))
        stopper.start()
        ended = here("queue", "add", "play", "--key", 7, "--db", db, "--wait", 10, "--json")
        stopper.join()
    assert (ended.code, ended.json["outcome"]["state"]) == (4, "superseded")


def _stop_after_two(queue: SyncCommandQueue, held: Command) -> None:
    while len(queue.peek()) < 2:
        time.sleep(0.002)
    queue.enqueue("stop", key="7")
    queue.ack(held)
    queue.claim()


def test_waiting_for_one_that_expires_is_code_6(here: Here, db: Path) -> None:
    with SyncCommandQueue(db) as other:
        other.enqueue("work", key="7")
        (held,) = other.claim()
        with Worker(db, lambda queue, command: None):
            arguments = ["--key", 7, "--expires-after", "10ms", "--db", db, "--wait", 10]
            ended = here("queue", "add", "work", *arguments)
        other.ack(held)
    assert (ended.code, ended.out) == (6, "Command 2: expired\n")


def test_waiting_too_short_is_code_7_and_the_command_stays(here: Here, db: Path) -> None:
    ended = here("queue", "add", "play", "--db", db, "--wait", "50ms")
    assert ended.code == 7
    assert "stays in the queue" in ended.one_line()
    with SyncCommandQueue(db) as queue:
        assert [one.state for one in queue.peek()] == ["ready"]


def test_waiting_in_json_says_that_it_timed_out(here: Here, db: Path) -> None:
    ended = here("queue", "add", "play", "--db", db, "--wait", "50ms", "--json")
    assert (ended.code, ended.err) == (7, "")
    assert (ended.json["timed_out"], ended.json["outcome"]) == (True, None)


# -- list, show, stats -----------------------------------------------------------------------------


@pytest.fixture
def busy(db: Path) -> Iterator[Path]:
    """A file with a command in each state."""
    with SyncCommandQueue(db) as queue:
        queue.enqueue("old", key="a")
        queue.ack(queue.claim()[0], "went well")
        queue.enqueue("bad", key="a")
        queue.nack(queue.claim()[0], "broke")
        queue.enqueue("run", key="b")
        queue.claim()
        queue.enqueue("play", 3, key="a", requested_by="Ada")
        queue.enqueue("later", key="a", delay=3600)
        yield db


def test_list_shows_the_line_and_history_what_ended(here: Here, busy: Path) -> None:
    line = here("queue", "list", "--db", busy, "--json").json
    assert line["schema"] == 1
    assert [(one["id"], one["state"]) for one in line["commands"]] == [
        (3, "claimed"),
        (4, "ready"),
        (5, "ready"),
    ]
    past = here("queue", "list", "--history", "--db", busy, "--json").json["commands"]
    assert [(one["id"], one["state"], one["result"], one["error"]) for one in past] == [
        (2, "failed", None, "broke"),
        (1, "done", "went well", None),
    ]


def test_list_can_be_held_to_one_key_and_a_number(here: Here, busy: Path) -> None:
    found = here("queue", "list", "--key", "a", "--limit", 1, "--db", busy, "--json").json
    assert [one["id"] for one in found["commands"]] == [4]


def test_a_table_is_for_people(here: Here, busy: Path) -> None:
    out = here("queue", "list", "--db", busy).out
    assert "play 3" in out
    assert "Ada" in out
    assert "delayed" in out
    assert "attempt 1" in out


def test_a_single_try_is_one_time(here: Here, db: Path) -> None:
    with SyncCommandQueue(db) as queue:
        queue.enqueue("x", max_attempts=3)
        for tries in ("tried 1 time: ", "tried 2 times: "):
            queue.nack(queue.claim()[0], "broke", retry_in=0)
            assert tries in here("queue", "list", "--db", db).out


@contextlib.contextmanager
def zone(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[None]:
    monkeypatch.setenv("TZ", name)
    time.tzset()
    try:
        yield
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("name", "due"), [("Asia/Tokyo", 253402300799), ("UTC-25", 86400)])
def test_a_time_that_is_none_in_the_local_zone_is_shown_in_utc(
    here: Here, db: Path, monkeypatch: pytest.MonkeyPatch, name: str, due: int
) -> None:
    with SyncCommandQueue(db) as queue:
        queue.execute(
            "INSERT INTO bot_commands(command, created_at) VALUES ('x', ?)", (due * 1000,)
        )
    with zone(monkeypatch, name):
        done = here("queue", "show", 1, "--db", db)
    shown = datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    assert (done.code, done.err) == (0, "")
    assert shown in done.out


def test_json_times_are_iso_and_the_table_has_local_time(
    here: Here, busy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zone(monkeypatch, "Asia/Ho_Chi_Minh"):
        item = here("queue", "show", 4, "--db", busy, "--json").json["item"]
        words = here("queue", "show", 4, "--db", busy).out
    sent = datetime.fromisoformat(item["created_at"])
    assert sent.utcoffset() is not None
    assert abs(sent.timestamp() - time.time()) < 60
    hour = (sent.hour + 7) % 24
    assert f" {hour:02}:{sent.minute:02}:{sent.second:02} by Ada" in words


def test_a_row_typed_by_hand_is_shown_whatever_it_holds(here: Here, db: Path) -> None:
    with SyncCommandQueue(db) as queue:
        queue.execute(
            "INSERT INTO bot_commands(command, args, created_at, requested_by)"
            " VALUES ('x', 'no json', 9e17, ?)",
            ("\x1b[31mred",),
        )
    assert here("queue", "show", 1, "--db", db, "--json").json["item"]["args"] == "no json"
    out = here("queue", "list", "--db", db).out
    assert "no json" in out
    assert "\x1b[31m" not in out


@pytest.mark.parametrize("depth", [90, 300, 900, 100_000])
def test_args_that_are_nested_deeply_are_shown(here: Here, db: Path, depth: int) -> None:
    args = '{"a":' * depth + "1" + "}" * depth
    with SyncCommandQueue(db) as queue:
        queue.execute("INSERT INTO bot_commands(command, args) VALUES ('x', ?)", (args,))
        for listing in (["list"], ["show", 1]):
            ended = here("queue", *listing, "--db", db, "--json")
            assert (ended.code, ended.err) == (0, "")
            record = ended.json
            shown = record["item"] if "item" in record else record["commands"][0]
            assert shown["args"] == (json.loads(args) if depth < 100 else args)
            assert here("queue", *listing, "--db", db).code == 0
        queue.cancel(1)
    assert here("queue", "list", "--history", "--db", db, "--json").code == 0


def test_args_that_are_nested_too_deeply_are_not_sent(here: Here, db: Path) -> None:
    args = '{"a":' * 20_000 + "1" + "}" * 20_000
    ended = here("queue", "add", "x", "--args", args, "--db", db)
    assert ended.code == 2
    assert "--args: " in ended.one_line()


def test_show_finds_a_finished_command(here: Here, busy: Path) -> None:
    out = here("queue", "show", 2, "--db", busy).out
    assert "failed" in out
    assert "broke" in out


def test_stats_counts_everything(here: Here, busy: Path) -> None:
    record = here("queue", "stats", "--db", busy, "--json").json
    assert (record["ready"], record["delayed"], record["claimed"]) == (1, 1, 1)
    assert record["history"] == {"done": 1, "failed": 1}
    assert 0 <= record["waiting_s"] < 60
    assert "1 done, 1 failed" in here("queue", "stats", "--db", busy).out


def test_the_oldest_that_waits_is_one_that_is_due(here: Here, db: Path) -> None:
    with SyncCommandQueue(db) as queue:
        queue.enqueue("later", delay=3600)
    assert here("queue", "stats", "--db", db, "--json").json["waiting_s"] is None


# -- cancel, prune ---------------------------------------------------------------------------------


def test_cancel_takes_waiting_commands_back(here: Here, busy: Path) -> None:
    ended = here("queue", "cancel", 4, 5, "--db", busy)
    assert (ended.code, ended.out) == (0, "Command 4 is cancelled.\nCommand 5 is cancelled.\n")


def test_cancel_of_one_that_runs_is_code_4_and_takes_the_others(here: Here, busy: Path) -> None:
    ended = here("queue", "cancel", 3, 4, 99, "--db", busy, "--json")
    assert ended.code == 4
    assert [(one["id"], one["cancelled"], one["state"]) for one in ended.json["commands"]] == [
        (3, False, "claimed"),
        (4, True, "cancelled"),
        (99, False, "unknown"),
    ]


def test_prune_deletes_only_what_is_old(here: Here, busy: Path) -> None:
    assert here("queue", "prune", "--db", busy, "--json").json["deleted"] == 0
    assert here("queue", "prune", "--older-than", "0", "--db", busy, "--json").json["deleted"] == 2
    assert here("queue", "list", "--history", "--db", busy).out == "Nothing has ended yet.\n"


# -- tail ------------------------------------------------------------------------------------------


def test_tail_tells_of_each_command_once_when_it_comes_and_once_when_it_ends(db: Path) -> None:
    with SyncCommandQueue(db) as queue, SyncCommandQueue(db) as other:
        queue.enqueue("before", key="a")
        tail = Tail(queue)
        list(tail.look())
        first = other.enqueue("x", key="b")
        assert [(event, one.id) for event, one in tail.look()] == [("new", first)]
        assert list(tail.look()) == []
        second = other.enqueue("y", key="c")
        for command in other.claim(10):
            other.ack(command)
        seen = [(event, one.id) for event, one in tail.look()]
        assert seen == [
            ("finished", 1),
            ("finished", first),
            ("new", second),
            ("finished", second),
        ]
        assert list(tail.look()) == []


def test_tail_prints_a_line_of_json_for_each_event_and_ends_at_sigint(db: Path) -> None:
    process = start(
        "queue", "tail", "--db", db, "--json", env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    try:
        assert process.stdout is not None
        with SyncCommandQueue(db) as queue:
            lines: list[Any] = []
            # The first one may have been there before it looked.
            while not lines:
                queue.enqueue("x", key="a")
                os.set_blocking(process.stdout.fileno(), False)
                time.sleep(0.05)
                if line := process.stdout.readline():
                    lines.append(json.loads(line))
            os.set_blocking(process.stdout.fileno(), True)
    finally:
        process.send_signal(signal.SIGINT)
        ended = finish(process)
    assert ended.code == 130
    assert ended.err == ""
    assert (lines[0]["schema"], lines[0]["event"], lines[0]["item"]["command"]) == (1, "new", "x")


def test_tail_ends_by_itself_after_its_time(here: Here, db: Path) -> None:
    assert here("queue", "tail", "--for", "20ms", "--db", db).code == 0


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "1"], ["cancel", "1"], ["tail"], ["stats"], ["prune"]]
)
def test_only_add_makes_a_file(here: Here, tmp_path: Path, arguments: list[str]) -> None:
    ended = here("queue", *arguments, "--db", tmp_path / "no.db")
    assert ended.code == 3
    assert "there is no such file" in ended.one_line()
    assert not (tmp_path / "no.db").exists()


def test_a_file_that_is_no_database_is_code_3(here: Here, tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("hello\n" * 1000)
    ended = here("queue", "list", "--db", path)
    assert ended.code == 3
    assert "not a database" in ended.one_line()


def test_a_file_of_a_newer_voicecore_is_code_3(here: Here, db: Path) -> None:
    connection = sqlite3.connect(db)
    connection.execute("UPDATE voicecore_schema SET version = 99")
    connection.commit()
    connection.close()
    ended = here("queue", "add", "play", "--db", db)
    assert ended.code == 3
    assert "schema version 99" in ended.one_line()


@pytest.mark.parametrize("asked", [["queue", "stats"], ["queue", "list"], ["schedule", "list"]])
@pytest.mark.parametrize("content", ["CREATE TABLE customers(id)", None])
def test_reading_commands_leave_a_file_without_a_queue_alone(
    here: Here, tmp_path: Path, asked: list[str], content: str | None
) -> None:
    path = tmp_path / "other.db"
    path.touch()
    if content is not None:
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute(content)
    before = path.read_bytes()
    done = here(*asked, "--db", path)
    assert done.code == 3
    assert "there is no queue in this file" in done.one_line()
    assert path.read_bytes() == before


def test_a_command_that_waits_again_says_why(here: Here, db: Path) -> None:
    async def scenario() -> Command | None:
        async with CommandQueue(db, role="worker") as queue:
            await queue.enqueue("play", key="k", max_attempts=3)
            (command,) = await queue.claim()
            await queue.give_back(command)
            return await queue.get(command.id)

    back = asyncio.run(scenario())
    assert back is not None
    assert "given back 1 time" in here("queue", "list", "--db", db).out
    shown = here("queue", "show", str(back.id), "--db", db).out
    assert "0 of 3, given back 1 time" in shown
    failed = replace(back, attempt=2, error="no such entry")
    lost = replace(failed, attempt=3, lease_until=back.created_at)
    assert table_row(failed, time.time())[-1] == "tried 1 time: no such entry"
    assert table_row(lost, time.time())[-1] == "tried 2 times: its holder was lost"
