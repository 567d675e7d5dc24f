"""The fuzzers begin with files of every format; what is too large for them would not be parsed."""

from __future__ import annotations

import re
from pathlib import Path

import voicecore
from conftest import ROOT, Runner
from voicecore import Engine

#: Whole lists of codecs have no encoder in FFmpeg, or differ from another one by a number only.
CODECS = {"mp3", "mp2", "aac", "vorbis", "opus", "flac", "alac", "wavpack", "ac3", "eac3"}


def test_every_container_and_codec_has_a_seed_that_the_fuzzer_takes(
    run: Runner, media: Path
) -> None:
    source = (ROOT / "fuzz" / "fuzz_demuxer.cpp").read_text()
    limit = re.search(r"kMostBytes = (\d+) \* 1024;", source)
    script = (ROOT / "tools" / "fuzz.sh").read_text()
    cut = re.search(r"head -c (\d+)", script)
    assert limit
    assert cut
    # With the byte that decides how it is played.
    assert int(cut[1]) + 1 == int(limit[1]) * 1024
    seeds = [
        path
        for path in media.iterdir()
        if path.suffix != ".json" and path.stat().st_size <= int(cut[1])
    ]
    containers: set[str] = set()
    codecs: set[str] = set()

    async def main() -> None:
        async with Engine() as engine:
            for seed in seeds:
                try:
                    opened = await engine.open(seed)
                except voicecore.VoicecoreError:
                    continue  # a bad one
                containers.update(opened.info.container.split(","))
                codecs.add(opened.info.codec)
                await opened.aclose()

    run(main())
    names = (ROOT / "cpp/voicecore/codec/allow_list.hpp").read_text()
    wanted = re.search(r'kDemuxers =\s*"([^"]+)"', names)
    assert wanted
    assert containers >= set(wanted[1].split(","))
    assert codecs >= CODECS
    assert {codec for codec in codecs if codec.startswith("adpcm")} >= {"adpcm_ms"}
