"""Every test ends with no native thread, file descriptor or task of ours left."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop
from hypothesis import settings

# How long an example takes is the machine's affair.
settings.register_profile("voicecore", deadline=None)
settings.load_profile("voicecore")

ROOT = Path(__file__).resolve().parent.parent
MUSIC = ROOT / "examples" / "audio" / "palace.mp3"


def _threads_of_voicecore() -> dict[str, str]:
    names = {}
    for task in os.listdir("/proc/self/task"):
        try:
            name = Path(f"/proc/self/task/{task}/comm").read_text().strip()
        except OSError:
            continue
        if name.startswith("vc-"):
            names[task] = name
    return names


def native_threads() -> list[str]:
    """Names of this process's threads that voicecore started.

    A thread that was joined is listed for another moment: its join is over before its end is.
    """
    found = _threads_of_voicecore()
    for _ in range(5):
        if not found:
            break
        time.sleep(0.05)
        still = _threads_of_voicecore()
        if still.keys() == found.keys():
            break
        found = still
    return list(found.values())


def open_fds() -> dict[str, str]:
    """This process's descriptors and what they are."""
    fds = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            fds[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
    return fds


async def _nothing() -> None:
    pass


# libuv opens a signal pipe for the whole process on first use and keeps it.
uvloop.run(_nothing())


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaks a native thread or a descriptor."""
    before = set(open_fds().items())
    yield
    deadline = time.monotonic() + 3.0
    while True:
        gc.collect()
        threads = native_threads()
        new = {fd: what for fd, what in open_fds().items() if (fd, what) not in before}
        if (not threads and not new) or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    if request.node.get_closest_marker("leaves_blocked_threads") is None:
        assert not threads, f"native threads left: {threads}"
    assert not new, f"descriptors left: {new}"


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated test media, see media.py; made once and kept in build/."""
    import media as generator

    out = ROOT / "build" / "media-py"
    if not os.access(ROOT, os.W_OK):
        out = tmp_path_factory.mktemp("media")
    generator.generate(out)
    return out


Runner = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """An async test function runs on a fresh event loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def run() -> Runner:
    """Run a coroutine on a fresh event loop, in debug mode."""

    def runner(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(coroutine)

    return runner


def decoded(path: Path, channels: int) -> np.typing.NDArray[np.float32]:
    """A file's samples, interleaved, by an independent decoder."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-ac", str(channels), "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return np.frombuffer(done.stdout, dtype=np.float32)


@pytest.fixture
def music() -> Path:
    """24 seconds of music, mp3."""
    return MUSIC
