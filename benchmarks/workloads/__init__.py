"""The measurements, one module each, in the order of the report.

Each has a `NAME`, a `TITLE` and `run(lab)`, which returns a record with `bars` (targets and what
was measured) and the runs behind them.
"""

from __future__ import annotations

from types import ModuleType

from benchmarks.workloads import (
    control,
    cpu,
    disturbed,
    first_frame,
    lateness,
    memory,
    passthrough,
    transcode,
)

ALL: tuple[ModuleType, ...] = (
    passthrough,
    disturbed,
    first_frame,
    transcode,
    cpu,
    lateness,
    memory,
    control,
)
