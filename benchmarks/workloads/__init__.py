"""The measurements, one module each, in the order of the reports.

Each has a `NAME`, a `TITLE` and `run(lab)` (a `Lab` for audio, a `QueueLab` for the queue), which
returns a record with `bars` (targets and what was measured) and the runs behind them.
"""

from __future__ import annotations

from types import ModuleType

from benchmarks.workloads import (
    control,
    cpu,
    disturbed,
    encoder,
    first_frame,
    lateness,
    memory,
    passthrough,
    queue_claim,
    queue_enqueue,
    queue_history,
    queue_stop,
    queue_streams,
    queue_ticks,
    queue_wake,
    stalls,
    transcode,
    volume,
)

AUDIO: tuple[ModuleType, ...] = (
    passthrough,
    disturbed,
    first_frame,
    transcode,
    encoder,
    volume,
    stalls,
    cpu,
    lateness,
    memory,
    control,
)

QUEUE: tuple[ModuleType, ...] = (
    queue_wake,
    queue_claim,
    queue_enqueue,
    queue_ticks,
    queue_streams,
    queue_stop,
    queue_history,
)
