"""Many short-lived processes, cheaply: a process that has imported everything forks for each.

Forking the test's own process would copy its threads' locks and its open queues.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

HERE = Path(__file__).resolve().parent


class Nursery:
    """Forks children that run actors or scenarios. A context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE.parent if __name__.startswith("proof") else HERE.parent.parent,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def start(self, name: str, **arguments: Any) -> int:
        """A child that runs it; its process id."""
        return int(self._ask({"start": name, "arguments": _plain(arguments)}))

    def wait(self, pid: int) -> int:
        """Wait for its end: the exit code, or minus the signal."""
        return int(self._ask({"wait": pid}))

    def kill(self, pid: int) -> int:
        """`kill -9`, and wait."""
        os.kill(pid, signal.SIGKILL)
        return self.wait(pid)

    def run(self, name: str, **arguments: Any) -> int:
        """Start it and wait for its end."""
        return self.wait(self.start(name, **arguments))

    def _ask(self, question: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {key: str(v) if isinstance(v, Path) else v for key, v in arguments.items()}


def _child(name: str, arguments: Mapping[str, Any]) -> int:
    from .actors import ACTORS, act
    from .scenarios import play, run_a_scheduler

    try:
        if name == run_a_scheduler.__name__:
            run_a_scheduler(**arguments)
        elif name in ACTORS:
            act(name, arguments)
        else:
            play(name, **arguments)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def main(questions: IO[str], answers: IO[str]) -> None:
    """Serve until the questions end."""
    from . import scenarios  # imported once, for all

    assert scenarios
    for line in iter(questions.readline, ""):
        question = json.loads(line)
        if "wait" in question:
            answer = os.waitstatus_to_exitcode(os.waitpid(question["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                code = _child(question["start"], question["arguments"])
                sys.stderr.flush()
                os._exit(code)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
