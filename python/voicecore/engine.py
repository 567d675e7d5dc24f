"""Engine and Player: the asyncio face of the native core."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import importlib.util
import io
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from voicecore import _bridge, _core, _validate
from voicecore.errors import Closed, InvalidArgument, VoicecoreError, WrongType
from voicecore.player import Player
from voicecore.settings import EncoderSettings
from voicecore.sinks import OggSink, Sink
from voicecore.sources import (
    SAMPLE_RATE,
    Readable,
    Source,
    _explained,
    _one_or_several,
    _path_of,
    _Pump,
    _refuse_own_input,
    _stop_pumps,
)

if TYPE_CHECKING:
    from voicecore.statistics import EngineStatistics

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _at_exit() -> None:
    """Silence first, then the door: no native thread is left to meet a dying interpreter."""
    _stop_pumps()
    for engine in list(_engines):
        engine._native_close(0.5)
    _core.cancel_opens(1.0)
    _core._shut_door(2.0)


class _Codec:
    """Loads the FFmpeg half of the core, once, with the GIL released while libraries are mapped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded = False

    def _load(self) -> None:
        with self._lock:
            if self._loaded:
                return
            spec = importlib.util.find_spec("voicecore._codec")
            if spec is None or spec.origin is None:
                raise ImportError("voicecore was built without its codec module")
            # dlopen inside import would stop every Python thread for as long as it takes to map a
            # hundred libraries; done here first, the import finds them in place.
            _core.map_library(os.fsencode(spec.origin))
            import voicecore._codec  # noqa: F401

            self._loaded = True

    async def ready(self) -> None:
        if not self._loaded:
            await _bridge.in_own_thread(self._load, "voicecore-load")


_codec = _Codec()


class _Advances:
    """Ends what advances at the interpreter's exit.

    It goes on on a thread of the executor, and those are joined before the first atexit hook: an
    hour of virtual time under way in a loop that was stopped would have to pass first.
    """

    def __init__(self) -> None:
        self._running: set[_core.CancelToken] = set()
        self._registered = False

    def begin(self, cancel: _core.CancelToken) -> None:
        self._running.add(cancel)
        if self._registered:
            return
        self._registered = True
        # The last one to register is called first: the executor's own hook has to be there.
        import concurrent.futures.thread  # noqa: F401

        # No public way leads there; without this one the exit waits as it did.
        if register := getattr(threading, "_register_atexit", None):
            register(self._cancel)

    def end(self, cancel: _core.CancelToken) -> None:
        self._running.discard(cancel)

    def _cancel(self) -> None:
        for cancel in list(self._running):
            cancel.cancel()


_advances = _Advances()


class ManualClock:
    """Time that moves only when told to: give it to `Engine(clock=...)`.

    While it moves, every frame that falls due is sent as soon as it is ready; nothing is ever late,
    and the same calls give the same bytes.
    """

    def __init__(self) -> None:
        self._engine: Engine | None = None

    def _attach(self, engine: Engine) -> None:
        if self._engine is not None and self._engine is not engine:
            raise InvalidArgument("this ManualClock belongs to another engine; make a new one")
        self._engine = engine

    @property
    def now(self) -> float:
        """Seconds since the engine began."""
        return 0.0 if self._engine is None else self._engine._now()

    async def advance(self, seconds: float) -> None:
        """Let time pass; returns once every frame due in it has been sent.

        Waits in real time for sources that need it (a network), never for one that the caller
        pushes by hand: that one underruns, as it would in real time.

        Raises:
            InvalidArgument: a negative or absurd time.
            Closed: the engine is closed, or not entered yet.
        """
        seconds = _validate.seconds("seconds", seconds)
        if self._engine is None:
            raise Closed("this ManualClock has no engine yet")
        await self._engine._advance(seconds)


class Engine:
    """Owns the native threads. One is enough for a bot; several are independent.

    Args:
        feeders: threads that decode and encode; 0 means one for each core, at most 8.
        realtime: ask the system for real-time priority for the clock thread. What was granted is in
            `statistics().priority`; without it everything works, with more jitter under load.
        clock: a `ManualClock` for virtual time; None for real time.

    An asynchronous context manager. Belongs to the event loop that enters it; when that loop ends
    without `aclose`, the engine is closed with it.
    """

    def __init__(
        self, *, feeders: int = 0, realtime: bool = True, clock: ManualClock | None = None
    ) -> None:
        feeders = _validate.whole("feeders", feeders, 0, 64, "threads")
        if clock is not None:
            _validate.instance("clock", clock, ManualClock, "a ManualClock")
        self._options = (feeders, bool(realtime), clock is not None)
        self._clock = clock
        if clock is not None:
            clock._attach(self)
        self._native: _core.Engine | None = None
        self._bridge: _bridge.LoopBridge | None = None
        self._closed = False
        self._players: weakref.WeakSet[Player] = weakref.WeakSet()

    # -- lifetime ----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _start(self) -> _core.Engine:
        if self._closed:
            raise Closed("the engine is closed")
        bridge = _bridge.current()
        if self._native is None:
            self._native = _core.Engine(bridge.channel, *self._options)
            self._bridge = bridge
            bridge.depend(self)
            _engines.add(self)
        elif bridge is not self._bridge:
            raise RuntimeError("this engine belongs to another event loop")
        return self._native

    async def aclose(self) -> None:
        """Stop every player (five silence frames each), finish every sink, end every thread.

        Takes about 0.1 s when something plays. Idempotent; concurrent callers all wait. Cancelling
        the wait does not stop the closing.
        """
        self._closed = True
        native = self._native
        if native is None or (self._bridge is not None and not self._bridge.is_ours()):
            return  # also in the child of a fork, where nothing of it lives
        closing = _bridge.end_in_own_thread(lambda: native.close(2.0), "voicecore-close")
        # Not after the wait, which can be cancelled: the loop would keep the engine for ever.
        closing.add_done_callback(self._after_close)
        await asyncio.shield(closing)

    def _after_close(self, closing: asyncio.Future[None]) -> None:
        if self._bridge is not None and self._bridge.loop is closing.get_loop():
            self._bridge._drain()
            self._bridge.release(self)
        _engines.discard(self)
        with contextlib.ExitStack() as sweeps:  # all of them, whatever an `after` raises
            for player in list(self._players):
                sweeps.callback(player._sweep)

    def _native_close(self, patience: float) -> None:
        self._closed = True
        if self._native is not None:
            with contextlib.suppress(Closed):
                self._native.close(patience)

    def _loop_ended(self) -> None:
        if not self._closed:
            warnings.warn(
                f"the event loop ended before {self!r} was closed; use 'async with'",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
        self._native_close(0.5)
        for player in list(self._players):
            player._loop_ended()
        _engines.discard(self)

    # -- opening and playing -----------------------------------------------------------------------

    async def preload(self) -> None:
        """Load the codec libraries now, off the loop, instead of with the first `open`."""
        self._start()
        await _codec.ready()

    async def open(
        self,
        source: str | os.PathLike[str] | bytes | bytearray | memoryview | Readable,
        *,
        start: float = 0.0,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,  # noqa: ASYNC109 (a parameter of the input, not of the call)
        reconnects: int = 5,
        playlists: bool = False,
        private_addresses: bool = True,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> Source:
        """Open a file, URL, file-like object or bytes. Never blocks the loop.

        Args:
            source: a path, an http(s) URL, the bytes of a file, or an object with `read(n)`.
            start: seconds into the media at which playing begins. Exact, but for MP3 and AAC (ADTS)
                of varying bitrate and more than 16 MiB that come by HTTP or from a file-like
                object: there places are worked out from the mean bitrate, and one behind the
                length that follows from it plays the last seconds. Smaller ones are read up to the
                place, once; `io.BytesIO` is taken as the bytes that it holds. Opus that is copied
                begins with the packet nearest to it, at most 10 ms early or late; with
                `passthrough=False` or at another volume than 1 it is exact.
            headers: sent with every HTTP request. A redirect to another host, port or scheme gets
                neither `Authorization` nor `Cookie` nor the URL's user and password; all other
                headers go along, also one with a key of the caller's in it.
            timeout: seconds without a byte, while connecting or reading, until it fails. An HTTP
                transfer that had begun is connected anew first, with the same patience each time.
                For a playlist it limits the whole opening as well.
            reconnects: attempts in a row, without progress, to pick up a broken HTTP transfer, an
                HLS playlist or a segment of it.
            playlists: whether an HLS playlist may be followed.
            private_addresses: False refuses loopback, private and link-local peers, checked at the
                moment of connecting, also after every redirect: for URLs that strangers give.
            ca_file: PEM file of trusted certificates instead of the system's.

        Returns:
            An open source, to be given to `play` once.

        Raises:
            OpenError: or one of its subclasses, which are also `FileNotFoundError`,
                `PermissionError`, `ValueError`, `TimeoutError` or `OSError`.
            InvalidArgument: an argument out of its range.
            Closed: the engine is closed.
        """
        start = _validate.seconds("start", start)
        timeout = _validate.number("timeout", timeout, 0.001, 3_600.0, "seconds")
        reconnects = _validate.whole("reconnects", reconnects, 0, 1_000)
        _validate.flag("playlists", playlists)
        _validate.flag("private_addresses", private_addresses)
        pairs = _header_pairs(headers)
        certificates = _certificates(ca_file)
        self._start()
        await _codec.ready()
        self._start()
        assert self._bridge is not None
        location = _location_of(source)
        pump: _Pump | None = None
        native_input: _core.ByteInput | None = None
        held = _bytes_of(source)
        if held is not None:
            native_input = await _bridge.in_own_thread(
                functools.partial(_core.MemoryInput, held), "voicecore-copy"
            )
        elif not isinstance(source, (str, os.PathLike)):
            pump = await _Pump.start(source, timeout)
            native_input = pump.native
        path = _path_of(source) if pump is None else pump.path
        try:
            self._start()
            operation = _core.open_source(
                self._bridge.channel,
                os.fsencode(location),  # names of files are bytes; not all are UTF-8
                native_input,
                pairs,
                round(start * SAMPLE_RATE),
                playlists,
                private_addresses,
                timeout,
                reconnects,
                certificates,
            )
        except BaseException:
            if pump is not None:
                pump.native.close()  # else its thread would wait for ever
            raise
        try:
            return Source(await self._opened(operation), path, pump)
        except VoicecoreError as error:
            _explained(error, [pump])
            raise

    async def _opened(self, operation: _core.OpenOperation) -> _core.Source:
        bridge = self._bridge
        assert bridge is not None
        waiter: asyncio.Future[None] = bridge.loop.create_future()

        def on_event(_kind: int, _value: int) -> None:
            if not waiter.done():
                waiter.set_result(None)

        bridge.subscribe(operation.id, on_event, lambda: on_event(0, 0))
        try:
            while True:
                result = operation.take()
                if result is not None:
                    return result
                await waiter
                waiter = bridge.loop.create_future()
        except BaseException:
            operation.cancel()
            raise
        finally:
            bridge.unsubscribe(operation.id)

    def play(
        self,
        source: Source | Iterable[Source],
        sink: Sink,
        *,
        volume: float = 1.0,
        gap: float = 0.0,
        loop: int = 1,
        duration: float | None = None,
        encoder: EncoderSettings | None = None,
        passthrough: bool = True,
        paused: bool = False,
        keep_open: bool = False,
        after: Callable[[BaseException | None], object] | None = None,
    ) -> Player:
        """Start playing. Returns at once; the first frame follows within milliseconds.

        Args:
            source: what to play; several are played in order. Each can be played once.
            sink: where to.
            volume: linear gain, 0 to 4.
            gap: seconds of silence between tracks; 0 joins them without a gap. Exact to the sample
                but for Opus copied unchanged: its packets lie on a grid of 20 ms, and what that
                leaves before such a track, up to 20 ms, is filled from the end of the one before.
                With `passthrough=False` or at another volume than 1 it is exact as well.
            loop: how often the whole is played; 0 means without end.
            duration: seconds after the first frame at which playing ends, whatever is left, at
                least 0.001; rounded to whole frames, one at the least. Time that passes: it runs on
                in pauses, gaps and waits, but not before the first frame. None for no limit.
            encoder: Opus settings for what cannot be passed through.
            passthrough: copy Opus packets that are already right instead of encoding them again.
            paused: begin paused.
            keep_open: do not end after the last track; wait for `Player.append`.
            after: called once in the loop, with None or the error, when the player has finished.

        Raises:
            InvalidArgument: a value out of its range, no source, or a sink that would write the
                file that a source reads.
            SourceInUse: a source, or the sink, belongs to a player already.
            Closed: the engine or a source is closed.
        """
        volume = _validate.volume(volume)
        gap = _validate.seconds("gap", gap)
        loop = _validate.whole("loop", loop, 0, 1_000_000_000)
        limit = 0
        if duration is not None:
            # In whole frames, the last one included; 0 would mean no limit.
            most = _validate.MAX_SECONDS
            duration = _validate.number("duration", duration, 0.001, most, "seconds")
            limit = max(1, round(duration * 50))
        sources = _one_or_several(source)
        _validate.instance("sink", sink, Sink, "a sink, such as OggSink(path)")
        _validate.function("after", after)
        if encoder is not None:
            _validate.instance("encoder", encoder, EncoderSettings, "EncoderSettings")
        for name, value in (
            ("passthrough", passthrough),
            ("paused", paused),
            ("keep_open", keep_open),
        ):
            _validate.flag(name, value)
        if not sources and not keep_open:
            raise InvalidArgument("no source to play; give at least one, or keep_open=True")
        if isinstance(sink, OggSink):
            _refuse_own_input(sink._file, sources)
        native = self._start()
        assert self._bridge is not None
        handle = native.play(
            [one._handle for one in sources],
            sink._handle,
            volume,
            round(gap * SAMPLE_RATE),
            loop,
            limit,
            _native_settings(encoder or EncoderSettings()),
            passthrough,
            paused,
            keep_open,
        )
        player = Player(self, self._bridge, handle, sources, sink, volume, after)
        self._players.add(player)
        return player

    def statistics(self) -> EngineStatistics:
        """What the shared threads measured.

        Raises:
            Closed: the engine was never entered.
        """
        if self._native is None:
            raise Closed("the engine has not been entered yet")
        from voicecore.statistics import EngineStatistics, Lateness

        raw = self._native.report()
        raw["lateness_ms"] = Lateness.from_native(raw["lateness_ms"])
        return EngineStatistics(**raw)

    # -- virtual time ------------------------------------------------------------------------------

    def _now(self) -> float:
        return 0.0 if self._native is None else self._native.now()

    async def _advance(self, seconds: float) -> None:
        native = self._start()
        assert self._bridge is not None
        cancel = _core.CancelToken()
        _advances.begin(cancel)
        work = self._bridge.loop.run_in_executor(None, native.advance, seconds, cancel)
        work.add_done_callback(lambda _: _advances.end(cancel))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            cancel.cancel()
            await asyncio.wait([work])
            raise
        self._bridge._drain()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "new" if self._native is None else "running"
        return f"<voicecore.Engine {state}>"


def _header_pairs(headers: Mapping[str, str] | None) -> list[tuple[str, str]]:
    pairs = _validate.texts("headers", headers)
    for name, value in pairs:
        if not name or any(c in name + value for c in "\r\n\0") or ":" in name:
            raise InvalidArgument(
                f"header {name!r}: {value!r}: expected one line, without ':' in the name"
            )
    return pairs


def _certificates(ca_file: str | os.PathLike[str] | None) -> bytes:
    return b"" if ca_file is None else os.fsencode(_validate.path("ca_file", ca_file))


def _location_of(source: Any) -> str:
    """What the core calls it: a path, a URL, or just a name."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "bytes"
    if isinstance(source, (str, os.PathLike)):
        location = os.fspath(source)
        if isinstance(location, bytes):
            location = os.fsdecode(location)
        if not location or "\0" in location:
            raise InvalidArgument(f"source: got {location!r}, expected a path or a URL")
        return location
    if callable(getattr(source, "read", None)):
        return str(getattr(source, "name", type(source).__name__))
    raise WrongType(
        f"source: got {type(source).__name__}, "
        "expected a path, a URL, bytes or an object with read()"
    )


def _bytes_of(source: Any) -> bytes | bytearray | memoryview | None:
    """What is in memory already, and need not be read."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return source
    if type(source) is io.BytesIO and not source.closed:
        return memoryview(source.getvalue())[source.tell() :]
    return None


def _native_settings(settings: EncoderSettings) -> _core.EncoderOptions:
    return _core.EncoderOptions(
        settings.bitrate_kbps * 1000,
        settings.complexity,
        settings.fec,
        settings.expected_loss,
        settings.application,
        settings.signal,
        settings.rate_control,
        settings.dtx,
    )
