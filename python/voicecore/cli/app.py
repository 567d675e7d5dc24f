"""The command group, and the one place where errors become exit codes."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final, NoReturn, cast

import click

from voicecore import __version__
from voicecore.cli.exits import Exit, Interrupted, exit_code, text_of
from voicecore.cli.output import complain, flush_stderr, give_up_stdout, say

COMMANDS: Final = ("doctor", "play", "probe", "queue", "receive", "schedule", "transcode", "work")
"""Each is a module of its own that has a command of its name."""


class Commands(click.Group):
    """Imports a command when it is asked for: together they take most of a short command's time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them, in alphabetical order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them; None: there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"voicecore.cli.{cmd_name}")
        return cast(click.Command, getattr(module, cmd_name))


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
    epilog="""\b
Start here:
  voicecore doctor                            is this machine fit?
  voicecore probe song.mp3                    what is in a file
  voicecore play song.mp3 --to ogg:out.ogg    play it, in real time
  voicecore transcode song.mp3 out.ogg        convert it, at full speed

\b
Every command has its own --help with examples. Exit codes: 0 done, 1 internal
error, 2 usage, 3 an input cannot be opened or decoded, 4 a sink failed, 129, 130
and 143 ended by SIGHUP, SIGINT and SIGTERM. JSON output carries "schema": 1.
VOICECORE_DEBUG=1 shows a traceback with every error.
""",
)
@click.version_option(__version__, message="voicecore %(version)s")
@click.pass_context
def cli(context: click.Context) -> int | None:
    """Play audio natively: decode, Opus, a 20 ms frame clock, RTP and encryption."""
    if context.invoked_subcommand is None:
        say(context.get_help())
        return Exit.USAGE
    return None


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None takes the process's own.

    Returns:
        The exit code.
    """
    try:
        result = cli.main(
            args=None if arguments is None else list(arguments),
            prog_name="voicecore",
            standalone_mode=False,
        )
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has gone: nothing to say, and nobody to say it to.
        give_up_stdout()
        return Exit.INTERNAL
    except BaseException as error:
        if isinstance(error, (SystemExit, GeneratorExit)):
            raise
        return _explain(error)
    return int(result) if isinstance(result, int) else Exit.DONE


def _explain(error: BaseException) -> int:
    code = exit_code(error)
    if os.environ.get("VOICECORE_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    if isinstance(error, (Interrupted, KeyboardInterrupt, click.Abort)):
        return code
    text = text_of(error)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        text = f"{text.rstrip('.')} (see {error.ctx.command_path} --help)"
    elif code == Exit.INTERNAL:
        text = f"internal error: {type(error).__name__}: {text} (VOICECORE_DEBUG=1 shows more)"
    complain(text)
    return code


def _open_standard_streams() -> None:
    """A standard stream that the caller has closed leads nowhere.

    Otherwise the next file that is opened gets its number, and every message goes into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            mode = "r" if number == 0 else "w"
            opened = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  # for good


def main() -> NoReturn:
    """The entry point."""
    _open_standard_streams()
    code = run()
    flush_stderr()
    sys.exit(code)
