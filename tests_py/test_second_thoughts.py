"""Controls that come one behind the other, judged by what is decoded at the other end."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

import voicecore
from conftest import Runner, decoded
from voicecore import Engine, ManualClock, MemorySink, OggSink, ToneSource
from voicecore.player import Player

AMPLITUDE = 0.25


class HalfGone(io.BytesIO):
    """A file whose disk fails half way."""

    def seekable(self) -> bool:
        return False

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= len(self.getvalue()) // 2:
            raise OSError(5, "the disk is gone")
        return super().read(4_096)


async def gains(path: Path, act: Callable[[Player, ManualClock], Awaitable[None]]) -> list[float]:
    """Play a tone, let `act` change it, and give the gain of each frame at the receiver."""
    clock = ManualClock()
    async with Engine(clock=clock) as engine:
        player = engine.play(ToneSource(440, amplitude=AMPLITUDE), OggSink(path))
        await act(player, clock)
        player.stop()
        await clock.advance(1.0)
        await player.wait_finished()
    pcm = decoded(path, 2)[::2]
    frames = pcm[: len(pcm) // 960 * 960].reshape(-1, 960)
    return [float(value) for value in np.sqrt((frames**2).mean(axis=1)) / AMPLITUDE * np.sqrt(2)]


@pytest.mark.parametrize("step_ms", [10, 20, 40])
def test_a_fade_follows_its_steps_without_old_packets_in_between(
    run: Runner, tmp_path: Path, step_ms: int
) -> None:
    steps = 50
    per_frame = 20 / step_ms / steps

    async def fade(player: Player, clock: ManualClock) -> None:
        await clock.advance(1.0)
        for step in range(steps):
            player.set_volume(1.0 - (step + 1) / steps)
            await clock.advance(step_ms / 1000)
        await clock.advance(0.2)

    heard = run(gains(tmp_path / "fade.ogg", fade))
    faded = heard[50 : 50 + steps * step_ms // 20]
    for frame, gain in enumerate(faded):
        # Two frames and the encoder's look-ahead behind, and a step ahead at most.
        assert abs(gain - (1.0 - frame * per_frame)) < 3 * per_frame + 1 / steps + 0.03, frame
    assert heard[50 + len(faded) + 3] < 0.02


def test_what_is_muted_while_paused_goes_on_muted(run: Runner, tmp_path: Path) -> None:
    async def mute(player: Player, clock: ManualClock) -> None:
        await clock.advance(0.5)
        player.pause()
        await clock.advance(0.5)
        player.set_volume(0.0)
        await clock.advance(0.1)
        player.resume()
        await clock.advance(0.5)

    heard = run(gains(tmp_path / "muted.ogg", mute))
    assert max(heard[5:20]) > 0.9
    # Behind silence nothing fades: the new volume holds from the first sample on.
    assert max(heard[30:]) < 0.001


def test_skipping_before_the_next_track_is_there_does_not_skip_it(run: Runner) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with Engine(clock=clock) as engine:
            player = engine.play(ToneSource(440, 60), MemorySink(), keep_open=True)
            await clock.advance(1.0)
            for _ in range(3):
                player.skip()
                await clock.advance(0.5)
            sent = player.statistics().frames_sent
            player.append(ToneSource(880, 2))
            await clock.advance(5.0)
            assert player.statistics().frames_sent - sent == 101
            assert player.track == 1
            player.stop()
            await clock.advance(1.0)

    run(main())


def test_a_player_that_was_given_another_track_forgets_the_failed_one(
    run: Runner, tmp_path: Path
) -> None:
    async def main() -> None:
        path = tmp_path / "tone.opus"
        await voicecore.transcode(ToneSource(440, 3.0), path)
        async with Engine() as engine:
            player = engine.play(await engine.open(HalfGone(path.read_bytes())), MemorySink())
            async for event in player.events():
                if event.kind == "track_failed":
                    player.append(ToneSource(880, 0.2))
                if event.kind == "finished":
                    assert event.detail == "ended"
            await player.wait_finished()
            assert player.track == 1

    run(main())


def test_virtual_time_goes_on_after_many_seeks_while_paused(run: Runner) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with Engine(clock=clock) as engine:
            player = engine.play(ToneSource(440, 60), MemorySink())
            await clock.advance(1.0)
            player.pause()
            await clock.advance(0.2)
            for second in range(20):
                player.seek(float(second))
                await asyncio.wait_for(clock.advance(0.02), 10)
            player.resume()
            await clock.advance(1.0)
            assert player.position == pytest.approx(20.0, abs=0.03)
            player.stop()
            await clock.advance(1.0)

    run(main())


@pytest.mark.parametrize("seconds", [0.99, 1.0, 1.005, 1.013])
def test_the_last_position_is_the_end_of_the_track(run: Runner, seconds: float) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with Engine(clock=clock) as engine:
            player = engine.play(ToneSource(440, seconds), MemorySink())
            await clock.advance(3.0)
            await player.wait_finished()
            assert player.position == pytest.approx(seconds, abs=0.0001)

    run(main())


@pytest.mark.parametrize("name", ["opus.webm", "opus.opus"])
@pytest.mark.parametrize("passthrough", [True, False])
def test_a_later_track_starts_where_it_was_opened_to_start(
    run: Runner, media: Path, name: str, passthrough: bool
) -> None:
    async def played(*, first: bool) -> int:
        clock = ManualClock()
        async with Engine(clock=clock) as engine:
            whole = await engine.open(media / name)
            length = whole.info.duration
            assert length is not None
            await whole.aclose()
            source = await engine.open(media / name, start=length - 0.5)
            sources = [source] if first else [ToneSource(440, 1.0), source]
            player = engine.play(sources, MemorySink(), passthrough=passthrough)
            await clock.advance(length + 5.0)
            await player.wait_finished()
            return player.statistics().frames_sent

    async def main() -> None:
        alone = await played(first=True)
        behind = await played(first=False)
        assert 24 <= alone <= 28
        # The tone's 50 frames, and one for the join on the grid.
        assert 50 <= behind - alone <= 52

    run(main())
