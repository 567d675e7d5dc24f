"""Running the command: in this process, or in one of its own for signals and terminals."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
import wave
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from voicecore.cli import run

VOICECORE = [sys.executable, "-m", "voicecore"]
MUSIC = str(Path(__file__).resolve().parents[2] / "examples" / "audio" / "palace.mp3")
KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
PATIENCE = 20.0


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def one_line(self) -> str:
        """The message on stderr, which must be one line that names the command."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("voicecore: ")
        return lines[0].removeprefix("voicecore: ")


class Here:
    """Runs the command in this process."""

    def __init__(self, capture: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capture

    def __call__(self, *arguments: object) -> Done:
        self._capture.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = self._capture.readouterr()
        return Done(code, captured.out.decode(), captured.err.decode())


def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """Starts the command in a process of its own."""
    options = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        **options,
    }
    return subprocess.Popen([*VOICECORE, *map(str, arguments)], **options)


def finish(process: subprocess.Popen[bytes]) -> Done:
    """Waits for the end."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, (out or b"").decode(), (err or b"").decode())


@contextmanager
def receiving(*arguments: object) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`voicecore receive` in a process of its own; the port it listens on."""
    process = start("receive", *arguments)
    try:
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        found = re.match(r"listening on \S+:(\d+) \(", line)
        assert found, line + process.stderr.read().decode()
        yield process, int(found[1])
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_until_written(path: Path, least: int = 3000) -> None:
    """Until a recording is under way: the Ogg sink writes a page each second at least."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists() or path.stat().st_size < least:
        assert time.monotonic() < deadline, f"{path} does not grow"
        time.sleep(0.02)


@dataclass
class Ogg:
    """What a finished Ogg Opus file holds."""

    packets: list[bytes]
    samples: int
    complete: bool


def read_ogg(path: Path) -> Ogg:
    """Reads the pages by hand (RFC 3533): whole packets, the length, and whether it is finished."""
    data = path.read_bytes()
    packets: list[bytes] = []
    part, place, granule, last = b"", 0, 0, False
    while place < len(data):
        assert data[place : place + 4] == b"OggS", f"no page at {place}"
        assert not last, "a page after the last one"
        last = bool(data[place + 5] & 4)
        granule = int.from_bytes(data[place + 6 : place + 14], "little")
        segments = data[place + 27 : place + 27 + data[place + 26]]
        place += 27 + len(segments)
        for size in segments:
            part += data[place : place + size]
            place += size
            if size < 255:
                packets.append(part)
                part = b""
    assert place == len(data)
    preskip = int.from_bytes(packets[0][10:12], "little")
    return Ogg(packets[2:], granule - preskip, last and not part)


def write_tone(
    path: Path, seconds: float = 1.0, rate: int = 48_000, frequency: float = 440
) -> Path:
    """A stereo WAV file."""
    samples = array("h")
    for i in range(round(seconds * rate)):
        value = round(9000 * math.sin(2 * math.pi * frequency * i / rate))
        samples.extend((value, value))
    if sys.byteorder == "big":
        samples.byteswap()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with changes."""
    return {**os.environ, **changes}
