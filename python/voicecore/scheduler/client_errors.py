"""The two classes of discord.py that a bot survives (R13). Only used once a client is attached."""

from __future__ import annotations

import sys


def client_errors() -> tuple[type[BaseException], ...]:
    """discord.py's own, when the process has loaded it; nothing otherwise."""
    discord = sys.modules.get("discord")
    if discord is None:
        return ()
    return (discord.HTTPException, discord.ClientException)
