"""From a claimed command to its end: what is carried out on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from voicecore.database import DatabaseError
from voicecore.errors import Closed, InvalidArgument, NotSeekable, StaleClaim, VoicecoreError
from voicecore.queue import EVERY_KEY, KNOWN_VERBS, STEERING_VERBS, Command
from voicecore.queue.convert import millis, result_text
from voicecore.scheduler.given import awaitable
from voicecore.scheduler.starts import FileRefuses

if TYPE_CHECKING:
    from voicecore import _core
    from voicecore.scheduler.scheduler import Scheduler

log = logging.getLogger("voicecore.scheduler")

T = TypeVar("T")
Handler = Callable[[Command], Awaitable[object]]

_QUEUED_PAUSE: Final = 1.0
"""Seconds after which a `play` that waits for its key's session, or for the file, looks again."""
_REPLACE_PATIENCE: Final = 5.0
_ACK_PATIENCE: Final = 0.005
"""Seconds for which an outcome may wait for those of the commands behind it."""
_END_PAUSE: Final = 0.25
_END_PATIENCE: Final = 60.0
"""Seconds for which the end of a command is tried while the file takes nothing. Meanwhile its lease
is renewed, so that nobody carries it out again."""


class MissingEntry(VoicecoreError, ValueError):
    """A `play` for an entry that does not exist (lesson D08)."""


class NotSteered(VoicecoreError, ValueError):
    """A running session's player refuses a command: it cannot seek, or has ended meanwhile."""


class CommandDrain:
    """Carries out what has been claimed, and ends every claim exactly once.

    Attributes:
        unfinished: the time of a turn was over before there was nothing left to carry out.
        handlers: by verb.
        outcomes: how many commands ended in which way.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._draining = False
        self._done: list[tuple[Command, object]] = []
        self._done_since = 0.0
        self._waiting: dict[int, float] = {}  # plays whose expiry was put off, and until when
        self._kept: list[Command] = []
        self._handed_over: tuple[int, int | None] | None = None  # to `_carry_out`, and not ended
        self.unfinished = False
        self.handlers: dict[str, Handler] = {}
        self.outcomes: Counter[str] = Counter()

    def register(self, verb: str, handler: Handler) -> None:
        """From now on commands of this verb are the handler's."""
        self.handlers[verb] = handler
        if self._scheduler._native is not None:
            self.hear_of(self._scheduler._native)

    def hear_of(self, native: _core.Scheduler) -> None:
        """Steering verbs that a handler is to see are left to the loop; the others are not."""
        for verb in self.handlers.keys() & STEERING_VERBS:
            native.leave_to_owner(verb)

    async def run(self) -> None:
        """Carry out what is due, for one turn. None of it waits for a session's end (R53).

        What is not begun when the turn's time is over stays in hand, and goes on with the next one.
        """
        scheduler = self._scheduler
        self.unfinished = False
        until = scheduler._monotonic() + scheduler._turn
        ran = 0
        while scheduler._admitting:
            commands = self._with_kept(await scheduler._take_commands())
            if not commands:
                return
            begun = 0
            self._draining = True
            try:
                for command in commands:
                    if not scheduler._admitting:
                        break
                    if ran and scheduler._monotonic() >= until:
                        self.unfinished = True
                        self._kept = commands[begun:]
                        begun = len(commands)
                        break
                    begun += 1
                    ran += 1
                    await self._hand_over(command)
                    if self._done and time.monotonic() - self._done_since > _ACK_PATIENCE:
                        await self._acknowledge()
            except (asyncio.CancelledError, GeneratorExit):
                raise
            except BaseException as problem:
                if not scheduler._supervisor.survives(problem):
                    # The end of the scheduler: what goes back below is for somebody else.
                    scheduler._close_admission()
                raise
            finally:
                self._draining = False
                # Also when this is cancelled: what was carried out must not be carried out again.
                if self._done or begun < len(commands):
                    await asyncio.shield(self._leave(commands[begun:]))
            if self.unfinished:
                return

    def take_kept(self) -> list[Command]:
        """What is in hand from the last turn, and is in the caller's now."""
        kept, self._kept = self._kept, []
        return kept

    def _with_kept(self, taken: list[Command]) -> list[Command]:
        kept = self.take_kept()
        if not kept:
            return taken
        # Of different keys, all of them: what is urgent need not wait for what came before.
        return sorted(kept + taken, key=lambda one: (not one.overtakes, -one.priority))

    async def is_lost(self, command: Command) -> bool:
        """Not ours any more: whoever has it now carries it out, or nobody. Says so, then.

        Raises:
            FileRefuses: it cannot be told now.
        """
        scheduler = self._scheduler
        native = scheduler._native
        lost = (
            native is not None
            and not scheduler._drains_itself
            and not native.holds(command.id, command.attempt or 0)
        )
        if not lost and (command.lease_until or math.inf) <= scheduler.queue.now():
            # Renewed meanwhile, or over: after a stop of the whole process, the loop can come to
            # it before the native thread has looked.
            try:
                await scheduler.queue.renew(command)
            except StaleClaim:
                lost = True
                self._forget(command)
            except DatabaseError as problem:
                raise FileRefuses.because(problem) from problem
        if lost:
            scheduler._supervisor.warn(
                "Command %s: its lease ran out before it could be carried out", command.command
            )
        return lost

    async def _hand_over(self, command: Command) -> None:
        """To `_carry_out`, which may be a subclass's own: what leaves it is the command's failure,
        unless the command has ended before."""
        scheduler = self._scheduler
        task = asyncio.current_task()
        self._handed_over = (command.id, command.attempt)
        try:
            await scheduler._carry_out(command)
        except BaseException as problem:
            if self._handed_over is not None:
                raising = await self._end_with(command, problem, task)
            else:
                raising = not scheduler._supervisor.survives(problem)
                if not raising:
                    scheduler._supervisor.warn("Behind command %s: %s", command.command, problem)
            if raising:
                raise
        finally:
            self._handed_over = None

    async def carry_out(self, command: Command) -> None:
        """One command: done, failed, or given back when this is cancelled.

        Within `run` the outcomes of several share a transaction; anywhere else, in a drain of the
        user's own, a command has ended when this returns.
        """
        try:
            await self._to_its_end(command, self._begin(command))
        finally:
            if self._handed_over == (command.id, command.attempt):
                self._handed_over = None

    async def _to_its_end(self, command: Command, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.current_task()
        try:
            result = await work
            text = None if result is None else result_text(result)
        except BaseException as problem:
            if await self._end_with(command, problem, task):
                raise
        else:
            if text is not None:
                # Texts of the user's own could be a new one each time.
                self.outcomes["done" if command.command in self.handlers else text] += 1
                await self._acknowledge_soon(command, text)

    async def _end_with(
        self, command: Command, problem: BaseException, task: asyncio.Task[Any] | None
    ) -> bool:
        """End a claim by what its work in `task` has raised; True: that is to be raised again."""
        supervisor = self._scheduler._supervisor
        if isinstance(problem, GeneratorExit) and _task_here() is not task:
            return True  # thrown away by a closed event loop: nothing can be awaited any more
        if isinstance(problem, asyncio.CancelledError) and task and not task.cancelling():
            # Not this scheduler's end: something that the handler waited for was cancelled.
            told = "what it waited for was cancelled"
            supervisor.warn("Command %s failed: %s", command.command, told)
            await self._fail(command, told)
            return False
        if isinstance(problem, (asyncio.CancelledError, KeyboardInterrupt)):
            # The end of the scheduler, or the user's: not this command's fault.
            with contextlib.suppress(Exception):
                await asyncio.shield(self.give_back(command))
            return True
        if isinstance(problem, FileRefuses):
            supervisor.warn("Command %s waits: %s", command.command, problem)
            await self.give_back(command, _QUEUED_PAUSE)
            return False
        # `SystemExit` and groups of such, too: left claimed, it would end the next one as well.
        survived = supervisor.survives(problem)
        if survived:
            supervisor.warn("Command %s failed: %s", command.command, problem)
        await self._fail(command, str(problem) or type(problem).__name__)
        return not survived

    async def finish(self, command: Command, end: Callable[[], Awaitable[object]]) -> bool:
        """End a claim; a stale one belongs to somebody else by now, and is left alone: False."""
        try:
            await self._insist(end)
            return True
        except StaleClaim as stale:
            self._scheduler._supervisor.warn(
                "Command %s was not ours any more: %s", command.id, stale
            )
            return False
        finally:
            self._forget(command)

    async def _insist(self, end: Callable[[], Awaitable[T]]) -> T:
        """Try again while the file takes nothing: an end that is lost is carried out twice."""
        supervisor = self._scheduler._supervisor
        deadline = time.monotonic() + _END_PATIENCE
        while True:
            try:
                return await end()
            except DatabaseError as problem:
                if time.monotonic() > deadline or not self._scheduler._admitting:
                    raise
                supervisor.warn("The end of a command is not in the file yet: %s", problem)
            await asyncio.sleep(_END_PAUSE)

    async def _acknowledge_soon(self, command: Command, result: str) -> None:
        if not self._done:
            self._done_since = time.monotonic()
        self._done.append((command, result))
        if not self._draining:
            await asyncio.shield(self._acknowledge())

    async def _acknowledge(self) -> None:
        """What a drain has carried out, in one transaction: a commit costs more than a handler."""
        done, self._done = self._done, []
        try:
            queue = self._scheduler.queue
            for stale in await self._insist(lambda: queue.ack_many(done)):
                self._scheduler._supervisor.warn("Command %s was not ours any more", stale)
        finally:
            for command, _result in done:
                self._forget(command)

    async def _leave(self, not_begun: Sequence[Command]) -> None:
        """The end of a drain: what it has not come to is for the next one, here or elsewhere."""
        try:
            if self._done:
                await self._acknowledge()
        finally:
            for command in not_begun:
                await self.give_back(command)

    async def give_back(self, command: Command, delay: float = 0.0) -> None:
        """To whoever claims it next, `delay` seconds from now."""
        await self.finish(command, lambda: self._scheduler.queue.give_back(command, delay=delay))

    async def _fail(self, command: Command, problem: str) -> None:
        async def end() -> None:
            await self._scheduler.queue.nack(command, problem)
            self.outcomes["failed"] += 1  # not of a command that is somebody else's by now

        await self.finish(command, end)

    def _forget(self, command: Command) -> None:
        if self._scheduler._native is not None:
            self._scheduler._native.forget(command.id)

    async def _begin(self, command: Command) -> object:
        return None if await self.is_lost(command) else await self._execute(command)

    async def _execute(self, command: Command) -> object:
        """The result; None when somebody else finishes the command later."""
        if command.command in self.handlers:
            handled = self.handlers[command.command](command)
            result = await awaitable(f"the handler of {command.command}", handled)
            return "done" if result is None else result
        if command.command == "play":
            return await self._play(command)
        if command.command in KNOWN_VERBS:
            return self._steer(command)
        known = ", ".join((*KNOWN_VERBS, *self.handlers))
        raise InvalidArgument(f"command: got {command.command!r}, expected one of {known}")

    async def _play(self, command: Command) -> object:
        scheduler = self._scheduler
        if command.entry_id is None:
            raise InvalidArgument("a play needs an entry_id; got none")
        entry = await scheduler.load_entry(command.entry_id)
        if entry is None:
            raise MissingEntry(f"there is no entry {command.entry_id}")
        if await scheduler._starts.ask(entry, command):
            return "started"
        policy = command.args.get("busy", scheduler._busy)
        if policy == "queue" and scheduler._admitting:
            await self._keep_from_expiring(command)
            await self.give_back(command, _QUEUED_PAUSE)
            return None
        if policy == "replace" and scheduler._admitting:
            scheduler._supervisor.spawn(self._to_its_end(command, self._replace(command, entry)))
            return None
        log.warning("Command play %s: busy", command.entry_id)
        return "busy"

    async def _keep_from_expiring(self, command: Command) -> None:
        """The default expiry is against plays that nobody has looked at: not against this one.

        It counts from here on, so that the play is stale in time if this process ends. What the
        sender asked for is left as it is.
        """
        queue = self._scheduler.queue
        default = queue.play_expires_after
        ours = command.expires_at is None or command.expires_at == self._waiting.get(command.id)
        if default is None or not ours:
            return
        now = queue.now()
        expires_at = command.expires_at or command.created_at + default
        if expires_at - now >= max(default / 2, 2 * _QUEUED_PAUSE):
            return  # not at every look
        until = millis(now + max(default, 4 * _QUEUED_PAUSE))
        with contextlib.suppress(DatabaseError):  # the next look tries again
            await queue.execute(
                "UPDATE bot_commands SET expires_at = ? WHERE id = ? AND attempt = ?",
                (until, command.id, command.attempt),
            )
            waiting = {id: other for id, other in self._waiting.items() if other > now}
            self._waiting = {**waiting, command.id: until / 1000.0}

    async def _replace(self, command: Command, entry: Any) -> str:
        """Stop what plays, then start; beside the tick, which waits for nobody."""
        scheduler = self._scheduler
        key = scheduler._starts.key_of(entry, command)
        deadline = time.monotonic() + _REPLACE_PATIENCE
        started = False
        while scheduler._admitting and not started and time.monotonic() < deadline:
            for session in scheduler._starts.in_the_way_of(key):
                session.stop()
            await asyncio.sleep(0.005)
            started = await scheduler._starts.ask(entry, command)
        return "started" if started else "busy"

    def _steer(self, command: Command) -> str:
        running = self._scheduler._starts.running
        if command.key == EVERY_KEY:
            chosen = list(running.values())
        else:
            one = running.get(command.key or "")
            chosen = [one] if one is not None else []
        results: list[str] = []
        refused: VoicecoreError | None = None
        for session in chosen:  # one that cannot does not spare the others
            try:
                results.append(session.steer(command))
            except (NotSeekable, Closed) as problem:
                refused = problem
        if "done" in results:
            return "done"
        if refused is not None:
            # The command's failure: what a row asks of a player is no bug of the bot (R52).
            raise NotSteered(str(refused)) from None
        return results[0] if results else "not playing"


def _task_here() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None  # no loop runs
