"""What the command's exit status says, and the one line that explains it."""

from __future__ import annotations

import enum
import errno
import re

import click

from voicecore.errors import InvalidArgument, OpenError, SinkError, Unavailable


class Exit(enum.IntEnum):
    """Exit codes; scripts depend on them."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    INPUT = 3
    SINK = 4
    REFUSED = 4  # a command of the queue that nobody carried out: busy, withdrawn
    FAILED = 5
    EXPIRED = 6
    TIMED_OUT = 7


SIGNAL_BASE = 128
"""Ended by a signal: this plus its number, so 130 for SIGINT and 143 for SIGTERM."""


class Interrupted(Exception):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by signal {number}")
        self.number = number


class Failure(Exception):
    """An expected failure whose exit code is known where it happens.

    Args:
        code: the exit code.
        error: what happened.
        about: the file or sink it happened to, put before the message unless it says so itself.
    """

    def __init__(self, code: Exit, error: BaseException | str, about: str = "") -> None:
        self.code = code
        text = error if isinstance(error, str) else text_of(error)
        super().__init__(text if not about or about in text else f"{about}: {text}")


def exit_code(error: BaseException) -> int:
    """The exit code for an error that ended the command."""
    match error:
        case Failure():
            return error.code
        case Interrupted():
            return SIGNAL_BASE + error.number
        case KeyboardInterrupt() | click.Abort():
            return SIGNAL_BASE + 2
        case click.ClickException() | InvalidArgument():
            return Exit.USAGE
        case OpenError():
            return Exit.INPUT
        case SinkError() | Unavailable():
            return Exit.SINK
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return Exit.SINK
        case _:
            return Exit.INTERNAL


def text_of(error: BaseException) -> str:
    """The error in one line, safe to print on a terminal."""
    if isinstance(error, click.ClickException):
        text = error.format_message()
    elif isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__
    # A SINK in the place of a FILE is named by whoever could not open it.
    return one_line(re.sub(r"(?i)(\brtp:\S*?key=)[^&\s'\"]*", r"\1…", text))


def one_line(text: str) -> str:
    """Without line breaks, and with control characters made visible: names come from strangers."""
    joined = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in joined)
