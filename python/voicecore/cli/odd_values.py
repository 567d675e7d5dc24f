"""Values of a file that anybody may have typed: any column can hold anything."""

from __future__ import annotations

import math
from typing import Any


def number(value: object) -> bool:
    """One that can be a time: neither a text nor infinite."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def seconds(value: Any) -> float | None:
    """A column of milliseconds in seconds; None when it holds something else."""
    return value / 1000 if number(value) else None


def text(value: object) -> str:
    """A column of text, whatever it holds."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def show(value: object) -> str:
    """A value that is wrong where it stands."""
    if isinstance(value, bytes):
        return f"a blob of {len(value):,} bytes"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
