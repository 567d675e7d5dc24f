"""Checks of arguments, before anything crosses into native code."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

from voicecore.errors import InvalidArgument

T = TypeVar("T")
MAX_SECONDS = 366 * 24 * 3600.0


def number(name: str, value: float, low: float, high: float, unit: str = "") -> float:
    """A finite number within [low, high], or `InvalidArgument` that says so."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidArgument(f"{name}: got {value!r}, expected a number")
    if not math.isfinite(value) or not low <= value <= high:
        suffix = f" {unit}" if unit else ""
        raise InvalidArgument(f"{name}: got {value!r}, expected {low:g} to {high:g}{suffix}")
    return float(value)


def whole(name: str, value: int, low: int, high: int, unit: str = "") -> int:
    """An integer within [low, high], or `InvalidArgument` that says so."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        suffix = f" {unit}" if unit else ""
        raise InvalidArgument(f"{name}: got {value!r}, expected an integer {low} to {high}{suffix}")
    return value


def seconds(name: str, value: float) -> float:
    """A duration or position in seconds, not negative."""
    return number(name, value, 0.0, MAX_SECONDS, "seconds")


def volume(value: float) -> float:
    """A linear gain, 0 (mute) to 4."""
    return number("volume", value, 0.0, 4.0)


def instance(name: str, value: object, kind: type, expected: str) -> None:
    """An object of a class of ours, or `InvalidArgument` that says so."""
    if not isinstance(value, kind):
        raise InvalidArgument(f"{name}: got {value!r}, expected {expected}")


def items(name: str, value: Iterable[T], expected: str) -> list[T]:
    """Everything that `value` gives, or `InvalidArgument` when it is not iterable."""
    try:
        return list(value)
    except TypeError:
        raise InvalidArgument(f"{name}: got {value!r}, expected {expected}") from None
