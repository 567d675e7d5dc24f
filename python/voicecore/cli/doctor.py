"""`voicecore doctor`."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import secrets
import sqlite3
import textwrap
from collections.abc import Iterable
from typing import Any

import click

from voicecore import CpuLatencyRequest, Engine, Receiver, ToneSource, UdpSink, __version__, _core
from voicecore.cli.exits import Exit, one_line, text_of
from voicecore.cli.output import print_json
from voicecore.cli.signals import StopSignals
from voicecore.cli.sqlite_copies import shared_with_python
from voicecore.engine import _codec
from voicecore.errors import VoicecoreError

SLEEPS = 500
LOOPBACK_S = 1.0

# Lateness of a woken thread, in milliseconds, up to which the frame clock keeps its promises.
GOOD_SLEEP_MS = 0.5
BAD_SLEEP_MS = 5.0


@click.command(
    short_help="Check this machine.",
    epilog="""\b
Examples:
  voicecore doctor
  voicecore doctor --json | python3 -m json.tool
  voicecore doctor --db bot.db

\b
Takes about four seconds; with --db it looks at a queue file instead, at once.
It changes nothing there, also while a bot uses the file. Exit code 0 also when
problems are found: they are listed at the end, and under "problems" in the JSON.
""",
)
@click.option("--db", metavar="FILE", help="Look at this queue file instead of the machine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words.")
def doctor(db: str | None, as_json: bool) -> int:
    """Look at this machine: versions, clock, sleep lateness, a loopback test; what each means.

    With --db at a queue file: its state, who uses it, what is stuck and why.
    """
    if db is not None:
        return _doctor_file(db, as_json)
    record = asyncio.run(_examine())
    if as_json:
        print_json("doctor", record)
    else:
        _print(record)
    return Exit.DONE


def _doctor_file(path: str, as_json: bool) -> int:
    from voicecore.cli.doctor_file import examine_file
    from voicecore.cli.doctor_words import problems_of, sections_of

    record = examine_file(path)
    record["problems"] = problems_of(record)
    if as_json:
        print_json("doctor", record)
        return Exit.DONE
    for title, lines in sections_of(record):
        _section(title, lines)
    _print_problems(record["problems"])
    return Exit.DONE


async def _examine() -> dict[str, Any]:
    with StopSignals() as signals:
        record: dict[str, Any] = {
            "platform": {
                "system": platform.platform(),
                "machine": platform.machine(),
                "python": platform.python_version(),
                "implementation": platform.python_implementation(),
            },
            "versions": await signals.guard(_versions()),
            "sqlite": _sqlite(),
            "ciphers": list(_core.cipher_modes()),
            "clock": {"resolution_ns": _core.clock_resolution() * 1e9},
            "sleep": await signals.guard(_sleep()),
            "loopback": await signals.guard(_loopback()),
        }
    record["problems"] = _problems(record)
    return record


# -- looking ---------------------------------------------------------------------------------------


async def _versions() -> list[dict[str, Any]]:
    found = [
        ("voicecore", __version__, "MIT", "this package"),
        ("libopus", _core.opus_version().removeprefix("libopus "), "BSD-3-Clause", "encodes Opus"),
        ("libogg", _core.ogg_version(), "BSD-3-Clause", "writes Ogg files"),
        ("libsodium", _core.sodium_version(), "ISC", "encrypts packets"),
        ("SQLite", _core.sqlite_version(), "public domain", "stores commands"),
    ]
    rows: list[dict[str, Any]] = [
        {"name": name, "version": version, "licence": licence, "purpose": purpose}
        for name, version, licence, purpose in found
    ]
    rows += await _ffmpeg()
    try:
        version: str | None = importlib.metadata.version("discord.py")
    except importlib.metadata.PackageNotFoundError:
        version = None
    rows.append(
        {
            "name": "discord.py",
            "version": version,
            "licence": "MIT",
            "purpose": "connects to Discord; voicecore plays without it too",
        }
    )
    return rows


async def _ffmpeg() -> list[dict[str, Any]]:
    try:
        await _codec.ready()
        from voicecore import _codec as native

        versions: dict[str, str] = dict(native.versions())
    except (ImportError, VoicecoreError) as error:
        return [
            {
                "name": "FFmpeg",
                "version": None,
                "licence": None,
                "purpose": "decodes files",
                "error": text_of(error),
            }
        ]
    rows: list[dict[str, Any]] = [
        {
            "name": "FFmpeg",
            "version": versions["ffmpeg"],
            "licence": versions["license"],
            "purpose": "decodes files",
            "parts": {
                name: versions[name] for name in ("avformat", "avcodec", "avutil", "swresample")
            },
        }
    ]
    name, _, version = versions["tls"].partition(" ")
    rows.append(
        {
            "name": name,
            "version": version.split(" ")[0],
            "licence": "Apache-2.0" if name == "OpenSSL" else None,
            "purpose": "fetches over https",
        }
    )
    return rows


def _sqlite() -> dict[str, Any]:
    """Whether Python's sqlite3 and ours are the same library in memory."""
    return {
        "same_copy": shared_with_python(),
        "python": sqlite3.sqlite_version,
        "voicecore": _core.sqlite_version(),
    }


async def _sleep() -> dict[str, Any]:
    priority, asleep = await _measure_sleep()
    with CpuLatencyRequest() as request:
        awake = (await _measure_sleep())[1] if request.granted else None
    return {"priority": priority, **asleep, "kept_awake": awake, "refusal": request.refusal}


async def _measure_sleep() -> tuple[str, dict[str, Any]]:
    loop = asyncio.get_running_loop()
    priority, late = await loop.run_in_executor(None, _core.measure_sleep, SLEEPS, True)
    return priority, {
        "rounds": len(late),
        "p50_ms": _rank(late, 0.5) / 1000,
        "p99_ms": _rank(late, 0.99) / 1000,
        "max_ms": late[-1] / 1000,
    }


def _rank(ascending: list[float], share: float) -> float:
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


async def _loopback() -> dict[str, Any]:
    key = secrets.token_bytes(32)
    ssrc = secrets.randbits(32)
    try:
        async with (
            Receiver(key=key, ssrc=ssrc, idle=0.3) as receiver,
            Engine(feeders=1) as engine,
        ):
            sink = UdpSink("127.0.0.1", receiver.port, key=key, ssrc=ssrc)
            player = engine.play(ToneSource(440.0, LOOPBACK_S), sink)
            await player.wait_finished()
            await receiver.wait()
            sent, heard = player.statistics(), receiver.statistics()
            return {
                "error": None,
                "sent": sent.frames_sent + sent.silence_frames,
                "received": heard.packets,
                "lost": heard.lost,
                "decryption_failures": heard.decryption_failures,
                "gap_p99_ms": heard.gap_ms.p99,
                "lateness_p99_ms": sent.lateness_ms.p99,
                "clock_priority": engine.statistics().priority,
            }
    except (VoicecoreError, OSError) as error:
        return {"error": text_of(error)}


# -- judging ---------------------------------------------------------------------------------------


def _problems(record: dict[str, Any]) -> list[str]:
    problems = [f"{row['name']}: {row['error']}" for row in record["versions"] if row.get("error")]
    if not record["sqlite"]["same_copy"]:
        problems.append(
            "two copies of SQLite in this process: a database opened by both can be corrupted; "
            "install voicecore so that it links the system's SQLite, as Python does"
        )
    sleep = record["sleep"]
    if sleep["priority"] == "normal":
        problems.append(
            "no raised priority for the clock thread: on a busy machine packets leave late; allow "
            "it with CAP_SYS_NICE, or LimitRTPRIO=10 (systemd), or --ulimit rtprio=10 (Docker)"
        )
    if sleep["p99_ms"] > BAD_SLEEP_MS:
        problems.append(
            f"1 % of the sleeps end more than {sleep['p99_ms']:.1f} ms late: this machine is "
            "overloaded, or its host is"
        )
    loopback = record["loopback"]
    if loopback["error"] is not None:
        problems.append(f"the loopback test failed: {loopback['error']}")
    elif loopback["received"] != loopback["sent"] or loopback["decryption_failures"]:
        problems.append(
            f"the loopback test received {loopback['received']} of {loopback['sent']} packets"
        )
    return problems


# -- telling ---------------------------------------------------------------------------------------


def _print(record: dict[str, Any]) -> None:
    system = record["platform"]
    _section(
        "System",
        [f"{system['implementation']} {system['python']} on {system['system']}"],
    )
    rows = record["versions"]
    width = max(len(f"{row['name']} {row['version'] or 'missing'}") for row in rows)
    _section(
        "Libraries",
        [
            f"{row['name'] + ' ' + (row['version'] or 'missing'):<{width}}  "
            + ", ".join(text for text in (row["purpose"], row["licence"]) if text)
            for row in rows
        ],
    )
    _section("SQLite", _sqlite_words(record["sqlite"]))
    _section("Ciphers", _cipher_words(record["ciphers"]))
    _section("Clock", _clock_words(record["clock"], record["sleep"]))
    _section("Loopback", _loopback_words(record["loopback"]))
    _print_problems(record["problems"])


def _print_problems(problems: list[str]) -> None:
    if problems:
        click.echo(click.style("Problems", bold=True, fg="yellow"))
        for problem in problems:
            click.echo(_wrapped(one_line(problem), "- "))
    else:
        click.echo(click.style("No problems found.", bold=True, fg="green"))


def _section(title: str, lines: Iterable[str]) -> None:
    click.echo(click.style(title, bold=True))
    for line in lines:
        click.echo(_wrapped(one_line(line), ""))
    click.echo()


def _wrapped(text: str, mark: str) -> str:
    if len(text) + len(mark) <= 94:
        return "  " + mark + text
    return textwrap.fill(
        text.replace(" %", "\u00a0%"),  # a number stays with its sign
        width=96,
        initial_indent="  " + mark,
        subsequent_indent="  " + " " * len(mark),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _sqlite_words(sqlite: dict[str, Any]) -> list[str]:
    if sqlite["same_copy"]:
        return [
            f"One copy, {sqlite['voicecore']}, shared with Python's sqlite3. Both may open the "
            "same database: SQLite's locks only hold within one copy of the library."
        ]
    return [
        f"Two copies: Python's sqlite3 has {sqlite['python']}, voicecore {sqlite['voicecore']}. Do "
        "not open one database with both in this process: closing it in one drops the "
        "other's locks."
    ]


def _cipher_words(modes: list[str]) -> list[str]:
    lines = [", ".join(modes)]
    if not any("aes256" in mode for mode in modes):
        lines.append(
            "This processor has no AES instructions, so only XChaCha20-Poly1305 is offered, which "
            "every Discord voice server takes; it costs about a microsecond a packet."
        )
    return lines


def _clock_words(clock: dict[str, Any], sleep: dict[str, Any]) -> list[str]:
    priorities = {
        "realtime": "real-time priority was granted: other programs cannot hold the clock up",
        "nice": "a raised (nice) priority was granted: other programs hold the clock up little",
        "normal": "no raised priority was granted: a busy machine can hold the clock up",
    }
    verdict = (
        "good: a frame of 20 ms leaves on time"
        if sleep["p99_ms"] <= GOOD_SLEEP_MS
        else "fair: inaudible, far less than a listener's jitter buffer"
        if sleep["p99_ms"] <= BAD_SLEEP_MS
        else "poor: listeners may hear it when it comes often"
    )
    lines = [
        f"Resolution {clock['resolution_ns']:,.0f} ns; {priorities[sleep['priority']]}.",
        f"A sleeping thread wakes {_lateness_words(sleep)}: {verdict}.",
    ]
    if sleep["kept_awake"] is None:
        lines.append(f"How late with processors kept awake is unknown: {sleep['refusal']}.")
    else:
        lines.append(
            f"With the processors kept awake (CpuLatencyRequest, --keep-awake) it wakes "
            f"{_lateness_words(sleep['kept_awake'])}, for more power."
        )
    return lines


def _lateness_words(sleep: dict[str, Any]) -> str:
    return (
        f"{sleep['p50_ms']:.3f} ms late (median), {sleep['p99_ms']:.3f} ms (99th percentile), "
        f"{sleep['max_ms']:.3f} ms (worst of {sleep['rounds']})"
    )


def _loopback_words(loopback: dict[str, Any]) -> list[str]:
    if loopback["error"] is not None:
        return [f"Failed: {loopback['error']}"]
    return [
        f"One second of tone, encrypted, over UDP to this machine: {loopback['received']} of "
        f"{loopback['sent']} packets arrived, {loopback['lost']} lost. 99 % of the gaps "
        f"were at most {loopback['gap_p99_ms']:.2f} ms (20 is perfect), 99 % left at most "
        f"{loopback['lateness_p99_ms']:.2f} ms late."
    ]
