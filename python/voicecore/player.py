"""Player: one playing, as asyncio sees it."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicecore import _bridge, _core, _validate
from voicecore.errors import Closed, NotSeekable, VoicecoreError, from_native
from voicecore.sinks import OggSink
from voicecore.sources import SAMPLE_RATE, Source, _explained, _refuse_own_input

if TYPE_CHECKING:
    from voicecore.engine import Engine
    from voicecore.sinks import Sink
    from voicecore.statistics import PlayerStatistics

_UNDERRUN_CAUSES = (
    "source_slow",
    "decoder_slow",
    "sealing_late",
    "worker_late",
    "kernel_late",
)
_FINISH_REASONS = ("ended", "stopped", "source_failed", "sink_failed")


class PlayerState(enum.Enum):
    """Where a player is in its life."""

    PRIMING = "priming"
    """The first frame is being prepared."""
    PLAYING = "playing"
    """Frames leave (or an underrun is being waited out)."""
    PAUSED = "paused"
    """Held by `pause`."""
    FINISHED = "finished"
    """Over, and the sink complete."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a player.

    `kind` is one of "started", "paused", "resumed", "seeked", "underrun", "recovered",
    "track_started", "track_failed", "finished". `detail` is the cause of an underrun, the reason of
    the end ("ended", "stopped", "source_failed", "sink_failed"), or empty. `track` counts from 0.
    """

    kind: str
    detail: str = ""
    track: int | None = None


class Player:
    """One playing, from `Engine.play`. Its methods never block, and act within one 20 ms tick.

    Controls and properties are for any thread; everything that is awaited belongs to the engine's
    loop. After the end controls have no effect.
    """

    def __init__(
        self,
        engine: Engine,
        bridge: _bridge.LoopBridge,
        handle: _core.Player,
        sources: list[Source],
        sink: Sink,
        volume: float,
        after: Callable[[BaseException | None], object] | None,
    ) -> None:
        self._engine = engine
        self._bridge = bridge
        self._handle = handle
        self._tracks = [source.info for source in sources]
        self._pumps = [source._pump for source in sources]
        self._sink = sink
        self._volume = volume
        self._native_control: _core.PlayerControl | None = None
        self._after = after
        self._reason: str | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        # Weak: whoever has an iterator keeps its listener.
        self._listeners: weakref.WeakSet[_Listener] = weakref.WeakSet()
        bridge.subscribe(handle.id, self._on_event, self._sweep)

    # -- control -----------------------------------------------------------------------------------

    def pause(self) -> None:
        """Hold the position: five silence frames, then nothing, until `resume`."""
        self._handle.pause()

    def resume(self) -> None:
        """Go on where `pause` stopped."""
        self._handle.resume()

    def stop(self) -> None:
        """End: five silence frames, then the sink is finished. Also when paused."""
        self._handle.stop()

    def seek(self, position: float) -> None:
        """Go on at `position` seconds of the current track; past its end means the next track.

        The current track is the one that `track` tells, from `Engine.play` on and until the next
        one's first frame has left. A player that has run out of tracks and waits (`keep_open`) is
        in the next track as soon as that is appended. Of several seeks in a row the last one holds.

        The old audio ends with this call. The new begins within 50 ms for a local file; until then
        the peer gets silence. Exact, except where `Engine.open` says so of its `start`.

        Raises:
            InvalidArgument: a negative or absurd position.
            NotSeekable: the track is a live stream, a pipe or a push source.
        """
        position = _validate.seconds("position", position)
        track = self._handle.track
        # One that waits may be at the end of this track, which only its feeder knows.
        meant = self._tracks[track : track + (2 if self._handle.waits else 1)]
        if meant and not any(info.seekable for info in meant):
            raise NotSeekable(f"track {track} ({self._tracks[track].codec}) cannot seek")
        self._handle.seek(round(position * SAMPLE_RATE))

    def skip(self) -> None:
        """Go on with the track after the current one, as `seek` says; after the last one, end."""
        self._handle.skip_track()

    def set_volume(self, volume: float) -> None:
        """Change the linear gain, 0 to 4, over one frame. What is buffered is encoded again.

        Raises:
            InvalidArgument: out of range, or not a number.
        """
        self._volume = _validate.volume(volume)
        if self._native_control is not None:
            self._native_control.gain = self._volume
        self._handle.set_volume(self._volume)

    def _control(self) -> _core.PlayerControl:
        """What commands from the queue steer this player with, on no event loop."""
        if self._native_control is None:
            seekable = all(track.seekable for track in self._tracks)
            self._native_control = _core.PlayerControl(self._handle, self._volume, seekable)
        return self._native_control

    def append(self, source: Source) -> None:
        """Add a track after the last one.

        Raises:
            InvalidArgument: no source, or one that reads the file which the sink writes.
            SourceInUse: the source belongs to a player already.
            Closed: the source is closed, or the player has finished.
        """
        _validate.instance("source", source, Source, "a Source")
        if self.finished:
            raise Closed("the player has finished")
        if isinstance(self._sink, OggSink):
            _refuse_own_input(self._sink._file, [source])
        self._handle.append(source._handle)
        self._tracks.append(source.info)
        self._pumps.append(source._pump)

    def close_playlist(self) -> None:
        """With `keep_open=True`: end after the last track, as without it."""
        self._handle.close_playlist()

    # -- state -------------------------------------------------------------------------------------

    @property
    def state(self) -> PlayerState:
        """Where the player is in its life."""
        return PlayerState(self._handle.state)

    @property
    def finished(self) -> bool:
        """Over, and the sink complete."""
        return self.state is PlayerState.FINISHED

    def is_playing(self) -> bool:
        """As discord.py's: started or starting, and not paused."""
        return self.state in (PlayerState.PLAYING, PlayerState.PRIMING)

    def is_paused(self) -> bool:
        """As discord.py's."""
        return self.state is PlayerState.PAUSED

    @property
    def position(self) -> float:
        """Seconds of the current track that have been sent."""
        return self._handle.position / SAMPLE_RATE

    @property
    def track(self) -> int:
        """Which track plays, counted from 0; goes on counting when looping."""
        return self._handle.track

    @property
    def volume(self) -> float:
        """The linear gain set last."""
        if self._native_control is not None:
            return float(self._native_control.gain)
        return self._volume

    @property
    def error(self) -> VoicecoreError | None:
        """Why the player failed; None when it did not."""
        raw = self._handle.error()
        if raw is None:
            return None
        return _explained(from_native(*raw, sink=self._handle.sink_failed), self._pumps)

    def take_track_errors(self) -> list[tuple[int, VoicecoreError]]:
        """The tracks that failed since the last call, with why; playing went on with the next.

        The failure of the last track is also the player's own `error`.
        """
        return [
            (track, _explained(from_native(*raw), self._pumps[track : track + 1]))
            for track, raw in self._handle.track_errors()
        ]

    def statistics(self) -> PlayerStatistics:
        """What was measured so far, or at the end. A few microseconds; from any thread."""
        from voicecore.statistics import Lateness, PlayerStatistics, Underruns

        raw = self._handle.statistics()
        raw["lateness_ms"] = Lateness.from_native(raw["lateness_ms"])
        raw["underruns"] = Underruns(**dict(zip(_UNDERRUN_CAUSES, raw["underruns"], strict=True)))
        return PlayerStatistics(**raw)

    # -- waiting -----------------------------------------------------------------------------------

    async def wait_finished(self) -> None:
        """Wait for the end: the last frame sent and the sink complete.

        Several tasks may wait; cancelling one leaves the player and the others alone.

        Raises:
            OpenError: the source failed while playing.
            SinkError: the sink failed.
            Closed: the event loop or the engine ended first.
        """
        if not self._is_over():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        if (error := self.error) is not None:
            raise error

    def events(self) -> AsyncIterator[Event]:
        """Everything that happens from this call on; the last one is "finished".

        A consumer that falls more than 1,000 events behind loses the oldest.

        Raises:
            Closed: while iterating, the event loop ended before the player.
        """
        listener = _Listener()
        if self._reason is None:
            self._listeners.add(listener)
        else:
            listener.push(Event("finished", self._reason))
        return self._told_to(listener)

    async def _told_to(self, listener: _Listener) -> AsyncIterator[Event]:
        while True:
            if self._is_over() and asyncio.get_running_loop() is not self._bridge.loop:
                # Its events do not come here, and to a loop that has ended they never came.
                reason = self._handle.finish_reason
                assert reason is not None
                listener.push(Event("finished", _FINISH_REASONS[reason]))
            event = await listener.next()
            yield event
            if event.kind == "finished":
                return

    def _is_over(self) -> bool:
        """Whether there is nothing to wait for; the running loop is ours if there is.

        The end is told to one loop only: whoever waited for it in another would wait for ever.
        """
        loop = self._bridge.loop
        if asyncio.get_running_loop() is loop:
            self._bridge._drain()
        elif not self.finished:
            if loop.is_closed():
                raise Closed("the event loop ended before the player")
            raise RuntimeError("this player belongs to another event loop")
        return self.finished

    async def aclose(self) -> None:
        """Stop and wait for the end. Idempotent; never raises the player's own error.

        Where its event loop has ended already, it is stopped and not waited for.
        """
        self.stop()
        with contextlib.suppress(VoicecoreError):
            await self.wait_finished()

    # -- events from native threads ----------------------------------------------------------------

    def _on_event(self, kind: int, value: int) -> None:
        native = _core.EventKind(kind)
        name = native.name.lower()
        detail, track = "", None
        if native is _core.EventKind.UNDERRUN:
            detail = _UNDERRUN_CAUSES[value]
        elif native is _core.EventKind.FINISHED:
            detail = _FINISH_REASONS[value]
        elif native in (_core.EventKind.TRACK_STARTED, _core.EventKind.TRACK_FAILED):
            track = value
        for listener in self._listeners:
            listener.push(Event(name, detail, track))
        if native is _core.EventKind.FINISHED:
            self._finish(detail)

    def _finish(self, reason: str) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        self._bridge.unsubscribe(self._handle.id)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._after is not None:
            after, self._after = self._after, None
            try:
                after(self.error)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                # The callback's own, a task's CancelledError too: reported as the loop reports it.
                self._bridge.loop.call_exception_handler(
                    {"message": "voicecore: the after callback failed", "exception": error}
                )

    def _sweep(self) -> None:
        """Events were lost: look at the state instead."""
        reason = self._handle.finish_reason
        if self._reason is None and reason is not None:
            for listener in self._listeners:
                listener.push(Event("finished", _FINISH_REASONS[reason]))
            self._finish(_FINISH_REASONS[reason])

    def _loop_ended(self) -> None:
        for waiter in self._waiters:
            if not waiter.done() and not waiter.get_loop().is_closed():
                waiter.set_exception(Closed("the event loop ended before the player"))

    def __repr__(self) -> str:
        return (
            f"<voicecore.Player {self.state.value} at {self.position:.2f} s of track {self.track}>"
        )


class _Listener:
    """The queue behind one `events()`."""

    LIMIT = 1_000

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=self.LIMIT)
        self._waiter: asyncio.Future[None] | None = None

    def push(self, event: Event) -> None:
        self._events.append(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> Event:
        while not self._events:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._events.popleft()
