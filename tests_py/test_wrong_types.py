"""What has the wrong type is told by the argument's name, what was given and what is expected."""

from __future__ import annotations

import array
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import voicecore
from conftest import Runner
from voicecore import (
    Engine,
    InvalidArgument,
    NullSink,
    OggSink,
    OpusSource,
    PcmSource,
    Receiver,
    SyncCommandQueue,
    ToneSource,
    UdpSink,
    WrongType,
    transcode,
)


class Given:
    """What the calls below are made with."""

    def __init__(self, engine: Engine, queue: SyncCommandQueue, folder: Path) -> None:
        self.engine = engine
        self.queue = queue
        self.file = folder / "out.ogg"

    def open(self, **options: Any) -> Any:
        return self.engine.open("none.mp3", **options)

    def play(self, **options: Any) -> Any:
        return self.engine.play(ToneSource(440, 0.1), NullSink(), **options)

    def transcode(self, source: Any = None, **options: Any) -> Any:
        return transcode(source or ToneSource(440, 0.1), options.pop("path", self.file), **options)


CALLS: list[tuple[str, Callable[[Any], Any]]] = [
    ("path: got 5, expected the name of a file", lambda _: OggSink(5)),  # type: ignore[arg-type]
    ("path: got None", lambda _: OggSink(None)),  # type: ignore[arg-type]
    ("tags: got 5, expected a mapping", lambda x: OggSink(x.file, tags=5)),  # type: ignore[arg-type]
    ("tags: got 2, expected a text", lambda x: OggSink(x.file, tags={"A": 2})),  # type: ignore[dict-item]
    ("host: got 5", lambda _: UdpSink(5, 5, mode="none")),  # type: ignore[arg-type]
    ("fd: got 'x'", lambda _: UdpSink("127.0.0.1", 5, mode="none", fd="x")),  # type: ignore[arg-type]
    ("key: got int, expected bytes", lambda _: UdpSink("127.0.0.1", 5, key=32)),  # type: ignore[arg-type]
    ("key: got str, expected bytes", lambda _: UdpSink("127.0.0.1", 5, key="k" * 32)),  # type: ignore[arg-type]
    ("host: got 5", lambda _: Receiver(5, mode="none")),  # type: ignore[arg-type]
    ("key: got int, expected bytes", lambda _: Receiver(key=32)),  # type: ignore[arg-type]
    ("ogg: got 5", lambda _: Receiver(mode="none", ogg=5)),  # type: ignore[arg-type]
    ("clock: got 5", lambda _: Engine(clock=5)),  # type: ignore[arg-type]
    ("feeders: got '2'", lambda _: Engine(feeders="2")),  # type: ignore[arg-type]
    ("fec: got 'no'", lambda _: voicecore.EncoderSettings(fec="no")),  # type: ignore[arg-type]
    ("data: got str, expected bytes", lambda _: PcmSource().write("x")),  # type: ignore[arg-type]
    ("data: got str, expected bytes", lambda _: PcmSource().write_nowait("x")),  # type: ignore[arg-type]
    ("packet: got str, expected bytes", lambda _: OpusSource().write("x")),  # type: ignore[arg-type]
    ("source: got int", lambda x: x.engine.open(5)),
    ("headers: got 5, expected a mapping", lambda x: x.open(headers=5)),
    ("headers: got \\['A'\\]", lambda x: x.open(headers=["A"])),
    ("headers: got b'X', expected a text", lambda x: x.open(headers={b"X": b"y"})),
    ("headers: got b'y', expected a text", lambda x: x.open(headers={"X": b"y"})),
    ("headers: got None, expected a text", lambda x: x.open(headers={"X": None})),
    ("headers: got 5, expected a text", lambda x: x.open(headers={"X": 5})),
    ("playlists: got 'no'", lambda x: x.open(playlists="no")),
    ("private_addresses: got 'no'", lambda x: x.open(private_addresses="no")),
    ("ca_file: got 5", lambda x: x.open(ca_file=5)),
    ("timeout: got '5'", lambda x: x.open(timeout="5")),
    ("encoder: got 5", lambda x: x.play(encoder=5)),
    ("passthrough: got 'no'", lambda x: x.play(passthrough="no")),
    ("paused: got 'no'", lambda x: x.play(paused="no")),
    ("keep_open: got 'no'", lambda x: x.play(keep_open="no")),
    ("after: got 5", lambda x: x.play(after=5)),
    ("source: got 5", lambda x: x.transcode(5)),
    ("source: got 'a'", lambda x: x.transcode("a.mp3")),
    ("path: got 5", lambda x: x.transcode(path=5)),
    ("encoder: got 5", lambda x: x.transcode(encoder=5)),
    ("tags: got 5", lambda x: x.transcode(tags=5)),
    ("serial: got 'x'", lambda x: x.transcode(serial="x")),
    ("progress: got 5", lambda x: x.transcode(progress=5)),
    ("path: got None", lambda _: voicecore.CommandQueue(None)),  # type: ignore[arg-type]
    ("path: got 5", lambda _: SyncCommandQueue(5)),  # type: ignore[arg-type]
    ("owner: got 5", lambda _: SyncCommandQueue("q.db", owner=5)),  # type: ignore[arg-type]
    ("default_key: got 5", lambda _: SyncCommandQueue("q.db", default_key=5)),  # type: ignore[arg-type]
    ("wall_clock: got 5", lambda _: SyncCommandQueue("q.db", wall_clock=5)),  # type: ignore[arg-type]
    ("commands: got 5", lambda x: x.queue.enqueue_many(5)),
    ("done: got 5", lambda x: x.queue.ack_many(5)),
    ("done: got 5", lambda x: x.queue.ack_many([5])),
    ("command: got 5", lambda x: x.queue.ack(5)),
    ("command: got 5", lambda x: x.queue.ack_many([(5, "done")])),
    ("command: got 5", lambda x: x.queue.nack(5, "no")),
    ("command: got 5", lambda x: x.queue.renew(5)),
    ("max_attempts: got 'x'", lambda x: x.queue.nack(x.queue.claim(), "no", max_attempts="x")),
    ("limit: got 'x'", lambda x: x.queue.prune(5.0, limit="x")),
    ("sql: got 5", lambda x: x.queue.execute(5)),
    ("parameters: got 5", lambda x: x.queue.execute("SELECT ?", 5)),
]


async def finished(call: Callable[[Given], Any], given: Given) -> None:
    """Make the call, and wait if it is one to wait for."""
    done = call(given)
    if inspect.isawaitable(done):
        await done


@pytest.mark.parametrize(("says", "call"), CALLS)
def test_a_wrong_type_is_one_error_that_names_the_argument(
    run: Runner, tmp_path: Path, says: str, call: Callable[[Given], Any]
) -> None:
    async def main() -> None:
        with SyncCommandQueue(tmp_path / "queue.db") as queue:
            async with Engine() as engine:
                with pytest.raises(WrongType, match=f"^{says}") as caught:
                    await finished(call, Given(engine, queue, tmp_path))
        assert isinstance(caught.value, TypeError)
        assert isinstance(caught.value, InvalidArgument)
        assert not (tmp_path / "out.ogg").exists()

    run(main())


@pytest.mark.parametrize(
    ("says", "call"),
    [
        ("path: got", lambda folder: OggSink(f"{folder}/a\0b")),
        ("path: got ''", lambda _: OggSink("")),
        ("tags: .*UTF-8", lambda folder: OggSink(folder / "a.ogg", tags={"A": "\ud800"})),
        ("host: .*UTF-8", lambda _: UdpSink("\ud800", 5, mode="none")),
        ("host: got", lambda _: Receiver("127.0.0.1\0x", mode="none")),
        ("data: .*contiguous", lambda _: PcmSource().write_nowait(memoryview(bytes(16))[::2])),
    ],
)
def test_a_value_that_the_core_cannot_take_names_its_argument(
    tmp_path: Path, says: str, call: Callable[[Path], Any]
) -> None:
    with pytest.raises(InvalidArgument, match=f"^{says}"):
        call(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_key_may_be_the_list_that_discord_sends() -> None:
    UdpSink("127.0.0.1", 5, key=list(range(32)))  # type: ignore[arg-type]


def test_nothing_in_any_container_is_nothing_to_write() -> None:
    assert PcmSource().write_nowait(array.array("h")) == 0
