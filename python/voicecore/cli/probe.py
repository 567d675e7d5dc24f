"""`voicecore probe`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from voicecore import Engine, SourceInfo
from voicecore.cli import options as opt
from voicecore.cli.exits import Exit, Failure, exit_code, one_line
from voicecore.cli.output import print_json
from voicecore.cli.progress import short_name
from voicecore.cli.signals import StopSignals
from voicecore.cli.words import probe_rows
from voicecore.errors import VoicecoreError


@click.command(
    short_help="Say what is in a file or URL.",
    epilog="""\b
Examples:
  voicecore probe song.mp3
  voicecore probe https://example.org/radio.ogg --json

\b
Exit codes: 0 done, 2 usage, 3 it cannot be opened or decoded.
""",
)
@click.argument("location", metavar="FILE|URL")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words.")
@opt.input_options
def probe(
    location: str,
    as_json: bool,
    headers: tuple[tuple[str, str], ...],
    playlists: bool,
    private_addresses: bool,
    timeout: float,
) -> int:
    """Say what a file or URL is: container, codec, rate, channels, duration, bitrate, tags.

    Also whether its Opus packets can be sent as they are, and why not.
    """
    options = opt.InputOptions(headers, playlists, private_addresses, timeout)
    path = "/dev/stdin" if location == "-" else location
    info = asyncio.run(_probe(path, options))
    record = info_record(location, info)
    if as_json:
        print_json("probe", record)
        return Exit.DONE
    rows = probe_rows(record)
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        click.echo(f"{one_line(label):<{width}}  {one_line(value)}")
    return Exit.DONE


async def _probe(location: str, options: opt.InputOptions) -> SourceInfo:
    with StopSignals() as signals:
        async with Engine(feeders=1, realtime=False) as engine:
            try:
                source = await signals.guard(engine.open(location, **options.for_open()))
            except VoicecoreError as error:
                raise Failure(Exit(exit_code(error)), error, short_name(location)) from error
            async with source:
                return source.info


def info_record(location: str, info: SourceInfo) -> dict[str, Any]:
    """The facts as JSON has them."""
    return {
        "location": location,
        "container": info.container,
        "codec": info.codec,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "duration_s": info.duration,
        "bitrate_kbps": info.bitrate_kbps,
        "tags": dict(info.tags),
        "seekable": info.seekable,
        "passthrough": info.passthrough,
        "no_passthrough": info.no_passthrough,
    }
