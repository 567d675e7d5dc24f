"""REPORT.md: the bars, who loses where, every table, the machine, the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.tables import TABLES, table
from benchmarks.verdict import sentences

Row = dict[str, Any]

QUIET_PERCENT = 15.0

METHOD = """\
- One receiver for everything, a process of its own on 127.0.0.1 (`recorder.c`): kernel receive
  timestamps, one socket, streams told apart by SSRC, only headers in the hot path; one datagram in
  a thousand is kept and decrypted at the end. A run in which its socket dropped anything says so.
- discord.py is unmodified: `AudioPlayer`, its sources, `VoiceClient.send_audio_packet`,
  XChaCha20-Poly1305 for both. Only the gateway is missing. *raw* feeds Opus or PCM from memory,
  the least work that its player can have; *tuned* is `sys.setswitchinterval(0.0005)`, nice −11 and
  voicecore's encoder settings (complexity 5, no FEC, free VBR); otherwise its defaults
  (complexity 9, FEC for 15 % loss).
- voicecore opens files and plays them with its defaults: Opus at 128 kbit/s, complexity 5, one
  feeder thread for each core.
- *delivered*: 20 ms periods of the window that brought a media packet; what a sender lags behind at
  the end counts as not delivered, what it catches up late counts as delivered. *gap*: between
  packets of one stream. *burst*: most packets of one stream less than 1 ms apart. *made up*: most
  packets of one stream in a row that came when their period was over. *concealed*: what a 60 ms
  jitter buffer must make up. *CPU*: of the sending process with its children, from the
  kernel's nanosecond clocks.
- *processors awake*: the same beside a `voicecore.CpuLatencyRequest`, which keeps every processor
  of the machine from sleeping. voicecore never asks for it by itself.
- Runs of the sides are interleaved; where *runs* is more than one the figures are medians, and
  the slowest is that of all runs.
"""

ABOUT = {
    "passthrough": """\
The same Ogg Opus file for every stream. *ffmpeg copy* and *from_probe* are `FFmpegOpusAudio`, which
also sends the two Ogg header packets as audio.""",
    "disturbed": """\
*busy thread*: a pure-Python loop. *GIL held*: a C call that keeps the GIL for 150 ms each second.
*loop blocked*: `time.sleep(0.5)` in the event loop every 2 s. *stopped*: SIGSTOP for 300 ms, every
other second.""",
    "first_frame": """\
From the call to the kernel's timestamp at the receiver; the codec module is loaded. *after open*
includes opening the file, or starting ffmpeg.""",
    "transcode": """\
44.1 kHz stereo mp3 at 128 kbit/s, the same file for all. discord.py's CPU includes its ffmpeg
children, its memory their PSS. One source to N calls is this table as well: one decoder and encoder
for all of them is not built yet, N calls decode and encode N times on either side.""",
    "encoder": """\
The same mp3 with the same encoder settings on every side: 128,000 bit/s, constrained, complexity
10, without forward error correction and with it for 15 % loss, which is discord.py's default.
*tuned* is the switch interval and the priority alone. voicecore climbs until it no longer
delivers.""",
    "volume": """\
voicecore leaves passthrough: it decodes the Opus file, applies the gain and encodes. discord.py's
`PCMVolumeTransformer` takes PCM only: `FFmpegPCMAudio`, whatever the file. Encoders: each side's
default; *tuned* has voicecore's settings.""",
    "stalls": """\
The mp3 comes by HTTP from a process of its own (`station.py`), at the pace of its playing and that
much ahead of it. It stalls at a byte of the file and then sends at once what it owes. The streams
begin a tenth of a second apart. *late*: arrival against the timestamps. *breaks*: gaps of more than
60 ms. *in 10 ms*: most packets of one stream within 10 ms. *underruns*: by voicecore's own count,
all streams. *delivered* counts what comes too late as well.""",
    "cpu": """\
*as fast as possible*: bare library calls in a loop (`bare.c`), against `voicecore.transcode` into a
file, and against a player on a manual clock into a null sink. *real time*: voicecore's whole
process at one stream over UDP, its clock thread included, against the bare calls without sending,
once frame by frame every 20 ms and once in eights every 160 ms, which is how voicecore refills and
keeps caches warmer: the stricter of the two.""",
    "lateness": """\
By the engine's own histogram, taken at the send call, within the window. *bare C loop*: one
real-time thread where that is allowed, which sleeps until each group's deadline and sends as many
datagrams: what the machine itself makes late.""",
    "memory": """\
RSS difference over 100 streams, playing for some seconds, against the same number of bare library
objects that have done the same work.""",
    "control": """\
All streams at once; each call is timed on its own. One stream: five goes; 100 streams: two.
discord.py sends its five silence frames unpaced.""",
}


def _sign(bar: Row) -> str:
    return "≥" if bar["at_least"] else "≤"


def _plain(value: float) -> str:
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def bars_text(results: Row) -> str:
    """The bars for a terminal."""
    lines = []
    for workload in results["workloads"].values():
        lines.append(workload["title"])
        for bar in workload["bars"]:
            word = "reached" if bar["reached"] else "MISSED"
            lines.append(
                f"  {word}  {bar['name']}: {_plain(bar['measured'])} {bar['unit']} "
                f"({_sign(bar)} {_plain(bar['limit'])}) {bar['note']}".rstrip()
            )
    return "\n".join(lines)


def bars_table(results: Row) -> str:
    """Every bar, what was measured, and whether it was reached."""
    rows = []
    for workload in results["workloads"].values():
        for bar in workload["bars"]:
            note = f" ({bar['note']})" if bar["note"] else ""
            rows.append(
                [
                    f"{workload['title']}: {bar['name']}{note}",
                    f"{_sign(bar)} {_plain(bar['limit'])} {bar['unit']}".rstrip(),
                    f"{_plain(bar['measured'])} {bar['unit']}".rstrip(),
                    "reached" if bar["reached"] else "**missed**",
                ]
            )
    return table(("", "to reach", "measured", ""), rows)


def machine_text(results: Row) -> str:
    """The machine and every version."""
    machine = results["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB; "
        f"{machine['system']}; real-time priority "
        + ("allowed" if machine["realtime_allowed"] else "not allowed")
        + f"; load {machine['load_before']:.1f} before the run.",
        "",
        ", ".join(f"{name} {version}" for name, version in machine["versions"].items()) + ".",
    ]
    return "\n".join(lines)


def quiet_text(results: Row) -> str:
    """Whether the machine was left alone."""

    def listed(what: str) -> str:
        found = results["workloads"].values()
        return "; ".join(f"{one['title']}: {one[what]:.0f} %" for one in found)

    loads = [found["elsewhere_percent"] for found in results["workloads"].values()]
    loud = "**Not a quiet machine**: other programs ran during this run. "
    return (
        f"{loud if max(loads) > QUIET_PERCENT else ''}Used by other programs meanwhile, % of one "
        f"core (by the kernel's tick counts): {listed('elsewhere_percent')}.\n\n"
        "Taken by the host of this virtual machine while something here wanted to run, % of one "
        f"core (none where there is no host): {listed('stolen_percent')}."
    )


def write(results: Row, out: Path) -> Path:
    """REPORT.md and figures/ from a run's record; the report's path."""
    drawn = figures.draw(results, out / "figures")
    kind = "A quick run: short windows, few repeats. " if results["quick"] else ""
    parts = [
        "# Benchmarks",
        "",
        f"{kind}Made on {results['made']} by",
        "",
        "```sh",
        results["command"],
        "```",
        "",
        f"in {results['seconds']} seconds. Every figure below is of that one run; `results.json` "
        "has all of it.",
        "",
        "## The bars",
        bars_table(results),
        "",
        "## Who loses where",
        *(f"- {line}" for line in sentences(results)),
        "",
        "## How it is measured",
        METHOD,
        "## The machine",
        machine_text(results),
        "",
    ]
    if results["spoiled"]:
        parts += ["**Spoiled runs**: " + "; ".join(results["spoiled"]) + ".", ""]
    parts += [quiet_text(results), ""]
    for name, found in results["workloads"].items():
        parts += [f"## {found['title']}", ABOUT[name], ""]
        if name in drawn:
            parts += [f"![{found['title']}](figures/{drawn[name]})", ""]
        parts += [TABLES[name](found), ""]
    path = out / "REPORT.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path
