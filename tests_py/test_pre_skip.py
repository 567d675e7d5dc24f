"""Opus that is decoded and encoded again keeps its beginning and its length."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Runner
from voicecore import EncoderSettings, Engine, OggSink, ToneSource, transcode
from voicecore.settings import Application

LOW_DELAY = 120
AUDIO = 312


def pre_skip(path: Path) -> int:
    data = path.read_bytes()
    head = data.index(b"OpusHead")
    return int.from_bytes(data[head + 10 : head + 12], "little")


@pytest.mark.parametrize(
    ("application", "other", "expected"),
    [("lowdelay", "audio", LOW_DELAY), ("audio", "lowdelay", AUDIO)],
)
def test_a_decoded_opus_file_keeps_its_pre_skip_and_length(
    run: Runner, tmp_path: Path, application: Application, other: Application, expected: int
) -> None:
    first, second, third = (tmp_path / name for name in ("1.ogg", "2.ogg", "3.ogg"))
    again = EncoderSettings(application=other)

    async def main() -> None:
        settings = EncoderSettings(application=application)
        await transcode(ToneSource(440, 1.0), first, encoder=settings)
        assert pre_skip(first) == expected
        async with Engine() as engine:
            source = await engine.open(first)
            await transcode(source, second, passthrough=False, encoder=again)
            source = await engine.open(first)
            player = engine.play(source, OggSink(third), volume=0.5, encoder=again)
            await player.wait_finished()
            for copy in (second, third):
                assert pre_skip(copy) == expected
            copied = await engine.open(second)
            assert copied.info.duration == 1.0
            await copied.aclose()

    run(main())
