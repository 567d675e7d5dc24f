"""The schedule in a queue file, opened for a command: failures become exit code 3."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import click

from voicecore.cli.exits import Exit, Failure
from voicecore.errors import InvalidArgument, VoicecoreError
from voicecore.queue import SyncCommandQueue
from voicecore.schedule import SqliteScheduleStore

T = TypeVar("T")

db_option = click.option(
    "--db", metavar="FILE", required=True, envvar="VOICECORE_DB", help="The queue file."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words.")


class _Blocking:
    """The synchronous queue behind the store's asynchronous port: this process has nothing else
    to do while it waits."""

    def __init__(self, queue: SyncCommandQueue) -> None:
        self._queue = queue

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._queue.execute(sql, parameters)

    async def transaction(
        self, steps: Sequence[tuple[str, Sequence[Any]]]
    ) -> list[list[tuple[Any, ...]]]:
        return self._queue.transaction(steps)


def with_store(
    path: str, work: Callable[[SqliteScheduleStore], Awaitable[T]], *, new: bool = False
) -> T:
    """Run `work` on the file's schedule.

    Args:
        new: create the file if there is none.

    Raises:
        Failure: exit code 3, the file cannot be opened or used.
    """
    if not new and not os.path.exists(path):
        raise Failure(Exit.INPUT, f"{path}: there is no such file (schedule add makes one)")

    async def run() -> T:
        return await work(SqliteScheduleStore(_Blocking(queue)))

    try:
        with SyncCommandQueue(path, create=new) as queue:
            return asyncio.run(run())
    except InvalidArgument:
        raise
    except VoicecoreError as error:
        raise Failure(Exit.INPUT, error, path) from error
