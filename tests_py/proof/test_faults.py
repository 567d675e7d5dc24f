"""Faults of the file, of locks and of clocks, each with its stated outcome."""

from __future__ import annotations

import asyncio
import functools
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from voicecore.database import DatabaseError
from voicecore.errors import Closed, StaleClaim, UnsupportedMedia
from voicecore.queue import Command, CommandQueue, SyncCommandQueue
from voicecore.scheduler import Scheduler, Session

from .nursery import HERE, Nursery

HOUR = 3600.0
BUSY = 5


# -- file systems ----------------------------------------------------------------------------------


@functools.cache
def namespace() -> tuple[str, ...] | None:
    """How to get a mount namespace here; None: not permitted."""
    for command in (("unshare", "-m"), ("unshare", "-rm")):
        if shutil.which("unshare") is None:
            return None
        mounts = [*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if subprocess.run(mounts, capture_output=True, check=False).returncode == 0:
            return command
    return None


def in_a_process(fault: str, folder: Path, *before: str) -> None:
    """Run one of file_faults.py."""
    module = f"{__name__.rpartition('.')[0]}.file_faults"
    done = subprocess.run(
        [*before, sys.executable, "-m", module, fault, folder],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("fault", "instead"),
    [("full_disk", "file_size_limit"), ("read_only_file_system", "read_only_file")],
)
def test_a_file_system_that_takes_no_more_is_a_typed_error_and_loses_nothing(
    tmp_path: Path, fault: str, instead: str
) -> None:
    how = namespace()
    if how is None:
        warnings.warn(f"no mount namespace here: {instead} in place of {fault}", stacklevel=1)
        in_a_process(instead, tmp_path)
    else:
        in_a_process(fault, tmp_path, *how)


def test_a_process_that_may_not_grow_its_files_is_refused_and_goes_on_later(ram: Path) -> None:
    in_a_process("file_size_limit", ram)


def test_a_file_that_is_not_ours_to_write_is_refused(ram: Path) -> None:
    in_a_process("read_only_file", ram)


READS_ONLY = """
import os, sys
import voicecore
voicecore.SyncCommandQueue, voicecore.SourcePermissionError  # nobody else may read the package
if os.getuid() == 0:
    os.setgroups([])
    os.setuid(65534)
for create in (True, False):
    try:
        with voicecore.SyncCommandQueue(sys.argv[1], create=create) as queue:
            queue.peek()
    except voicecore.SourcePermissionError:
        print("refused")
"""


def test_who_may_only_read_a_file_leaves_no_log_beside_it(tmp_path: Path) -> None:
    # Where others have folders of their own nobody else gets in.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        db = Path(folder, "queue.db")
        with SyncCommandQueue(db) as queue:
            queue.enqueue("work")
        db.chmod(0o444)
        assert python(READS_ONLY, str(db)).split() == ["refused", "refused"]
        assert os.listdir(folder) == ["queue.db"]
        db.chmod(0o644)
        with SyncCommandQueue(db) as queue:
            queue.enqueue("work")


def test_a_file_with_two_names_is_refused_under_either_but_a_symbolic_link_is_none(
    tmp_path: Path,
) -> None:
    db, link, symbolic = tmp_path / "queue.db", tmp_path / "link.db", tmp_path / "symbolic.db"
    with SyncCommandQueue(db) as queue:
        queue.enqueue("work")
    symbolic.symlink_to(db)
    with SyncCommandQueue(db) as queue, SyncCommandQueue(symbolic) as same:
        same.enqueue("work")
        assert len(queue.peek()) == 2
    os.link(db, link)
    for name in (db, link, symbolic):
        with pytest.raises(UnsupportedMedia, match=r"has 2 names \(hard links\)"):
            SyncCommandQueue(name).open()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.db", "queue.db", "symbolic.db"]
    link.unlink()
    with SyncCommandQueue(db) as queue:
        assert len(queue.peek()) == 2


MOUNTED = """
import subprocess, sys
import voicecore
db, other = sys.argv[1:]
voicecore.SyncCommandQueue(db).enqueue("work")
open(other, "w").close()
subprocess.run(["mount", "--bind", db, other], check=True)
try:
    voicecore.SyncCommandQueue(other).open()
except voicecore.UnsupportedMedia as error:
    print("is mounted by itself" in str(error))
"""


def test_a_file_that_is_mounted_by_itself_is_refused(tmp_path: Path) -> None:
    how = namespace()
    if how is None:
        warnings.warn("no mount namespace here: nothing can be mounted", stacklevel=1)
        return
    done = subprocess.run(
        [*how, sys.executable, "-c", MOUNTED, tmp_path / "a.db", tmp_path / "b.db"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "True", done.stderr


# -- files that go away ----------------------------------------------------------------------------


def make_away_with(db: Path, how: str) -> None:
    if how == "replaced":
        with SyncCommandQueue(db.with_suffix(".new")) as other:
            other.enqueue("other")
        # As one should: a log that stays would be read into the new file.
        Path(f"{db}-wal").unlink()
        Path(f"{db}-shm").unlink()
        os.rename(db.with_suffix(".new"), db)
    elif how == "deleted":
        db.unlink()
    else:
        Path(f"{db}-shm" if "memory" in how else f"{db}-wal").unlink()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("deleted", "it was deleted"),
        ("replaced", "another file has been put in its place"),
        ("its log deleted", "its write-ahead log was deleted"),
        ("its shared memory deleted", "its shared memory .* was deleted"),
    ],
)
def test_a_worker_finds_its_file_gone_and_writes_no_more(
    tmp_path: Path, how: str, says: str
) -> None:
    db = tmp_path / "queue.db"
    wall = [1000.0]
    with SyncCommandQueue(db, role="worker", wall_clock=lambda: wall[0]) as queue:
        queue.enqueue("work")
        queue.claim()
        make_away_with(db, how)
        wall[0] += 2.0
        for _ in range(2):
            with pytest.raises(DatabaseError, match=says):
                queue.claim()
        with pytest.raises(DatabaseError, match="no longer safe to use"):
            queue.peek()


@pytest.mark.parametrize(
    "how", ["deleted", "replaced", "its log deleted", "its shared memory deleted"]
)
def test_a_sender_is_told_that_its_file_is_gone_rather_than_given_an_id(
    tmp_path: Path, how: str
) -> None:
    db = tmp_path / "queue.db"
    with SyncCommandQueue(db) as queue:
        queue.enqueue("work")
        make_away_with(db, how)
        with pytest.raises(DatabaseError, match="no longer safe to use"):
            queue.enqueue("lost")
    if how == "replaced":
        with SyncCommandQueue(db) as queue:
            assert [one.command for one in queue.peek()] == ["other"]


def test_a_worker_that_has_lost_its_log_harms_nothing_by_closing(tmp_path: Path) -> None:
    db = tmp_path / "queue.db"
    send = (
        "import sys, voicecore\n"
        "with voicecore.SyncCommandQueue(sys.argv[1]) as queue:\n"
        "    print(len(queue.enqueue_many([('later',)] * 300)))\n"
    )
    with SyncCommandQueue(db) as queue:
        queue.enqueue("work")
    with SyncCommandQueue(db, role="worker") as queue:
        queue.ack(queue.claim()[0])  # what its own log has, and nobody else's
        make_away_with(db, "its log deleted")
        make_away_with(db, "its shared memory deleted")
        sent = subprocess.run([sys.executable, "-c", send, db], capture_output=True, text=True)
        assert sent.stdout.strip() == "300", sent.stderr
    with SyncCommandQueue(db) as queue:
        assert queue.statistics().ready == 301


def test_a_foreign_descriptor_of_an_old_file_of_that_name_means_nothing(tmp_path: Path) -> None:
    db = tmp_path / "queue.db"
    with SyncCommandQueue(db) as queue:
        queue.enqueue("work")
    old = sqlite3.connect(db)
    old.execute("SELECT count(*) FROM bot_commands").fetchone()
    for path in tmp_path.iterdir():
        path.unlink()
    with SyncCommandQueue(db) as queue:
        queue.enqueue("work")
        queue.audit()
    old.close()


def test_an_audit_without_descriptors_to_look_with_condemns_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with SyncCommandQueue(tmp_path / "queue.db") as queue:
        queue.enqueue("work")
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            queue.audit()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        queue.audit()
        assert queue.enqueue("more") == 2


def test_a_file_opened_again_after_it_was_replaced_works(tmp_path: Path) -> None:
    db = tmp_path / "queue.db"
    with SyncCommandQueue(db) as queue:
        queue.enqueue("work")
        make_away_with(db, "replaced")
        with pytest.raises(DatabaseError):
            queue.audit()
    with SyncCommandQueue(db) as queue:
        assert queue.enqueue("again") == 2


def test_locks_dropped_by_a_plain_open_and_close_are_noticed(tmp_path: Path) -> None:
    db = tmp_path / "queue.db"
    with SyncCommandQueue(db) as queue:
        queue.enqueue("work")
        Path(db).read_bytes()
        with pytest.raises(DatabaseError, match="no longer holds its locks"):
            queue.audit()


async def test_a_scheduler_whose_locks_were_dropped_ends_loudly_and_claims_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = tmp_path / "queue.db"
    handled = []
    fatal: list[BaseException] = []
    async with CommandQueue(db, role="worker") as queue:
        scheduler = Scheduler(None, queue, period=0.05, on_fatal=fatal.append)

        @scheduler.handler("work")
        async def work(command: Command) -> None:
            handled.append(command.id)

        scheduler.start()
        await scheduler.wait_started()
        before = await queue.enqueue("work")
        await queue.wait_result(before, timeout=10)
        await asyncio.to_thread(db.read_bytes)
        with pytest.raises(DatabaseError, match="no longer holds its locks") as caught:
            await asyncio.wait_for(scheduler.wait(), 10)
        # By whatever connection of this process: it could be lost, or damage the rest.
        with pytest.raises(DatabaseError, match="no longer holds its locks"):
            await queue.enqueue("work")
        with pytest.raises(Closed, match="its queue file is no longer safe to use"):
            scheduler.start()
        assert fatal == [caught.value]
        assert handled == [before]
        assert not scheduler.healthy
        said = len(caplog.records)
        await asyncio.sleep(0.3)
        await scheduler.shutdown()
        assert len(caplog.records) == said  # once, and not with each tick
        assert said <= 2  # one thread may notice before another looks
    assert caplog.records[-1].levelname == "CRITICAL"


async def test_a_scheduler_does_not_begin_on_a_file_that_is_lost_already(tmp_path: Path) -> None:
    db = tmp_path / "queue.db"
    async with CommandQueue(db, role="worker") as queue:
        await queue.enqueue("work")
        await asyncio.to_thread(db.read_bytes)
        with pytest.raises(DatabaseError, match="no longer holds its locks"):
            await queue.audit()
        fatal: list[BaseException] = []
        scheduler = Scheduler(None, queue, period=0.05, on_fatal=fatal.append)
        scheduler.start()
        with pytest.raises(DatabaseError, match="no longer holds its locks") as caught:
            await asyncio.wait_for(scheduler.wait(), 10)
        assert fatal == [caught.value]
        assert not scheduler.healthy
        with pytest.raises(DatabaseError, match="no longer holds its locks"):
            await asyncio.wait_for(scheduler.wait_started(), 10)
        await scheduler.shutdown()


async def test_a_session_ends_in_order_when_its_file_is_gone(tmp_path: Path) -> None:
    db = tmp_path / "queue.db"
    ended: list[bool] = []

    async def play(session: Session) -> None:
        await session.wait_stop()
        ended.append(session.stop_requested)

    async def load(entry_id: int) -> SimpleNamespace:
        return SimpleNamespace(id=entry_id, key="a")

    async with CommandQueue(db, role="worker") as queue:
        scheduler = Scheduler(
            None, queue, period=0.05, play_session=play, load_entry=load, schedule=False
        )
        scheduler.start()
        await queue.wait_result(await queue.enqueue("play", 1), timeout=10)
        make_away_with(db, "deleted")
        with pytest.raises(DatabaseError, match="it was deleted"):
            await asyncio.wait_for(scheduler.wait(), 10)
        assert ended == []
        async with asyncio.timeout(scheduler.SHUTDOWN_TIMEOUT_SECONDS):
            await scheduler.shutdown()
        assert ended == [True]


# -- locks -----------------------------------------------------------------------------------------


def test_a_lock_held_for_longer_than_the_busy_timeout_is_an_error_and_then_over(
    nursery: Nursery, tmp_path: Path
) -> None:
    db, log = tmp_path / "queue.db", tmp_path / "log"
    with SyncCommandQueue(db, busy_timeout=0.2) as queue:
        queue.enqueue("work")
        pid = nursery.start("hold_the_lock", db=db, log=log, seconds=2.0)
        wait_for(log)
        began = time.monotonic()
        with pytest.raises(DatabaseError, match="locked") as caught:
            queue.enqueue("refused")
        assert time.monotonic() - began >= 0.15
        assert caught.value.sqlite_errorcode & 0xFF == BUSY
        assert [one.command for one in queue.peek()] == ["work"]  # readers wait for nobody
        assert nursery.wait(pid) == 0
        queue.enqueue("after")
        assert [one.command for one in queue.peek()] == ["work", "after"]


def test_a_lock_held_for_less_than_the_busy_timeout_is_waited_for(
    nursery: Nursery, tmp_path: Path
) -> None:
    db, log = tmp_path / "queue.db", tmp_path / "log"
    with SyncCommandQueue(db, busy_timeout=5.0) as queue:
        queue.audit()
        pid = nursery.start("hold_the_lock", db=db, log=log, seconds=0.2)
        wait_for(log)
        assert queue.enqueue("patient") == 1
        assert nursery.wait(pid) == 0


def test_the_loop_runs_on_while_a_lock_is_waited_for(nursery: Nursery, tmp_path: Path) -> None:
    db, log = tmp_path / "queue.db", tmp_path / "log"

    async def main() -> int:
        async with CommandQueue(db) as queue:
            pid = nursery.start("hold_the_lock", db=db, log=log, seconds=0.3)
            wait_for(log)
            sending = asyncio.create_task(queue.enqueue("patient"))
            turns = 0
            while not sending.done():
                await asyncio.sleep(0.005)
                turns += 1
            assert await sending == 1
            assert nursery.wait(pid) == 0
            return turns

    assert asyncio.run(main()) > 10


def wait_for(log: Path) -> None:
    deadline = time.monotonic() + 10
    while not log.exists() or not log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.002)


# -- clocks ----------------------------------------------------------------------------------------


class Stepped:
    """Two workers and a sender on one file, and a wall clock that is stepped."""

    def __init__(self, db: Path) -> None:
        self.now = 1_700_000_000.0
        self.one, self.two = (
            SyncCommandQueue(db, owner=name, lease=30.0, wall_clock=lambda: self.now)
            for name in ("one", "two")
        )

    def close(self) -> None:
        self.one.close()
        self.two.close()


@pytest.fixture
def stepped(ram: Path) -> Iterator[Stepped]:
    both = Stepped(ram / "queue.db")
    yield both
    both.close()


def test_an_hour_forward_ends_leases_and_the_late_ack_is_refused(stepped: Stepped) -> None:
    stepped.one.enqueue("work", key="a")
    (held,) = stepped.one.claim()
    stepped.now += HOUR
    with pytest.raises(StaleClaim) as caught:
        stepped.one.ack(held)
    assert caught.value.reason == "expired"
    (again,) = stepped.two.claim()
    assert (again.id, again.attempt) == (held.id, 2)
    with pytest.raises(StaleClaim) as caught:
        stepped.one.ack(held)
    assert caught.value.reason == "taken"
    stepped.two.ack(again)
    with pytest.raises(StaleClaim) as caught:
        stepped.one.ack(held)
    assert caught.value.reason == "finished"


def test_an_hour_forward_starts_no_play_from_before(stepped: Stepped) -> None:
    id = stepped.one.enqueue("play", 3)
    stepped.now += HOUR
    assert stepped.one.claim() == []
    found = stepped.one.get(id)
    assert found is not None
    assert found.state == "expired"


def test_an_hour_back_keeps_a_claim_with_its_holder_and_its_end_is_accepted(
    stepped: Stepped,
) -> None:
    stepped.one.enqueue("work", key="a")
    (held,) = stepped.one.claim()
    stepped.now -= HOUR
    assert stepped.two.claim() == []
    stepped.one.renew(held)
    stepped.now += 29.0
    assert stepped.two.claim() == []
    stepped.one.ack(held)


def test_an_hour_back_leaves_a_dead_holders_claim_for_one_lease_only(stepped: Stepped) -> None:
    stepped.one.enqueue("work", key="a")
    (held,) = stepped.one.claim()
    stepped.now -= HOUR
    assert stepped.two.claim() == []
    stepped.now += 29.9
    assert stepped.two.claim() == []
    stepped.now += 0.1
    (again,) = stepped.two.claim()
    assert (again.id, again.attempt) == (held.id, 2)


def test_an_hour_back_delays_what_is_delayed_by_an_hour_and_nothing_else(stepped: Stepped) -> None:
    later = stepped.one.enqueue("work", key="a", delay=10)
    stepped.now -= HOUR
    sent = stepped.one.enqueue("work", key="b")
    (other,) = stepped.two.claim(10)
    assert other.id == sent
    stepped.two.ack(other)
    stepped.now += HOUR + 10
    assert [one.id for one in stepped.two.claim(10)] == [later]


# -- a worker that sleeps --------------------------------------------------------------------------


@pytest.mark.parametrize(("taken", "reason"), [(False, "expired"), (True, "taken")])
def test_a_worker_stopped_for_longer_than_its_lease_is_refused(
    tmp_path: Path, taken: bool, reason: str
) -> None:
    db, log = tmp_path / "queue.db", tmp_path / "log"
    with SyncCommandQueue(db) as queue:
        id = queue.enqueue("work", key="a")
        code = (
            "import sys; from proof.actors import sleep_on_it;"
            "sleep_on_it(sys.argv[1], sys.argv[2], 0.1)"
        )
        sleeper = subprocess.Popen(
            [sys.executable, "-c", code, db, log], cwd=HERE.parent, stdin=subprocess.PIPE, text=True
        )
        try:
            wait_for(log)
            sleeper.send_signal(signal.SIGSTOP)
            time.sleep(0.15)
            if taken:
                (again,) = queue.claim()
                assert (again.id, again.attempt) == (id, 2)
        finally:
            sleeper.send_signal(signal.SIGCONT)
            sleeper.communicate("go on\n", timeout=20)
        assert log.read_text().split() == ["claimed", str(id), reason]
        if taken:
            queue.ack(again)
        found = queue.get(id)
        assert found is not None
        assert (found.state, found.attempt) == (("done", 2) if taken else ("claimed", 1))


def test_a_scheduler_stopped_for_longer_than_its_lease_leaves_everything_to_the_next_holder(
    nursery: Nursery, tmp_path: Path
) -> None:
    db, log = tmp_path / "queue.db", tmp_path / "log"
    lease = 1.0
    with SyncCommandQueue(db) as queue:
        pid = nursery.start("schedule", db=db, log=log, lease=lease)
        try:
            play = queue.enqueue("play", 1)
            assert queue.wait_result(play, timeout=20).text == "started"
            wait_for_line(log, "plays 1")
            queue.enqueue_many([("hold", None, "a"), ("next", None, "b")])
            wait_for_line(log, "holds")
            os.kill(pid, signal.SIGSTOP)
            time.sleep(lease + 0.2)
            taken = queue.claim(10)
            assert [(one.command, one.attempt) for one in taken] == [("hold", 2), ("next", 2)]
            assert asyncio.run(take_session(db, "radio")) == 2
            os.kill(pid, signal.SIGCONT)
            wait_for_line(log, "silent False")
            for command in taken:
                queue.ack(command)
            # What was given to nobody else goes on: the scheduler has lost its leases, not its way.
            queue.wait_result(queue.enqueue("next", key="c"), timeout=20)
            assert queue.wait_result(queue.enqueue("quit"), timeout=20).state == "done"
            assert nursery.wait(pid) == 0
            pid = 0
            assert queue.execute("SELECT attempt, outcome FROM bot_sessions") == [(2, None)]
        finally:
            if pid:
                os.kill(pid, signal.SIGCONT)
                nursery.kill(pid)
    lines = log.read_text().splitlines()
    assert sorted(lines) == ["healthy True", "holds", "next 1", "plays 1", "silent False"]


async def take_session(db: Path, key: str) -> int:
    async with CommandQueue(db) as queue:
        return await queue.lease_session(key)


def wait_for_line(log: Path, line: str) -> None:
    deadline = time.monotonic() + 20
    while not log.exists() or line not in log.read_text().splitlines():
        assert time.monotonic() < deadline, line
        time.sleep(0.002)


# -- a child of a fork -----------------------------------------------------------------------------

FORKED = """
import asyncio, os, signal, sys, warnings
import voicecore
warnings.simplefilter("ignore")

def refused(what):
    try:
        what()
    except voicecore.Closed:
        return
    os._exit(2)

def child(queue, scheduler):
    signal.alarm(20)
    refused(lambda: queue.enqueue("work"))
    refused(queue.claim)
    refused(lambda: scheduler._native.take())
    os._exit(0)

async def main(db):
    ran = []
    scheduler = voicecore.Scheduler(queue=db, period=0.05, schedule=False)

    @scheduler.handler("work")
    async def work(command):
        ran.append((command.key, os.getpid()))

    scheduler.start()
    await scheduler.wait_started()
    with voicecore.SyncCommandQueue(db) as queue:
        queue.peek()
        pid = os.fork()
        if pid == 0:
            try:
                child(queue, scheduler)
            finally:
                os._exit(3)
        code = os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1])
        await scheduler.queue.wait_result(queue.enqueue("work", key="parent"), 10)
        queue.audit()
    healthy = scheduler.healthy
    await scheduler.shutdown()
    print(code, healthy, sorted(key for key, pid in ran if pid == os.getpid()))

asyncio.run(main(sys.argv[1]))
"""


def test_a_forked_child_may_not_use_its_parents_queue_and_harms_neither_it_nor_the_scheduler(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", FORKED, tmp_path / "queue.db"],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.stdout.strip() == "0 True ['parent']", done.stderr


CHILD_OPENS_THE_PARENTS_FILE = """
import os, sqlite3, sys
import voicecore
db, other = sys.argv[1:]
queue = voicecore.SyncCommandQueue(db)
queue.enqueue("work")

def opens_in_a_child(path):
    pid = os.fork()
    if pid == 0:
        try:
            with voicecore.SyncCommandQueue(path) as own:
                own.enqueue("work")
        except voicecore.Closed as error:
            os._exit(10 if "spawn" in str(error) else 11)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

codes = [opens_in_a_child(db), opens_in_a_child(other)]
queue.audit()
queue.close()
codes.append(opens_in_a_child(db))
rows = sqlite3.connect(db).execute("SELECT count(*) FROM bot_commands").fetchone()[0]
print(codes, rows)
"""


def test_a_child_gets_its_parents_file_only_when_it_was_closed_before_the_fork(
    tmp_path: Path,
) -> None:
    paths = (str(tmp_path / "queue.db"), str(tmp_path / "other.db"))
    assert python(CHILD_OPENS_THE_PARENTS_FILE, *paths) == "[10, 0, 0] 2"


CHILDREN_BESIDE_BUSY_SQLITE = """
import os, signal, sqlite3, sys, threading, warnings
import voicecore
warnings.simplefilter("ignore")
folder = sys.argv[1]
voicecore.SyncCommandQueue(f"{folder}/parents.db").close()
over = threading.Event()

def use(name):
    while not over.is_set():
        own = sqlite3.connect(f"{folder}/{name}")
        own.execute("CREATE TABLE IF NOT EXISTS t(a)")
        own.execute("INSERT INTO t VALUES (randomblob(3000))")
        own.rollback()
        own.close()

threads = [threading.Thread(target=use, args=(f"busy{n}.db",)) for n in range(4)]
for thread in threads:
    thread.start()
codes = set()
for n in range(150):
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        with voicecore.SyncCommandQueue(f"{folder}/child{n % 3}.db") as own:
            own.enqueue("work")
        os._exit(0)
    codes.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
over.set()
print(codes)
"""


def test_children_use_sqlite_whatever_other_threads_of_the_parent_did_with_it(
    tmp_path: Path,
) -> None:
    assert python(CHILDREN_BESIDE_BUSY_SQLITE, str(tmp_path)) == "{0}"


def python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
