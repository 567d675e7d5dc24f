"""The `voicecore` command."""

from __future__ import annotations

from voicecore.cli.app import main, run

__all__ = ["main", "run"]
