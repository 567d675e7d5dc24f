"""`voicecore receive`."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import click
from rich.text import Text

from voicecore import Receiver
from voicecore.cli import options as opt
from voicecore.cli.exits import SIGNAL_BASE, Exit, Failure, Interrupted
from voicecore.cli.output import ResultFile, print_json, say, stderr_is_terminal
from voicecore.cli.progress import INTERVAL, StatusLine
from voicecore.cli.signals import StopSignals
from voicecore.cli.sink_url import (
    RECORDING,
    RTP,
    NullTarget,
    OggTarget,
    RtpTarget,
    Target,
    join_address,
    refuse_sink,
)
from voicecore.cli.words import clock_time, count, milliseconds, receive_summary

LOG_INTERVAL = 1.0
"""Seconds between two times that the log is written."""


@dataclass(frozen=True, slots=True)
class ReceiveOptions:
    """The command line, understood."""

    source: RtpTarget
    ogg: str | None
    json: bool
    idle: float | None
    duration: float | None
    quiet: bool


@click.command(
    short_help="Receive and record an RTP stream.",
    epilog="""\b
Examples:
  voicecore receive 'rtp://127.0.0.1:5004?key-file=key' --to ogg:heard.ogg
  voicecore receive 'rtp://[::]:5004?mode=none' --json --idle 2

\b
Exit codes: 0 ended by --idle or --duration, 2 usage or a --log that cannot be
created, 4 the port is in use or a file cannot be written, 129, 130 and 143 ended
by SIGHUP, SIGINT and SIGTERM with the file finished and the result printed.
""",
)
@click.argument(
    "source", metavar="rtp://HOST:PORT?...", type=opt.SinkType(listening=True, grammar=RTP)
)
@click.option(
    "--to",
    "sink",
    type=opt.SinkType(grammar=RECORDING),
    metavar="ogg:PATH",
    help="Record what arrives; an existing file is replaced. Pauses of more than 5 seconds are "
    "recorded as 5. Or null:, the default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON instead of words.")
@click.option(
    "--log",
    metavar="FILE.csv",
    help="Write a line for each packet, as they come: the kernel's receive time in ns since 1970, "
    "sequence number, RTP time stamp, bytes of Opus.",
)
@click.option(
    "--idle",
    type=opt.Number(0.02, 86_400, "seconds", name="seconds"),
    help="End this long after the last packet.  [default: wait on]",
)
@click.option(
    "--duration",
    type=opt.Number(0.02, 366 * 24 * 3600.0, "seconds", name="seconds"),
    help="End after this long.  [default: no limit]",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress line and no words; errors only.")
def receive(
    source: Target,
    sink: Target | None,
    as_json: bool,
    log: str | None,
    idle: float | None,
    duration: float | None,
    quiet: bool,
) -> int:
    """Receive one RTP stream: decrypt, check, measure, record.

    HOST is the local address to listen on, port 0 a free one. The parameters are those of
    `voicecore play`; without ssrc the first stream that comes is taken. Prints "listening on
    HOST:PORT" to stderr when it is ready. Runs until a signal, --idle or --duration ends it.
    """
    if not isinstance(source, RtpTarget):
        raise click.UsageError(f"cannot receive from {source}, expected rtp://HOST:PORT?…")
    if isinstance(sink, RtpTarget):
        raise click.UsageError(f"--to: cannot record to {sink}, expected ogg:PATH")
    chosen = ReceiveOptions(
        source=source,
        ogg=sink.path if isinstance(sink, OggTarget) else None,
        json=as_json,
        idle=idle,
        duration=duration,
        quiet=quiet,
    )
    assert sink is None or isinstance(sink, (OggTarget, NullTarget))
    if log is None:
        return asyncio.run(_receive(chosen, None))
    refuse_sink(sink, log, "--log")
    return asyncio.run(_receive(chosen, ResultFile("--log", log)))


async def _receive(options: ReceiveOptions, log: ResultFile | None) -> int:
    source = options.source
    with StopSignals() as signals, log or contextlib.nullcontext():

        def make() -> Receiver:
            return Receiver(
                source.host,
                source.port,
                mode=source.mode,
                key=source.key,
                ssrc=source.ssrc,
                ogg=options.ogg,
                log=log is not None,
                idle=options.idle,
                duration=options.duration,
            )

        receiver = await signals.guard(asyncio.get_running_loop().run_in_executor(None, make))
        if not options.quiet:
            address = join_address(source.host, receiver.port)
            say(f"listening on {address} ({source.mode})")
        with StatusLine(wanted=not options.quiet and stderr_is_terminal()) as line:
            signals.around_stop(line.hide)
            painter = asyncio.create_task(_paint(line, receiver)) if line.shown else None
            try:
                await signals.guard(_until_end(receiver, log))
            except Interrupted:
                await signals.guard_end(receiver.aclose())
            except Failure:  # of the log: the recording is finished all the same
                await signals.guard_end(receiver.aclose())
                raise
            finally:
                if painter is not None:
                    painter.cancel()
                    await asyncio.wait([painter])
        if log is not None:
            log.write(_lines(receiver))
        _report(options, receiver)
        return Exit.DONE if signals.caught is None else SIGNAL_BASE + signals.caught


def _report(options: ReceiveOptions, receiver: Receiver) -> None:
    record: dict[str, Any] = {
        "source": str(options.source),
        "port": receiver.port,
        "ogg": options.ogg,
        **receiver.statistics().as_dict(),
    }
    if options.json:
        print_json("receive", record)
    elif not options.quiet:
        for text in receive_summary(record):
            click.echo(text)


async def _until_end(receiver: Receiver, log: ResultFile | None) -> None:
    """Wait for the end, and write the log meanwhile: the receiver keeps a million lines only."""
    end = asyncio.ensure_future(receiver.wait())
    try:
        if log is not None:
            log.append(_csv([("time_ns", "sequence", "timestamp", "size")]))
            while not (await asyncio.wait([end], timeout=LOG_INTERVAL))[0]:
                log.append(_lines(receiver))
        await end
    finally:
        end.cancel()


def _lines(receiver: Receiver) -> bytes:
    """Of the packets that came since the last call."""
    return _csv(
        (one.time_ns, one.sequence, one.timestamp, one.size) for one in receiver.take_arrivals()
    )


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


async def _paint(line: StatusLine, receiver: Receiver) -> None:
    while True:
        now = receiver.statistics()
        if now.packets:
            text = Text(no_wrap=True, overflow="ellipsis")
            text.append("● ", style="red")
            text.append(f"{clock_time(now.duration_s)}  {count(now.packets, 'packet')}")
            text.append(f"  {now.lost:,} lost  gap p99 {milliseconds(now.gap_ms.p99)}", style="dim")
            line.show(text)
        await asyncio.sleep(INTERVAL)
