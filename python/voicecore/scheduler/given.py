"""The functions that a user gives: looked at when given, judged by what they return."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any, cast

from voicecore.errors import InvalidArgument, WrongType


def async_function(name: str, function: object) -> None:
    """Refuse what surely gives nothing to await: a function that lacks its `async`, a generator.

    So is what cannot be called with one argument, which all of them take: a method that is not
    bound to its object, for example.

    A lambda, a `functools.partial` and other objects that can be called may give something to
    await: they are judged by what they return, see `awaitable`.
    """
    written = inspect.unwrap(function) if callable(function) else None
    plain = (
        (inspect.isfunction(written) or inspect.ismethod(written))
        and not inspect.iscoroutinefunction(written)
        and written.__name__ != "<lambda>"
    )
    if written is None or plain or inspect.isgeneratorfunction(written):
        raise WrongType(f"{name}: got {function!r}, expected an async function (async def)")
    try:
        inspect.signature(cast(Any, function)).bind(None)
    except TypeError as problem:
        raise WrongType(
            f"{name}: got {function!r}, expected a function of one argument ({problem})"
        ) from None
    except ValueError:
        pass  # not every function that is written in C can tell


def awaitable(name: str, result: object) -> Awaitable[object]:
    """What a function returned; `InvalidArgument`, the command's failure, when that cannot be
    awaited."""
    if not inspect.isawaitable(result):
        given = type(result).__name__
        raise InvalidArgument(
            f"{name}: it returned {given}, expected something to await (async def)"
        )
    return cast(Awaitable[object], result)
