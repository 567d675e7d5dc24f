"""Playing, in virtual time and in real time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

import voicecore
from conftest import Runner, decoded
from voicecore import (
    EncoderSettings,
    Engine,
    ManualClock,
    MemorySink,
    NullSink,
    OggSink,
    ToneSource,
)

SILENCE = b"\xf8\xff\xfe"
FAST = EncoderSettings(complexity=0)


@asynccontextmanager
async def virtual() -> AsyncIterator[tuple[Engine, ManualClock]]:
    clock = ManualClock()
    async with Engine(clock=clock) as engine:
        yield engine, clock


def test_a_tone_is_played_whole_and_followed_by_five_silence_frames(run: Runner) -> None:
    async def main() -> None:
        async with virtual() as (engine, clock):
            sink = MemorySink()
            player = engine.play(ToneSource(440, 1.0), sink)
            await clock.advance(2.0)
            await player.wait_finished()
            packets = sink.take()
            assert [p.silence for p in packets] == [False] * 51 + [True] * 5
            assert all(p.opus == SILENCE for p in packets if p.silence)
            assert sum(p.media_samples for p in packets if not p.silence) == 48_000
            assert [p.tick for p in packets] == list(range(56))
            assert player.state is voicecore.PlayerState.FINISHED

    run(main())


def test_virtual_time_gives_the_same_bytes_run_after_run(run: Runner) -> None:
    async def show() -> list[bytes]:
        async with virtual() as (engine, clock):
            sink = MemorySink()
            player = engine.play([ToneSource(300, 2.0), ToneSource(500, 3.0)], sink, encoder=FAST)
            await clock.advance(0.5)
            player.set_volume(0.3)
            await clock.advance(1.0)
            player.pause()
            await clock.advance(1.0)
            player.resume()
            player.seek(0.25)
            await clock.advance(0.5)
            player.skip()
            await clock.advance(10.0)
            await player.wait_finished()
            return [p.opus for p in sink.take()]

    first = run(show())
    assert len(first) > 100
    for _ in range(3):
        assert run(show()) == first


@pytest.mark.parametrize("length", ["2.5", "5", "10", "20"])
def test_packets_of_any_length_are_copied_again_within_a_second_of_a_volume_change(
    run: Runner, media: Path, length: str
) -> None:
    name = "opus.opus" if length == "20" else f"opus-{length}ms.opus"

    async def main() -> None:
        async with virtual() as (engine, clock):
            player = engine.play(await engine.open(media / name), NullSink())
            await clock.advance(0.5)
            player.set_volume(0.5)
            await clock.advance(0.3)
            player.set_volume(1.0)
            await clock.advance(1.0)
            before = player.statistics().passthrough
            await clock.advance(0.2)
            assert player.statistics().passthrough - before >= 9

    run(main())


def test_a_three_minute_show_does_not_take_three_minutes(run: Runner) -> None:
    """By far: how far is the benchmarks' question, which have a peer in the same run."""

    async def main() -> float:
        async with virtual() as (engine, clock):
            sink = NullSink()
            player = engine.play(ToneSource(440, 180.0), sink, encoder=FAST)
            begin = asyncio.get_running_loop().time()
            await clock.advance(181.0)
            await player.wait_finished()
            assert player.statistics().frames_sent == 9_001
            return asyncio.get_running_loop().time() - begin

    assert run(main()) < 181.0 / 10


def test_statistics_account_for_every_tick(run: Runner) -> None:
    async def main() -> None:
        async with virtual() as (engine, clock):
            sink = MemorySink()
            player = engine.play(ToneSource(440), sink, encoder=FAST, duration=1.0)
            await clock.advance(0.3)
            player.pause()
            await clock.advance(0.3)
            player.resume()
            await clock.advance(5.0)
            await player.wait_finished()
            stats = player.statistics()
            assert stats.ticks == 50 + 5
            assert stats.skipped == 0
            assert stats.silence_frames == 10
            assert stats.lateness_ms.max == 0.0
            assert stats.underruns.total == 0
            assert stats.first_frame_ms is not None
            assert len(sink.take()) == stats.frames_sent + stats.silence_frames

    run(main())


def test_pausing_holds_the_position_and_resuming_goes_on_there(run: Runner) -> None:
    async def main() -> None:
        async with virtual() as (engine, clock):
            player = engine.play(ToneSource(440, 10.0), NullSink(), encoder=FAST)
            await clock.advance(1.0)
            player.pause()
            await clock.advance(0.02)
            held = player.position
            await clock.advance(5.0)
            assert player.position == held
            assert player.is_paused()
            player.resume()
            await clock.advance(0.02)
            assert player.position == pytest.approx(held + 0.02)
            assert player.is_playing()

    run(main())


@pytest.mark.parametrize("cause", ["pause", "underrun"])
@pytest.mark.parametrize("volume", [1.0, 0.5])
def test_what_follows_a_break_is_as_loud_at_once_as_without_one(
    run: Runner, tmp_path: Path, cause: str, volume: float
) -> None:
    """The five silence frames of a break make a receiver's decoder forget what packets lean on."""
    rate, at, silent = 48_000, 50, 5
    times = np.arange(2 * rate) / rate
    harmonics = np.arange(1, 9)[:, None]
    wave = (np.sin(2 * np.pi * 220 * harmonics * times) / harmonics).sum(axis=0) * 0.2
    pcm = np.repeat(wave.astype(np.float32), 2)

    async def sent(breaks: bool) -> list[bytes]:
        async with virtual() as (engine, clock):
            sink = MemorySink()
            source = voicecore.PcmSource("f32", buffer=5.0)
            player = engine.play(source, sink, volume=volume)
            half = at * 960 * 2 if breaks and cause == "underrun" else len(pcm)
            await source.write(pcm[:half].tobytes())
            await clock.advance(at * 0.02)
            if breaks and cause == "pause":
                player.pause()
            elif breaks:
                await clock.advance(0.02)
            if breaks:
                await clock.advance(0.2)
                player.resume()
            await source.write(pcm[half:].tobytes())
            source.close()
            await clock.advance(3.0)
            await player.wait_finished()
            return [packet.opus for packet in sink.take()]

    def heard(packets: list[bytes], name: str) -> np.typing.NDArray[np.float32]:
        async def main() -> None:
            async with virtual() as (engine, clock):
                source = voicecore.OpusSource(buffer=len(packets))
                recording = OggSink(tmp_path / name)
                player = engine.play(source, recording)
                for packet in packets:
                    await source.write(packet)
                source.close()
                await clock.advance(5.0)
                await player.wait_finished()

        run(main())
        samples = decoded(tmp_path / name, 1)
        return samples[: len(samples) // 960 * 960].reshape(-1, 960)

    plain, broken = run(sent(False)), run(sent(True))
    first = broken.index(SILENCE)
    assert at - 1 <= first <= at + 1
    assert broken[first : first + silent] == [SILENCE] * silent
    reference, after = heard(plain, "plain.ogg"), heard(broken, "broken.ogg")
    for frame in range(1, 10):
        wanted, got = reference[first + frame], after[first + silent + frame]
        assert np.dot(wanted, got) / np.dot(wanted, wanted) == pytest.approx(1.0, abs=0.05), frame


def test_seeking_moves_the_position_to_the_frame(run: Runner) -> None:
    async def main() -> None:
        async with virtual() as (engine, clock):
            player = engine.play(ToneSource(440, 60.0), NullSink(), encoder=FAST)
            await clock.advance(0.5)
            player.seek(30.0)
            await clock.advance(0.1)
            assert 30.0 <= player.position <= 30.1
            player.seek(3.0)
            await clock.advance(0.1)
            assert 3.0 <= player.position <= 3.1

    run(main())


def test_seeking_while_paused_shows_the_target_and_resumes_there(run: Runner) -> None:
    async def main() -> None:
        async with virtual() as (engine, clock):
            player = engine.play(ToneSource(440, 60.0), NullSink(), encoder=FAST)
            await clock.advance(0.5)
            player.pause()
            await clock.advance(0.5)
            player.seek(30.0)
            assert player.position == 30.0
            await clock.advance(1.0)
            assert player.position == 30.0
            player.resume()
            await clock.advance(0.1)
            assert 30.0 < player.position <= 30.12

    run(main())


def test_events_tell_the_story_in_order(run: Runner) -> None:
    async def main() -> list[tuple[str, str, int | None]]:
        async with virtual() as (engine, clock):
            player = engine.play([ToneSource(440, 0.2), ToneSource(550, 0.2)], NullSink())
            story: list[tuple[str, str, int | None]] = []

            async def listen() -> None:
                async for event in player.events():
                    story.append((event.kind, event.detail, event.track))

            listener = asyncio.create_task(listen())
            await asyncio.sleep(0)
            await clock.advance(0.1)
            player.pause()
            await clock.advance(0.2)
            player.resume()
            await clock.advance(5.0)
            await asyncio.wait_for(listener, 5)
            return story

    assert run(main()) == [
        ("started", "", None),
        ("track_started", "", 0),
        ("paused", "", None),
        ("resumed", "", None),
        ("track_started", "", 1),
        ("finished", "ended", None),
    ]


def test_several_tasks_wait_and_cancelling_one_leaves_the_others(run: Runner) -> None:
    async def main() -> None:
        async with virtual() as (engine, clock):
            player = engine.play(ToneSource(440, 0.5), NullSink())
            waiters = [asyncio.create_task(player.wait_finished()) for _ in range(5)]
            await asyncio.sleep(0)
            waiters[0].cancel()
            await clock.advance(2.0)
            results = await asyncio.gather(*waiters, return_exceptions=True)
            assert isinstance(results[0], asyncio.CancelledError)
            assert results[1:] == [None] * 4

    run(main())


def test_a_source_can_be_played_once(run: Runner) -> None:
    async def main() -> None:
        async with virtual() as (engine, _clock):
            source = ToneSource(440, 1.0)
            fresh = ToneSource(550, 1.0)
            engine.play(source, NullSink())
            with pytest.raises(voicecore.SourceInUse, match="given to a player"):
                engine.play(source, NullSink())
            with pytest.raises(voicecore.SourceInUse):
                engine.play([fresh, source], NullSink())
            engine.play(fresh, NullSink())  # was not consumed by the call that failed

    run(main())


def test_a_sink_serves_one_player_at_a_time_and_several_in_turn(run: Runner) -> None:
    async def main() -> None:
        async with virtual() as (engine, clock):
            sink = MemorySink()
            first = engine.play(ToneSource(440, 0.1), sink)
            with pytest.raises(voicecore.SourceInUse):
                engine.play(ToneSource(550, 0.1), sink)
            await clock.advance(1.0)
            await first.wait_finished()
            second = engine.play(ToneSource(550, 0.1), sink)
            await clock.advance(1.0)
            await second.wait_finished()
            assert len(sink.take()) == 2 * (6 + 5)

    run(main())


def test_a_busy_sink_leaves_the_source_with_the_caller(run: Runner, tmp_path: Path) -> None:
    async def main() -> None:
        async with virtual() as (engine, clock), voicecore.Receiver(mode="none") as receiver:
            udp = voicecore.UdpSink("127.0.0.1", receiver.port, mode="none")
            file = voicecore.OggSink(tmp_path / "a.ogg")
            for sink in (MemorySink(), NullSink(), udp, file):
                first = engine.play(ToneSource(440, 0.1), sink)
                source = ToneSource(550, 0.1)
                with pytest.raises(voicecore.SourceInUse):
                    engine.play(source, sink)
                await clock.advance(1.0)
                await first.wait_finished()
                if sink is file:
                    with pytest.raises(voicecore.Closed, match="is finished"):
                        engine.play(source, sink)
                engine.play(source, NullSink())

    run(main())


def test_a_refused_player_does_not_change_the_recording(run: Runner, tmp_path: Path) -> None:
    def pre_skip(path: Path) -> int:
        data = path.read_bytes()
        at = data.index(b"OpusHead") + 10
        return int.from_bytes(data[at : at + 2], "little")

    async def main() -> None:
        low, path = tmp_path / "low.ogg", tmp_path / "a.ogg"
        await voicecore.transcode(
            ToneSource(440, 1.0), low, encoder=EncoderSettings(application="lowdelay")
        )
        assert pre_skip(low) == 120
        async with virtual() as (engine, clock):
            sink = voicecore.OggSink(path)
            player = engine.play(ToneSource(440, 0.1), sink)
            with pytest.raises(voicecore.SourceInUse):
                engine.play(await engine.open(low), sink)
            await clock.advance(1.0)
            await player.wait_finished()
        assert pre_skip(path) == 312

    run(main())


def test_a_playlist_can_grow_while_it_plays(run: Runner) -> None:
    async def main() -> None:
        async with virtual() as (engine, clock):
            player = engine.play([], NullSink(), keep_open=True)
            await clock.advance(1.0)
            assert player.state is voicecore.PlayerState.PRIMING
            player.append(ToneSource(440, 0.5))
            await clock.advance(2.0)
            assert not player.finished
            player.append(ToneSource(550, 0.5))
            player.close_playlist()
            await clock.advance(2.0)
            await player.wait_finished()
            assert player.track == 1
            with pytest.raises(voicecore.Closed):
                player.append(ToneSource(440, 0.5))

    run(main())


def test_a_track_is_not_appended_that_reads_the_recording(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, link = tmp_path / "a.ogg", tmp_path / "link.ogg"
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        await voicecore.transcode(ToneSource(440, 1.0), path)
        before = path.read_bytes()
        link.hardlink_to(path)
        async with virtual() as (engine, clock):
            player = engine.play([], voicecore.OggSink("a.ogg"), keep_open=True)
            monkeypatch.chdir("/")
            for name in (path, link):
                source = await engine.open(name)
                with pytest.raises(voicecore.InvalidArgument, match=r"(?s)a\.ogg.*same file"):
                    player.append(source)
                assert path.read_bytes() == before
                engine.play(source, NullSink())  # it was left with the caller
            with pytest.raises(voicecore.WrongType, match="source: got 'x', expected a Source"):
                player.append("x")  # type: ignore[arg-type]
            player.append(ToneSource(550, 0.5))
            player.close_playlist()
            await clock.advance(1.0)
            await player.wait_finished()
        assert path.read_bytes() != before

    run(main())


def test_a_start_from_elsewhere_compares_the_recording_too(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        await voicecore.transcode(ToneSource(440, 1.0), "a.ogg")
        async with virtual() as (engine, _clock):
            source, sink = await engine.open("a.ogg"), voicecore.OggSink("a.ogg")
            monkeypatch.chdir("/")
            with pytest.raises(voicecore.InvalidArgument, match=r"same file"):
                engine.play(source, sink)

    run(main())


def test_looping_plays_the_whole_so_many_times(run: Runner) -> None:
    async def main() -> None:
        async with virtual() as (engine, clock):
            sink = MemorySink()
            player = engine.play(ToneSource(440, 0.5), sink, loop=3)
            await clock.advance(5.0)
            await player.wait_finished()
            media = sum(p.media_samples for p in sink.take() if not p.silence)
            assert media == 3 * 24_000

    run(main())


def test_after_is_called_once_with_none(run: Runner) -> None:
    async def main() -> None:
        async with virtual() as (engine, clock):
            calls: list[BaseException | None] = []
            player = engine.play(ToneSource(440, 0.1), NullSink(), after=calls.append)
            await clock.advance(1.0)
            await player.wait_finished()
            await asyncio.sleep(0)
            assert calls == [None]

    run(main())


@pytest.mark.parametrize("volume", [math.nan, -0.1, 4.1, 1e9, math.inf])
def test_a_volume_out_of_range_says_what_was_expected(run: Runner, volume: float) -> None:
    async def main() -> None:
        async with virtual() as (engine, _clock):
            with pytest.raises(voicecore.InvalidArgument, match="0 to 4"):
                engine.play(ToneSource(440, 0.1), NullSink(), volume=volume)
            player = engine.play(ToneSource(440, 0.1), NullSink())
            with pytest.raises(ValueError, match="0 to 4"):
                player.set_volume(volume)
            with pytest.raises(voicecore.InvalidArgument):
                player.seek(-1.0)

    run(main())


@pytest.mark.parametrize(
    "wrong",
    [
        {"bitrate_kbps": 0},
        {"bitrate_kbps": 511},
        {"complexity": 11},
        {"expected_loss": 1.1},
        {"application": "music"},
        {"rate_control": "abr"},
    ],
)
def test_encoder_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(voicecore.InvalidArgument, match=next(iter(wrong))):
        EncoderSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "sink", "named"),
    [
        (None, MemorySink(), "source: got None"),
        (["song.mp3"], MemorySink(), "source: got 'song.mp3'"),
        (ToneSource(440, 1), None, "sink: got None"),
        (ToneSource(440, 1), MemorySink, "sink: got <class"),
    ],
)
def test_what_is_neither_source_nor_sink_is_refused_by_name(
    run: Runner, source: object, sink: object, named: str
) -> None:
    async def main() -> None:
        async with Engine() as engine:
            with pytest.raises(voicecore.InvalidArgument, match=named):
                engine.play(source, sink)  # type: ignore[arg-type]

    run(main())


@pytest.mark.parametrize("duration", [0, 0.0009, -1.0, math.nan, True])
def test_a_duration_of_nothing_is_refused(run: Runner, duration: float) -> None:
    async def main() -> None:
        async with virtual() as (engine, clock):
            sink, source = MemorySink(), ToneSource(440, 1.0)
            with pytest.raises(voicecore.InvalidArgument, match="duration: got"):
                engine.play(source, sink, duration=duration)
            player = engine.play(source, sink, duration=0.001)
            await clock.advance(1.0)
            await player.wait_finished()
            assert sum(not packet.silence for packet in sink.take()) == 1

    run(main())


def test_a_duration_runs_on_while_paused(run: Runner) -> None:
    async def main() -> None:
        async with virtual() as (engine, clock):
            player = engine.play(ToneSource(440), NullSink(), duration=1.0)
            await clock.advance(0.5)
            player.pause()
            await clock.advance(1.0)
            await player.wait_finished()
            assert player.statistics().frames_sent < 30

    run(main())


def packets_of(sink: MemorySink) -> list[bytes]:
    return [packet.opus for packet in sink.take()]


@pytest.mark.parametrize("start", [0.0, 8.0])
@pytest.mark.parametrize("paused", [False, True])
def test_a_seek_right_after_play_comes_before_the_first_packet(
    run: Runner, music: Path, start: float, paused: bool
) -> None:
    async def heard(delay: float) -> list[bytes]:
        async with virtual() as (engine, clock):
            sink = MemorySink()
            source = await engine.open(music, start=start)
            player = engine.play(source, sink, encoder=FAST, paused=paused)
            await asyncio.sleep(delay)
            player.seek(1.0)
            player.seek(2.0)
            player.resume()
            await clock.advance(0.4)
            assert player.position == pytest.approx(2.4, abs=0.05)
            await asyncio.gather(player.aclose(), clock.advance(0.2))
            return packets_of(sink)

    async def main() -> None:
        assert len({tuple(await heard(delay)) for delay in [0.0] * 8 + [0.05] * 2}) == 1

    run(main())


def test_a_seek_right_after_an_append_is_in_what_was_appended(run: Runner) -> None:
    async def position(before: list[voicecore.Source]) -> tuple[int, float]:
        async with virtual() as (engine, clock):
            player = engine.play(before, NullSink(), encoder=FAST, keep_open=True)
            await clock.advance(1.0)
            player.append(ToneSource(440, 10.0))
            player.seek(5.0)
            await clock.advance(0.5)
            found = player.track, round(player.position, 1)
            await asyncio.gather(player.aclose(), clock.advance(0.2))
            return found

    async def main() -> None:
        for _ in range(8):
            assert await position([]) == (0, 5.5)
            assert await position([ToneSource(880, 0.5)]) == (1, 5.5)
        live = voicecore.PcmSource("s16")
        await live.write(bytes(19_200))
        live.close()
        assert await position([live]) == (1, 5.5)

    run(main())


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_at_its_last_frame_a_track_is_still_the_current_one(run: Runner, gap: float) -> None:
    async def after(control: str) -> tuple[int, float, int]:
        async with virtual() as (engine, clock):
            tracks = [ToneSource(440, 1.0), ToneSource(880, 1.0), ToneSource(300, 1.0)]
            player = engine.play(tracks, NullSink(), encoder=FAST, gap=gap)
            await clock.advance(0.98 + gap)
            assert player.track == 0
            assert player.position == 1.0
            player.seek(0.5) if control == "seek" else player.skip()
            await clock.advance(0.02)
            found = player.track, round(player.position, 2)
            await clock.advance(10.0)
            await player.wait_finished()
            return *found, player.statistics().frames_sent

    async def main() -> None:
        track, position, frames = await after("seek")
        assert (track, position) == (0, 0.52)
        assert frames in range(50 + 25 + 100, 50 + 25 + 100 + round(gap * 50) * 3 + 4)
        track, position, frames = await after("skip")
        assert track == 1
        assert position in (0.01, 0.02)
        assert frames in range(150, 150 + round(gap * 50) * 2 + 4)

    run(main())


@pytest.mark.timing
def test_players_stopped_in_virtual_time_leave_nothing(run: Runner) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096

    async def main() -> None:
        async with virtual() as (engine, clock):

            async def play(count: int) -> None:
                for _ in range(count):
                    player = engine.play(ToneSource(440), NullSink())
                    await clock.advance(0.3)
                    player.stop()
                    await clock.advance(0.2)
                    await player.wait_finished()

            await play(50)
            before = resident()
            await play(100)
            assert resident() - before < 1024 * 1024

    run(main())


@pytest.mark.slow
def test_in_real_time_playing_takes_as_long_as_the_media(run: Runner) -> None:
    async def main() -> None:
        async with Engine() as engine:
            sink = MemorySink()
            loop = asyncio.get_running_loop()
            begin = loop.time()
            player = engine.play(ToneSource(440, 0.5), sink)
            await player.wait_finished()
            # 26 frames (the last one flushes the encoder) and five of silence, the first one at 0.
            assert loop.time() - begin >= 0.55
            stats = player.statistics()
            assert stats.ticks == stats.frames_sent + stats.silence_frames + stats.skipped

    run(main())
