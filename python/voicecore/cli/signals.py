"""SIGINT and its relatives as something to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from voicecore.cli.exits import Interrupted

_T = TypeVar("_T")

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """While entered, a signal no longer kills: it asks for the end.

    The second one means now: the waiting in `guard` ends at once. One that whoever started the
    process made it ignore stays ignored, as `nohup` wants it and shells do with SIGINT for jobs in
    the background; not SIGTERM, so that one way to an orderly end is left.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._first: asyncio.Future[int] = self._loop.create_future()
        self._second: asyncio.Future[int] = self._loop.create_future()
        self._handled: list[int] = []

    def __enter__(self) -> Self:
        for number in _ENDING:
            self._handle(number, self._caught, int(number))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number in self._handled:
            self._loop.remove_signal_handler(number)

    def also(self, number: signal.Signals, action: Callable[[], object]) -> None:
        """Run `action` in the loop at another signal."""
        self._handle(number, action)

    def around_stop(
        self, leave: Callable[[], object], come_back: Callable[[], object] | None = None
    ) -> None:
        """Run `leave` in the loop before Ctrl-Z stops the process, `come_back` when it goes on."""

        def stop() -> None:
            leave()
            stop_by(signal.SIGTSTP)
            if come_back is not None:
                come_back()

        self.also(signal.SIGTSTP, stop)

    @property
    def caught(self) -> int | None:
        """The signal that came first."""
        return self._first.result() if self._first.done() else None

    async def guard(self, work: Awaitable[_T]) -> _T:
        """Await `work`; a signal cancels it.

        Raises:
            Interrupted: a signal came first.
        """
        return await self._race(work, self._first)

    async def guard_end(self, work: Awaitable[_T]) -> _T:
        """Await the orderly end that the first signal asked for; the second one cancels it.

        Raises:
            Interrupted: a second signal came first.
        """
        return await self._race(work, self._second)

    async def wait(self) -> int:
        """Wait for a signal."""
        return await asyncio.shield(self._first)

    async def _race(self, work: Awaitable[_T], stop: asyncio.Future[int]) -> _T:
        task = asyncio.ensure_future(work)
        try:
            either: list[asyncio.Future[Any]] = [task, stop]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Interrupted(stop.result())
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task

    def _handle(self, number: signal.Signals, action: Callable[..., object], *args: int) -> None:
        if number is not signal.SIGTERM and signal.getsignal(number) is signal.SIG_IGN:
            return
        self._handled.append(number)
        self._loop.add_signal_handler(number, action, *args)

    def _caught(self, number: int) -> None:
        if not self._first.done():
            self._first.set_result(number)
        elif not self._second.done():
            self._second.set_result(number)


def stop_by(number: signal.Signals) -> None:
    """Be stopped as if the signal had never been handled; returns when the process goes on."""
    handler = signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.signal(number, handler)
    signal.siginterrupt(number, False)  # as asyncio has it


def die_of(number: signal.Signals) -> None:
    """End as if the signal had never been handled."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
