"""What the contract tests use: either engine, one wall clock, and somebody else at the file."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import voicecore
from voicecore import reference
from voicecore.queue import Command, CommandQueue

Queue = CommandQueue | reference.CommandQueue

ENGINES: dict[str, Callable[..., Queue]] = {
    "reference": reference.CommandQueue,
    "native": CommandQueue,
}

# Another process, and nothing but Python's sqlite3: as the admin site, or the sqlite3 shell.
_STRANGER = """
import json, sqlite3, sys
path, sql, parameters = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
connection = sqlite3.connect(path, timeout=5)
rows = connection.execute(sql, parameters).fetchall()
connection.commit()
print(json.dumps(rows))
"""


class Wall:
    """A wall clock that a test moves. It begins now: SQLite's own default is the real time."""

    def __init__(self) -> None:
        self.seconds = float(round(time.time()))

    def __call__(self) -> float:
        return self.seconds

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds


class Bench:
    """One file and one wall clock, for queues of one engine."""

    def __init__(self, engine: str, path: Path) -> None:
        self.engine = engine
        self.path = path
        self.wall = Wall()

    def queue(self, engine: str | None = None, **settings: Any) -> Queue:
        """A queue on the file, of this engine unless another is named."""
        return ENGINES[engine or self.engine](self.path, wall_clock=self.wall, **settings)

    def stranger(self, sql: str, parameters: Sequence[Any] = ()) -> list[list[Any]]:
        """Run one statement in another process; its rows."""
        done = subprocess.run(
            [sys.executable, "-c", _STRANGER, str(self.path), sql, json.dumps(list(parameters))],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        rows: list[list[Any]] = json.loads(done.stdout)
        return rows


async def one(queue: Queue, **settings: Any) -> Command:
    """Claim, and expect exactly one."""
    (command,) = await queue.claim(100, **settings)
    return command


def ids(commands: Sequence[Command]) -> list[int]:
    return [command.id for command in commands]


def verbs(commands: Sequence[Command]) -> list[str]:
    return [command.command for command in commands]


async def refusal(awaitable: Any) -> str:
    """Why it was refused."""
    try:
        await awaitable
    except voicecore.errors.StaleClaim as stale:
        return stale.reason
    return "not refused"
