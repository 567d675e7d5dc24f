"""`voicecore transcode`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import Any

import click
from rich.text import Text

from voicecore import EncoderSettings, Engine, Source, TranscodeResult
from voicecore import transcode as run_transcode
from voicecore.cli import options as opt
from voicecore.cli.exits import Exit, Failure, exit_code
from voicecore.cli.output import (
    print_json,
    refuse_same_file,
    refuse_stdin_twice,
    say,
    stderr_is_terminal,
)
from voicecore.cli.progress import StatusLine, bar, short_name
from voicecore.cli.signals import StopSignals
from voicecore.cli.words import clock_time, count
from voicecore.errors import VoicecoreError


@click.command(
    short_help="Convert to Ogg Opus at full speed.",
    epilog="""\b
Examples:
  voicecore transcode song.mp3 song.ogg
  voicecore transcode part1.wav part2.wav whole.ogg --bitrate 96 --gap 1

\b
Exit codes: 0 done, 1 internal error, 2 usage, 3 an input cannot be opened or
decoded, 4 the file cannot be written, 129, 130 and 143 ended by SIGHUP, SIGINT
and SIGTERM with a valid file of what was done.
""",
)
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.argument("output", metavar="OUT.ogg")
@opt.volume_option
@click.option(
    "--gap",
    type=opt.seconds_type(),
    default=0.0,
    show_default=True,
    help="Silence between several inputs.",
)
@opt.encoder_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary; errors only.")
@opt.input_options
def transcode(
    inputs: tuple[str, ...],
    output: str,
    volume: float,
    gap: float,
    bitrate: int,
    complexity: int,
    fec: bool,
    expected_loss: float,
    no_passthrough: bool,
    as_json: bool,
    quiet: bool,
    headers: tuple[tuple[str, str], ...],
    playlists: bool,
    private_addresses: bool,
    timeout: float,
) -> int:
    """Convert files or URLs to one Ogg Opus file, as fast as the CPU allows.

    The length is exactly that of the input. Opus that is already right is copied bit for bit. An
    existing OUT.ogg is replaced.
    """
    if output == "-":
        raise click.UsageError(
            "OUT.ogg: got -, expected a file (./- for that name); stdout is not supported"
        )
    paths = ["/dev/stdin" if name == "-" else name for name in inputs]
    refuse_stdin_twice(paths)
    refuse_same_file(inputs, output)
    encoder = EncoderSettings(
        bitrate_kbps=bitrate, complexity=complexity, fec=fec, expected_loss=expected_loss
    )
    reading = opt.InputOptions(headers, playlists, private_addresses, timeout)
    settings: dict[str, Any] = {
        "volume": volume,
        "gap": gap,
        "encoder": encoder,
        "passthrough": not no_passthrough,
    }
    result = asyncio.run(_transcode(paths, output, reading, settings, quiet))
    ratio = result.duration_s / result.elapsed_s if result.elapsed_s > 0 else 0.0
    if as_json:
        record = {
            "inputs": list(inputs),
            "output": output,
            **asdict(result),
            "realtime_ratio": ratio,
        }
        print_json("transcode", record)
    elif not quiet:
        say(_summary(output, result, ratio))
    return Exit.DONE


def _summary(output: str, result: TranscodeResult, ratio: float) -> str:
    text = f"Wrote {result.duration_s:.2f} s to {output} in {result.elapsed_s:.2f} s"
    text += f", {ratio:,.0f} times faster than real time"
    if result.passthrough:
        frames = count(result.frames, "packet")
        text += f"; {result.passthrough:,} of {frames} copied bit for bit"
    if result.decode_errors:
        text += f"; {count(result.decode_errors, 'damaged packet')} skipped or concealed"
    return text + "."


async def _transcode(
    inputs: list[str],
    output: str,
    reading: opt.InputOptions,
    settings: dict[str, Any],
    quiet: bool,
) -> TranscodeResult:
    with StopSignals() as signals:
        async with Engine(feeders=1, realtime=False) as engine:
            sources: list[Source] = []
            for name in inputs:
                try:
                    sources.append(await signals.guard(engine.open(name, **reading.for_open())))
                except VoicecoreError as error:
                    raise Failure(Exit(exit_code(error)), error, short_name(name)) from error
            lengths = [source.info.duration for source in sources]
            known = [length for length in lengths if length is not None]
            total = sum(known) if len(known) == len(lengths) else None
            with StatusLine(wanted=not quiet and stderr_is_terminal()) as line:
                signals.around_stop(line.hide)
                began = time.monotonic()

                def progress(done: float) -> None:
                    line.show(_picture(short_name(output), done, total, time.monotonic() - began))

                return await signals.guard(
                    run_transcode(sources, output, progress=progress, **settings)
                )


def _picture(name: str, done: float, total: float | None, elapsed: float) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(name, style="bold")
    line.append(f"  {clock_time(done)}")
    if total:
        line.append(f" / {clock_time(total)}  ")
        line.append_text(bar(done / total, 30))
    if elapsed > 0.2:
        line.append(f"  {done / elapsed:,.0f}× real time", style="dim")
    return line
