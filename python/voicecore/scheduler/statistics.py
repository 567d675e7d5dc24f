"""What a scheduler counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from voicecore.statistics import Lateness


@dataclass(frozen=True, slots=True)
class SchedulerStatistics:
    """A snapshot."""

    healthy: bool
    """As `Scheduler.healthy`."""
    ticks: int
    """Ticks of the native grid."""
    missed: int
    """Periods that no `tick` answered for: the native thread came too late, the event loop was
    blocked, or the `tick` before took longer. Counted when the next one begins."""
    claimed: int
    """Commands claimed natively."""
    steered: int
    """Of them, carried out natively: a running session was steered without the event loop."""
    troubles: int
    """Failures of the file, each tried again later."""
    lost_leases: int
    """Leases that ran out although this process lives: it had stood still for too long."""
    wakes: Mapping[str, int]
    """How work was noticed: "doorbell", "data_version", "tick", "local"."""
    outcomes: Mapping[str, int]
    """Commands that went through Python, by outcome: "done", "started", "busy", "failed", ..."""
    warnings: int
    """Recoverable errors that were logged and survived (lesson R13)."""
    sessions: int
    """Running now."""
    lateness_ms: Lateness
    """Of ticks, by the native grid."""
