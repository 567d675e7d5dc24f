"""The other end: receives RTP, decrypts, checks, measures, records."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Self

from voicecore import _bridge, _core, _validate
from voicecore.errors import InvalidArgument
from voicecore.sinks import MODES, Mode
from voicecore.statistics import Histogram


@dataclass(frozen=True, slots=True)
class ArrivalTimes:
    """A distribution in milliseconds."""

    p50: float
    """Median."""
    p90: float
    """90th percentile."""
    p99: float
    """99th percentile."""
    p99_9: float
    """99.9th percentile."""
    max: float
    """Largest."""
    count: int
    """Values measured."""
    histogram: Histogram
    """Non-empty buckets: (upper edge in milliseconds, count)."""


@dataclass(frozen=True, slots=True)
class ReceiverStatistics:
    """What arrived, by the kernel's receive timestamps."""

    datagrams: int
    """Datagrams of any kind."""
    bytes: int
    """Their UDP payload."""
    packets: int
    """Valid media packets, silence frames included."""
    silence_frames: int
    """Opus silence frames among them."""
    decryption_failures: int
    """Datagrams whose authentication tag does not fit."""
    malformed: int
    """Datagrams that are not RTP."""
    not_opus: int
    """RTP packets that decrypt to something other than Opus; counted as packets, not recorded."""
    kernel_drops: int
    """Datagrams lost in this socket's own buffer: the receiver's loss, not the network's."""
    ssrc: int | None
    """The stream's RTP synchronisation source; None before its first packet."""
    foreign_ssrc: int
    """Datagrams of another stream."""
    keepalives: int
    """Keep-alive datagrams."""
    rtcp: int
    """RTCP datagrams, which are counted and otherwise ignored."""
    lost: int
    """Sequence numbers that never came."""
    duplicates: int
    """Sequence numbers that came again."""
    reordered: int
    """Packets that came after a later one."""
    restarts: int
    """Times that the sequence numbers began anew elsewhere: another sender, or the same again."""
    longest_burst: int
    """Most packets in a row less than 1 ms apart."""
    duration_s: float
    """From the first packet to the last."""
    gap_ms: ArrivalTimes
    """Time between consecutive packets; pauses announced by the RTP timestamp not included."""
    jitter_ms: ArrivalTimes
    """Arrival against the RTP timestamps' grid, the earliest packet being 0."""

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        from dataclasses import asdict

        record = asdict(self)
        for name in ("gap_ms", "jitter_ms"):
            record[name]["histogram"] = [list(bucket) for bucket in record[name]["histogram"]]
        return record


@dataclass(frozen=True, slots=True)
class Arrival:
    """One packet of the log."""

    time_ns: int
    """The kernel's receive time, nanoseconds since 1970."""
    sequence: int
    """RTP sequence number."""
    timestamp: int
    """RTP timestamp, 48 kHz."""
    size: int
    """Bytes of the Opus packet."""


class Receiver:
    """Receives one stream on a native thread until stopped, idle or out of time.

    Args:
        host: local address to bind, or a name.
        port: local UDP port; 0 lets the system choose (`port` tells).
        mode: transport encryption.
        key: 32 bytes; none with mode "none".
        ssrc: the stream to listen to; None takes the first that comes.
        ogg: record into this Ogg Opus file. What is missing by the RTP timestamps, pauses too, is
            silence there, 5 seconds at most for each: a longer pause is recorded as 5.
        log: keep an `Arrival` for each packet, at most a million: `take_arrivals` makes room.
        idle: end this many seconds after the last packet, also of one that the key or the SSRC does
            not fit as long as none has fitted; None waits on.
        duration: end this many seconds after construction, 0 at once; None has no limit.

    An asynchronous context manager; leaving it stops and finishes the file.

    Raises:
        InvalidArgument: a value out of its range, or a key of the wrong length.
        AddressInUse: the port belongs to somebody else.
        SinkError: the file cannot be created.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        mode: Mode = "aead_xchacha20_poly1305_rtpsize",
        key: bytes = b"",
        ssrc: int | None = None,
        ogg: str | os.PathLike[str] | None = None,
        log: bool = False,
        idle: float | None = None,
        duration: float | None = None,
    ) -> None:
        _validate.word("host", host, "an address or a name")
        port = _validate.whole("port", port, 0, 65_535)
        if mode not in MODES:
            raise InvalidArgument(f"mode: got {mode!r}, expected one of {', '.join(MODES)}")
        if ssrc is not None:
            ssrc = _validate.whole("ssrc", ssrc, 0, 2**32 - 1)
        if idle is not None:
            idle = _validate.number("idle", idle, 0.02, 86_400.0, "seconds")
        if duration is not None:
            duration = _validate.seconds("duration", duration)
        if ogg is not None:
            _validate.path("ogg", ogg)
        secret = _validate.key(key)
        self._native = _core.Receiver(
            host,
            port,
            mode,
            secret,
            ssrc,
            os.fsencode(ogg) if ogg is not None else "",
            1_000_000 if log else 0,
            idle,
            duration,
        )

    @property
    def port(self) -> int:
        """The UDP port it listens on."""
        return self._native.port

    @property
    def running(self) -> bool:
        """False once it has ended and the file is finished."""
        return self._native.running

    def statistics(self) -> ReceiverStatistics:
        """What has arrived so far."""
        raw = self._native.statistics()
        for name in ("gap_ms", "jitter_ms"):
            raw[name] = ArrivalTimes(**raw[name])
        wanted = {field.name for field in fields(ReceiverStatistics)}
        return ReceiverStatistics(**{name: raw[name] for name in wanted})

    def arrivals(self) -> list[Arrival]:
        """The log so far, in order of arrival."""
        return [Arrival(*row) for row in self._native.arrivals()]

    def take_arrivals(self) -> list[Arrival]:
        """The log since the last call; makes room for a million more."""
        return [Arrival(*row) for row in self._native.take_arrivals()]

    def stop(self) -> None:
        """End, and finish the file, soon. Idempotent."""
        self._native.stop()

    async def wait(self) -> None:
        """Wait for the end.

        Raises:
            SinkError: the file could not be written.
        """
        bridge = _bridge.current()
        waiter: asyncio.Future[None] = bridge.loop.create_future()

        def on_event(_kind: int, _value: int) -> None:
            if not waiter.done():
                waiter.set_result(None)

        def on_lost_events() -> None:
            if not self.running:
                on_event(0, 0)

        subject = self._native.watch(bridge.channel)
        bridge.subscribe(subject, on_event, on_lost_events)
        try:
            if self._native.running:
                await waiter
        finally:
            bridge.unsubscribe(subject)
            self._native.unwatch(subject)
        self._native.check()

    async def aclose(self) -> None:
        """`stop` and wait. Idempotent."""
        self.stop()
        await self.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
