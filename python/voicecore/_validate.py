"""Checks of arguments, before anything crosses into native code."""

from __future__ import annotations

import contextlib
import math
import operator
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from voicecore.errors import InvalidArgument, WrongType

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

T = TypeVar("T")
MAX_SECONDS = 366 * 24 * 3600.0


def number(name: str, value: float, low: float, high: float, unit: str = "") -> float:
    """A finite number within [low, high], as a float, or `InvalidArgument` that says so."""
    plain = real(value)
    if plain is None:
        raise WrongType(f"{name}: got {value!r}, expected a number")
    # In this order: an integer beyond every float can be compared, but not be converted.
    if not low <= plain <= high or not math.isfinite(plain):
        suffix = f" {unit}" if unit else ""
        raise InvalidArgument(f"{name}: got {value!r}, expected {low:g} to {high:g}{suffix}")
    return float(plain)


def whole(name: str, value: int, low: int, high: int, unit: str = "") -> int:
    """An integer within [low, high], as an `int`, or `InvalidArgument` that says so."""
    plain = integer(value)
    if plain is None or not low <= plain <= high:
        suffix = f" {unit}" if unit else ""
        error = WrongType if plain is None else InvalidArgument
        raise error(f"{name}: got {value!r}, expected an integer {low} to {high}{suffix}")
    return plain


def integer(value: Any) -> int | None:
    """What counts as an integer elsewhere (NumPy's, say) as Python's own; None: it is none."""
    if value.__class__ is int:
        return value
    try:
        return operator.index(value) if _countable(value) else None
    except TypeError:
        return None


def real(value: Any) -> float | None:
    """The same for any real number: fractions and decimals too."""
    if value.__class__ is float:
        return value
    whole = integer(value)
    if whole is not None or not _countable(value) or not hasattr(value, "__float__"):
        return whole
    try:
        return float(value)
    except OverflowError:
        return math.inf  # a fraction beyond every float
    except (TypeError, ValueError):
        return None


def _countable(value: Any) -> bool:
    # NumPy's truths, texts, times and complex numbers convert to numbers as well.
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    return not isinstance(value, (bool, str)) and kind in ("i", "u", "f")


def seconds(name: str, value: float) -> float:
    """A duration or position in seconds, not negative."""
    return number(name, value, 0.0, MAX_SECONDS, "seconds")


def volume(value: float) -> float:
    """A linear gain, 0 (mute) to 4."""
    return number("volume", value, 0.0, 4.0)


def instance(name: str, value: object, kind: type, expected: str) -> None:
    """An object of that class, or `WrongType` that says so."""
    if not isinstance(value, kind):
        raise WrongType(f"{name}: got {value!r}, expected {expected}")


def items(name: str, value: Iterable[T], expected: str) -> list[T]:
    """Everything that `value` gives, or `WrongType` when it is not iterable."""
    try:
        found = iter(value)
    except TypeError:
        raise WrongType(f"{name}: got {value!r}, expected {expected}") from None
    return list(found)


def path(name: str, value: str | bytes | os.PathLike[Any]) -> str | bytes:
    """The name of a file, as it is given."""
    try:
        found: str | bytes = os.fspath(value)
        usable = bool(found) and b"\0" not in os.fsencode(found)
    except TypeError:
        raise WrongType(f"{name}: got {value!r}, expected the name of a file") from None
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise InvalidArgument(f"{name}: got {value!r}, expected the name of a file")
    return found


def text(name: str, value: str, expected: str = "a text") -> str:
    """A text that UTF-8 can hold."""
    instance(name, value, str, expected)
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise InvalidArgument(f"{name}: {problem}; expected text that UTF-8 can hold") from None
    return value


def word(name: str, value: str, expected: str) -> str:
    """A text that C functions take: without a zero, where it would end for them."""
    if "\0" in text(name, value, expected):
        raise InvalidArgument(f"{name}: got {value!r}, expected {expected}")
    return value


def texts(name: str, value: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """The pairs of a mapping of texts; none for None."""
    if value is None:
        return []
    instance(name, value, Mapping, "a mapping of texts")
    return [(text(name, one), text(name, other)) for one, other in value.items()]


def octets(name: str, value: Buffer) -> memoryview:
    """Bytes in any container. Messages do not show them: they can be many."""
    try:
        view = memoryview(value)
    except TypeError:
        given = type(value).__name__
        raise WrongType(f"{name}: got {given}, expected bytes or another buffer") from None
    if not view.nbytes:
        return memoryview(b"")  # what has a length of zero cannot be cast
    try:
        return view.cast("B")
    except (TypeError, ValueError) as problem:
        raise InvalidArgument(f"{name}: {problem}; expected contiguous bytes") from None


def key(value: bytes | Iterable[int]) -> bytes:
    """A key, also as the list of integers that Discord sends. Messages do not show it."""
    if not isinstance(value, (int, str)):  # a number would give so many zeros
        with contextlib.suppress(TypeError, ValueError):
            return bytes(value)
    raise WrongType(f"key: got {type(value).__name__}, expected bytes")


def flag(name: str, value: bool) -> bool:
    """True or False, or what converts to them by itself; a text never does."""
    if value is not None and not hasattr(type(value), "__bool__"):
        raise WrongType(f"{name}: got {value!r}, expected True or False")
    return bool(value)


def function(name: str, value: object) -> None:
    """Something to call, or None."""
    if value is not None and not callable(value):
        raise WrongType(f"{name}: got {value!r}, expected a function")
