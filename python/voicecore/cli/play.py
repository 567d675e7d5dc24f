"""`voicecore play`: its command line."""

from __future__ import annotations

import asyncio

import click

from voicecore import EncoderSettings
from voicecore.cli import options as opt
from voicecore.cli.keep_awake import keep_awake_option
from voicecore.cli.output import ResultFile, refuse_same_file, refuse_stdin_twice
from voicecore.cli.play_run import PlayOptions, PlayRun
from voicecore.cli.sink_url import OggTarget, RtpTarget, Target, refuse_sink


@click.command(
    short_help="Play files or URLs in real time.",
    epilog="""\b
Examples:
  voicecore play song.mp3 --to ogg:out.ogg
  voicecore play a.flac b.mp3 --gap 0 --to null: --stats stats.json
  voicecore play song.mp3 --virtual --volume 0.5 --to ogg:half.ogg
  voicecore play song.mp3 --to 'rtp://127.0.0.1:5004?ssrc=7&key-file=key'

\b
Keys on a terminal: space pauses, left/right seek 5 s, down/up 30 s,
+/- change the volume by a tenth, n plays the next file, q quits.

\b
Exit codes: 0 done, 1 internal error, 2 usage or a --stats that cannot be
created, 3 a file cannot be opened or decoded, 4 the sink failed, 129, 130 and 143
ended by SIGHUP, SIGINT and SIGTERM. Once playing has begun, however it ends, the
peer gets five silence frames, the Ogg file is finished and the statistics are
written. When a file or the sink cannot be opened, nothing is.
""",
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--to",
    "sink",
    type=opt.SinkType(),
    required=True,
    metavar="SINK",
    help="Where to: ogg:PATH, null: or rtp://HOST:PORT?…; see above.",
)
@opt.volume_option
@click.option(
    "--start",
    type=opt.seconds_type(),
    default=0.0,
    show_default=True,
    help="Where in the first file to begin. An estimate for a URL of more than 16 MiB of MP3 or "
    "AAC (ADTS) with a varying bitrate.",
)
@click.option(
    "--duration",
    type=opt.Number(0.001, 366 * 24 * 3600.0, "seconds", name="seconds"),
    help="End the whole run after this long.  [default: when everything is played]",
)
@click.option(
    "--gap",
    type=opt.seconds_type(),
    default=0.0,
    show_default=True,
    help="Silence between files; 0 joins them without a gap.",
)
@click.option(
    "--loop",
    type=opt.Whole(0, 1_000_000_000, name="n"),
    default=1,
    show_default=True,
    help="How often everything is played in all; 0 is without end.",
)
@opt.encoder_options
@click.option(
    "--stats", metavar="FILE.json", help="Write the statistics here at the end; - is stdout."
)
@click.option(
    "--virtual",
    is_flag=True,
    help="On a virtual clock: the same packets as fast as the CPU allows, the same bytes each "
    "time. Not for rtp.",
)
@keep_awake_option
@click.option("-q", "--quiet", is_flag=True, help="No progress line and no summary; errors only.")
@click.option(
    "--summary/--no-summary",
    default=True,
    help="Say in words at the end how it went.  [default: summary]",
)
@opt.input_options
def play(
    files: tuple[str, ...],
    sink: Target,
    volume: float,
    start: float,
    duration: float | None,
    gap: float,
    loop: int,
    bitrate: int,
    complexity: int,
    fec: bool,
    expected_loss: float,
    no_passthrough: bool,
    stats: str | None,
    virtual: bool,
    quiet: bool,
    summary: bool,
    headers: tuple[tuple[str, str], ...],
    playlists: bool,
    private_addresses: bool,
    timeout: float,
) -> int:
    """Play files or URLs in real time, in order.

    FILE is a path or an http(s) URL; - is standard input. The first 64 are opened before anything
    is sent, with --loop all of them, and playing does not begin when one of them cannot be.

    \b
    SINK is one of
      ogg:PATH    an Ogg Opus file; an existing one is replaced
      null:       nowhere, for measuring
      rtp://HOST:PORT?PARAMETERS
                  RTP as Discord's voice servers expect it, joined by &:
                    ssrc=N         the stream's number  [default: random]
                    mode=MODE      aead_xchacha20_poly1305_rtpsize (default),
                                   aead_aes256_gcm_rtpsize or none
                    key-file=PATH  32 bytes, or 64 hex digits; for one sender at a
                                   time, another ends with exit code 4
                    key=HEX        for tests only: command lines are visible
                  IPv6 in brackets, as in rtp://[::1]:5004?mode=none; a zone after %25,
                  as in rtp://[fe80::1%25eth0]:5004?mode=none
    """
    chosen = PlayOptions(
        files=tuple("/dev/stdin" if name == "-" else name for name in files),
        sink=sink,
        volume=volume,
        start=start,
        duration=duration,
        gap=gap,
        loop=loop,
        encoder=EncoderSettings(
            bitrate_kbps=bitrate, complexity=complexity, fec=fec, expected_loss=expected_loss
        ),
        passthrough=not no_passthrough,
        virtual=virtual,
        quiet=quiet,
        summary=summary and not quiet,
        input=opt.InputOptions(headers, playlists, private_addresses, timeout),
    )
    _check(chosen)
    if stats is None:
        return asyncio.run(PlayRun(chosen, None).run())
    refuse_sink(chosen.sink, stats, "--stats")
    refuse_same_file(chosen.files, stats, "--stats")
    return asyncio.run(PlayRun(chosen, ResultFile("--stats", stats)).run())


def _check(chosen: PlayOptions) -> None:
    if chosen.virtual and isinstance(chosen.sink, RtpTarget):
        raise click.UsageError("--virtual is not for rtp: a peer on the network lives in real time")
    if chosen.virtual and chosen.loop == 0 and chosen.duration is None:
        raise click.UsageError("--virtual --loop 0 would never end; give a --duration")
    if chosen.loop != 1 and "/dev/stdin" in chosen.files:
        raise click.UsageError("--loop: standard input cannot be played twice")
    refuse_stdin_twice(chosen.files)
    if isinstance(chosen.sink, OggTarget):
        refuse_same_file(chosen.files, chosen.sink.path)
