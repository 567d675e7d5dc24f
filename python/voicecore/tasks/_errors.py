"""What misuse of a loop raises: the builtin that `discord.ext.tasks` raises there, and ours."""

from __future__ import annotations

from voicecore.errors import InvalidArgument, VoicecoreError


class WrongType(InvalidArgument, TypeError):
    """Not a coroutine function, an exception class, or a time, where one was expected."""


class AlreadyRunning(VoicecoreError, RuntimeError):
    """`start` on a loop that is running."""
