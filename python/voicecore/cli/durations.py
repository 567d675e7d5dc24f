"""Durations on the command line: 90, 1.5, 500ms, 15m, 12h, 30d."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from voicecore import _validate

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic for type checkers of recent versions only

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SHAPE = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?(ms|s|m|h|d|)")

NEVER = float("inf")
"""What `never` gives, where it is allowed."""


class Duration(_ParamType):
    """Seconds, or a number with ms, s, m, h or d behind it.

    Args:
        low: the smallest that is taken, in seconds.
        never: whether the word "never" is taken; it gives `NEVER`.
    """

    name = "duration"

    def __init__(self, low: float = 0.0, *, never: bool = False) -> None:
        self._low = low
        self._never = never

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip().lower()
        if self._never and text == "never":
            return NEVER
        expected = "a number of seconds, or one with ms, s, m, h or d behind it"
        if self._never:
            expected += ", or never"
        found = _SHAPE.fullmatch(text)
        if not found:
            self.fail(f"got {value!r}, expected {expected}", param, ctx)
        seconds = float(found[1]) * _UNITS[found[2]]
        if not self._low <= seconds <= _validate.MAX_SECONDS:
            self.fail(f"got {value!r}, expected {self._low:g} seconds to 366 days", param, ctx)
        return seconds
