"""What the command prints: messages on stderr, results on stdout, JSON with its schema number."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import IO, Any

import click

from voicecore import __version__
from voicecore.cli.exits import one_line

SCHEMA = 1
"""Grows when a field changes its meaning or goes away; new fields leave it alone."""


def complain(text: str) -> None:
    """One line on stderr, with the command's name before it."""
    click.echo(f"voicecore: {one_line(text)}", err=True)


def json_bytes(command: str, record: Mapping[str, Any]) -> bytes:
    """The record as JSON text with `schema`, `command` and `version` first."""
    whole = {"schema": SCHEMA, "command": command, "version": __version__, **record}
    text = json.dumps(_plain(whole), indent=2, ensure_ascii=False, allow_nan=False)
    # A file name that is not UTF-8 holds lone surrogates; backslashed they are valid JSON.
    return (text + "\n").encode("utf-8", "backslashreplace")


def json_line(command: str, record: Mapping[str, Any]) -> bytes:
    """The same on one line, for streams of records."""
    whole = {"schema": SCHEMA, "command": command, **record}
    text = json.dumps(_plain(whole), ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "backslashreplace")


def print_json(command: str, record: Mapping[str, Any]) -> None:
    """The record on stdout."""
    click.echo(json_bytes(command, record), nl=False)


def _plain(value: Any) -> Any:
    """JSON knows neither NaN nor infinity: null."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case _:
            return value


class ResultFile:
    """A file for results, opened before the work so that a wrong path is found out first.

    Args:
        path: the file, or "-" for stdout.

    Raises:
        click.UsageError: it cannot be created.
    """

    def __init__(self, option: str, path: str) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        if path != "-":
            try:
                self._file = open(path, "wb")  # noqa: SIM115
            except OSError as error:
                raise click.UsageError(f"{option}: {path}: {error.strerror}") from None

    def write(self, data: bytes) -> None:
        """All of it; complete in the file when this returns."""
        if self._file is None:
            click.echo(data, nl=False)
            return
        with self._file as file:
            file.write(data)


def stderr_is_terminal() -> bool:
    """Whether a progress line makes sense."""
    return sys.stderr.isatty()
