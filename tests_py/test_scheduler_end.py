"""What becomes of a scheduler whose event loop ends, and of one that was shut down."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from conftest import native_threads
from voicecore import (
    Command,
    CommandQueue,
    Scheduler,
    Session,
    SessionMutex,
    SyncCommandQueue,
    _bridge,
)

Run = Callable[[Coroutine[Any, Any, None]], None]


class Entry:
    id = 1
    key = "g"


def run_and_close(coroutine: Coroutine[Any, Any, None]) -> None:
    """Without what `asyncio.run` does at the end."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(coroutine)
    loop.close()


class Bot:
    """A scheduler with a session that runs until it is stopped, and nobody who shuts it down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def begin(self) -> None:
        self.playing = asyncio.Event()
        self.queue = CommandQueue(self.path, role="worker")
        self.scheduler = Scheduler(
            None, self.queue, play_session=self.play, load_entry=self.load, schedule=False
        )
        self.scheduler.start()
        await self.scheduler.wait_started()
        await self.queue.enqueue("play", 1, key="g")
        await asyncio.wait_for(self.playing.wait(), 10)

    async def load(self, _entry_id: int) -> Entry:
        return Entry()

    async def play(self, session: Session) -> None:
        self.playing.set()
        await session.wait_stop()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_loop_that_ends_under_a_session_leaves_no_task_and_no_lease(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot(tmp_path / "q.db")
    with pytest.warns(ResourceWarning, match="before its voicecore.Scheduler was shut down"):
        run(bot.begin())
    with SyncCommandQueue(bot.path) as queue:
        rows = queue.execute("SELECT outcome, state FROM bot_sessions")
        while rows == [(None, "running")]:  # the queue's thread is at it
            rows = queue.execute("SELECT outcome, state FROM bot_sessions")
        assert rows == [("cancelled", "ended")]
    del bot
    gc.collect()
    assert "was destroyed" not in caplog.text


def unanswered(_work: Callable[[], object], _name: str) -> asyncio.Future[object]:
    """As of a thread that takes longer than the loop lasts."""
    return asyncio.get_running_loop().create_future()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_loop_that_ends_before_the_native_half_has_answered_leaves_no_task(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bridge, "end_in_own_thread", unanswered)
    bot = Bot(tmp_path / "q.db")
    run(bot.begin())
    del bot
    gc.collect()
    assert "was destroyed" not in caplog.text


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_scheduler_whose_loop_has_ended_claims_nothing_more(tmp_path: Path, run: Run) -> None:
    bot = Bot(tmp_path / "q.db")
    run(bot.begin())
    assert "vc-sched" not in native_threads()
    with SyncCommandQueue(bot.path) as queue:
        number = queue.enqueue("dance")
        waiting = queue.get(number)
        assert waiting is not None
        assert waiting.state == "ready"


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning"
)
def test_a_loop_closed_by_hand_stops_its_scheduler_when_the_next_one_is_used(
    tmp_path: Path,
) -> None:
    path = tmp_path / "q.db"
    bot = Bot(path)
    run_and_close(bot.begin())

    async def look() -> None:
        async with CommandQueue(path) as queue:
            await queue.peek(1)

    asyncio.run(look())
    assert "vc-sched" not in native_threads()
    del bot
    gc.collect()


async def test_a_scheduler_that_was_shut_down_is_let_go_of_while_its_loop_goes_on(
    tmp_path: Path,
) -> None:
    bot = Bot(tmp_path / "q.db")
    await bot.begin()
    await bot.scheduler.shutdown()
    await bot.queue.aclose()
    scheduler = weakref.ref(bot.scheduler)
    del bot
    gc.collect()
    assert scheduler() is None


async def start(path: Path, budget: int = 64) -> tuple[CommandQueue, Scheduler, list[str]]:
    """A scheduler that is about to begin, and the list of what its handlers did."""
    queue = CommandQueue(path, role="worker")
    scheduler = Scheduler(None, queue, schedule=False, budget=budget)
    seen: list[str] = []

    @scheduler.handler("note")
    async def note(command: Command) -> object:
        seen.append(str(command.key))
        return command.args.get("result")

    return queue, scheduler, seen


async def test_a_cancelled_wait_within_a_handler_fails_its_command_alone(tmp_path: Path) -> None:
    queue, scheduler, _ = await start(tmp_path / "q.db")

    @scheduler.handler("fetch")
    async def fetch(_command: Command) -> None:
        inner = asyncio.ensure_future(asyncio.sleep(60))
        inner.cancel()
        await inner

    scheduler.start()
    failed = await queue.wait_result(await queue.enqueue("fetch"), 10)
    assert (failed.state, failed.error) == ("failed", "what it waited for was cancelled")
    assert (await queue.wait_result(await queue.enqueue("note"), 10)).state == "done"
    assert scheduler.healthy
    await scheduler.shutdown()
    await queue.aclose()


async def test_a_loop_that_is_cancelled_from_within_is_a_loud_end(tmp_path: Path) -> None:
    class Confused(Scheduler):
        async def tick(self) -> None:
            inner = asyncio.ensure_future(asyncio.sleep(60))
            inner.cancel()
            await inner

    async with CommandQueue(tmp_path / "q.db", role="worker") as queue:
        fatal: list[BaseException] = []
        scheduler = Confused(None, queue, schedule=False, on_fatal=fatal.append)
        scheduler.start()
        with pytest.raises(RuntimeError, match="was cancelled"):
            await asyncio.wait_for(scheduler.wait(), 10)
        assert not scheduler.healthy
        assert len(fatal) == 1
        await scheduler.shutdown()


async def test_a_scheduler_whose_task_is_cancelled_by_its_owner_claims_nothing_more(
    tmp_path: Path,
) -> None:
    queue, scheduler, seen = await start(tmp_path / "q.db")
    runner = scheduler.start()
    await scheduler.wait_started()
    runner.cancel()
    await scheduler.wait()
    number = await queue.enqueue("note")
    await asyncio.sleep(0.5)
    found = await queue.get(number)
    assert found is not None
    assert (found.state, seen) == ("ready", [])
    assert scheduler.healthy
    await scheduler.shutdown()
    await queue.aclose()


@pytest.mark.parametrize("result", [object(), b"x", float("nan"), {1: {2}}])
async def test_a_result_that_cannot_be_kept_fails_its_command_alone(
    tmp_path: Path, result: object
) -> None:
    queue, scheduler, seen = await start(tmp_path / "q.db")

    @scheduler.handler("odd")
    async def odd(command: Command) -> object:
        seen.append(str(command.key))
        return result

    numbers = [
        await queue.enqueue(verb, key=str(key)) for key, verb in enumerate(("note", "odd", "note"))
    ]
    scheduler.start()
    states = [(await queue.wait_result(number, 10)).state for number in numbers]
    assert states == ["done", "failed", "done"]
    assert seen == ["0", "1", "2"]
    assert scheduler.healthy
    await scheduler.shutdown()
    await queue.aclose()


async def test_the_end_of_a_command_waits_for_a_locked_file(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    queue = CommandQueue(path, role="worker", busy_timeout=0.05)
    scheduler = Scheduler(None, queue, schedule=False)
    locked = asyncio.Event()
    runs = 0
    other = sqlite3.connect(path, isolation_level=None)

    @scheduler.handler("lock")
    async def lock(_command: Command) -> None:
        nonlocal runs
        runs += 1
        other.execute("BEGIN IMMEDIATE")
        locked.set()

    scheduler.start()
    await scheduler.wait_started()
    number = await queue.enqueue("lock")
    await asyncio.wait_for(locked.wait(), 10)
    while not scheduler.statistics().warnings:
        await asyncio.sleep(0.01)
    other.execute("COMMIT")
    other.close()
    assert (await queue.wait_result(number, 10)).state == "done"
    assert runs == 1
    await scheduler.shutdown()
    await queue.aclose()


async def test_a_shutdown_does_not_wait_for_whoever_holds_the_file(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "q.db")
    await bot.begin()
    other = sqlite3.connect(bot.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    # Several calls on the file, each of which waited for five seconds; the task is not abandoned.
    async with asyncio.timeout(bot.scheduler.SHUTDOWN_TIMEOUT_SECONDS):
        await bot.scheduler.shutdown()
        await bot.queue.aclose()
    other.close()


async def test_a_shutdown_lets_the_running_handler_end_and_gives_the_others_back(
    tmp_path: Path,
) -> None:
    queue, scheduler, seen = await start(tmp_path / "q.db")
    begun = asyncio.Event()

    @scheduler.handler("slow")
    async def slow(_command: Command) -> None:
        begun.set()
        await asyncio.sleep(0.3)
        seen.append("slow")

    numbers = [
        await queue.enqueue(verb, key=str(key)) for key, verb in enumerate(("slow", "note", "note"))
    ]
    scheduler.start()
    await asyncio.wait_for(begun.wait(), 10)
    await scheduler.shutdown()
    assert seen == ["slow"]
    assert (await queue.wait_result(numbers[0], 1)).state == "done"
    for number in numbers[1:]:
        found = await queue.get(number)
        assert found is not None
        assert found.state == "ready"
    await queue.aclose()


async def test_a_handler_may_ask_for_the_shutdown(tmp_path: Path) -> None:
    queue, scheduler, _ = await start(tmp_path / "q.db")

    @scheduler.handler("quit")
    async def leave(_command: Command) -> str:
        await scheduler.shutdown()
        return "good night"

    scheduler.start()
    number = await queue.enqueue("quit")
    await asyncio.wait_for(scheduler.wait(), 5)
    await scheduler.shutdown()
    assert (await queue.wait_result(number, 1)).result == "good night"
    await queue.aclose()


async def test_a_session_that_outlives_its_queue_leaves_its_lease_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with CommandQueue(tmp_path / "q.db", role="worker") as queue:
        claim = SessionMutex(queue).claim_nowait("g", 1)
        assert claim is not None
        await claim.persist()
    claim.release_nowait()
    loop = asyncio.get_running_loop()
    unheard: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: unheard.append(context))
    await asyncio.sleep(0.05)
    gc.collect()
    assert unheard == []
    assert "The lease of key g stays until it runs out" in caplog.text


async def test_a_session_may_ask_for_the_shutdown(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def play(_session: Session) -> None:
        await scheduler.shutdown()
        asked.set()

    async def load(_entry_id: int) -> Entry:
        return Entry()

    async with CommandQueue(tmp_path / "q.db", role="worker") as queue:
        scheduler = Scheduler(None, queue, play_session=play, load_entry=load, schedule=False)
        scheduler.start()
        await queue.enqueue("play", 1, key="g")
        await asyncio.wait_for(scheduler.wait(), 5)
        await scheduler.shutdown()
        assert asked.is_set()
        rows = await queue.execute("SELECT outcome, state FROM bot_sessions")
        assert rows == [("done", "ended")]


class Drain(Scheduler):
    """Claims by itself, so that nobody renews what it has in hand."""

    async def _take_commands(self) -> list[Command]:
        return await super()._take_commands()


@pytest.mark.parametrize(("kind", "begun"), [(Drain, ["slow"]), (Scheduler, ["slow", "note"])])
async def test_a_command_whose_lease_ran_out_in_hand_is_not_begun(
    tmp_path: Path, kind: type[Scheduler], begun: list[str]
) -> None:
    path = tmp_path / "q.db"
    begins: list[str] = []
    taken: list[Command] = []
    async with (
        CommandQueue(path, role="worker", lease=0.2) as queue,
        CommandQueue(path) as other,
    ):
        scheduler = kind(None, queue, schedule=False, turn=10)

        @scheduler.handler("slow")
        async def slow(_command: Command) -> None:
            begins.append("slow")
            await asyncio.sleep(0.5)  # native claims are renewed meanwhile
            taken.extend(await other.claim(2))

        @scheduler.handler("note")
        async def note(_command: Command) -> None:
            begins.append("note")

        numbers = [await queue.enqueue(verb, key=verb) for verb in ("slow", "note")]
        scheduler.start()
        await scheduler.wait_started()
        async with asyncio.timeout(10):
            while len(begins) < len(begun) or not (taken or kind is Scheduler):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
        assert begins == begun
        assert [one.attempt for one in taken] == ([2, 2] if kind is Drain else [])
        for command in taken:
            await other.ack(command)
        for number in numbers:
            assert (await queue.wait_result(number, 5)).state == "done"
        await scheduler.shutdown()


# -- from another thread ---------------------------------------------------------------------------


def of_ours() -> list[str]:
    here = asyncio.current_task()
    return [one.get_name() for one in asyncio.all_tasks() if one is not here]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_an_idle_scheduler_ends_by_a_shutdown_from_another_thread(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        queue, scheduler, _ = await start(tmp_path / "q.db")
        scheduler.start()
        await scheduler.wait_started()
        await asyncio.to_thread(asyncio.run, scheduler.shutdown())
        assert not scheduler.running
        await asyncio.wait_for(scheduler.wait(), 5)
        await scheduler.shutdown()
        assert "vc-sched" not in native_threads()
        assert of_ours() == []
        await queue.aclose()

    run(main())


async def test_a_shutdown_from_another_thread_ends_sessions_where_they_run(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "q.db")
    await bot.begin()
    await asyncio.to_thread(asyncio.run, bot.scheduler.shutdown())
    assert not bot.scheduler.running
    rows = await bot.queue.execute("SELECT outcome, state FROM bot_sessions")
    assert rows == [("stopped", "ended")]
    assert of_ours() == []
    await bot.queue.aclose()


async def test_shutdowns_from_everywhere_at_once_are_one(tmp_path: Path) -> None:
    closed: list[int] = []

    class Client:
        async def close(self) -> None:
            closed.append(threading.get_ident())

    async with CommandQueue(tmp_path / "q.db", role="worker") as queue:
        scheduler = Scheduler(Client(), queue, schedule=False)
        scheduler.start()
        await scheduler.wait_started()
        await asyncio.gather(
            *(asyncio.to_thread(asyncio.run, scheduler.shutdown()) for _ in range(3)),
            scheduler.shutdown(),
        )
        assert closed == [threading.get_ident()]
        assert not scheduler.running
        assert of_ours() == []


async def test_a_shutdown_that_is_given_up_in_another_thread_goes_on(tmp_path: Path) -> None:
    queue, scheduler, _ = await start(tmp_path / "q.db")
    scheduler.start()
    await scheduler.wait_started()

    async def impatient() -> None:
        asking = asyncio.create_task(scheduler.shutdown())
        await asyncio.sleep(0)
        asking.cancel()

    await asyncio.to_thread(asyncio.run, impatient())
    await asyncio.wait_for(scheduler.wait(), 5)
    await scheduler.shutdown()
    assert of_ours() == []
    await queue.aclose()


async def test_a_shutdown_from_another_thread_does_not_wait_for_ever_for_a_blocked_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue, scheduler, seen = await start(tmp_path / "q.db")
    scheduler.SHUTDOWN_TIMEOUT_SECONDS = 0.3  # type: ignore[misc]  # of this one alone
    scheduler.start()
    await scheduler.wait_started()
    other = threading.Thread(target=asyncio.run, args=(scheduler.shutdown(),))
    other.start()
    other.join(10)  # the loop stands still meanwhile
    assert not other.is_alive()
    assert "its event loop" in caplog.text
    number = await queue.enqueue("note")
    await asyncio.wait_for(scheduler.wait(), 5)
    await scheduler.shutdown()
    found = await queue.get(number)
    assert found is not None
    assert (found.state, seen) == ("ready", [])
    await queue.aclose()


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_shutdown_that_was_cancelled_is_begun_anew_by_the_next(
    tmp_path: Path, elsewhere: bool
) -> None:
    queue, scheduler, _ = await start(tmp_path / "q.db")
    scheduler.start()
    await scheduler.wait_started()
    asking = asyncio.create_task(scheduler.shutdown())
    await asyncio.sleep(0)
    assert scheduler._shutdown is not None
    scheduler._shutdown.cancel()
    await asyncio.wait([asking])
    if elsewhere:
        await asyncio.to_thread(asyncio.run, scheduler.shutdown())
    else:
        await scheduler.shutdown()
    assert not scheduler.running
    assert of_ours() == []
    await queue.aclose()


def test_a_shutdown_from_another_thread_ends_what_the_loops_end_has_cut_short(
    tmp_path: Path,
) -> None:
    closed: list[str] = []
    ready = threading.Event()

    class Client:
        async def close(self) -> None:
            closed.append("client")

    scheduler = Scheduler(Client(), CommandQueue(tmp_path / "q.db"), schedule=False)

    async def main() -> None:
        scheduler.start()
        await scheduler.wait_started()
        ready.set()
        await scheduler.wait()  # which is over before the last steps of the shutdown are

    async def end() -> None:
        await scheduler.shutdown()
        await scheduler.queue.aclose()

    other = threading.Thread(target=asyncio.run, args=(main(),))
    other.start()
    assert ready.wait(10)
    asyncio.run(end())
    other.join(10)
    assert not other.is_alive()
    assert closed == ["client"]
    assert not scheduler.running


# -- what is left ----------------------------------------------------------------------------------


async def test_a_shutdown_behind_a_bug_waits_for_what_the_bug_has_begun(tmp_path: Path) -> None:
    died = asyncio.Event()
    leaves = 0

    class Slow(Scheduler):
        async def _leave_native(self) -> None:
            nonlocal leaves
            leaves += 1
            if leaves == 1:
                asyncio.get_running_loop().call_later(0.1, ended.set)
                await ended.wait()
            await super()._leave_native()

    ended = asyncio.Event()
    async with CommandQueue(tmp_path / "q.db", role="worker") as queue:
        scheduler = Slow(None, queue, schedule=False, on_fatal=lambda _: died.set())

        @scheduler.handler("bad")
        async def bad(_command: Command) -> None:
            raise KeyError("a bug")

        scheduler.start()
        await queue.enqueue("bad")
        await asyncio.wait_for(died.wait(), 10)
        await scheduler.shutdown()
        assert of_ours() == []


async def test_a_shutdown_waits_for_who_is_told_of_a_bug_in_its_last_turn(tmp_path: Path) -> None:
    told: list[BaseException] = []
    begun = asyncio.Event()
    bug = KeyError("a bug")

    async def on_fatal(problem: BaseException) -> None:
        await asyncio.sleep(0.05)
        told.append(problem)

    async with CommandQueue(tmp_path / "q.db", role="worker") as queue:
        scheduler = Scheduler(None, queue, schedule=False, on_fatal=on_fatal)

        @scheduler.handler("bad")
        async def bad(_command: Command) -> None:
            begun.set()
            while scheduler._admitting:
                await asyncio.sleep(0.01)
            raise bug

        scheduler.start()
        await queue.enqueue("bad")
        await asyncio.wait_for(begun.wait(), 10)
        await scheduler.shutdown()
        assert told == [bug]
        assert of_ours() == []
