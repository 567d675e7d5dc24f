"""What is played: the repository's example music, long enough for every run."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ROOT, BenchmarkError

SOURCE = ROOT / "examples" / "audio" / "palace.mp3"
SECONDS = 90


@dataclass(frozen=True)
class Media:
    """Paths of the same music in each form."""

    mp3: str
    """44.1 kHz stereo, 128 kbit/s."""
    opus: str
    """Ogg Opus, 20 ms stereo packets, 128 kbit/s: passes through."""
    wav: str
    """16 bits, 48 kHz, stereo."""
    pcm: str
    """The same samples without a header."""


def make(folder: Path) -> Media:
    """Make the files with the ffmpeg program."""
    if shutil.which("ffmpeg") is None:
        raise BenchmarkError("the ffmpeg program is missing (package ffmpeg)")
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "part.mp3"
    media = Media(*(str(folder / f"music.{kind}") for kind in ("mp3", "opus", "wav", "pcm")))

    def ffmpeg(*arguments: str) -> None:
        subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)

    # Without the fades at both ends, so that no packet looks like silence.
    ffmpeg("-ss", "1.5", "-t", "20", "-i", str(SOURCE), "-c", "copy", str(part))
    ffmpeg(
        *("-stream_loop", "-1", "-i", str(part), "-t", str(SECONDS)),
        *("-c", "copy", "-map_metadata", "-1", media.mp3),
    )
    stereo = ("-ar", "48000", "-ac", "2")
    ffmpeg(
        *("-i", media.mp3, *stereo, "-c:a", "libopus", "-b:a", "128k"),
        *("-frame_duration", "20", media.opus),
    )
    ffmpeg("-i", media.mp3, *stereo, "-c:a", "pcm_s16le", media.wav)
    ffmpeg("-i", media.mp3, *stereo, "-f", "s16le", media.pcm)
    return media
