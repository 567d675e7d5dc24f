"""From native threads to an event loop: one channel and one file descriptor for each loop.

The reader callback drains everything that has come since the last wake-up; there is no Python
thread. A loop that ends takes its bridge along: `asyncio.run` closes asynchronous generators, and
the bridge keeps one suspended for that moment. A loop closed by hand runs nothing at its end; its
bridge is swept when the next one is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Protocol, TypeVar, cast

from voicecore import _core
from voicecore.errors import Closed, IOFailure

Handler = Callable[[int, int], None]
T = TypeVar("T")


class _EndsWithLoop(Protocol):
    def _loop_ended(self) -> None: ...


_bridges: dict[int, LoopBridge] = {}
_lock = threading.Lock()
# As the native locks of the process: a child must not find it held by a thread that it has not.
os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


class LoopBridge:
    """Events of one loop. Every method runs on that loop's thread unless it says otherwise."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._channel: _core.EventChannel | None = _core.EventChannel()
        self.generation = _core._fork_generation()
        self._handlers: dict[int, Handler] = {}
        self._sweepers: dict[int, Callable[[], None]] = {}
        self._dependents: set[_EndsWithLoop] = set()
        self._fd = self.channel.fileno()
        self._open = True
        loop.add_reader(self._fd, self._drain)
        self._sentinel: AsyncGenerator[None, None] | None = self._watch()
        # One step, so that the loop knows of the generator; it suspends at its yield.
        with contextlib.suppress(StopIteration):
            self._sentinel.__anext__().send(None)

    @property
    def channel(self) -> _core.EventChannel:
        """Where native threads send this loop's events."""
        if self._channel is None:
            raise Closed("the event loop has ended")
        return self._channel

    async def _watch(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self.close()

    def subscribe(
        self, subject: int, handler: Handler, sweep: Callable[[], None] | None = None
    ) -> None:
        """Call `handler(kind, value)` for each event of `subject`.

        `sweep` is called when events were lost: it has to look at the state instead.
        """
        self._handlers[subject] = handler
        if sweep is not None:
            self._sweepers[subject] = sweep

    def unsubscribe(self, subject: int) -> None:
        """Forget `subject`; unknown ones are ignored."""
        self._handlers.pop(subject, None)
        self._sweepers.pop(subject, None)

    def depend(self, dependent: _EndsWithLoop) -> None:
        """`dependent._loop_ended()` is called when the loop ends."""
        self._dependents.add(dependent)

    def release(self, dependent: _EndsWithLoop) -> None:
        """Take `depend` back."""
        self._dependents.discard(dependent)

    def is_ours(self) -> bool:
        """False in the child of a fork.

        Its copy of the loop shares the selector's kernel object (epoll) with the parent: what is
        added or removed there comes and goes for the parent as well.
        """
        return self.generation == _core._fork_generation()

    def _drain(self) -> None:
        if not self.is_ours():
            return  # draining would steal the parent's wake-ups
        if self._channel is None:
            return
        events, overflowed = self._channel.drain()
        for subject, kind, value in events:
            handler = self._handlers.get(subject)
            if handler is not None:
                self._tell(handler, kind, value)
        if overflowed:
            for sweep in list(self._sweepers.values()):
                self._tell(sweep)

    def _tell(self, handler: Callable[..., None], *args: int) -> None:
        """Call `handler`; what it raises concerns neither the others nor whoever drains.

        It is raised in the loop instead, which reports it, or ends with a SystemExit.
        """
        try:
            handler(*args)
        except BaseException as error:
            self.loop.call_soon(_raise, error)

    def close(self) -> None:
        """Leave the loop. Idempotent."""
        if not self._open:
            return
        self._open = False
        with _lock:
            if _bridges.get(id(self.loop)) is self:
                del _bridges[id(self.loop)]
        if self.is_ours() and not self.loop.is_closed():
            self.loop.remove_reader(self._fd)
        self._sentinel = None
        dependents, self._dependents = self._dependents, set()
        for dependent in dependents:
            dependent._loop_ended()
        self._handlers.clear()
        self._sweepers.clear()
        # Whatever still refers to this bridge (a traceback) does not keep the descriptor open.
        self._channel = None


def in_own_thread(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Call `work` on a thread made for it.

    For what must not wait: the loop's executor may be full of the caller's own work.

    Raises:
        IOFailure: as `start_thread`.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return  # cancelled
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast(T, result))

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            loop.call_soon_threadsafe(settle, result, failure)

    start_thread(threading.Thread(target=run, name=name))
    return done


def end_in_own_thread(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """The same for an end that must come: where no thread can be had, the loop waits for it."""
    try:
        return in_own_thread(work, name)
    except IOFailure:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        done.set_result(work())
        return done


def start_thread(thread: threading.Thread) -> None:
    """Start it.

    Raises:
        IOFailure: the system has no thread left for this user or container.
    """
    try:
        thread.start()
    except RuntimeError as error:
        message = f"cannot start the thread {thread.name}: {error}"
        raise IOFailure(errno.EAGAIN, message) from None


def _raise(error: BaseException) -> None:
    raise error


def current() -> LoopBridge:
    """The running loop's bridge, made on first use.

    Raises:
        RuntimeError: no loop is running in this thread.
        Closed: the loop was made before fork(), and this is the child.
    """
    loop = asyncio.get_running_loop()
    bridge = _bridges.get(id(loop))
    if bridge is not None and bridge.loop is loop:
        if bridge.is_ours():
            return bridge
        raise Closed("this event loop was made before fork(); make a new one in the child")
    with _lock:
        closed = [bridge for bridge in _bridges.values() if bridge.loop.is_closed()]
    for stale in closed:
        stale.close()
    bridge = LoopBridge(loop)
    with _lock:
        _bridges[id(loop)] = bridge
    return bridge
