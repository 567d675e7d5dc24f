"""The sending process of discord.py: its real, unmodified player.

`discord.AudioPlayer`, the sources and `VoiceClient.send_audio_packet` are discord.py's own; only
the connection to Discord is a stand-in, the same as the demo's.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import discord
from discord.oggparse import OggStream
from tools.discord_player import LoopbackConnection, LoopbackVoiceClient

from benchmarks.keys import key_of
from benchmarks.processes import raise_limits
from benchmarks.sending import Spec, run_script, say

SWITCH_INTERVAL_S = 0.0005
NICE = -11
TUNED_ENCODER: dict[str, Any] = {
    "bitrate_kbps": 128,
    "complexity": 5,
    "fec": False,
    "rate_control": "vbr",
}
"""voicecore's defaults."""
DEFAULT_LOSS = 0.15
_CTL_SET_BITRATE = 4002
_CTL_SET_COMPLEXITY = 4010
_CTL_SET_VBR_CONSTRAINT = 4020


class Connection(LoopbackConnection):
    """Sends as discord.py's does and keeps no notes, which would cost time."""

    def send_packet(self, packet: bytes) -> None:
        self.socket.sendall(packet)


class OpusBytes(discord.AudioSource):
    """Opus packets out of an Ogg stream in memory, with discord.py's own parser: as little work as
    a discord.py source can have."""

    def __init__(self, data: bytes) -> None:
        self._packets: Iterator[bytes] = OggStream(io.BytesIO(data)).iter_packets()
        next(self._packets)  # OpusHead
        next(self._packets)  # OpusTags

    def read(self) -> bytes:
        return next(self._packets, b"")

    def is_opus(self) -> bool:
        return True


class DiscordStreams:
    """`spec.work` is one of

    - "opus": passthrough without ffmpeg, from memory.
    - "pcm": `PCMAudio` from memory, encoded by discord.py.
    - "ffmpeg pcm": `FFmpegPCMAudio`, encoded by discord.py.
    - "ffmpeg opus": `FFmpegOpusAudio.from_probe`: copied when the file is Opus, otherwise encoded
      by ffmpeg.
    - "ffmpeg copy": `FFmpegOpusAudio(codec="copy")`, without the probe.

    Another volume than 1 puts a `PCMVolumeTransformer` on top, which takes PCM only.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._data = Path(spec.file).read_bytes() if spec.work in ("opus", "pcm") else b""
        self._encoder = spec.encoder or (TUNED_ENCODER if spec.tuned else {})
        self._loop = asyncio.get_running_loop()
        self._clients: dict[int, LoopbackVoiceClient] = {}
        self._sources: list[discord.AudioSource] = []

    async def _source(self) -> discord.AudioSource:
        work, file = self._spec.work, self._spec.file
        # ffmpeg's spelling of the settings that voicecore has by default.
        options = "-fec false -packet_loss 0 -compression_level 5" if self._spec.tuned else None
        if work == "opus":
            return OpusBytes(self._data)
        if work == "pcm":
            return discord.PCMAudio(io.BytesIO(self._data))
        if work == "ffmpeg pcm":
            return discord.FFmpegPCMAudio(file)
        if work == "ffmpeg copy":
            return discord.FFmpegOpusAudio(file, codec="copy")
        if work == "ffmpeg opus" and self._spec.tuned:
            # The probe asks for 512 kbit/s whatever the file has.
            return discord.FFmpegOpusAudio(file, bitrate=128, options=options)
        if work == "ffmpeg opus":
            return await discord.FFmpegOpusAudio.from_probe(file)
        raise ValueError(f"work: got {work!r}")

    async def start(self, ssrc: int) -> dict[str, int]:
        connection = Connection("127.0.0.1", self._spec.port, ssrc, key_of(ssrc))
        client = LoopbackVoiceClient(connection, self._loop)
        opened = time.time_ns()
        source = await self._source()
        self._sources.append(source)
        if self._spec.volume != 1.0:
            source = discord.PCMVolumeTransformer(source, self._spec.volume)
        played = time.time_ns()
        self._play(client, source)
        self._clients[ssrc] = client
        return {"open": opened, "play": played}

    def _play(self, client: LoopbackVoiceClient, source: discord.AudioSource) -> None:
        wanted = self._encoder
        client.play(
            source,
            fec=wanted.get("fec", True),
            expected_packet_loss=wanted.get("expected_loss", DEFAULT_LOSS),
        )
        if source.is_opus():
            return
        control, state = discord.opus._lib.opus_encoder_ctl, client.encoder._state
        if "complexity" in wanted:
            control(state, _CTL_SET_COMPLEXITY, wanted["complexity"])
        if wanted.get("rate_control") == "vbr":
            # libopus begins constrained, which takes a tenth fewer bits for the same music.
            control(state, _CTL_SET_VBR_CONSTRAINT, 0)
        if "bitrate_kbps" in wanted:
            # Its own kilobits have 1,024 bits.
            control(state, _CTL_SET_BITRATE, wanted["bitrate_kbps"] * 1000)

    def pause(self, ssrc: int) -> None:
        self._clients[ssrc].pause()

    def resume(self, ssrc: int) -> None:
        self._clients[ssrc].resume()

    def stop(self, ssrc: int) -> None:
        self._clients[ssrc].stop()

    def children(self) -> list[int]:
        processes = (getattr(source, "_process", None) for source in self._sources)
        return [process.pid for process in processes if process is not None]

    def clock_cpu(self) -> float:
        return 0.0  # each stream is its own clock

    def counts(self) -> dict[str, int]:
        return {}

    def lateness(self) -> dict[float, int]:
        return {}

    def statistics(self) -> dict[str, Any]:
        return {"version": discord.__version__}

    def kill_children(self) -> None:
        for source in self._sources:
            process = getattr(source, "_process", None)
            if isinstance(source, discord.player.FFmpegAudio) and process:
                process.kill()
                process.wait()


async def main() -> None:
    spec = Spec.from_argv()
    if spec.tuned:
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            os.nice(NICE)
        except OSError:
            print("not allowed to raise the priority", file=sys.stderr)
    if not discord.opus.is_loaded():
        discord.opus._load_default()
    streams = DiscordStreams(spec)
    say(await run_script(spec, streams))
    streams.kill_children()
    sys.stdout.flush()
    # Hundreds of player threads would go on until the interpreter is gone, and slow its end.
    os._exit(0)


if __name__ == "__main__":
    raise_limits()
    asyncio.run(main())
