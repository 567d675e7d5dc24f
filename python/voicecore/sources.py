"""Where audio comes from: files, URLs, file-like objects, tones, and what the caller pushes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import stat
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from voicecore import _bridge, _core, _validate
from voicecore.errors import Closed, InvalidArgument, SourceTimeout, VoicecoreError

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

log = logging.getLogger("voicecore.sources")

SAMPLE_RATE = 48_000
"""Samples per second and channel of everything past the decoder."""

FRAME_SAMPLES = 960
"""Samples per channel in one frame of 20 ms."""


class Readable(Protocol):
    """A binary file-like object: `read(n)`; `seek` and `tell` when `seekable()` says so."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end."""
        ...


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source once it is open."""

    container: str
    """Container format, in FFmpeg's words: "mp3", "ogg", "mov,mp4,m4a,3gp,3g2,mj2"."""
    codec: str
    """Codec, in FFmpeg's words: "mp3", "aac", "opus", "pcm_s16le"."""
    sample_rate: int
    """Hz, of the file."""
    channels: int
    """Channels, of the file."""
    duration: float | None
    """Seconds; None when nobody knows (a live stream). An estimate for MP3 and AAC (ADTS)
    without a header that tells it, by HTTP or from a file-like object: nothing is read for it but
    the beginning. Of AC-3 it follows from the first bitrate."""
    bitrate_kbps: float | None
    """kbit/s of the audio stream; None when unknown."""
    tags: Mapping[str, str]
    """Title, artist and the like, as the file has them."""
    seekable: bool
    """Whether `Player.seek` works."""
    no_passthrough: str | None
    """Why packets cannot be copied as they are; None when they can."""

    @property
    def passthrough(self) -> bool:
        """Whether its Opus packets can be sent bit for bit."""
        return self.no_passthrough is None

    @classmethod
    def _from_native(cls, raw: dict[str, Any]) -> SourceInfo:
        return cls(**raw)


class Source:
    """An open source, until a player takes it. Made by `Engine.open` and the classes below.

    An asynchronous context manager; closing a source that is playing does nothing to the player.
    """

    def __init__(
        self, handle: _core.Source, path: str | None = None, pump: _Pump | None = None
    ) -> None:
        self._handle = handle
        self._pump = pump
        self._path = path  # absolute, of the file that it reads; None when that is not known
        self.info = SourceInfo._from_native(handle.info())

    async def aclose(self) -> None:
        """Let go of the input. Idempotent; never waits."""
        self._handle.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.info.codec}, {self.info.duration} s>"


class ToneSource(Source):
    """A sine tone.

    Args:
        frequency: Hz, 1 to 24,000.
        duration: seconds; None plays on without end.
        amplitude: peak, 0 to 1.

    Raises:
        InvalidArgument: a value out of its range.
    """

    def __init__(
        self, frequency: float = 440.0, duration: float | None = None, *, amplitude: float = 0.25
    ) -> None:
        frequency = _validate.number("frequency", frequency, 1.0, 24_000.0, "Hz")
        amplitude = _validate.number("amplitude", amplitude, 0.0, 1.0)
        length = None
        if duration is not None:
            length = round(_validate.seconds("duration", duration) * SAMPLE_RATE)
        super().__init__(_core.tone_source(frequency, amplitude, length))


class _PushSource(Source):
    """What both push sources share: waiting for room, and the end."""

    def __init__(self, pusher: _core.PcmPusher | _core.OpusPusher) -> None:
        super().__init__(pusher.source())
        self._pusher = pusher

    def close(self) -> None:
        """Nothing more will come; what was written is still played. Idempotent.

        A `write` that waits for room raises `Closed`.
        """
        self._pusher.close()

    async def aclose(self) -> None:
        """`close()`, and let go of the source unless a player has it."""
        self._pusher.close()
        await super().aclose()

    async def _room(self) -> None:
        """Wait until something fits, or nothing ever will."""
        bridge = _bridge.current()
        waiter: asyncio.Future[None] = bridge.loop.create_future()

        def on_event(_kind: int, _value: int) -> None:
            if not waiter.done():
                waiter.set_result(None)

        subject = self._pusher.watch(bridge.channel)
        bridge.subscribe(subject, on_event, lambda: on_event(0, 0))
        try:
            if not self._pusher.writable():
                await waiter
        finally:
            bridge.unsubscribe(subject)
            self._pusher.unwatch()


class PcmSource(_PushSource):
    """PCM that the caller writes: 48 kHz stereo, interleaved.

    Args:
        sample_format: "s16" (16-bit integers, as discord.py's sources give) or "f32" (-1 to 1),
            both in the machine's byte order.
        buffer: seconds of audio that fit before `write` waits.

    One task or thread writes; writing never blocks the loop.
    """

    def __init__(self, sample_format: str = "s16", *, buffer: float = 1.0) -> None:
        if sample_format not in ("s16", "f32"):
            raise InvalidArgument(f"sample_format: got {sample_format!r}, expected 's16' or 'f32'")
        buffer = _validate.number("buffer", buffer, 0.02, 60.0, "seconds")
        self._frame_bytes = 4 if sample_format == "s16" else 8
        self._pcm = _core.PcmPusher(sample_format == "f32", round(buffer * SAMPLE_RATE))
        super().__init__(self._pcm)

    def write_nowait(self, data: Buffer) -> int:
        """Write as much as fits now.

        Returns:
            Bytes taken: a multiple of one sample of both channels.

        Raises:
            InvalidArgument: not a whole number of samples.
            Closed: after `close`, or when the player has ended.
        """
        view = _validate.octets("data", data)
        if len(view) % self._frame_bytes:
            raise InvalidArgument(
                f"got {len(view)} bytes, expected a multiple of {self._frame_bytes} "
                "(one sample of both channels)"
            )
        return self._pcm.write(view) * self._frame_bytes

    async def write(self, data: Buffer) -> None:
        """Write all of it, waiting for room.

        Cancelling leaves a part of it written.

        Raises:
            InvalidArgument: not a whole number of samples.
            Closed: after `close`, or when the player has ended.
        """
        rest = _validate.octets("data", data)
        while True:
            rest = rest[self.write_nowait(rest) :]
            if not rest:
                return
            await self._room()


class OpusSource(_PushSource):
    """Opus packets that the caller writes, mono or stereo, 2.5 to 120 ms each.

    Args:
        buffer: packets that fit before `write` waits.
    """

    def __init__(self, *, buffer: int = 50) -> None:
        buffer = _validate.whole("buffer", buffer, 1, 3_000, "packets")
        self._opus = _core.OpusPusher(buffer)
        super().__init__(self._opus)

    def write_nowait(self, packet: Buffer) -> bool:
        """Write one packet if it fits now; tells whether it did.

        Raises:
            InvalidArgument: not a valid Opus packet (RFC 6716 section 3.4).
            Closed: after `close`, or when the player has ended.
        """
        return self._opus.write(_validate.octets("packet", packet))

    async def write(self, packet: Buffer) -> None:
        """Write one packet, waiting for room. Cancelling writes nothing.

        Raises:
            InvalidArgument: not a valid Opus packet (RFC 6716 section 3.4).
            Closed: after `close`, or when the player has ended.
        """
        while not self.write_nowait(packet):
            await self._room()


_pumps: weakref.WeakSet[_core.PumpedInput] = weakref.WeakSet()


def _stop_pumps() -> None:
    for pump in list(_pumps):
        pump.close()


class _Pump:
    """Calls a file-like object for a native input, on a thread of its own."""

    def __init__(self, stream: Any) -> None:
        self.path = _path_of(stream)
        self._stream, seekable, size = _measured(stream)
        self.native = _core.PumpedInput(seekable, size)
        self._failure: tuple[str, BaseException] | None = None
        _pumps.add(self.native)

    @staticmethod
    async def start(stream: Any, timeout: float) -> _Pump:  # noqa: ASYNC109 (Engine.open's)
        """The object is asked for its size on that thread too: a seek may read everything.

        Raises:
            InvalidArgument: it does not do what its `seekable()` promises.
            SourceTimeout: it does not answer in time.
        """
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[_Pump] = loop.create_future()

        def serve() -> None:
            try:
                pump = _Pump(stream)
            except BaseException as error:  # whatever the object raises
                tell(functools.partial(ready.set_exception, error))
            else:
                tell(functools.partial(ready.set_result, pump))
                pump._serve()

        def tell(settle: Callable[[], None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(settle)

        _bridge.start_thread(threading.Thread(target=serve, name="vc-pump", daemon=True))
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(ready)
        except BaseException as error:
            ready.add_done_callback(_let_go)  # whoever was to have it does not wait any more
            if not isinstance(error, TimeoutError):
                raise
            message = f"{stream!r} did not answer for {timeout:g} s"
            raise SourceTimeout(errno.ETIMEDOUT, message) from None

    def cause_of(self, error: VoicecoreError) -> BaseException | None:
        """What the object raised, if that is what `error` tells of."""
        if self._failure is None or self._failure[0] not in str(error):
            return None
        return self._failure[1]

    def _serve(self) -> None:
        """Answer read and seek requests until the native side is done with the stream."""
        with contextlib.suppress(Closed):
            while (request := self.native.wait_request()) is not None:
                # After what is no Exception the object is not called again: it was to end more.
                if self._failure is None or isinstance(self._failure[1], Exception):
                    self._answer(*request)
                else:
                    self.native.fail(0, self._failure[0])

    def _answer(self, kind: str, argument: int) -> None:
        stream = self._stream
        try:
            if kind == "seek":
                stream.seek(argument)
                self.native.complete_seek(argument)
            else:
                data = stream.read(argument)
                if not isinstance(data, (bytes, bytearray, memoryview)):
                    raise TypeError(
                        f"read() of {stream!r} gave {type(data).__name__}, expected bytes"
                    )
                self.native.complete_read(bytes(data))
        except BaseException as error:  # whatever the object raises becomes the source's error
            self._fail(kind, error)

    def _fail(self, kind: str, error: BaseException) -> None:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            # Here nothing else sees them: they end a thread, and a source, but no process.
            log.error("%s() of %r ends its source", kind, self._stream, exc_info=error)
        words = ": ".join(filter(None, (type(error).__name__, str(error))))
        words = words.encode("utf-8", "backslashreplace").decode()
        self._failure = (words, error)
        number = getattr(error, "errno", None)
        known = number if isinstance(number, int) and 0 < number < 2**31 else 0
        self.native.fail(known, words)


def _let_go(ready: asyncio.Future[_Pump]) -> None:
    if not ready.cancelled() and ready.exception() is None:
        ready.result().native.close()  # else its thread would wait for ever


def _measured(stream: Any) -> tuple[Any, bool, int | None]:
    """The object from where it stands, whether it can seek, and how many bytes it has then."""
    try:
        if not getattr(stream, "seekable", lambda: False)():
            return stream, False, None
        # Asked by tell(): not everybody's seek() returns the position.
        here = _position(stream)
        stream.seek(0, 2)
        size = _position(stream) - here
        stream.seek(here)
    except Exception as error:  # closed, or not what its seekable() promises
        raise InvalidArgument(
            f"source: {stream!r} cannot be used: {type(error).__name__}: {error}"
        ) from error
    return _Shifted(stream, here) if here else stream, True, size


def _position(stream: Any) -> int:
    position = stream.tell()
    if not isinstance(position, int):
        raise TypeError(f"tell() gave {position!r}, expected a number of bytes")
    return position


class _Shifted:
    """A seekable stream whose position 0 is where it stood when it was given to us."""

    def __init__(self, stream: Any, offset: int) -> None:
        self._stream = stream
        self._offset = offset

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        return data

    def seek(self, offset: int) -> None:
        self._stream.seek(self._offset + offset)


def _path_of(source: Any) -> str | None:
    """The file that `Engine.open` will read, if its argument tells; absolute, for a later chdir."""
    try:
        if isinstance(source, (str, os.PathLike)):
            return os.path.abspath(os.fsdecode(source))
        # Any object may have a name; only an open file is the file of its name.
        if os.path.samestat(os.fstat(source.fileno()), os.stat(source.name)):
            return os.path.abspath(os.fsdecode(source.name))
    except Exception:  # bytes, a stream without a file, a file without a name
        return None
    return None


def _explained(error: VoicecoreError, pumps: Iterable[_Pump | None]) -> VoicecoreError:
    """`error` with what a file-like object raised as its cause, if it tells of that."""
    causes = (pump.cause_of(error) for pump in pumps if pump is not None)
    error.__cause__ = next((cause for cause in causes if cause is not None), error.__cause__)
    return error


def _one_or_several(source: Source | Iterable[Source]) -> list[Source]:
    """What `play` and `transcode` were given."""
    wanted = "a Source, or several"
    sources = [source] if isinstance(source, Source) else _validate.items("source", source, wanted)
    for one in sources:
        _validate.instance("source", one, Source, wanted)
    return sources


def _refuse_own_input(output: str | os.PathLike[str], sources: Iterable[Source]) -> None:
    """Writing a file while reading it would destroy it, whatever names lead there."""
    try:
        there = os.stat(output)
    except (OSError, ValueError):
        return  # a new file, or opening it will tell
    if not stat.S_ISREG(there.st_mode):
        return
    for source in sources:
        if source._path is not None and _is_file(source._path, there):
            raise InvalidArgument(
                f"cannot write {os.fsdecode(output)!r}: the source {source._path!r} is the same "
                "file; choose another to write to"
            )


def _is_file(path: str, there: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), there)
    except (OSError, ValueError):  # an URL, or a file that has gone
        return False
