"""Transcoding: what it refuses before it touches a file, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import threading
from pathlib import Path

import pytest

import voicecore
from conftest import Runner
from voicecore import Engine, NullSink, ToneSource, _bridge, transcode


def test_an_empty_list_is_refused_and_leaves_the_file_alone(run: Runner, tmp_path: Path) -> None:
    out = tmp_path / "out.ogg"
    out.write_bytes(b"precious")

    async def main() -> None:
        with pytest.raises(voicecore.InvalidArgument, match="no source to transcode"):
            await transcode([], out)

    run(main())
    assert out.read_bytes() == b"precious"


def test_what_is_told_of_passing_through_is_what_happens(
    run: Runner, media: Path, tmp_path: Path
) -> None:
    lengths = ("2.5ms", "5ms", "10ms", "40ms", "60ms")
    names = [f"opus-{length}.opus" for length in lengths]
    names += ["silk-20ms.opus", "silk-40ms.opus", "silk-60ms.opus", "opus.opus", "opus.webm"]
    names += ["opus-gain.opus", "opus-six.opus", "cbr.mp3", "chain-opus.opus", "opus-mono.opus"]

    async def main() -> None:
        told = {}
        async with Engine() as engine:
            for name in names:
                source = await engine.open(media / name)
                result = await transcode(source, tmp_path / "out.ogg")
                copied = result.passthrough > result.frames // 2
                assert copied == source.info.passthrough, (name, result)
                assert result.passthrough == 0 or source.info.passthrough, (name, result)
                told[name] = source.info.no_passthrough
        assert told["silk-20ms.opus"] is None
        assert told["silk-60ms.opus"] == (
            "its frames are 60 ms long (SILK); only those of 20 ms or less are copied"
        )

    run(main())


@pytest.mark.parametrize("passthrough", [True, False])
def test_the_length_told_is_that_of_the_file(
    run: Runner, media: Path, tmp_path: Path, passthrough: bool
) -> None:
    out = tmp_path / "out.ogg"
    names = ("opus.opus", "opus-b.opus", "opus.opus")

    async def main() -> None:
        async with Engine() as engine:
            for start in (0.0, 0.5, 36_739 / 48_000):
                sources = [await engine.open(media / name, start=start) for name in names]
                lengths = [source.info.duration for source in sources]
                result = await transcode(sources, out, passthrough=passthrough)
                async with await engine.open(out) as written:
                    assert written.info.duration == result.duration_s
                media_s = sum(length - start for length in lengths if length is not None)
                over = result.duration_s - media_s
                # Two joins of at most 20 ms and a start of at most 10 ms on the grid.
                assert -0.010 <= over <= 0.050 if passthrough else abs(over) < 0.5 / 48_000

    run(main())


def test_a_source_in_use_is_refused_before_the_file_is_touched(run: Runner, tmp_path: Path) -> None:
    out = tmp_path / "out.ogg"
    out.write_bytes(b"precious")

    async def main() -> None:
        async with Engine() as engine:
            used = ToneSource(440, 1.0)
            fresh = ToneSource(440, 0.1)
            engine.play(used, NullSink())
            with pytest.raises(voicecore.SourceInUse):
                await transcode(used, out)
            with pytest.raises(voicecore.SourceInUse):
                await transcode([fresh, used], out)
            assert out.read_bytes() == b"precious"
            await transcode(fresh, out)  # was not consumed by the call that failed

    run(main())
    assert out.read_bytes().startswith(b"OggS")


def test_a_file_that_cannot_be_made_leaves_the_source_with_the_caller(
    run: Runner, tmp_path: Path
) -> None:
    async def main() -> None:
        source = ToneSource(440, 0.1)
        with pytest.raises(voicecore.SinkError):
            await transcode(source, tmp_path / "missing" / "out.ogg")
        await transcode(source, tmp_path / "out.ogg")

    run(main())


def test_a_file_is_never_written_over_itself(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "music.opus"
    link = tmp_path / "link.opus"
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        await transcode(ToneSource(440, 1.0), path)
        before = path.read_bytes()
        os.link(path, link)
        async with Engine() as engine:
            for name in (path, "music.opus"):
                for out in (path, link, "music.opus"):
                    source = await engine.open(name)
                    with pytest.raises(voicecore.InvalidArgument, match=r"(?s)opus.*music\.opus"):
                        await transcode([ToneSource(440, 0.1), source], out)
                    with pytest.raises(voicecore.InvalidArgument, match=r"(?s)opus.*music\.opus"):
                        engine.play(source, voicecore.OggSink(out))
                    assert path.read_bytes() == before
            with path.open("rb") as file:
                source = await engine.open(file)
                with pytest.raises(voicecore.InvalidArgument, match=r"music\.opus"):
                    await transcode(source, path)
            assert path.read_bytes() == before
            named = io.BytesIO(before)
            named.name = str(path)
            source = await engine.open(named)  # a copy: nothing would be lost
            result = await transcode(source, path)
            assert result.duration_s == 1.0

    run(main())


class StopsHalfway(io.RawIOBase):
    """The first half of some bytes; then read() hangs until it is let go."""

    def __init__(self, data: bytes, release: threading.Event) -> None:
        self._data = io.BytesIO(data[: len(data) // 2])
        self._release = release

    def read(self, size: int = -1) -> bytes:
        data = self._data.read(size)
        if not data:
            self._release.wait(30)
        return data


def test_an_input_that_stalls_ends_the_transcode_after_its_timeout(
    run: Runner, tmp_path: Path
) -> None:
    async def main() -> None:
        whole = tmp_path / "whole.opus"
        await transcode(ToneSource(440, 60.0), whole)
        release = threading.Event()
        async with Engine() as engine:
            source = await engine.open(StopsHalfway(whole.read_bytes(), release), timeout=0.5)
            try:
                with pytest.raises(voicecore.SourceTimeout):
                    await asyncio.wait_for(transcode(source, tmp_path / "out.opus"), 10)
            finally:
                release.set()

    run(main())


def test_an_exception_in_the_progress_callback_ends_the_transcode(
    run: Runner, tmp_path: Path
) -> None:
    def progress(_seconds: float) -> None:
        raise RuntimeError("no more")

    async def main() -> None:
        out = tmp_path / "out.ogg"
        with pytest.raises(RuntimeError, match="no more") as caught:
            await transcode(ToneSource(440, 36_000.0), out, progress=progress)
        size = out.stat().st_size
        await asyncio.sleep(0.3)
        assert out.stat().st_size == size
        assert caught.traceback  # what holds on to the call does not keep it running

    run(main())


def test_a_transcode_cancelled_twice_ends_without_a_complaint(run: Runner, tmp_path: Path) -> None:
    async def main() -> None:
        told: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: told.append(context["message"]))
        for _ in range(10):
            task = asyncio.create_task(transcode(ToneSource(440, 100_000.0), tmp_path / "a.ogg"))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            del task
        await asyncio.sleep(0.2)
        gc.collect()
        assert told == []
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_lost_events_of_others_neither_end_nor_hurry_a_transcode(
    run: Runner, tmp_path: Path
) -> None:
    async def main() -> None:
        looks: list[float] = []
        work = asyncio.create_task(
            transcode(ToneSource(440, 20_000.0), tmp_path / "a.ogg", progress=looks.append)
        )
        while not looks:
            await asyncio.sleep(0.01)
        for sweep in list(_bridge.current()._sweepers.values()):
            sweep()
        looks.clear()
        await asyncio.sleep(0.5)
        assert not work.done()
        assert len(looks) < 100  # ten a second, or as many as the loop has turns
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    run(main())
