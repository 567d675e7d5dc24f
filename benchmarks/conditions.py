"""What else goes on in the sending process while it is measured."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import threading
import time
from collections.abc import Iterator

HELD_S = 0.150
BLOCKED_S = 0.5
BLOCK_EVERY_S = 2.0

CONDITIONS = ("idle", "busy thread", "GIL held", "loop blocked", "stopped")
"""The last one comes from outside: SIGSTOP for 300 ms."""


def _spin(stop: threading.Event) -> None:
    count = 0
    while not stop.is_set():
        for _ in range(10_000):
            count += 1


def _hold_the_gil(stop: threading.Event) -> None:
    # PyDLL, unlike CDLL, calls without letting go of the GIL.
    usleep = ctypes.PyDLL(None).usleep
    while not stop.wait(1.0 - HELD_S):
        usleep(round(HELD_S * 1e6))


@contextlib.contextmanager
def condition(name: str, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Disturb this process in the named way, until left."""
    stop = threading.Event()
    worker = {"busy thread": _spin, "GIL held": _hold_the_gil}.get(name)
    thread = threading.Thread(target=worker, args=(stop,), daemon=True) if worker else None
    handle: asyncio.TimerHandle | None = None

    def block() -> None:
        nonlocal handle
        time.sleep(BLOCKED_S)
        handle = loop.call_later(BLOCK_EVERY_S - BLOCKED_S, block)

    if name == "loop blocked":
        handle = loop.call_later(0.2, block)
    if thread is not None:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if handle is not None:
            handle.cancel()
        if thread is not None:
            thread.join()
