#!/usr/bin/env python3
"""Sends a file with discord.py's own player, to be compared with ours.

What plays is `discord.FFmpegPCMAudio` and `discord.AudioPlayer`, unmodified, with discord.py's
default settings; `VoiceClient.send_audio_packet` numbers, encrypts and sends. Only the connection
to Discord is a stand-in: a UDP socket to this machine with a number, a mode and a key, where the
voice gateway would have given them.

Prints one JSON object at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
from discord.player import AudioPlayer


class LoopbackConnection:
    """What `VoiceClient` asks of its connection, with a socket to this machine behind it."""

    timeout = 30.0
    mode = "aead_xchacha20_poly1305_rtpsize"
    dave_session = None
    can_encrypt = False

    def __init__(self, host: str, port: int, ssrc: int, key: bytes) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.connect((host, port))
        self.socket.setblocking(False)
        self.ssrc = ssrc
        self.secret_key = list(key)
        self.ws = SimpleNamespace(speak=self._speak)
        self.departures: list[float] = []

    async def _speak(self, _state: Any) -> None:
        """The voice gateway would be told who speaks."""

    def is_connected(self) -> bool:
        return True

    def wait(self, _timeout: float | None = None) -> bool:
        return True

    def send_packet(self, packet: bytes) -> None:
        self.departures.append(time.perf_counter())
        self.socket.sendall(packet)


class LoopbackVoiceClient(discord.VoiceClient):
    """A voice client that never saw a gateway."""

    def __init__(self, connection: LoopbackConnection, loop: asyncio.AbstractEventLoop) -> None:
        # The parent's constructor wants a bot that is logged in; these are the attributes that it
        # sets and that sending uses.
        self.client = SimpleNamespace(loop=loop)  # type: ignore[assignment]
        self.sequence = 0
        self.timestamp = 0
        self._player = None
        self._incr_nonce = 0
        self._connection = connection  # type: ignore[assignment]


def lateness_ms(departures: list[float], start: float) -> list[float]:
    """Each packet's delay after the deadline that the player set itself.

    It sends the first at once, counts it, and sleeps until one period after the next multiple: the
    second is due at two periods.
    """
    period = AudioPlayer.DELAY
    return [
        (when - (start + period * (number + 1 if number else 0))) * 1000
        for number, when in enumerate(departures)
    ]


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


async def play(options: argparse.Namespace) -> dict[str, Any]:
    key = bytes.fromhex(options.key_file.read_text().strip())
    connection = LoopbackConnection(options.host, options.port, options.ssrc, key)
    client = LoopbackVoiceClient(connection, asyncio.get_running_loop())
    done = threading.Event()
    limit = f"-t {options.duration}" if options.duration else None
    cpu, began = cpu_seconds(), time.perf_counter()
    source = discord.FFmpegPCMAudio(str(options.file), options=limit)
    client.play(source, after=lambda _error: done.set())
    player = client._player
    assert player is not None
    await asyncio.to_thread(done.wait)
    await asyncio.to_thread(player.join)  # reaps ffmpeg, so that its CPU time counts
    # The five silence frames at the end are not paced at all.
    media = connection.departures[: player.loops]
    return {
        "version": discord.__version__,
        "frames": player.loops,
        "first_ms": (media[0] - began) * 1000 if media else None,
        "lateness_ms": lateness_ms(media, player._start),
        "cpu_ms": (cpu_seconds() - cpu) * 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ssrc", type=int, default=1)
    parser.add_argument("--key-file", type=Path, required=True, help="64 hex digits")
    parser.add_argument("--duration", type=float, default=0.0, help="seconds of the file to play")
    print(json.dumps(asyncio.run(play(parser.parse_args()))))


if __name__ == "__main__":
    main()
