"""A queue file, opened for a command: failures become exit code 3."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import click

from voicecore.cli.exits import Exit, Failure
from voicecore.cli.output import complain
from voicecore.errors import InvalidArgument, QueueTimeout, VoicecoreError
from voicecore.queue import SyncCommandQueue

db_option = click.option(
    "--db", "path", metavar="FILE", required=True, envvar="VOICECORE_DB", help="The queue file."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words.")


@contextlib.contextmanager
def open_queue(path: str, *, create: bool = False) -> Iterator[SyncCommandQueue]:
    """The file's queue, opened.

    Args:
        path: of the file.
        create: make it when there is none, and say so. Otherwise a wrong name is an error: a
            command sent into an empty new file is one that nobody ever sees.

    Raises:
        Failure: exit code 3, it cannot be opened or used.
    """
    missing = not os.path.exists(path)
    if missing and not create:
        raise Failure(Exit.INPUT, f"{path}: there is no such file (queue add makes one)")
    try:
        with SyncCommandQueue(path, create=create) as queue:
            if missing:
                complain(f"{path} was not there: a new queue file")
            yield queue
    except (InvalidArgument, QueueTimeout):
        raise
    except VoicecoreError as error:
        raise Failure(Exit.INPUT, error, path) from error
