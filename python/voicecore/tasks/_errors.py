"""What misuse of a loop raises: the builtin that `discord.ext.tasks` raises there, and ours."""

from __future__ import annotations

from voicecore.errors import VoicecoreError, WrongType

__all__ = ["AlreadyRunning", "WrongType"]


class AlreadyRunning(VoicecoreError, RuntimeError):
    """`start` on a loop that is running."""
