#!/usr/bin/env python3
"""`make demo`: plays music through the native path to a receiver, and beside it with discord.py.

Everything is real: a receiver in a process of its own, UDP, encryption, real time. Leaves the
received audio, the statistics and a report to look at in demo-out/.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import json
import os
import platform
import secrets
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import picture
import voicecore
from voicecore import _core, report
from voicecore.cli.words import milliseconds, play_summary, receive_summary
from voicecore.engine import _codec
from voicecore.report.model import percentile, weighted_percentile

CLIP_S = 18.0
"""Played of the file by each: with everything around it the demo stays under a minute."""

MODE = "aead_xchacha20_poly1305_rtpsize"
TOOLS = Path(__file__).resolve().parent
VOICECORE = [sys.executable, "-m", "voicecore"]


class DemoError(Exception):
    """Something that the user should know, in one line; and the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class ReceiverProcess:
    """`voicecore receive` with a packet log.

    Args:
        folder: where its files go.
        name: what they are called.
        key_file: the key, as both sides read it.
        ogg: the recording.
    """

    def __init__(self, folder: Path, name: str, key_file: Path, ogg: Path) -> None:
        self._log = folder / f"{name}.csv"
        self._process = subprocess.Popen(
            [
                *VOICECORE,
                "receive",
                f"rtp://127.0.0.1:0?mode={MODE}&key-file={key_file}",
                *("--to", f"ogg:{ogg}"),
                *("--log", str(self._log)),
                *("--idle", "0.7", "--json"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.port = self._wait_until_ready()

    def _wait_until_ready(self) -> int:
        assert self._process.stderr is not None
        said = b""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self._process.stderr], [], [], 0.2)
            data = os.read(self._process.stderr.fileno(), 4096) if ready else None
            said += data or b""
            if b"listening on " in said and said.endswith(b"\n"):
                address = said.split(b"listening on ", 1)[1].split()[0]
                return int(address.rsplit(b":", 1)[1])
            if data == b"":
                break
        self.stop()
        raise DemoError(f"the receiver did not start: {said.decode(errors='replace').strip()}")

    def result(self) -> tuple[dict[str, Any], list[tuple[int, int, int, int]]]:
        """Its JSON record and its packet log, once the stream is over."""
        try:
            stdout, stderr = self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            raise DemoError("nothing arrived at the receiver") from None
        if self._process.returncode != 0:
            raise DemoError(f"the receiver failed: {stderr.decode(errors='replace').strip()}")
        record: dict[str, Any] = json.loads(stdout)
        with self._log.open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        return record, [(int(a), int(b), int(c), int(d)) for a, b, c, d in rows]

    def stop(self) -> None:
        """End it, whatever it does. Idempotent."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def receiver(folder: Path, name: str, key_file: Path, ogg: Path) -> Iterator[ReceiverProcess]:
    process = ReceiverProcess(folder, name, key_file, ogg)
    try:
        yield process
    finally:
        process.stop()


def new_key(folder: Path) -> Path:
    """A key file that only we can read."""
    path = folder / "key"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
    return path


def play_ours(
    file: str, to: ReceiverProcess, key_file: Path, seconds: float, scratch: Path
) -> dict[str, Any]:
    """`voicecore play`, with its progress line and its keys; its statistics."""
    stats = scratch / "play.json"
    sink = f"rtp://127.0.0.1:{to.port}?mode={MODE}&key-file={key_file}"
    command = [*VOICECORE, "play", "--to", sink, "--duration", str(seconds)]
    done = subprocess.run([*command, "--stats", str(stats), "--no-summary", "--", file])
    if done.returncode != 0:
        # It has said itself what is wrong.
        raise DemoError("voicecore play failed", done.returncode)
    record: dict[str, Any] = json.loads(stats.read_text())
    return record


def play_theirs(
    file: str, to: ReceiverProcess, key_file: Path, seconds: float, console: Console
) -> dict[str, Any]:
    """The same with discord.py, with a progress line of ours; what it measured."""
    command = [sys.executable, str(TOOLS / "discord_player.py"), "--port", str(to.port)]
    command += ["--key-file", str(key_file), "--duration", f"{seconds:.3f}", "--", file]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        with Progress(
            TextColumn("▶ discord.py"),
            BarColumn(30),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ) as progress:
            task = progress.add_task("", total=seconds + 1)
            began = time.monotonic()
            while process.poll() is None and time.monotonic() - began < seconds + 30:
                progress.update(task, completed=min(seconds + 1, time.monotonic() - began))
                time.sleep(0.1)
        stdout, stderr = process.communicate(timeout=5)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        lines = stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise DemoError(f"discord.py's player failed: {lines[-1]}")
    record: dict[str, Any] = json.loads(stdout)
    return record


def libraries() -> list[tuple[str, str]]:
    """What took part, and where."""
    asyncio.run(_codec.ready())
    from voicecore import _codec as native

    ffmpeg = native.versions()
    model = "unknown processor"
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    return [
        ("voicecore", voicecore.__version__),
        ("Opus", _core.opus_version()),
        ("libsodium", _core.sodium_version()),
        ("FFmpeg", f"{ffmpeg['ffmpeg']} ({ffmpeg['license']})"),
        ("discord.py", metadata.version("discord.py")),
        ("Python", platform.python_version()),
        ("System", platform.platform()),
        ("Processor", f"{model}, {os.cpu_count()} cores"),
    ]


def compare(theirs: report.Stream) -> str:
    gaps = [gap for _, gap in theirs.gaps()]
    late = milliseconds(weighted_percentile(theirs.lateness, 0.99))
    cpu = "" if theirs.cpu_percent is None else f"; {theirs.cpu_percent:.1f} % of one core"
    return (
        f"{theirs.name} beside it: half of the gaps up to {milliseconds(percentile(gaps, 0.5))}, "
        f"99 % up to {milliseconds(percentile(gaps, 0.99))}, the longest "
        f"{milliseconds(max(gaps))}; 99 % left within {late} of their deadline, the first "
        f"{milliseconds(theirs.opened_ms)} after the start{cpu}."
    )


def run(file: str, out: Path, seconds: float) -> None:
    console = Console(stderr=True, highlight=False)
    out.mkdir(parents=True, exist_ok=True)
    recording = out / "received.ogg"
    name = os.path.basename(file.rstrip("/"))
    discord_version = metadata.version("discord.py")
    with tempfile.TemporaryDirectory(prefix="voicecore-demo-") as temporary:
        scratch = Path(temporary)
        key_file = new_key(scratch)
        console.print(
            f"voicecore plays {name} in real time, encrypted, over UDP to another process:"
        )
        with receiver(scratch, "ours", key_file, recording) as other:
            played = play_ours(file, other, key_file, seconds, scratch)
            heard, log = other.result()
        if not log:
            raise DemoError("nothing arrived at the receiver")
        console.print(f"discord.py {discord_version} plays the same to a second receiver:")
        # A key of its own: two senders must never share one.
        (scratch / "theirs").mkdir()
        key_file = new_key(scratch / "theirs")
        with receiver(scratch, "theirs", key_file, scratch / "theirs.ogg") as other:
            measured = play_theirs(file, other, key_file, played["duration_s"], console)
            heard_theirs, log_theirs = other.result()
    console.print("Drawing the report …")
    ours = report.Stream(
        name=f"voicecore {voicecore.__version__}",
        log=log,
        received=heard,
        lateness=[(edge, count) for edge, count in played["lateness_ms"]["histogram"]],
        first_ms=played["first_frame_ms"],
        opened_ms=played["open_ms"] + played["first_frame_ms"],
        cpu_ms=played["process_cpu_ms"],
    )
    theirs = report.Stream(
        name=f"discord.py {discord_version}",
        log=log_theirs,
        received=heard_theirs,
        lateness=[(late, 1) for late in measured["lateness_ms"]],
        opened_ms=measured["first_ms"],
        cpu_ms=measured["cpu_ms"],
    )
    words = [*play_summary({**played, "sink": "the receiver"}), *receive_summary(heard)]
    words.append(compare(theirs))
    page = report.render(
        report.Report(
            file=name,
            ours=ours,
            played=played,
            theirs=theirs,
            picture=picture.draw(picture.decode(recording)),
            audio=recording.read_bytes(),
            words=words,
            versions=libraries(),
            made=f"on {datetime.now():%Y-%m-%d at %H:%M}.",
        )
    )
    (out / "report.html").write_text(page, encoding="utf-8")
    whole = {
        "schema": 1,
        "played": played,
        "received": heard,
        "discord_py": {"measured": measured, "received": heard_theirs},
    }
    (out / "stats.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    print()
    for line in words:
        print(f"- {line}")
    print()
    for path, what in (
        (recording, "what arrived; any player plays it"),
        (out / "stats.json", "the statistics of both"),
        (out / "report.html", "open this in a browser"),
    ):
        print(f"{path!s:<{len(str(out)) + 13}} {what}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", help="what to play")
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder for the results")
    parser.add_argument(
        "--seconds", type=float, default=CLIP_S, help="how much each plays  [%(default)s]"
    )
    options = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        print(
            "demo: the ffmpeg program is missing (package ffmpeg); discord.py needs it",
            file=sys.stderr,
        )
        return 1
    try:
        run(options.file, options.out, options.seconds)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
