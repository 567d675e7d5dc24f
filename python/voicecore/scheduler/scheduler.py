"""The scheduler: a tick, a drain of commands, a look at the schedule, one session per key."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from voicecore import _bridge, _core, _validate
from voicecore.database import DatabaseError
from voicecore.errors import Closed, InvalidArgument, VoicecoreError
from voicecore.queue import Command, CommandQueue, command_from_row
from voicecore.queue.convert import session_key
from voicecore.scheduler.clocks import check_clock
from voicecore.scheduler.commands import CommandDrain, Handler, MissingEntry
from voicecore.scheduler.due import DueStarts, checker_of
from voicecore.scheduler.given import async_function
from voicecore.scheduler.session import Session, StateRepository
from voicecore.scheduler.shutdown import ShutdownSteps, ask_home, install_signal_handlers
from voicecore.scheduler.starts import FileRefuses, SessionStarts
from voicecore.scheduler.statistics import SchedulerStatistics
from voicecore.scheduler.supervisor import Supervisor
from voicecore.scheduler.turns import Turns
from voicecore.sessions import Claim, SessionMutex
from voicecore.statistics import Lateness

if TYPE_CHECKING:
    from voicecore.schedule import Due, ScheduleChecker
    from voicecore.testing import VirtualTime

Busy = Literal["drop", "replace", "queue"]

_BATCH: Final = 32


class Scheduler:
    """Commands and the schedule, one session at a time for each key (lesson R10 to R24).

    A native thread keeps the ticks and claims commands as they come; pause, resume, stop, seek,
    volume and next reach a session's player from there, whatever the event loop does. Everything
    else runs here, on the loop.

    A subclass that overrides `tick`, `_drain_commands` or `_take_commands` is honoured: the native
    thread then only wakes the loop, and every command is carried out here. `_check_schedule`,
    `_maybe_start` and `_carry_out` can be overridden as well, and all of them be called from there.
    What is taken with `_take_commands` is leased for the queue's `lease`, and ends with
    `_carry_out` or with the queue's own `ack`, `fail`, `nack` or `give_back`. Recoverable errors
    that leave any of them are logged, and the next tick comes all the same (R13); one that leaves
    `_carry_out` before its command has ended is that command's failure, as a handler's is (R52).

    `_maybe_start(entry)` may have the lesson's own form (R21): without `command`, which it gets
    only if it takes it, and returning nothing. It has then started something unless what played
    before still does, by `_current_entry_id`, which may be assigned, and by the sessions that the
    scheduler itself has started. Only these have a lease, and are reached by commands.

    A handler's failure is its command's end, unless it asks for more tries; a process that dies
    has what it was carrying out carried out again, at most three times: handlers should be
    idempotent (D20).

    Override `load_entry` and `play_session`, or give them as arguments. Works without discord.py
    (R14).

    Args:
        client: a discord.py client, or anything with `wait_until_ready` and `close`; optional.
        queue: the command queue, or the path of its file. A queue with a `wall_clock` of its own is
            for tests and needs `time`: both must read the same clock.
        period: seconds from tick to tick (R10).
        single: one session in the whole process rather than one for each key (D23).
        busy: what becomes of a `play` while its key plays, or with `single` any: "drop" (recorded
            as "busy", D14), "replace", or "queue": it waits until the session has ended, however
            long that takes; only an expiry of its own (`expires_after`, or the grace of a class
            that the schedule starts) ends the wait. The queue's `play_expires_after` counts anew
            while it waits: so long after this process has ended, it does not start any more.
        play_session: an async function of a `Session`: plays the entry to its end.
        load_entry: an async function of an entry id; None: there is no such entry.
        schedule: a `ScheduleChecker`, True for the schedule of the queue's own file, or False: only
            commands start anything.
        remind: an async function of a `Due` reminder. One that fails is called again with each tick
            while the entry's `misfire_grace_time` lasts; not after a restart.
        on_fatal: called with the exception that ended the loop (D02), also when it is the
            `DatabaseError` of a queue file that is no longer safe to use; may be an async function.
        budget: commands in hand at a time.
        turn: seconds for which commands are carried out before a tick that is due, and with it the
            schedule, has its turn; then they go on. A handler that takes longer is not interrupted.
        retention: seconds for which finished commands are kept.
        doorbell: listen for senders' datagrams.
        poll: seconds between looks at the file, for senders that cannot ring.
        time: virtual time, for tests; its `time` is the `wall_clock` of the queue.

    Raises:
        InvalidArgument: a value out of its range, or a queue with another clock.
        WrongType: one of the functions is none, or not an async one.
    """

    SHUTDOWN_TIMEOUT_SECONDS: ClassVar[float] = 8
    """For the whole shutdown (R40)."""

    _SHUTDOWN_SHARES: ClassVar[tuple[float, float]] = (0.75, 0.0625)
    """Of it, for tasks that run, and for those that are cancelled then."""

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
        turn: float = 0.05,
        retention: float | None = 30 * 86_400.0,
        doorbell: bool = True,
        poll: float = 0.25,
        time: VirtualTime | None = None,
    ) -> None:
        if queue is None:
            raise InvalidArgument("queue: got None, expected a CommandQueue or a path")
        if busy not in ("drop", "replace", "queue"):
            raise InvalidArgument(f"busy: got {busy!r}, expected 'drop', 'replace' or 'queue'")
        for name, function in (
            ("play_session", play_session),
            ("load_entry", load_entry),
            ("remind", remind),
        ):
            if function is not None:
                async_function(name, function)
        _validate.function("on_fatal", on_fatal)
        self.client = client
        self._time = time
        self._owns_queue = not isinstance(queue, CommandQueue)
        if isinstance(queue, CommandQueue):
            check_clock(queue, time)
            self.queue = queue
        else:
            wall = None if time is None else time.time
            self.queue = CommandQueue(queue, role="worker", wall_clock=wall)
        self._period = _validate.number("period", period, 0.01, 86_400.0, "seconds")
        self._poll = _validate.number("poll", poll, 0.001, 60.0, "seconds")
        self._budget = _validate.whole("budget", budget, 1, 10_000)
        self._turn = _validate.number("turn", turn, 0.001, 3600.0, "seconds")
        if retention is not None:
            retention = _validate.seconds("retention", retention)
        self._retention = retention
        self._doorbell = doorbell
        self._busy: Busy = busy
        self._play_session = play_session
        self._load_entry = load_entry
        checker = checker_of(self.queue, time) if schedule is True else schedule or None
        self._due = None if checker is None else DueStarts(self, checker)
        self._remind = remind
        self.on_fatal = on_fatal
        self.sessions = SessionMutex(self.queue, single=single)
        self.state_repo = StateRepository(self.queue)
        # A subclass has its own way of draining: commands are claimed where it looks for them.
        self._drains_itself = any(
            getattr(type(self), name) is not getattr(Scheduler, name)
            for name in ("tick", "_drain_commands", "_take_commands")
        )
        self._pending_tasks: set[asyncio.Task[Any]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._shutdown: asyncio.Task[None] | None = None
        self._admitting = True
        self._prune_at = 0.0
        self._supervisor = Supervisor(self)
        self._commands = CommandDrain(self)
        self._starts = SessionStarts(self)
        self._turns = Turns(self)

    # -- life --------------------------------------------------------------------------------------

    def start(self) -> asyncio.Task[None]:
        """Begin. Idempotent (R12); to be called on the event loop.

        End it with `shutdown`. A loop that ends before leaves what is claimed to run out of its
        lease; one that is closed by hand, without `asyncio.run`, also leaves tasks pending, of
        which asyncio complains.

        A scheduler runs once, on one loop: where each cell or test has a loop of its own, each
        makes its own scheduler.

        Raises:
            Closed: it has ended, by `shutdown`, by a bug or with its queue file (`__cause__`),
                with its loop or with its task; or it belongs to another loop.
            RuntimeError: no loop is running.
        """
        loop = asyncio.get_running_loop()
        if self._shutdown is not None:
            raise Closed("the scheduler was shut down; make a new one")
        if self._runner is None:
            self._runner = loop.create_task(self._turns.run(), name="voicecore-scheduler")
            self._supervisor.watch(self._runner)
        if self._runner.get_loop() is not loop:
            raise Closed("the scheduler belongs to another event loop; make one for each")
        if not (self.running and self.healthy):
            fatal = self._supervisor.fatal
            why = self._supervisor.cause or "its task was cancelled"
            raise Closed(f"the scheduler has ended: {why}; make a new one") from fatal
        return self._runner

    async def wait_started(self) -> None:
        """Until `before_loop` is over and ticks have begun.

        Raises:
            Closed: it was shut down, or cancelled, before.
            Exception: the bug that ended it before.
        """
        await self._turns.decided.wait()
        if self._turns.started:
            return
        if self._supervisor.fatal is not None:
            raise self._supervisor.fatal
        raise Closed("the scheduler was shut down before it had started")

    async def wait(self) -> None:
        """Until the scheduler has ended; raises the bug that ended it (D02).

        Raises:
            Closed: it has not been started, or runs on another event loop.
            DatabaseError: the queue file is no longer safe to use: deleted, replaced, or its locks
                were dropped. A new process, or a new queue once all of this one's that have the
                file open are closed, begins anew.
        """
        if self._runner is None:
            raise Closed("the scheduler has not been started")
        if self._runner.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([self._runner])
        elif self.running:
            raise Closed("the scheduler runs on another event loop; wait for it there")
        if self._supervisor.fatal is not None:
            raise self._supervisor.fatal

    def __await__(self) -> Generator[Any, None, None]:
        return self.wait().__await__()

    @property
    def healthy(self) -> bool:
        """For a health check: false once a bug has ended the loop, or the queue file, which is no
        longer safe to use.
        """
        return self._supervisor.healthy and not (self._native and self._native.condemned)

    @property
    def running(self) -> bool:
        """Started, and neither ended nor shut down."""
        runner = self._runner
        return runner is not None and not (runner.done() or runner.get_loop().is_closed())

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
        did. Commands that were claimed and not begun go back into the line at once.

        From a handler or a session it begins, and returns: it waits for them, not they for it.

        From another event loop, in another thread, it is carried out on the scheduler's own, and
        waited for. While that one is blocked nothing more is claimed; when it stays so for
        `SHUTDOWN_TIMEOUT_SECONDS` this returns, and the rest follows once it is free. Only when it
        has ended already, the end is here.
        """
        here = asyncio.get_running_loop()
        known = self._shutdown or self._runner
        home = here if known is None else known.get_loop()
        begun = self._shutdown
        over = begun is not None and begun.done() and not begun.cancelled()
        if home is not here and home.is_running() and not over and await ask_home(self, home):
            return
        begun = self._shutdown
        if begun is None or begun.cancelled() or not (begun.done() or begun.get_loop() is here):
            # Also once more, where it was cancelled, or a loop that has ended cut it short.
            self._shutdown = here.create_task(ShutdownSteps(self).run(), name="voicecore-shutdown")
        asking = asyncio.current_task()
        if asking is self._runner or asking in self._pending_tasks:
            return  # it waits for whoever asks here
        assert self._shutdown is not None
        await asyncio.shield(self._shutdown)

    def install_signal_handlers(self) -> None:
        """SIGTERM and SIGINT shut down (R40, D17). To be called on the event loop."""
        install_signal_handlers(self)

    # -- what plays --------------------------------------------------------------------------------

    @property
    def current_entry_id(self) -> int | None:
        """The entry that plays; None when none does.

        One that a subclass has put into `_current_entry_id`, as the lesson has it, comes first.

        Raises:
            RuntimeError: several sessions run; ask `entry_of(key)`.
        """
        if self._starts.by_hand is not None:
            return self._starts.by_hand
        held = self.sessions.held()
        if len(held) > 1:
            keys = ", ".join(one.key for one in held)
            raise RuntimeError(f"several sessions run ({keys}): ask entry_of(key)")
        return held[0].entry_id if held else None

    @property
    def _current_entry_id(self) -> int | None:
        return self.current_entry_id

    @_current_entry_id.setter
    def _current_entry_id(self, entry_id: int | None) -> None:
        # The lesson's mutex (R21): a subclass that starts tasks of its own sets and clears it.
        self._starts.by_hand = entry_id

    def entry_of(self, key: str | int) -> int | None:
        """The entry that plays for a key; None when none does."""
        return self.sessions.entry_of(key)

    def session_of(self, key: str | int) -> Session | None:
        """The running session of a key."""
        return self._starts.running.get(session_key(key))

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
        except DatabaseError as problem:
            raise FileRefuses.because(problem) from problem

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

        What it returns becomes the command's result, "done" for None; what it raises, its failure.
        A lambda, a `functools.partial` or another object to call may stand for the function; when
        what it returns cannot be awaited, the command fails.

        A verb that the scheduler knows is the handler's as well. A pause, resume, stop, seek,
        volume or next with a handler waits for the event loop, as other commands do; those without
        one still reach the player natively.

        Raises:
            WrongType: what is registered is no async function.
        """

        def register(function: Handler) -> Handler:
            async_function(f"the handler of {verb}", function)
            self._commands.register(verb, function)
            return function

        if not verb or not isinstance(verb, str):
            raise InvalidArgument(f"verb: got {verb!r}, expected a word")
        return register

    def recoverable(self) -> tuple[type[BaseException], ...]:
        """What is logged and survived; everything else is a bug and loud (R13).

        `WrongType`, although a `ValueError` by birth, is a bug as every `TypeError` is.
        """
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
        await self._supervisor.guarded("draining commands", self._drain_commands)
        await self._supervisor.guarded("checking the schedule", self._check_schedule)
        await self._supervisor.guarded("pruning the history", self._prune)

    async def _drain_commands(self) -> None:
        """Carry out what is due. None of it waits for a session's end (R53)."""
        await self._commands.run()

    async def _check_schedule(self) -> None:
        """Start what the schedule says is due."""
        if self._due is not None and self._admitting:
            await self._due.check()

    async def _maybe_start(self, entry: Any, *, command: Command | None = None) -> bool:
        """Start a session unless its key has one; False: busy (R21)."""
        return await self._starts.maybe_start(entry, command)

    async def _prune(self) -> None:
        """In small batches, now and then (a large one would hold the file)."""
        if self._retention is None or self._monotonic() < self._prune_at:
            return
        gone = await self.queue.prune(self._retention, 500)
        self._prune_at = self._monotonic() + (2.0 if gone == 500 else 300.0)

    async def _take_commands(self) -> list[Command]:
        """Claim what is due: at most one command of each key."""
        if self._native is not None and not self._drains_itself:
            return [command_from_row(row) for row in self._native.take()]
        return await self.queue.claim(_BATCH, started_at=self._turns.started_at)

    async def _carry_out(self, command: Command) -> None:
        """Carry a claimed command out, by its handler or as the lesson has it, and end it."""
        await self._commands.carry_out(command)

    async def _finish(self, command: Command, end: Callable[[], Awaitable[object]]) -> bool:
        return await self._commands.finish(command, end)

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        return self._supervisor.spawn(work)

    # -- seen from outside -------------------------------------------------------------------------

    @property
    def _native(self) -> _core.Scheduler | None:
        return self._turns.native

    def _monotonic(self) -> float:
        return time.monotonic() if self._time is None else self._time.monotonic()

    def _close_admission(self) -> None:
        self._admitting = False
        self._turns.decided.set()
        if self._native is not None:
            self._native.close_admission()

    async def _give_back_handed(self) -> None:
        """What is claimed and not begun: the next run has it."""
        for command in self._commands.take_kept():
            with contextlib.suppress(VoicecoreError):
                await self._commands.give_back(command)
        if self._native is not None:
            for row in self._native.take():
                with contextlib.suppress(VoicecoreError):
                    await self._commands.give_back(command_from_row(row))

    async def _leave_native(self) -> None:
        """The native half ends; a claim may have been under way."""
        if self._native is not None:
            await _bridge.end_in_own_thread(self._native.stop, "voicecore-stop")
            await self._give_back_handed()

    def _busy_now(self) -> bool:
        return self.running and self._turns.under_way

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
            healthy=self.healthy,
            ticks=report["ticks"],
            missed=report["missed"] + self._turns.unanswered,
            claimed=report["claimed"],
            steered=report["steered"],
            troubles=report["troubles"],
            lost_leases=report["lost_leases"],
            wakes=report["wakes"],
            outcomes=dict(self._commands.outcomes),
            warnings=self._supervisor.warnings,
            sessions=len(self._starts.running),
            lateness_ms=Lateness(**report["lateness_ms"]),
        )


__all__ = ["Claim", "MissingEntry", "Scheduler"]
