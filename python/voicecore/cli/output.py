"""What the command prints: messages on stderr, results on stdout, JSON with its schema number."""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

import click

from voicecore import __version__
from voicecore.cli.exits import Exit, Failure, one_line

SCHEMA = 1
"""Grows when a field changes its meaning or goes away; new fields leave it alone."""


def say(text: str) -> None:
    """A line on stderr. One that nobody takes changes nothing: stderr may be full or gone."""
    try:
        click.echo(text, err=True)
    except OSError:
        _give_up_stderr()


def complain(text: str) -> None:
    """One line on stderr, with the command's name before it."""
    say(f"voicecore: {one_line(text)}")


def flush_stderr() -> None:
    """Before the end, where Python would make an exit code of its own of what cannot be written."""
    try:
        sys.stderr.flush()
    except OSError:
        _give_up_stderr()


def give_up_stdout() -> None:
    """Its reader has gone, or it is full: what its buffer keeps, and what comes, leads nowhere."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _give_up_stderr() -> None:
    # Its buffer keeps what could not be written, and every flush tries again.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # for good


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


def refuse_same_file(inputs: Iterable[str], output: str, option: str = "") -> None:
    """Writing a file while reading it would destroy it."""
    for name in inputs:
        with contextlib.suppress(OSError, ValueError):
            if os.path.isfile(output) and os.path.samefile(name, output):
                about = f"{option}: " if option else ""
                raise click.UsageError(
                    f"{about}{output} is the input; choose another file to write to"
                )


def refuse_stdin_twice(inputs: Iterable[str]) -> None:
    """Two readers of one pipe would each get a part of it."""
    if list(inputs).count("/dev/stdin") > 1:
        raise click.UsageError("standard input is given twice, and can be read once")


class ResultFile:
    """A file for results, opened before the work so that a wrong path is found out first.

    What it holds stays until there is something to write. One that is not there is made on entering
    the `with` block, to be done when signals have their handlers, and goes with it when it was not
    written.

    Args:
        path: the file, or "-" for stdout.

    Raises:
        click.UsageError: it cannot be opened, or on entering, created.
    """

    def __init__(self, option: str, path: str) -> None:
        self._option = option
        self._path = path
        self._fd: int | None = None
        self._is_new = False
        self._begun = False
        # A pipe waits here for its reader: without handlers a signal still ends that.
        if path != "-" and os.path.exists(path):
            self._fd = self._open(0)

    def _open(self, flags: int) -> int:
        try:
            return os.open(self._path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o666)
        except OSError as error:
            raise click.UsageError(f"{self._option}: {self._path}: {error.strerror}") from None

    def write(self, data: bytes) -> None:
        """All of it, in place of what was there; complete in the file when this returns.

        Raises:
            Failure: the disk is full.
        """
        self.append(data)
        fd, self._fd = self._fd, None
        if fd is not None:
            with self._told_of():
                os.close(fd)

    def append(self, data: bytes) -> None:
        """A part of it, in place of what was there if it is the first; in the file at once.

        Raises:
            Failure: the disk is full.
        """
        if self._fd is None:
            click.echo(data, nl=False)
            return
        self._is_new = False
        with self._told_of():
            if not self._begun and stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.ftruncate(self._fd, 0)
            self._begun = True
            with open(self._fd, "wb", closefd=False) as file:
                file.write(data)

    @contextlib.contextmanager
    def _told_of(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Failure(Exit.SINK, error, self._path) from None

    def __enter__(self) -> ResultFile:
        if self._path != "-" and self._fd is None:
            self._is_new = not os.path.lexists(self._path)
            self._fd = self._open(os.O_CREAT)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._fd is None:
            return
        os.close(self._fd)
        self._fd = None
        if self._is_new:
            with contextlib.suppress(OSError):
                os.unlink(self._path)


def in_background(fd: int) -> bool:
    """Whether `fd` is the terminal of this session and other processes have it now."""
    try:
        return os.tcgetpgrp(fd) != os.getpgrp()
    except OSError:
        return False


def stderr_is_terminal() -> bool:
    """Whether a progress line makes sense."""
    return sys.stderr.isatty()
