"""Test media: signals of known length in every format, and files that are bad in known ways.

``python3 tests_py/media.py OUTDIR`` writes them with the ``ffmpeg`` command (a tool of the tests
only) and does nothing when they are up to date. ``manifest.json`` lists for each file how many
samples it holds, at which rate.
"""

from __future__ import annotations

import array
import hashlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

#: Lengths that are no multiple of any codec's frame.
SAMPLES_44K = 138_337
SAMPLES_48K = 150_577


def signal(rate: int, samples: int, channels: int = 2, seed: int = 1) -> array.array[int]:
    """A signal in which every place is recognisable: a sweep, a beat, and soft noise."""
    noise = random.Random(seed)
    out = array.array("h")
    duration = samples / rate
    for i in range(samples):
        t = i / rate
        sweep = 0.3 * math.sin(2 * math.pi * (200 + 900 * t / (2 * duration)) * t)
        beat = 0.15 * math.sin(2 * math.pi * 440 * t) * (1 if (t * 4) % 1 < 0.5 else 0.3)
        hiss = 0.02 * (noise.random() - 0.5)
        for channel in range(channels):
            value = sweep * (1 if channel % 2 == 0 else 0.6) + beat * (0.5 + channel % 2) + hiss
            out.append(int(32767 * max(-1.0, min(1.0, value))))
    return out


def write_wav(path: Path, rate: int, data: array.array[int], channels: int = 2) -> None:
    """A plain 16-bit WAV file."""
    if sys.byteorder == "big":
        data = array.array("h", data)
        data.byteswap()
    body = data.tobytes()
    path.write_bytes(wav_header(rate, channels, 16, len(body)) + body)


def wav_header(rate: int, channels: int, bits: int, data_bytes: int) -> bytes:
    """RIFF header of a PCM file; sizes beyond the field's range saturate, as recorders do."""
    top = 0xFFFFFFFF
    block = channels * bits // 8
    return (
        b"RIFF"
        + min(data_bytes + 36, top).to_bytes(4, "little")
        + b"WAVEfmt \x10\0\0\0\x01\0"
        + channels.to_bytes(2, "little")
        + rate.to_bytes(4, "little")
        + (rate * block).to_bytes(4, "little")
        + block.to_bytes(2, "little")
        + bits.to_bytes(2, "little")
        + b"data"
        + min(data_bytes, top).to_bytes(4, "little")
    )


class Maker:
    """Writes the files into one folder and remembers what they hold."""

    def __init__(self, out: Path, final: Path) -> None:
        self.out = out
        self.final = final  # where `out` will be moved to
        self.manifest: dict[str, dict[str, int]] = {}

    def ffmpeg(self, *args: str | Path) -> None:
        command = ["ffmpeg", "-y", "-nostdin", "-hide_banner", "-loglevel", "error"]
        subprocess.run([*command, *map(str, args)], check=True)

    def encode(self, name: str, source: str, *args: str, samples: int = 0, rate: int = 0) -> None:
        """From a file made before; it holds as many samples as that one unless told otherwise."""
        self.ffmpeg("-i", self.out / source, "-map_metadata", "-1", *args, self.out / name)
        known = self.manifest[source]
        self.manifest[name] = {
            "samples": samples or known["samples"],
            "rate": rate or known["rate"],
        }

    def join(self, name: str, parts: Sequence[str]) -> None:
        (self.out / name).write_bytes(b"".join((self.out / part).read_bytes() for part in parts))

    def wav(self, name: str, rate: int, samples: int, channels: int = 2, seed: int = 1) -> None:
        write_wav(self.out / name, rate, signal(rate, samples, channels, seed), channels)
        self.manifest[name] = {"samples": samples, "rate": rate}

    def bytes(self, name: str, data: bytes) -> None:
        (self.out / name).write_bytes(data)


def make_formats(make: Maker) -> None:
    """Every format that is decoded."""
    make.wav("a44.wav", 44_100, SAMPLES_44K)
    make.wav("a48.wav", 48_000, SAMPLES_48K)
    make.wav("b48.wav", 48_000, SAMPLES_48K // 2 + 77, seed=2)
    make.wav("mono.wav", 44_100, 30_001, channels=1)
    make.wav("short.wav", 48_000, 1_440)

    mp3 = ("-c:a", "libmp3lame")
    make.encode("cbr.mp3", "a44.wav", *mp3, "-b:a", "128k")
    make.encode("low.mp3", "mono.wav", *mp3, "-b:a", "32k")
    make.encode("vbr.mp3", "a44.wav", *mp3, "-q:a", "4")
    make.encode(
        "vbr-noxing.mp3", "a44.wav", *mp3, "-q:a", "4", "-write_xing", "0", "-id3v2_version", "0"
    )
    # Silence is one frame like the other, as if the bitrate were constant.
    bare = ("-write_xing", "0", "-id3v2_version", "0")
    for name, args, delay in (
        ("quiet-start.mp3", (*mp3, "-q:a", "2", *bare), 1_500),
        ("quiet-start.aac", ("-c:a", "aac", "-b:a", "192k", "-aac_pns", "0"), 3_000),
    ):
        make.encode(
            name,
            "a44.wav",
            "-af",
            f"adelay={delay}:all=1",
            *args,
            samples=SAMPLES_44K + delay * 44_100 // 1_000,
        )
    make.encode(
        "quiet-end.mp3",
        "a44.wav",
        "-af",
        "apad=pad_dur=20",
        *mp3,
        "-q:a",
        "2",
        *bare,
        samples=SAMPLES_44K + 20 * 44_100,
    )
    make.encode("cbr-bare.mp3", "a44.wav", *mp3, "-b:a", "128k", *bare)
    make.encode("cbr48.mp3", "b48.wav", *mp3, "-b:a", "96k")
    make.encode("short.mp3", "short.wav", *mp3, "-b:a", "128k")
    make.encode("aac.m4a", "a44.wav", "-c:a", "aac", "-b:a", "192k", "-aac_pns", "0")
    make.encode(
        "aac-front.m4a",
        "a44.wav",
        "-c:a",
        "aac",
        "-b:a",
        "192k",
        "-aac_pns",
        "0",
        "-movflags",
        "+faststart",
    )
    make.encode("aac.aac", "a44.wav", "-c:a", "aac", "-b:a", "192k", "-aac_pns", "0")
    make.encode("aac.mka", "a44.wav", "-c:a", "aac", "-b:a", "192k", "-aac_pns", "0")
    make.encode("vorbis.ogg", "a44.wav", "-c:a", "libvorbis", "-q:a", "5")
    make.encode("vorbis48.ogg", "b48.wav", "-c:a", "libvorbis", "-q:a", "5")
    make.encode("vorbis.webm", "a44.wav", "-c:a", "libvorbis", "-q:a", "5")
    make.encode("flac.flac", "a44.wav", "-c:a", "flac")
    make.encode("flac-b.flac", "a44.wav", "-ss", "1", "-c:a", "flac", samples=SAMPLES_44K - 44_100)
    make.encode("flac48.flac", "b48.wav", "-c:a", "flac")
    make.encode("flac24.flac", "b48.wav", "-c:a", "flac", "-sample_fmt", "s32")
    make.encode("flac-mono.flac", "mono.wav", "-c:a", "flac")
    make.encode("flac.ogg", "a44.wav", "-c:a", "flac")
    make.encode("alac.m4a", "a44.wav", "-c:a", "alac")
    make.encode("wavpack.wv", "a44.wav", "-c:a", "wavpack")
    make.encode("mp2.mp2", "a44.wav", "-c:a", "mp2")
    make.encode("ac3.ac3", "a48.wav", "-c:a", "ac3")

    for codec in ("u8", "s24le", "s32le", "f32le", "f64le", "alaw", "mulaw"):
        make.encode(f"{codec}.wav", "a44.wav", "-c:a", f"pcm_{codec}")
    for codec in ("s8", "s16be", "s24be", "s32be", "f32be", "f64be"):
        make.encode(
            f"{codec}.aiff" if codec != "s8" else "s8.aif", "a44.wav", "-c:a", f"pcm_{codec}"
        )
    for rate in (8_000, 11_025, 22_050, 96_000, 192_000, 384_000):
        make.wav(f"rate{rate}.wav", rate, rate // 2 + 13)
    make.wav("six.wav", 48_000, 20_000, channels=6)
    make.wav("three.wav", 48_000, 20_000, channels=3)
    make.encode("six.flac", "six.wav", "-c:a", "flac")
    make.encode("flac96.flac", "rate96000.wav", "-c:a", "flac")
    make.encode("loud-six.wav", "six.wav", "-af", "volume=3")


def make_small(make: Maker) -> None:
    """Every container and codec in a few kilobytes: what the fuzzers begin with."""
    for name, codec in (
        ("small.aac", "aac"),
        ("small.ac3", "ac3"),
        ("small.aiff", "pcm_s16be"),
        ("small-ima.aiff", "adpcm_ima_qt"),
        ("small.au", "pcm_s16be"),
        ("small.caf", "pcm_s16le"),
        ("small.eac3", "eac3"),
        ("small.flac", "flac"),
        ("small-flac.ogg", "flac"),
        ("small.m4a", "alac"),
        ("small.mka", "libopus"),
        ("small.mp2", "mp2"),
        ("small.mp4", "aac"),
        ("small.ogg", "libvorbis"),
        ("small.ts", "aac"),
        ("small.w64", "pcm_s16le"),
        ("small-ima.wav", "adpcm_ima_wav"),
        ("small-ms.wav", "adpcm_ms"),
        ("small.webm", "libvorbis"),
        ("small.wv", "wavpack"),
    ):
        # These are known by a number of frames in a row only.
        longer = name in ("small.ac3", "small.eac3", "small.ts")
        make.encode(name, "mono.wav" if longer else "short.wav", "-c:a", codec)


def make_opus(make: Maker) -> None:
    """Opus in every container, packet length and channel mapping."""
    opus = ("-c:a", "libopus", "-b:a", "96k")
    make.encode("opus.opus", "a48.wav", *opus, "-serial_offset", "11")
    make.encode("opus-b.opus", "b48.wav", *opus, "-serial_offset", "22")
    make.encode("opus-twin.opus", "b48.wav", *opus, "-serial_offset", "11")
    make.encode("opus-mono.opus", "mono.wav", *opus, samples=32_654, rate=48_000)
    make.encode("opus.webm", "a48.wav", *opus)
    make.encode("opus.mp4", "a48.wav", *opus)
    make.encode("opus-short.opus", "short.wav", *opus)
    for duration in ("2.5", "5", "10", "40", "60"):
        make.encode(f"opus-{duration}ms.opus", "a48.wav", *opus, "-frame_duration", duration)
    # Speech at low rates: SILK, whose frames are as long as their packets.
    for duration in ("20", "40", "60"):
        make.encode(
            f"silk-{duration}ms.opus",
            "mono.wav",
            *("-c:a", "libopus", "-b:a", "14k", "-application", "voip", "-cutoff", "8000"),
            *("-frame_duration", duration),
            samples=32_654,
            rate=48_000,
        )
    make.encode("opus-six.opus", "six.wav", "-c:a", "libopus", "-mapping_family", "1")
    plain = (make.out / "opus.opus").read_bytes()
    at = plain.index(b"OpusHead")
    gained = plain[: at + 16] + (-1536).to_bytes(2, "little", signed=True) + plain[at + 18 :]
    pages = ogg_pages(gained)
    make.bytes("opus-gain.opus", with_checksum(pages[0]) + b"".join(pages[1:]))
    make.manifest["opus-gain.opus"] = make.manifest["opus.opus"]
    make.bytes("opus-late.opus", split_first_packet((make.out / "opus-60ms.opus").read_bytes()))
    make.manifest["opus-late.opus"] = make.manifest["opus-60ms.opus"]


def ogg_pages(data: bytes) -> list[bytes]:
    pages = []
    while data:
        size = 27 + data[26] + sum(data[27 : 27 + data[26]])
        pages.append(data[:size])
        data = data[size:]
    return pages


def split_first_packet(data: bytes) -> bytes:
    """The first packet of audio begins on a page of its own, on which no packet ends."""
    head, tags, first, *others = ogg_pages(data)
    lacing, body = first[27 : 27 + first[26]], first[27 + first[26] :]
    assert lacing[0] == 255
    begun = first[:5] + b"\0" + b"\xff" * 8 + first[14:26] + b"\1\xff" + body[:255]
    rest = first[:5] + b"\1" + first[6:26] + bytes([len(lacing) - 1]) + lacing[1:] + body[255:]
    pages = []
    for number, page in enumerate((head, tags, begun, rest, *others)):
        pages.append(with_checksum(page[:18] + number.to_bytes(4, "little") + page[22:]))
    return b"".join(pages)


def with_checksum(data: bytes) -> bytes:
    """An Ogg page with the checksum of what it holds now."""
    page = bytearray(data)
    page[22:26] = bytes(4)
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    page[22:26] = crc.to_bytes(4, "little")
    return bytes(page)


def make_odd(make: Maker) -> None:
    """Chains, changes of format in the middle, covers, wrong names, a day of silence."""
    make.join("chain-vorbis.ogg", ["vorbis.ogg", "vorbis48.ogg"])
    make.join("chain-opus.opus", ["opus.opus", "opus-b.opus"])
    make.join("chain-twins.opus", ["opus.opus", "opus-twin.opus"])
    make.join("chain-mixed.ogg", ["opus.opus", "vorbis.ogg"])
    make.join("joined.mp3", ["cbr.mp3", "cbr48.mp3"])
    make.join("joined.flac", ["flac.flac", "flac48.flac"])
    make.encode("small-b.flac", "short.wav", "-c:a", "flac", "-ac", "1", "-ar", "16000")
    make.join("small-joined.flac", ["small.flac", "small-b.flac"])
    # Its length, worked out from the first bitrate, is about half of what it is.
    for name, bitrate in (("dense.ac3", "448k"), ("sparse.ac3", "96k")):
        make.encode(name, "a48.wav", "-c:a", "ac3", "-b:a", bitrate)
    make.join("joined.ac3", ["dense.ac3", "sparse.ac3"])
    make.ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=320x240:rate=1:duration=1",
        "-frames:v",
        "1",
        make.out / "cover.png",
    )
    make.ffmpeg(
        "-i",
        make.out / "cbr.mp3",
        "-i",
        make.out / "cover.png",
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        "-metadata",
        "title=Prélude",
        "-metadata",
        "artist=Nobody",
        make.out / "cover.mp3",
    )
    make.ffmpeg(
        "-i",
        make.out / "aac.m4a",
        "-i",
        make.out / "cover.png",
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        "-disposition:v",
        "attached_pic",
        "-metadata",
        "title=Prélude",
        make.out / "cover.m4a",
    )
    make.manifest["cover.mp3"] = make.manifest["cbr.mp3"]
    make.manifest["cover.m4a"] = make.manifest["aac.m4a"]
    shutil.copy(make.out / "cbr.mp3", make.out / "mp3-inside.wav")
    make.manifest["mp3-inside.wav"] = make.manifest["cbr.mp3"]
    make.ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=320x240:rate=5:duration=2",
        "-i",
        make.out / "aac.m4a",
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-c:v",
        "mpeg4",
        "-c:a",
        "copy",
        make.out / "video-and-audio.mp4",
    )
    make.manifest["video-and-audio.mp4"] = make.manifest["aac.m4a"]
    day = 24 * 3600 * 8_000
    with (make.out / "day.wav").open("wb") as file:
        file.write(wav_header(8_000, 1, 8, day))
        file.seek(44 + day - 1)  # a hole, not a gigabyte
        file.write(b"\x80")
    make.manifest["day.wav"] = {"samples": day, "rate": 8_000}


def make_bad(make: Maker) -> None:
    """Files that must fail with one clear error, or play as far as they go."""
    make.bytes("empty.mp3", b"")
    for seed in range(4):
        make.bytes(f"random{seed}.mp3", random.Random(seed).randbytes(200_000))
    make.bytes("text.mp3", b"This is not music, it is a letter.\n" * 200)
    make.bytes("silence-header.wav", wav_header(48_000, 2, 16, 0))
    target = (make.final / "a44.wav").as_uri()
    make.bytes(
        "playlist.mp3",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{target}\n#EXT-X-ENDLIST\n".encode(),
    )
    make.bytes("simple-playlist.mp3", f"#EXTM3U\n{target}\n".encode())
    make.bytes("concat.mp3", f"ffconcat version 1.0\nfile '{make.final / 'a44.wav'}'\n".encode())
    make.bytes(
        "session.mp3",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 4000 RTP/AVP 0\n",
    )
    shutil.copy(make.out / "cover.png", make.out / "picture.mp3")
    make.ffmpeg(
        "-i",
        make.out / "video-and-audio.mp4",
        "-map",
        "0:v",
        "-c",
        "copy",
        make.out / "video-only.mp4",
    )
    make.ffmpeg("-i", make.out / "a44.wav", "-t", "0", "-c:a", "libvorbis", make.out / "zero.ogg")
    for name in (
        "cbr.mp3",
        "aac-front.m4a",
        "vorbis.ogg",
        "opus.opus",
        "flac.flac",
        "a44.wav",
        "aac.aac",
    ):
        data = (make.out / name).read_bytes()
        make.bytes(f"truncated-{name}", data[: len(data) * 6 // 10])
        damaged = bytearray(data)
        middle = len(data) // 2
        damaged[middle : middle + 700] = random.Random(7).randbytes(700)
        make.bytes(f"corrupt-{name}", bytes(damaged))


def stamp() -> str:
    """Changes whenever this script or the tool that it uses does."""
    version = subprocess.run(["ffmpeg", "-version"], capture_output=True, check=True).stdout
    return hashlib.sha256(Path(__file__).read_bytes() + version).hexdigest()


def generate(out: Path) -> dict[str, dict[str, int]]:
    """Writes everything unless it is there already; returns the manifest.

    Raises:
        FileNotFoundError: the ``ffmpeg`` command is missing.
    """
    current = stamp()
    manifest = out / "manifest.json"
    mark = out / "stamp"
    if manifest.exists() and mark.exists() and mark.read_text() == current:
        return json.loads(manifest.read_text())  # type: ignore[no-any-return]
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the final place, so that a half-made folder is never taken for a whole one.
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        make = Maker(Path(folder), out)
        for step in (make_formats, make_small, make_opus, make_odd, make_bad):
            step(make)
        (make.out / "manifest.json").write_text(json.dumps(make.manifest, indent=1, sort_keys=True))
        (make.out / "stamp").write_text(current)
        shutil.rmtree(out, ignore_errors=True)
        os.rename(folder, out)
        Path(folder).mkdir()  # for the clean-up
    return make.manifest


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print("usage: media.py OUTDIR", file=sys.stderr)
        return 2
    try:
        generate(Path(arguments[0]).resolve())
    except FileNotFoundError as missing:
        print(
            f"{missing.filename} is missing; on Debian and Ubuntu: apt-get install ffmpeg",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
