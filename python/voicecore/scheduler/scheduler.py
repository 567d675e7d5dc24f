"""The scheduler: a tick, a drain of commands, a look at the schedule, one session per key."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, cast

from voicecore import _bridge, _core, _validate
from voicecore._sqlite_versions import has_wal_race
from voicecore.database import DatabaseError
from voicecore.errors import Closed, InvalidArgument, StaleClaim, VoicecoreError, from_native
from voicecore.queue import (
    EVERY_KEY,
    KNOWN_VERBS,
    Command,
    CommandQueue,
    Outcome,
    command_from_row,
    key_text,
)
from voicecore.scheduler.session import Session, StateRepository
from voicecore.scheduler.shutdown import ShutdownSteps, install_signal_handlers
from voicecore.scheduler.statistics import SchedulerStatistics
from voicecore.sessions import Claim, SessionMutex, SessionTaken
from voicecore.statistics import Lateness

if TYPE_CHECKING:
    from voicecore.schedule import Due, ScheduleChecker
    from voicecore.testing import VirtualTime

log = logging.getLogger("voicecore.scheduler")

Handler = Callable[[Command], Awaitable[object]]
Busy = Literal["drop", "replace", "queue"]

_BATCH: Final = 32
_QUEUED_PAUSE: Final = 1.0
"""Seconds after which a `play` that waits for its key's session looks again."""
_REPLACE_PATIENCE: Final = 5.0
_ACK_PATIENCE: Final = 0.005
"""Seconds for which an outcome may wait for those of the commands behind it."""


class MissingEntry(VoicecoreError, ValueError):
    """A `play` for an entry that does not exist (lesson D08)."""


class Scheduler:
    """Commands and the schedule, one session at a time for each key (lesson R10 to R24).

    A native thread keeps the ticks and claims commands as they come; pause, resume, stop, seek,
    volume and next reach a session's player from there, whatever the event loop does. Everything
    else runs here, on the loop. A subclass that overrides `tick`, `_drain_commands` or
    `_check_schedule` is honoured: the native thread then only wakes the loop.

    Override `load_entry` and `play_session`, or give them as arguments. Works without discord.py
    (R14).

    Args:
        client: a discord.py client, or anything with `wait_until_ready` and `close`; optional.
        queue: the command queue, or the path of its file.
        period: seconds from tick to tick (R10).
        single: one session in the whole process rather than one for each key (D23).
        busy: what becomes of a `play` while its key plays: "drop" (recorded as "busy", D14),
            "replace", or "queue".
        play_session: an async function of a `Session`: plays the entry to its end.
        load_entry: an async function of an entry id; None: there is no such entry.
        schedule: a `ScheduleChecker`, True for the schedule of the queue's own file, or False: only
            commands start anything.
        remind: an async function of a `Due` reminder.
        on_fatal: called with the exception that ended the loop (D02).
        budget: commands in hand at a time.
        retention: seconds for which finished commands are kept.
        doorbell: listen for senders' datagrams.
        poll: seconds between looks at the file, for senders that cannot ring.
        time: virtual time, for tests.

    Raises:
        InvalidArgument: a value out of its range.
    """

    SHUTDOWN_TIMEOUT_SECONDS: ClassVar[float] = 8
    """For the whole shutdown (R40)."""

    def __init__(
        self,
        client: Any = None,
        queue: CommandQueue | str | os.PathLike[str] | None = None,
        *,
        period: float = 2.0,
        single: bool = False,
        busy: Busy = "drop",
        play_session: Callable[[Session], Awaitable[object]] | None = None,
        load_entry: Callable[[int], Awaitable[Any]] | None = None,
        schedule: ScheduleChecker | bool = True,
        remind: Callable[[Due], Coroutine[Any, Any, object]] | None = None,
        on_fatal: Callable[[BaseException], object] | None = None,
        budget: int = 64,
        retention: float | None = 30 * 86_400.0,
        doorbell: bool = True,
        poll: float = 0.25,
        time: VirtualTime | None = None,
    ) -> None:
        if queue is None:
            raise InvalidArgument("queue: got None, expected a CommandQueue or a path")
        if busy not in ("drop", "replace", "queue"):
            raise InvalidArgument(f"busy: got {busy!r}, expected 'drop', 'replace' or 'queue'")
        self.client = client
        self._time = time
        self._owns_queue = not isinstance(queue, CommandQueue)
        if isinstance(queue, CommandQueue):
            self.queue = queue
        else:
            wall = None if time is None else time.time
            self.queue = CommandQueue(queue, role="worker", wall_clock=wall)
        self._period = _validate.number("period", period, 0.01, 86_400.0, "seconds")
        self._poll = _validate.number("poll", poll, 0.001, 60.0, "seconds")
        self._budget = _validate.whole("budget", budget, 1, 10_000)
        if retention is not None:
            _validate.seconds("retention", retention)
        self._retention = retention
        self._doorbell = doorbell
        self._busy: Busy = busy
        self._play_session = play_session
        self._load_entry = load_entry
        self._schedule = self._own_schedule() if schedule is True else schedule or None
        self._remind = remind
        self.on_fatal = on_fatal
        self.sessions = SessionMutex(self.queue, single=single)
        self.state_repo = StateRepository(self.queue)
        self._handlers: dict[str, Handler] = {}
        self._done: list[tuple[Command, object]] = []
        self._done_since = 0.0
        self._sessions: dict[str, Session] = {}
        self._pending_tasks: set[asyncio.Task[Any]] = set()
        self._native: _core.Scheduler | None = None
        self._runner: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._started = asyncio.Event()
        self._working = True
        self._tick_due = False
        self._admitting = True
        self._healthy = True
        self._fatal: BaseException | None = None
        self._outcomes: Counter[str] = Counter()
        self._warnings = 0
        self._shutdown: asyncio.Task[None] | None = None
        self._prune_at = 0.0

    # -- life --------------------------------------------------------------------------------------

    def start(self) -> asyncio.Task[None]:
        """Begin. Idempotent (R12); to be called on the event loop.

        Raises:
            Closed: after `shutdown`.
            RuntimeError: no loop is running.
        """
        if self._shutdown is not None:
            raise Closed("the scheduler was shut down; make a new one")
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(
                self._run(), name="voicecore-scheduler"
            )
            self._runner.add_done_callback(self._on_runner_done)
        return self._runner

    async def wait_started(self) -> None:
        """Until `before_loop` is over and ticks have begun."""
        await self._started.wait()

    async def wait(self) -> None:
        """Until the scheduler has ended; raises the bug that ended it (D02)."""
        if self._runner is None:
            raise Closed("the scheduler has not been started")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([self._runner])
        if self._fatal is not None:
            raise self._fatal

    def __await__(self) -> Generator[Any, None, None]:
        return self.wait().__await__()

    @property
    def healthy(self) -> bool:
        """False once a bug has ended the loop: for a health check."""
        return self._healthy

    @property
    def running(self) -> bool:
        """Started, and neither ended nor shut down."""
        return self._runner is not None and not self._runner.done()

    async def before_loop(self) -> None:
        """Once, before the first tick (R11): the client is ready, a crashed run is cleared."""
        ready = getattr(self.client, "wait_until_ready", None)
        if ready is not None:
            await ready()
        await self.state_repo.clear()

    async def shutdown(self) -> None:
        """End everything within `SHUTDOWN_TIMEOUT_SECONDS` (R40). Idempotent; all callers wait.

        Admission closes, sessions fall silent, background tasks get the time that is left, the
        tick ends, the state is cleared, the client is closed. Each step runs whatever the others
        did. Commands that were claimed and not begun go back into the line.
        """
        if self._shutdown is None:
            self._shutdown = asyncio.get_running_loop().create_task(
                ShutdownSteps(self).run(), name="voicecore-shutdown"
            )
        await asyncio.shield(self._shutdown)

    def install_signal_handlers(self) -> None:
        """SIGTERM and SIGINT shut down (R40, D17). To be called on the event loop."""
        install_signal_handlers(self)

    # -- what plays --------------------------------------------------------------------------------

    @property
    def current_entry_id(self) -> int | None:
        """The entry that plays; None when none does.

        Raises:
            RuntimeError: several sessions run; ask `entry_of(key)`.
        """
        held = self.sessions.held()
        if len(held) > 1:
            keys = ", ".join(one.key for one in held)
            raise RuntimeError(f"several sessions run ({keys}): ask entry_of(key)")
        return held[0].entry_id if held else None

    @property
    def _current_entry_id(self) -> int | None:
        return self.current_entry_id

    def entry_of(self, key: str | int) -> int | None:
        """The entry that plays for a key; None when none does."""
        return self.sessions.entry_of(key)

    def session_of(self, key: str | int) -> Session | None:
        """The running session of a key."""
        return self._sessions.get(cast(str, key_text(key)))

    # -- what a user gives -------------------------------------------------------------------------

    async def load_entry(self, entry_id: int) -> Any:
        """The entry of an id; None: there is none. By default the schedule's."""
        if self._load_entry is not None:
            return await self._load_entry(entry_id)
        from voicecore.schedule import SqliteScheduleStore, UnknownEntry

        try:
            return await SqliteScheduleStore(self.queue).get(entry_id)
        except UnknownEntry:
            return None

    async def play_session(self, session: Session) -> None:
        """Play an entry to its end. Cancelled when the scheduler ends and its time is up.

        Raises:
            NotImplementedError: neither overridden nor given.
        """
        if self._play_session is None:
            raise NotImplementedError(
                "a scheduler needs play_session: override it, or give it as an argument"
            )
        await self._play_session(session)

    def handler(self, verb: str) -> Callable[[Handler], Handler]:
        """Register an async function of a `Command` for a verb of the user's own.

        What it returns becomes the command's result; what it raises, its failure.
        """

        def register(function: Handler) -> Handler:
            self._handlers[verb] = function
            return function

        if not verb or not isinstance(verb, str):
            raise InvalidArgument(f"verb: got {verb!r}, expected a word")
        return register

    def recoverable(self) -> tuple[type[BaseException], ...]:
        """What is logged and survived; everything else is a bug and loud (R13)."""
        classes: tuple[type[BaseException], ...] = (
            DatabaseError,
            OSError,
            TimeoutError,
            ValueError,
        )
        if self.client is not None:
            from voicecore.scheduler.client_errors import client_errors

            classes += client_errors()
        return classes

    # -- the tick ----------------------------------------------------------------------------------

    async def tick(self) -> None:
        """One turn: commands first, then the schedule (R10); a failure of one spares the other."""
        await self._guarded("draining commands", self._drain_commands)
        await self._guarded("checking the schedule", self._check_schedule)
        await self._guarded("pruning the history", self._prune)

    async def _drain_commands(self) -> None:
        """Carry out what is due. None of it waits for a session's end (R53)."""
        while self._admitting:
            commands = await self._take_commands()
            if not commands:
                return
            try:
                for command in commands:
                    await self._carry_out(command)
                    if self._done and time.monotonic() - self._done_since > _ACK_PATIENCE:
                        await self._acknowledge()
            finally:
                # Also when this is cancelled: what was carried out must not be carried out again.
                if self._done:
                    await asyncio.shield(self._acknowledge())

    async def _check_schedule(self) -> None:
        """Start what the schedule says is due."""
        if self._schedule is None or not self._admitting:
            return
        for due in await self._schedule.check():
            if due.kind == "reminder":
                if self._remind is not None:
                    self._spawn(self._remind(due))
                continue
            try:
                await self._start_due(due)
            except self.recoverable() as problem:
                self._warn("Starting %s failed: %s", due.entry.name, problem)
                self._schedule.give_back(due)
        if event := self._schedule.take_clock_event():
            self._warn("The clock: %s", event)
        if self._native is not None:
            self._native.nudge()  # starts of the file's own schedule are commands by now

    async def _start_due(self, due: Due) -> None:
        if await self._maybe_start(due.entry):
            return
        policy = due.entry.policy.busy
        if policy == "drop":
            log.warning("%s is due, but its key already plays", due.entry.name)
            await cast("ScheduleChecker", self._schedule).record(due.occurrence, "busy")
        else:
            # As a command, so that waiting for the key survives a restart.
            await self.queue.enqueue("play", due.entry.id, args={"busy": policy})

    def _own_schedule(self) -> ScheduleChecker:
        from voicecore.schedule import ScheduleChecker, SqliteScheduleStore, boottime

        store = SqliteScheduleStore(self.queue)
        if self._time is not None:
            return ScheduleChecker(store, self._time.time, self._time.monotonic, as_commands=True)
        return ScheduleChecker(store, self.queue.now, boottime=boottime, as_commands=True)

    async def _maybe_start(self, entry: Any, *, command: Command | None = None) -> bool:
        """Start a session unless its key has one; False: busy (R21).

        The key is claimed before anything is awaited; the durable lease follows before anything is
        connected.
        """
        if not self._admitting:
            return False
        claim = self.sessions.claim_nowait(self._key_of(entry, command), entry.id)
        if claim is None:
            return False
        try:
            await claim.persist(None if command is None else command.id)
        except SessionTaken:
            return False
        if not self._admitting:
            await claim.release("cancelled")
            return False
        session = Session(claim, entry, command, self._native)
        session.detach()  # nothing to steer yet, but its lease is renewed from now on
        self._sessions[claim.key] = session
        self._spawn(self._run_session(session))
        return True

    def _key_of(self, entry: Any, command: Command | None) -> str:
        # A bare play got the default key where the file does not know its entry's.
        default = self.queue.default_key
        if command is not None and command.key not in (None, default):
            return str(command.key)
        key = key_text(getattr(entry, "key", None))
        return key if key is not None else default

    async def _run_session(self, session: Session) -> None:
        outcome = "failed"
        try:
            await self.play_session(session)
            outcome = "stopped" if session.stop_requested else "done"
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except self.recoverable() as problem:
            self._warn("Session of entry %s failed: %s", session.entry_id, problem)
        finally:
            # Silence before the key is free: two must not be heard.
            if session.player is not None:
                session.player.stop()
            if self._sessions.get(session.key) is session:
                del self._sessions[session.key]
            if self._native is not None:
                self._native.detach(session.key, session.attempt or 0)
            session.claim.release_nowait(outcome)
            self._wake.set()

    # -- commands ----------------------------------------------------------------------------------

    async def _take_commands(self) -> list[Command]:
        if self._native is not None and not self._overridden():
            return [command_from_row(row) for row in self._native.take()]
        return await self.queue.claim(_BATCH, started_at=self._started_at)

    async def _carry_out(self, command: Command) -> None:
        try:
            result = await self._execute(command)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await asyncio.shield(self._finish(command, lambda: self.queue.give_back(command)))
            raise
        except self.recoverable() as problem:
            self._warn("Command %s failed: %s", command.command, problem)
            await self._fail(command, problem)
        except Exception as bug:
            await self._fail(command, bug)
            raise
        else:
            if result is not None:
                self._outcomes[result if isinstance(result, str) else "done"] += 1
                if not self._done:
                    self._done_since = time.monotonic()
                self._done.append((command, result))

    async def _acknowledge(self) -> None:
        """What a drain has carried out, in one transaction: a commit costs more than a handler."""
        done, self._done = self._done, []
        try:
            for stale in await self.queue.ack_many(done):
                self._warn("Command %s was not ours any more", stale)
        finally:
            if self._native is not None:
                for command, _result in done:
                    self._native.forget(command.id)

    async def _execute(self, command: Command) -> object:
        """The result; None when somebody else finishes the command later."""
        if command.command in self._handlers:
            return (await self._handlers[command.command](command)) or "done"
        if command.command == "play":
            return await self._play(command)
        if command.command in KNOWN_VERBS:
            return self._steer(command)
        known = ", ".join((*KNOWN_VERBS, *self._handlers))
        raise InvalidArgument(f"command: got {command.command!r}, expected one of {known}")

    async def _play(self, command: Command) -> object:
        if command.entry_id is None:
            raise InvalidArgument("a play needs an entry_id; got none")
        entry = await self.load_entry(command.entry_id)
        if entry is None:
            raise MissingEntry(f"there is no entry {command.entry_id}")
        if await self._maybe_start(entry, command=command):
            return "started"
        policy = command.args.get("busy", self._busy)
        if policy == "queue" and self._admitting:
            await self._finish(command, lambda: self.queue.give_back(command, delay=_QUEUED_PAUSE))
            return None
        if policy == "replace" and self._admitting:
            self._spawn(self._replace(command, entry))
            return None
        log.warning("Command play %s: busy", command.entry_id)
        return "busy"

    async def _replace(self, command: Command, entry: Any) -> None:
        """Stop what plays, then start; beside the tick, which waits for nobody."""
        key = self._key_of(entry, command)
        deadline = time.monotonic() + _REPLACE_PATIENCE
        started = False
        while self._admitting and not started and time.monotonic() < deadline:
            if (session := self._sessions.get(key)) is not None:
                session.stop()
            await asyncio.sleep(0.005)
            started = await self._maybe_start(entry, command=command)
        result = "started" if started else "busy"
        self._outcomes[result] += 1
        await self._finish(command, lambda: self.queue.ack(command, result))

    def _steer(self, command: Command) -> str:
        if command.key == EVERY_KEY:
            chosen = list(self._sessions.values())
        else:
            one = self._sessions.get(command.key or "")
            chosen = [one] if one is not None else []
        results = [session.steer(command) for session in chosen]
        if not results:
            return "not playing"
        return "done" if "done" in results else results[0]

    async def _finish(self, command: Command, end: Callable[[], Awaitable[object]]) -> None:
        """End a claim; a stale one belongs to somebody else by now, and is left alone."""
        try:
            await end()
        except StaleClaim as stale:
            self._warn("Command %s was not ours any more: %s", command.id, stale)
        finally:
            if self._native is not None:
                self._native.forget(command.id)

    async def _fail(self, command: Command, problem: BaseException) -> None:
        self._outcomes["failed"] += 1
        text = str(problem) or type(problem).__name__
        await self._finish(command, lambda: self.queue.nack(command, text))

    # -- errors ------------------------------------------------------------------------------------

    async def _guarded(self, doing: str, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except self.recoverable() as problem:
            self._warn("%s failed: %s", doing.capitalize(), problem)

    def _warn(self, text: str, *args: object) -> None:
        self._warnings += 1
        # As text: a log record may be kept for long, and an exception keeps everything alive.
        log.warning(text, *map(str, args))

    def _on_runner_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        bug = task.exception()
        if bug is not None:
            self._die(bug)

    def _die(self, bug: BaseException) -> None:
        if self._fatal is not None:
            return
        self._fatal = bug
        self._healthy = False
        self._admitting = False
        log.critical("The scheduler has ended because of a bug", exc_info=bug)
        if self._native is not None:
            # What it has claimed is given back by its lease; it must not claim any more.
            asyncio.get_running_loop().run_in_executor(None, self._native.stop)
        if self._runner is not None and not self._runner.done():
            self._runner.cancel()
        if self.on_fatal is not None:
            self.on_fatal(bug)

    # -- the loop ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        await self._begin()
        while True:
            self._working = False
            await self._wake.wait()
            self._wake.clear()
            self._working = True
            if self._tick_due:
                self._tick_due = False
                await self.tick()
            else:
                await self._guarded("draining commands", self._drain_commands)

    async def _begin(self) -> None:
        while True:
            try:
                await self.before_loop()
                self._started_at = self.queue.now()
                await asyncio.get_running_loop().run_in_executor(
                    None, self._make_native, _bridge.current()
                )
                break
            except self.recoverable() as problem:
                self._warn("Starting the scheduler failed: %s", problem)
                await asyncio.sleep(self._period)
        await self._guarded("looking at other processes", self._look_at_others)
        native = cast(_core.Scheduler, self._native)
        _bridge.current().subscribe(native.id, self._on_event, self._on_lost_events)
        if self._time is not None:
            self._time._attach(self)
        native.start()
        self._started.set()

    async def _look_at_others(self) -> None:
        """Warn of processes whose SQLite can damage the log of a file that is checkpointed here."""
        for other in await self.queue.workers():
            if other.owner == self.queue.owner or not _core.owner_may_live(other.owner):
                continue
            if has_wal_race(other.sqlite_version):
                log.warning(
                    "Process %d has the queue file open with SQLite %s, whose commits can meet a "
                    "checkpoint of this process at a bad moment; 3.51.3 is the first without that",
                    other.pid,
                    other.sqlite_version,
                )

    _started_at: float | None = None

    def _make_native(self, bridge: _bridge.LoopBridge) -> None:
        self._native = _core.Scheduler(
            {**self.queue._settings, "owner": self.queue.owner, "role": "worker"},
            bridge.channel,
            self._period,
            self._poll,
            round(self.queue.lease * 1000),
            self._budget,
            not self._overridden(),
            self._doorbell,
            None if self._started_at is None else round(self._started_at * 1000),
            None if self._time is None else self._time._native,
        )

    def _overridden(self) -> bool:
        """A subclass has its own way of draining: commands are claimed where it looks for them."""
        mine = type(self)
        return any(
            getattr(mine, name) is not getattr(Scheduler, name)
            for name in ("tick", "_drain_commands", "_take_commands")
        )

    def _on_event(self, kind: int, value: int) -> None:
        if kind == _core.EventKind.TICKED:
            self._tick_due = True
            self._wake.set()
        elif kind == _core.EventKind.COMMANDS:
            self._wake.set()
        elif kind == _core.EventKind.STEERED:
            lost = self._native.lost_sessions() if self._native is not None else []
            for key, session in self._sessions.items():
                if key in lost:
                    self._warn("Somebody else has the session of key %s: it ends here", key)
                if key in lost or session.stop_requested:
                    session.stop()
        elif kind == _core.EventKind.TROUBLE and self._native is not None:
            trouble = self._native.trouble()
            if trouble is not None:
                self._warn("The queue file: %s", from_native(*trouble))

    def _on_lost_events(self) -> None:
        self._tick_due = True
        self._wake.set()

    def _busy_now(self) -> bool:
        return self.running and (self._working or self._wake.is_set())

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._pending_tasks.add(task)  # asyncio holds tasks weakly (R22)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[Any]) -> None:
        self._pending_tasks.discard(task)
        if task.cancelled():
            return
        bug = task.exception()
        if bug is None:
            return
        if isinstance(bug, self.recoverable()):
            self._warn("A background task failed: %s", bug)
        else:
            self._die(bug)

    async def _prune(self) -> None:
        """In small batches, now and then (a large one would hold the file)."""
        if self._retention is None or time.monotonic() < self._prune_at:
            return
        gone = await self.queue.prune(self._retention, 500)
        self._prune_at = time.monotonic() + (2.0 if gone == 500 else 300.0)

    async def outcome(self, command_id: int, timeout: float | None = None) -> Outcome:  # noqa: ASYNC109
        """Wait for a command's outcome; as `CommandQueue.wait_result`."""
        return await self.queue.wait_result(command_id, timeout)

    def change_interval(self, *, seconds: float) -> None:
        """Another period, from the last tick on (as `discord.ext.tasks` has it)."""
        self._period = _validate.number("seconds", seconds, 0.01, 86_400.0)
        if self._native is not None:
            self._native.set_period(self._period)

    def statistics(self) -> SchedulerStatistics:
        """A snapshot.

        Raises:
            Closed: before the first tick.
        """
        if self._native is None:
            raise Closed("the scheduler has not been started")
        report = self._native.report()
        return SchedulerStatistics(
            healthy=self._healthy,
            ticks=report["ticks"],
            missed=report["missed"],
            claimed=report["claimed"],
            steered=report["steered"],
            troubles=report["troubles"],
            lost_leases=report["lost_leases"],
            wakes=report["wakes"],
            outcomes=dict(self._outcomes),
            warnings=self._warnings,
            sessions=len(self._sessions),
            lateness_ms=Lateness(**report["lateness_ms"]),
        )


__all__ = ["Claim", "MissingEntry", "Scheduler"]
