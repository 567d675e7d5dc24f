"""Files in, Ogg Opus out, as fast as the CPU allows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from voicecore import _bridge, _core, _validate
from voicecore.engine import _native_settings
from voicecore.errors import InvalidArgument, VoicecoreError
from voicecore.settings import EncoderSettings
from voicecore.sources import SAMPLE_RATE, Source, _explained, _one_or_several, _refuse_own_input


@dataclass(frozen=True, slots=True)
class TranscodeResult:
    """What a transcode did."""

    duration_s: float
    """Seconds of audio written."""
    frames: int
    """Packets of 20 ms written."""
    passthrough: int
    """Of those, how many were copied bit for bit."""
    decode_errors: int
    """Damaged packets that were skipped or concealed."""
    elapsed_s: float
    """Seconds it took."""


async def transcode(
    source: Source | Iterable[Source],
    path: str | os.PathLike[str],
    *,
    volume: float = 1.0,
    gap: float = 0.0,
    encoder: EncoderSettings | None = None,
    passthrough: bool = True,
    tags: dict[str, str] | None = None,
    serial: int = 1,
    progress: Callable[[float], object] | None = None,
) -> TranscodeResult:
    """Write `source` (or several, one after the other) into an Ogg Opus file.

    The file's length is exactly the media's, but where copied Opus follows another source: there
    it is up to 20 ms longer. Runs on a native thread.

    Args:
        source: what to convert.
        path: the file; an existing one is replaced. It cannot be one that a source reads.
        volume: linear gain, 0 to 4.
        gap: seconds of silence between sources; 0 joins them without a gap, as `Engine.play` does.
        encoder: Opus settings for what cannot be passed through.
        passthrough: copy Opus packets that are already right.
        tags: comments of the file.
        serial: the Ogg stream's serial number.
        progress: called about ten times a second with the seconds done so far. What it raises ends
            the work as cancelling does.

    Raises:
        InvalidArgument: a value out of its range, no source, or a path that a source reads.
        OpenError: the source failed on the way; what came before it is in the file.
        SinkError: the file cannot be created or written.
        SourceInUse: the source belongs to a player already.

    Cancelling stops the work and leaves a valid file of what was done. A call that is refused
    leaves the file and the sources as they were.
    """
    volume = _validate.volume(volume)
    gap = _validate.seconds("gap", gap)
    sources = _one_or_several(source)
    _validate.path("path", path)
    serial = _validate.whole("serial", serial, 0, 2**32 - 1)
    _validate.flag("passthrough", passthrough)
    _validate.function("progress", progress)
    if encoder is not None:
        _validate.instance("encoder", encoder, EncoderSettings, "EncoderSettings")
    comments = _validate.texts("tags", tags)
    if not sources:
        raise InvalidArgument("no source to transcode; give at least one")
    _refuse_own_input(path, sources)
    bridge = _bridge.current()
    operation = _core.transcode(
        bridge.channel,
        [one._handle for one in sources],
        os.fsencode(path),
        comments,
        serial,
        volume,
        round(gap * SAMPLE_RATE),
        _native_settings(encoder or EncoderSettings()),
        passthrough,
    )
    waiter: asyncio.Future[None] = bridge.loop.create_future()

    def on_event(_kind: int, _value: int) -> None:
        if not waiter.done():
            waiter.set_result(None)

    def on_lost_events() -> None:
        if not operation.running:
            on_event(0, 0)

    bridge.subscribe(operation.id, on_event, on_lost_events)
    try:
        while operation.running:
            await asyncio.wait([waiter], timeout=0.1)
            if progress is not None:
                progress(operation.position / SAMPLE_RATE)
    except GeneratorExit:  # nobody runs this coroutine any more: it must not wait
        operation.cancel()
        raise
    except BaseException:  # cancelled, or what `progress` raised
        operation.cancel()
        await asyncio.wait([waiter])  # cancelled again, it does not wait for the end
        raise
    finally:
        bridge.unsubscribe(operation.id)
    try:
        return TranscodeResult(**operation.result())
    except VoicecoreError as error:
        _explained(error, [one._pump for one in sources])
        raise
