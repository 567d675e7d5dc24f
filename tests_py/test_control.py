"""Controls in real time, judged at the receiver."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import secrets
import socket
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import voicecore
from conftest import Runner, decoded
from voicecore import Engine, ManualClock, MemorySink, OggSink, Receiver, ToneSource, UdpSink

pytestmark = pytest.mark.slow
SILENCE = b"\xf8\xff\xfe"


class Wire:
    """A UDP socket and an independent decryption of what arrives."""

    def __init__(self) -> None:
        self.key = secrets.token_bytes(32)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)

    def sink(self) -> UdpSink:
        port = self.socket.getsockname()[1]
        return UdpSink(
            "127.0.0.1", port, ssrc=7, mode="aead_aes256_gcm_rtpsize", key=self.key, keep_alive=0
        )

    async def next(self) -> tuple[float, int, int, bytes]:
        """(arrival, sequence, timestamp, opus) of the next datagram."""
        loop = asyncio.get_running_loop()
        datagram = await asyncio.wait_for(loop.sock_recv(self.socket, 2_048), 10)
        now = time.monotonic()
        header, sealed, suffix = datagram[:12], datagram[12:-4], datagram[-4:]
        opus = AESGCM(self.key).decrypt(suffix + bytes(8), sealed, header)
        return (
            now,
            int.from_bytes(header[2:4], "big"),
            int.from_bytes(header[4:8], "big"),
            opus,
        )

    def close(self) -> None:
        self.socket.close()


@pytest.mark.skipif(
    "aead_aes256_gcm_rtpsize" not in voicecore._core.cipher_modes(),
    reason="this processor has no AES instructions, so there is nothing to compare with",
)
@pytest.mark.parametrize("control", ["pause", "stop"])
def test_pause_and_stop_are_heard_within_fifty_milliseconds(run: Runner, control: str) -> None:
    async def main() -> None:
        wire = Wire()
        async with Engine() as engine:
            player = engine.play(ToneSource(440), wire.sink())
            for _ in range(10):
                await wire.next()
            asked = time.monotonic()
            getattr(player, control)()
            while True:
                arrival, sequence, timestamp, opus = await wire.next()
                if opus == SILENCE:
                    break
            assert arrival - asked <= 0.050
            for i in range(1, 5):
                _, s, t, opus = await wire.next()
                assert (s, t, opus) == (sequence + i, timestamp + 960 * i, SILENCE)
            if control == "pause":
                await asyncio.sleep(0.1)
                player.resume()
                _, s, t, opus = await wire.next()
                assert s == sequence + 5
                assert t > timestamp + 960 * 5
                assert opus != SILENCE
        wire.close()

    run(main())


def test_seek_and_skip_take_effect_within_fifty_milliseconds(run: Runner, music: Path) -> None:
    async def main() -> None:
        async with Engine() as engine:
            source = await engine.open(music)
            other = await engine.open(music, start=5.0)
            sink = MemorySink()
            player = engine.play([source, other], sink)
            await asyncio.sleep(0.3)

            player.seek(15.0)
            await asyncio.sleep(0.050)
            assert 15.0 <= player.position <= 15.1

            player.skip()
            await asyncio.sleep(0.050)
            assert player.track == 1
            stats = player.statistics()
            assert stats.underruns.total == 0

    run(main())


def test_a_volume_change_is_heard_within_two_frames_whatever_is_buffered(
    run: Runner, music: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        clock = ManualClock()
        path = tmp_path / "muted.ogg"
        async with Engine(clock=clock) as engine:
            player = engine.play(await engine.open(music), OggSink(path), duration=2.0)
            await clock.advance(1.0)
            sent = player.statistics().frames_sent
            player.set_volume(0.0)
            await clock.advance(5.0)
            await player.wait_finished()
        pcm = decoded(path, 1)
        level = [float(np.abs(pcm[i : i + 960]).max()) for i in range(0, len(pcm) - 960, 960)]
        # The frame that may leave meanwhile, the one that fades, and the encoder's 6.5 ms.
        assert min(level[sent - 5 : sent - 1]) > 0.05
        assert max(level[sent + 3 :]) < 0.002

    run(main())


@pytest.mark.parametrize("duration", [0.0, 1e-12])
def test_a_receiver_without_any_time_ends_at_once(run: Runner, duration: float) -> None:
    async def main() -> None:
        async with Receiver(mode="none", duration=duration) as receiver:
            await asyncio.wait_for(receiver.wait(), 5)
            assert not receiver.running

    run(main())


def test_a_receiver_hears_what_a_player_sends(run: Runner, music: Path, tmp_path: Path) -> None:
    async def main() -> None:
        key = secrets.token_bytes(32)
        path = tmp_path / "heard.ogg"
        async with (
            Receiver(
                mode="aead_xchacha20_poly1305_rtpsize", key=key, ogg=path, log=True
            ) as receiver,
            Engine() as engine,
        ):
            sink = UdpSink("127.0.0.1", receiver.port, key=key)
            player = engine.play(await engine.open(music), sink, duration=1.0)
            await player.wait_finished()
            await asyncio.sleep(0.05)
            receiver.stop()
            await receiver.wait()
            heard = receiver.statistics()
            sent = player.statistics()
            assert heard.packets == sent.frames_sent + sent.silence_frames == 55
            assert heard.lost == heard.duplicates == heard.reordered == 0
            assert heard.decryption_failures == heard.malformed == 0
            assert len(receiver.arrivals()) == 55
        async with Engine() as engine:
            recorded = await engine.open(path)
            assert recorded.info.codec == "opus"
            assert recorded.info.duration == pytest.approx(1.1, abs=0.03)

    run(main())


def test_a_receiver_with_another_key_counts_failures(run: Runner) -> None:
    async def main() -> None:
        async with Receiver(key=bytes(32)) as receiver, Engine() as engine:
            sink = UdpSink("127.0.0.1", receiver.port, key=bytes(31) + b"x")
            player = engine.play(ToneSource(440, 0.1), sink)
            await player.wait_finished()
            await asyncio.sleep(0.05)
            statistics = receiver.statistics()
            assert statistics.packets == 0
            assert statistics.decryption_failures == 11

    run(main())


def test_every_datagram_that_comes_is_in_one_figure(run: Runner) -> None:
    async def main() -> None:
        async with Receiver(mode="none", ssrc=7) as receiver:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.connect(("127.0.0.1", receiver.port))
                header = struct.Struct(">BBHII")
                for sequence in (0, 1, 1, 30_000, 30_001):
                    sender.send(header.pack(0x80, 120, sequence, 0, 7) + b"\xfc\xff\xfe")
                sender.send(header.pack(0x80, 120, 2, 0, 8) + b"\xfc\xff\xfe")
                for _ in range(3):
                    sender.send(struct.pack(">BBHI", 0x80, 200, 6, 7) + bytes(24))
                sender.send(bytes(8))
                sender.send(bytes(40))
        seen = receiver.statistics()
        assert (seen.packets, seen.duplicates, seen.foreign_ssrc) == (4, 1, 1)
        assert (seen.rtcp, seen.keepalives, seen.malformed) == (3, 1, 1)
        assert seen.datagrams == 11
        assert seen.restarts == 1
        assert seen.as_dict()["rtcp"] == 3

    run(main())


def test_a_receiver_with_another_key_ends_when_idle(run: Runner) -> None:
    async def main() -> None:
        async with Receiver(key=bytes(32), idle=0.2) as receiver, Engine() as engine:
            sink = UdpSink("127.0.0.1", receiver.port, key=bytes(31) + b"x")
            player = engine.play(ToneSource(440, 0.1), sink)
            await player.wait_finished()
            await asyncio.wait_for(receiver.wait(), 10)
            assert receiver.statistics().packets == 0

    run(main())


def test_a_port_in_use_is_an_error(run: Runner) -> None:
    async def main() -> None:
        async with Receiver(mode="none") as receiver:
            with pytest.raises(voicecore.AddressInUse) as caught:
                Receiver(port=receiver.port, mode="none")
            assert isinstance(caught.value, OSError)

    run(main())


@pytest.mark.parametrize("key", [b"", b"short", bytes(31), bytes(33)])
def test_a_key_of_the_wrong_length_is_refused(key: bytes) -> None:
    with pytest.raises(voicecore.InvalidArgument, match="32"):
        UdpSink("127.0.0.1", 9, key=key)


def test_a_full_disk_fails_the_player_with_the_path(run: Runner) -> None:
    async def main() -> None:
        async with Engine() as engine:
            player = engine.play(ToneSource(440), OggSink("/dev/full"))
            with pytest.raises(voicecore.SinkError, match="/dev/full") as caught:
                await asyncio.wait_for(player.wait_finished(), 10)
            assert caught.value.errno is not None

    run(main())


def test_an_ogg_file_in_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(voicecore.SinkError, match="missing"):
        OggSink(tmp_path / "missing" / "x.ogg")


def test_sending_to_nobody_drops_and_plays_on(run: Runner) -> None:
    async def main() -> None:
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        async with Engine() as engine:
            sink = UdpSink("127.0.0.1", port, mode="none")
            player = engine.play(ToneSource(440, 0.5), sink)
            await player.wait_finished()
            assert player.statistics().frames_sent == 26
            refused = sink.statistics()["dropped_refused"]
            assert refused > 0
            assert player.statistics().dropped == refused

    run(main())


@pytest.mark.parametrize("paused", [True, False])
def test_keep_alives_leave_before_the_first_frame_too(run: Runner, paused: bool) -> None:
    async def main() -> None:
        clock = ManualClock()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            async with Engine(clock=clock) as engine:
                sink = UdpSink("127.0.0.1", peer.getsockname()[1], mode="none")
                source = ToneSource(440) if paused else voicecore.PcmSource()
                player = engine.play(source, sink, paused=paused)
                await clock.advance(21.0)
                assert player.state.value == ("paused" if paused else "priming")
                assert sink.statistics()["keepalives"] == 4
                assert sink.statistics()["datagrams"] == 0
                player.stop()

    run(main())


def test_a_busy_python_thread_skips_nothing(run: Runner) -> None:
    async def main() -> None:
        import threading

        stop = threading.Event()

        def spin() -> None:
            while not stop.is_set():
                sum(range(1_000))

        thread = threading.Thread(target=spin)
        async with Engine() as engine:
            players = [engine.play(ToneSource(300 + i), voicecore.NullSink()) for i in range(5)]
            await asyncio.sleep(0.1)
            thread.start()
            await asyncio.sleep(0.5)
            stop.set()
            thread.join()
            for player in players:
                assert player.statistics().skipped == 0
                assert player.statistics().underruns.total == 0

    run(main())


def test_running_out_of_descriptors_is_an_error_not_a_crash(run: Runner, music: Path) -> None:
    async def main() -> None:
        async with Engine() as engine:
            await (await engine.open(music)).aclose()
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            used = len(os.listdir("/proc/self/fd"))
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, hard))
            held: list[voicecore.Source] = []

            async def open_many() -> None:
                for _ in range(10):
                    held.append(await engine.open(music))

            try:
                with pytest.raises(OSError, match="open"):
                    await open_many()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for source in held:
                await source.aclose()

    run(main())


@pytest.mark.parametrize("reason", ["ended", "stopped", "sink_failed"])
def test_an_end_whose_event_was_lost_is_told_with_its_reason(run: Runner, reason: str) -> None:
    async def main() -> None:
        async with Engine() as engine:
            tone = ToneSource(440, 0.1 if reason == "ended" else 60.0)
            sink = OggSink("/dev/full" if reason == "sink_failed" else "/dev/null")
            player = engine.play(tone, sink)
            events = player.events()
            first = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            if reason == "stopped":
                player.stop()
            while not player.finished:
                time.sleep(0.01)  # the loop hears nothing
            bridge = player._bridge
            assert bridge._channel is not None
            lost, _ = bridge._channel.drain()
            assert lost
            player._sweep()
            assert (await first).detail == reason
            with contextlib.suppress(voicecore.SinkError):
                await player.wait_finished()

    run(main())


def test_the_events_of_a_player_count_from_the_call_not_from_the_first_look(run: Runner) -> None:
    async def main() -> None:
        async with Engine() as engine:
            player = engine.play(ToneSource(440, 0.1), voicecore.NullSink())
            events = player.events()
            await player.wait_finished()
            kinds = [event.kind async for event in events]
            assert kinds == ["started", "track_started", "finished"]

    run(main())


@pytest.mark.parametrize("heard", [True, False])
def test_the_events_of_a_player_that_has_ended_are_its_end(run: Runner, heard: bool) -> None:
    async def main() -> None:
        async with Engine() as engine:
            player = engine.play(ToneSource(440, 0.1), voicecore.NullSink())
            while not player.finished:
                time.sleep(0.01)  # the loop hears nothing
            if heard:
                await player.wait_finished()
            told = [event async for event in player.events()]
            assert told[-1] == voicecore.Event("finished", "ended")
            assert len(told) == 1 or not heard

    run(main())


def test_events_that_nobody_reads_are_not_kept(run: Runner) -> None:
    async def main() -> None:
        async with Engine() as engine:
            player = engine.play(ToneSource(440), voicecore.NullSink())
            for _ in range(3):
                player.events()
            gc.collect()
            assert not player._listeners
            await player.aclose()

    run(main())
