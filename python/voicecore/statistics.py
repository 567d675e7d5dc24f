"""What was measured: frozen records, the same numbers for the API, the command line and reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Histogram = tuple[tuple[float, int], ...]


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late packets left, in milliseconds after their deadline, taken at the send call."""

    p50: float
    """Half of the packets left at most this late."""
    p90: float
    """Nine in ten left at most this late."""
    p99: float
    """99 % left at most this late."""
    p99_9: float
    """99.9 % left at most this late."""
    max: float
    """The latest of all."""
    count: int
    """Packets measured, silence frames included."""
    histogram: Histogram
    """Non-empty buckets: (upper edge in milliseconds, packets)."""

    @classmethod
    def from_native(cls, raw: dict[str, Any]) -> Lateness:
        """From the dictionary that the core hands out."""
        return cls(**raw)


@dataclass(frozen=True, slots=True)
class Underruns:
    """How often there was nothing to send when a frame was due, by what held it up."""

    source_slow: int
    """The input (network, pipe, pushing caller) had nothing."""
    decoder_slow: int
    """A feeder was working on this player and was not done."""
    sealing_late: int
    """End-to-end encryption was not ahead."""
    worker_late: int
    """Every feeder was busy with other players."""
    kernel_late: int
    """A feeder had been woken but was not given a CPU."""

    @property
    def total(self) -> int:
        """All causes together."""
        return (
            self.source_slow
            + self.decoder_slow
            + self.sealing_late
            + self.worker_late
            + self.kernel_late
        )


@dataclass(frozen=True, slots=True)
class PlayerStatistics:
    """One player, from its first frame until now."""

    frames_sent: int
    """Frames of 20 ms handed to the sink: media, and the gaps between tracks. Those sent when a
    break begins are not included."""
    passthrough: int
    """Of those, how many were copied bit for bit instead of encoded."""
    silence_frames: int
    """Opus silence frames sent when a break began."""
    skipped: int
    """Ticks given up after a stall; media is delayed by them, none is dropped."""
    late: int
    """Packets that left more than 5 ms after their deadline."""
    dropped: int
    """Packets that the system could not take (send buffer full), and refusals by the peer's host
    (nobody listens there)."""
    overflow: int
    """Packets lost before a file or memory sink's own thread took them."""
    ticks: int
    """20 ms periods since the first frame, skipped ones included."""
    seek_ticks: int
    """Ticks without a frame because a seek was under way."""
    underruns: Underruns
    """Ticks at which the ring ran empty."""
    decode_errors: int
    """Damaged packets that were skipped or concealed."""
    first_frame_ms: float | None
    """From `play` to the first packet; None before it."""
    duration_s: float
    """Seconds in `frames_sent`: whole frames, gaps between tracks included."""
    position_s: float
    """Position in the current track."""
    lateness_ms: Lateness
    """How late packets left."""
    cpu_ms: dict[str, float]
    """CPU time by stage: `decode`, `encode` (feeders) and `send` (the clock thread's share)."""

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        from dataclasses import asdict

        record = asdict(self)
        lateness = record["lateness_ms"]
        lateness["histogram"] = [list(bucket) for bucket in lateness["histogram"]]
        return record


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """The threads that all players share."""

    priority: str
    """What the system granted to the clock thread: "realtime", "nice" or "normal"."""
    feeders: int
    """Feeder threads."""
    players: int
    """Players on the clock now."""
    clock_turns: int
    """Wake-ups of the clock thread so far."""
    clock_cpu_ms: float
    """CPU time of the clock thread, as of the last time it fell idle."""
    lateness_ms: Lateness
    """Over every packet of every player."""
