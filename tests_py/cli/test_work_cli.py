"""`voicecore work`: real programs, real signals, real deaths."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voicecore import CommandQueue, InvalidArgument, SyncCommandQueue
from voicecore.cli.job import JobEnd, Template, run_job
from voicecore.cli.work import JobScheduler, WorkOptions
from voicecore.queue import Command

Work = Callable[..., subprocess.CompletedProcess[str]]


def command_line(db: Path, line: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "voicecore", "work", "--db", str(db), "--exec", line, *more]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def work(db: Path) -> Work:
    def run(line: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command_line(db, line, "--until-empty", "--synchronous", "normal", *more),
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def send(db: Path, *commands: Any, **fields: Any) -> list[int]:
    with SyncCommandQueue(db) as queue:
        return [queue.enqueue(*one, **fields) for one in commands]


def outcome(db: Path, number: int) -> str:
    with SyncCommandQueue(db) as queue:
        return queue.wait_result(number, 5).text


def runs(pid: int) -> bool:
    """Not when it is gone, nor when only its exit code waits for a parent."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def sample(**fields: Any) -> Command:
    values: dict[str, Any] = dict.fromkeys(Command.__dataclass_fields__)
    values |= {"id": 7, "command": "play", "args_json": "{}", "attempt": 1, **fields}
    return Command(**values)


def test_a_program_that_ends_with_0_is_done(db: Path, work: Work) -> None:
    (number,) = send(db, ("resize", 3))
    done = work("true {command} {entry_id}")
    assert done.returncode == 0, done.stderr
    assert outcome(db, number) == "done"


def test_fields_reach_single_arguments_and_the_environment(
    db: Path, work: Work, tmp_path: Path
) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        "import json, os, sys\nprint(json.dumps([sys.argv[1:], os.environ['VOICECORE_ARGS']]))\n"
    )
    send(db, ("say it; touch /tmp/never", 3), args={"a": "x y"})
    done = work(f"{sys.executable} {script} '{{command}}' n={{entry_id}}")
    arguments, args = json.loads(done.stdout.splitlines()[0])
    assert arguments == ["say it; touch /tmp/never", "n=3"]
    assert json.loads(args) == {"a": "x y"}


def test_a_program_knows_everything_about_its_command(
    db: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    for inherited in [name for name in os.environ if name.startswith("VOICECORE_")]:
        monkeypatch.delenv(inherited)  # a program inherits these too, such as a build's switches
    began = time.time()
    fields = {"priority": 5, "dedup_key": "one", "max_attempts": 3, "requested_by": "me"}
    send(db, ("a", 3), key="k", expires_after=3600, **fields)
    send(db, ("b",), key="other", expires_after=None)
    done = work("sh -c 'env | grep ^VOICECORE_; echo end'")
    first, second = (
        dict(line.split("=", 1) for line in part.splitlines() if line)
        for part in done.stdout.split("end\n")[:2]
    )
    assert float(first.pop("VOICECORE_CREATED_AT")) == pytest.approx(began, abs=30)
    assert float(first.pop("VOICECORE_EXPIRES_AT")) == pytest.approx(began + 3600, abs=30)
    assert first == {
        "VOICECORE_ID": "1",
        "VOICECORE_COMMAND": "a",
        "VOICECORE_ENTRY_ID": "3",
        "VOICECORE_KEY": "k",
        "VOICECORE_ARGS": "{}",
        "VOICECORE_REQUESTED_BY": "me",
        "VOICECORE_ATTEMPT": "1",
        "VOICECORE_GIVEN_BACK": "0",
        "VOICECORE_MAX_ATTEMPTS": "3",
        "VOICECORE_PRIORITY": "5",
        "VOICECORE_DEDUP_KEY": "one",
        "VOICECORE_NOT_BEFORE": "",
    }
    assert (second["VOICECORE_EXPIRES_AT"], second["VOICECORE_DEDUP_KEY"]) == ("never", "")


def test_a_play_does_not_expire_for_a_worker_unless_its_sender_said_so(
    db: Path, work: Work
) -> None:
    with SyncCommandQueue(db) as queue:
        sql = "UPDATE bot_commands SET created_at = created_at - 86400000"
        plain = queue.enqueue("play", 1, key="a")
        queue.execute(sql)
        short = queue.enqueue("play", 1, key="b", expires_after=0)
    work("true")
    assert outcome(db, plain) == "done"
    assert outcome(db, short) == "expired"


def test_any_other_exit_code_is_failed_with_what_was_said(db: Path, work: Work) -> None:
    (number,) = send(db, ("x",), max_attempts=9)
    work("sh -c 'echo no paper >&2; exit 3'")
    assert outcome(db, number) == "failed: exit code 3: no paper"


def test_75_asks_for_another_try(db: Path, work: Work, tmp_path: Path) -> None:
    (number,) = send(db, ("x",))
    mark = tmp_path / "mark"
    done = work(f"sh -c 'test -e {mark} && exit 0; touch {mark}; exit 75'", "--json")
    assert outcome(db, number) == "done"
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["outcome"] for one in records] == ["retry", "done"]
    assert records[0]["schema"] == 1


def test_75_for_ever_ends_as_failed(db: Path, work: Work) -> None:
    (number,) = send(db, ("x",))
    work("sh -c 'exit 75'", "--tries", "2")
    assert outcome(db, number) == "failed: exit code 75"


def test_what_a_worker_gave_back_is_no_try(db: Path, work: Work) -> None:
    (number,) = send(db, ("x",))
    with SyncCommandQueue(db, role="worker") as queue:
        for _ in range(3):
            (command,) = queue.claim()
            queue.give_back(command)
    done = work("sh -c 'exit 75'", "--tries", "2", "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["outcome"] for one in records] == ["retry", "failed"]
    with SyncCommandQueue(db) as queue:
        end = queue.get(number)
        assert end is not None
        assert (end.attempt, end.given_back, end.error) == (5, 3, "exit code 75")


def test_a_program_that_is_not_there_is_a_failure_of_its_command(db: Path, work: Work) -> None:
    (number,) = send(db, ("x",))
    assert work("/no/such/program").returncode == 0
    assert "cannot be started" in outcome(db, number)


def test_a_program_that_the_system_has_no_room_for_is_tried_again() -> None:
    async def main() -> JobEnd:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            return await run_job(["true"], sample(), None)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    end = asyncio.run(main())
    assert end.retry
    assert end.problem == "true cannot be started: [Errno 24] Too many open files"


def test_a_worker_that_ends_does_not_wait_for_an_empty_queue(db: Path) -> None:
    send(db, ("a",), delay=3600)

    async def main() -> None:
        options = WorkOptions(
            str(db), Template("true"), 1, None, 5, 30.0, 2.0, "normal", until_empty=True, json=False
        )
        async with CommandQueue(db, role="worker") as queue, asyncio.timeout(30):
            scheduler = JobScheduler(options, queue)
            scheduler.start()
            empty = asyncio.create_task(scheduler.until_empty())
            await scheduler.shutdown()
            await empty

    asyncio.run(main())


def test_a_time_out_ends_the_whole_process_group(db: Path, work: Work, tmp_path: Path) -> None:
    (number,) = send(db, ("x",))
    pid = tmp_path / "pid"
    began = time.monotonic()
    work(f"sh -c 'sleep 600 & echo $! > {pid}; wait'", "--timeout", "0.5")
    assert time.monotonic() - began < 30
    assert "still running after 0.5 seconds" in outcome(db, number)
    assert not runs(int(pid.read_text()))


def test_commands_of_one_key_run_one_after_the_other(db: Path, work: Work, tmp_path: Path) -> None:
    log = tmp_path / "log"
    send(db, *[(f"n{i}",) for i in range(5)], key="a")
    work(
        f"sh -c 'echo +{{command}} >> {log}; sleep 0.05; echo -{{command}} >> {log}'", "--jobs", "4"
    )
    assert log.read_text().split() == [f"{sign}n{i}" for i in range(5) for sign in "+-"]


def test_jobs_of_different_keys_run_beside_one_another(
    db: Path, work: Work, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with SyncCommandQueue(db) as queue:
        queue.enqueue_many([{"command": "x", "key": f"k{i}"} for i in range(4)])
    work(f"sh -c 'echo + >> {log}; sleep 0.5; echo - >> {log}'", "--jobs", "4")
    assert log.read_text().split() == ["+"] * 4 + ["-"] * 4


def test_a_lease_is_renewed_while_the_program_runs(db: Path, work: Work) -> None:
    (number,) = send(db, ("x",))
    work("sleep 1.5", "--lease", "0.4")
    assert outcome(db, number) == "done"
    with SyncCommandQueue(db) as queue:
        found = queue.get(number)
    assert found is not None
    assert found.attempt == 1


def test_sigterm_gives_the_command_back_and_ends_the_program(db: Path, tmp_path: Path) -> None:
    (number,) = send(db, ("x",))
    pid = tmp_path / "pid"
    line = f"sh -c 'echo $$ > {pid}; exec sleep 600'"
    worker = subprocess.Popen(command_line(db, line), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.02)
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=20)
    assert worker.returncode == 143
    assert not runs(int(pid.read_text()))
    with SyncCommandQueue(db) as queue:
        found = queue.get(number)
    assert found is not None
    assert found.state == "ready"


def test_a_program_that_ignores_sigterm_is_killed_and_its_command_goes_back(
    db: Path, tmp_path: Path
) -> None:
    (number,) = send(db, ("x",))
    pid = tmp_path / "pid"
    line = f"sh -c 'trap \"\" TERM; echo $$ > {pid}; while :; do sleep 1; done'"
    worker = subprocess.Popen(
        command_line(db, line, "--lease", "0.5"), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 20
    while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.02)
    worker.send_signal(signal.SIGTERM)
    _, said = worker.communicate(timeout=30)
    assert worker.returncode == 143
    assert not runs(int(pid.read_text()))
    with SyncCommandQueue(db) as queue:
        found = queue.get(number)
    assert found is not None
    # Given back, not run out: its lease was renewed until the end.
    assert (found.state, found.attempt) == ("ready", 1)
    assert "not ours" not in said


@pytest.mark.parametrize("leave", ["sleep 600 >&- &", "setsid sleep 600 >&- &"])
def test_what_a_program_leaves_behind_is_not_waited_for(
    db: Path, work: Work, tmp_path: Path, leave: str
) -> None:
    numbers = send(db, ("x",), ("x",))
    pids = tmp_path / "pids"
    began = time.monotonic()
    done = work(f"sh -c '{leave} echo $! >> {pids}; exit 0'", "--timeout", "30")
    for pid in pids.read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    assert [outcome(db, number) for number in numbers] == ["done", "done"]
    assert time.monotonic() - began < 30
    assert "Exception" not in done.stderr


def test_records_are_alone_on_stdout(db: Path, work: Work) -> None:
    send(db, ("x",), ("x",))
    done = work("printf words", "--json")
    assert [json.loads(line)["outcome"] for line in done.stdout.splitlines()] == ["done", "done"]
    assert "words" in done.stderr


def test_a_job_that_somebody_else_got_meanwhile_is_told_as_lost(db: Path) -> None:
    send(db, ("x",))
    begun = db.with_suffix(".begun")
    worker = subprocess.Popen(
        command_line(db, f"sh -c 'touch {begun}; sleep 1'", "--lease", "0.3", "--json"),
        stdout=subprocess.PIPE,
        text=True,
    )
    with SyncCommandQueue(db, role="worker") as queue:
        while not begun.exists():
            time.sleep(0.02)
        worker.send_signal(signal.SIGSTOP)
        while not (claimed := queue.claim(1)):
            time.sleep(0.02)
        queue.ack(claimed[0])
    worker.send_signal(signal.SIGCONT)
    assert worker.stdout is not None
    record = json.loads(worker.stdout.readline())
    worker.terminate()
    worker.communicate(timeout=20)
    assert record["outcome"] == "lost"


@pytest.mark.parametrize(
    "line",
    ["", "x {nothing}", "x {command!r}", "x {command.__class__}", "x {", "x 'y", "x {args[0]}"],
)
def test_a_wrong_template_is_refused_before_anything_runs(line: str) -> None:
    with pytest.raises(InvalidArgument, match="--exec"):
        Template(line)


def test_a_field_never_becomes_two_arguments() -> None:
    template = Template("run --name={command} {key}")
    arguments = template.arguments(sample(command="a b --force", key=None))
    assert arguments == ["run", "--name=a b --force", ""]


def test_a_worker_whose_file_is_replaced_ends_with_3_and_one_line(db: Path) -> None:
    process = subprocess.Popen(
        command_line(db, "true", "--period", "0.1"), stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 20
        while not (db.exists() and db.with_name("jobs.db-wal").exists()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        done = send(db, ("first",))
        assert outcome(db, done[0]) == "done"
        for suffix in ("", "-wal", "-shm"):
            os.rename(f"{db}{suffix}", f"{db}.moved{suffix}")
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    told = [line for line in said.splitlines() if not line.startswith("voicecore: 1 first: done")]
    assert process.returncode == 3
    assert len(told) == 1, said
    assert f"{db} is no longer safe to use" in told[0]
