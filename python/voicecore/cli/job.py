"""One command carried out by a program of the user's: how it is called, and how it is ended."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import os
import shlex
import signal
import string
from dataclasses import dataclass
from typing import Final

from voicecore.errors import InvalidArgument
from voicecore.queue import Command

RETRY_EXIT: Final = 75
"""EX_TEMPFAIL of sysexits.h: try again later."""
_SCARCE: Final = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)
"""Why a program did not start that may start a moment later: no descriptors, processes, memory."""
_GRACE: Final = 2.0
"""Seconds between SIGTERM and SIGKILL."""
_TAIL: Final = 2000
"""Characters of standard error that are kept for the history."""

FIELDS: Final = (
    "id",
    "command",
    "entry_id",
    "key",
    "args",
    "requested_by",
    "attempt",
    "given_back",
    "max_attempts",
    "priority",
    "dedup_key",
    "created_at",
    "not_before",
    "expires_at",
)


class Template:
    """A command line with places for a command's fields.

    It is split once, as a shell would split it; the fields are put into single arguments
    afterwards, so that no value can become an option, a second argument or a second program.

    Args:
        text: such as `play.sh {command} {entry_id}`.

    Raises:
        InvalidArgument: nothing to run, an open quote, or a place that is not a field.
    """

    def __init__(self, text: str) -> None:
        try:
            self._parts = shlex.split(text)
        except ValueError as problem:
            raise InvalidArgument(f"--exec {text!r}: {problem}") from None
        if not self._parts:
            raise InvalidArgument("--exec: got an empty text, expected a program and arguments")
        for part in self._parts:
            for name in _places(part, text):
                if name not in FIELDS:
                    fields = ", ".join(f"{{{field}}}" for field in FIELDS)
                    raise InvalidArgument(f"--exec: got {{{name}}}, expected one of {fields}")

    def arguments(self, command: Command) -> list[str]:
        """The program and its arguments for one command; what is not there is empty."""
        values = field_texts(command)
        return [part.format_map(values) for part in self._parts]


def _places(part: str, whole: str) -> list[str]:
    try:
        parsed = list(string.Formatter().parse(part))
    except ValueError as problem:
        raise InvalidArgument(f"--exec {whole!r}: {problem}; a brace is written {{{{") from None
    names = []
    for _, name, layout, conversion in parsed:
        if name is None:
            continue
        if layout or conversion:
            raise InvalidArgument(f"--exec {whole!r}: {{{name}}} takes no format")
        names.append(name)
    return names


def field_texts(command: Command) -> dict[str, str]:
    """The fields as text: what is not there is empty, times are seconds since 1970 UTC."""
    values = {name: getattr(command, "args_json" if name == "args" else name) for name in FIELDS}
    return {name: _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    if isinstance(value, float):
        return "never" if math.isinf(value) else f"{value:.3f}"
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a program ended."""

    code: int | None
    """Its exit code; negative: by that signal; None: not startable, or out of time."""
    problem: str
    """Why it counts as failed; empty when it does not."""
    retry: bool = False
    """It asks to be called again, or the system had no room for it."""


async def run_job(
    arguments: list[str],
    command: Command,
    timeout: float | None,  # noqa: ASYNC109
    *,
    stdout: int | None = None,
) -> JobEnd:
    """Run the program to its end, in a process group of its own; cancelling ends the group.

    What it leaves behind in the background is neither waited for nor ended, unless it is ended.

    Args:
        arguments: the program and its arguments; no shell sees them.
        command: what it is for; the environment has the fields as VOICECORE_ID and so on.
        timeout: seconds; then the group gets SIGTERM, two seconds later SIGKILL.
        stdout: a descriptor for its standard output; None: this process's.
    """
    environment = {
        **os.environ,
        **{f"VOICECORE_{name.upper()}": text for name, text in field_texts(command).items()},
    }
    try:
        process, words = await _start(arguments, environment, stdout)
    except (OSError, ValueError) as problem:
        scarce = isinstance(problem, OSError) and problem.errno in _SCARCE
        return JobEnd(None, f"{arguments[0]} cannot be started: {problem}", retry=scarce)
    complaint = asyncio.ensure_future(_read_tail(words))
    try:
        async with asyncio.timeout(timeout):
            await process.wait()
    except TimeoutError:
        await _end_group(process)
        return JobEnd(None, f"still running after {timeout:g} seconds; ended")
    except asyncio.CancelledError:
        await _end_group(process)
        raise
    finally:
        # The words of what it left behind do not matter any more.
        _, late = await asyncio.wait({complaint}, timeout=0.2)
        if late:
            complaint.cancel()
            await asyncio.wait({complaint})
    code = process.returncode
    if code == 0:
        return JobEnd(0, "")
    said = complaint.result()
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return JobEnd(code, f"{how}: {said}" if said else how, retry=code == RETRY_EXIT)


async def _start(
    arguments: list[str], environment: dict[str, str], stdout: int | None
) -> tuple[asyncio.subprocess.Process, int]:
    """The program, and the end of a pipe from which its standard error can be read."""
    # A pipe of our own: a process's wait() lasts until the pipes that asyncio made are closed, and
    # what the program has left behind may hold them open.
    words, standard_error = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=standard_error,
            env=environment,
            start_new_session=True,
        )
    except BaseException:
        os.close(words)
        raise
    finally:
        os.close(standard_error)
    return process, words


async def _read_tail(pipe: int) -> str:
    """To the end, or until it is cancelled; the pipe is closed then."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", buffering=0)
    )
    tail = b""
    try:
        while chunk := await reader.read(65536):
            tail = (tail + chunk)[-_TAIL:]
    except asyncio.CancelledError:
        pass  # what has come is what there is
    finally:
        transport.close()
    return tail.decode("utf-8", "replace").strip()


async def _end_group(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        # The group may outlive its leader, which is what must not happen.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await process.wait()
                if number == signal.SIGTERM and _group_lives(process.pid):
                    await asyncio.sleep(0.1)
        if process.returncode is not None and not _group_lives(process.pid):
            return


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
