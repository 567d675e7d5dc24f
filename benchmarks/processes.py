"""Child processes that never outlive the benchmark, and what can be seen of them from outside."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class BenchmarkError(Exception):
    """The run cannot go on; the message is for the user."""


class TookTooLong(BenchmarkError):
    """A child did not get done in its time."""


def raise_limits() -> None:
    """Thousands of sockets and files in one process: as many descriptors as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _in_child() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """A process in a group of its own; leaving the context ends the whole group.

    Args:
        command: program and arguments.
        limit: seconds after which waiting for it fails.
    """

    def __init__(self, command: Sequence[str], *, limit: float) -> None:
        self._deadline = time.monotonic() + limit
        self._command = list(command)
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=_in_child,
        )
        self._buffer = b""
        self._errors = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self) -> str | None:
        """The next line it prints, None at its end."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        pipes = [self._process.stdout, self._process.stderr]
        while b"\n" not in self._buffer:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TookTooLong(f"{self._name()} took too long. {self._said()}")
            ready, _, _ = select.select(pipes, [], [], left)
            for pipe in ready:
                data = os.read(pipe.fileno(), 1 << 16)
                if not data:
                    pipes.remove(pipe)
                    if pipe is self._process.stdout:
                        return None
                elif pipe is self._process.stdout:
                    self._buffer += data
                else:
                    self._errors += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def finish(self) -> None:
        """Wait for its end; a failure is an error."""
        try:
            _, errors = self._process.communicate(
                timeout=max(0.1, self._deadline - time.monotonic())
            )
        except subprocess.TimeoutExpired:
            raise TookTooLong(f"{self._name()} took too long. {self._said()}") from None
        self._errors += errors
        if self._process.returncode != 0:
            raise BenchmarkError(f"{self._name()} failed. {self._said()}")

    def terminate(self) -> None:
        self._process.terminate()

    def signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _name(self) -> str:
        return " ".join(self._command)

    def _said(self) -> str:
        return "It said: " + self._errors.decode(errors="replace").strip()[-2000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        # Also after a normal end: its own children (ffmpeg) are in the group.
        self.signal_group(signal.SIGCONT)
        self.signal_group(signal.SIGKILL)
        self._process.communicate()


class Sender(Child):
    """`python -m benchmarks.MODULE SPEC`: prints JSON objects, one a line, its result last."""

    def __init__(self, module: str, spec: dict[str, Any], *, limit: float) -> None:
        super().__init__(
            [sys.executable, "-m", f"benchmarks.{module}", json.dumps(spec)], limit=limit
        )

    def events(self) -> Iterator[dict[str, Any]]:
        while (line := self.line()) is not None:
            if line.startswith("{"):
                yield json.loads(line)

    def result(self) -> dict[str, Any]:
        """What it says last."""
        last: dict[str, Any] | None = None
        for last in self.events():  # noqa: B007
            pass
        self.finish()
        if last is None:
            raise BenchmarkError(f"{self._name()} said nothing. {self._said()}")
        return last


@contextlib.contextmanager
def cpu_hogs(count: int, seconds: float) -> Iterator[None]:
    """Processes that do nothing but compute, for `seconds` at most."""
    code = (
        "import time\n"
        f"end = time.monotonic() + {seconds}\n"
        "while time.monotonic() < end:\n"
        "    sum(range(100_000))\n"
    )
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(Child([sys.executable, "-c", code], limit=seconds + 5))
        yield
