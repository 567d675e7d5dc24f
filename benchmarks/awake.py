"""The same run with the processors kept awake (`voicecore.CpuLatencyRequest`), for every side."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from voicecore import CpuLatencyRequest

T = TypeVar("T")
AWAKE = ", processors awake"
"""Ends the names of such runs. There are none where the kernel refuses the request."""


def can_keep_awake() -> bool:
    with CpuLatencyRequest() as request:
        return request.granted


def kept_awake(run: Callable[[], T]) -> T:
    with CpuLatencyRequest():
        return run()
