"""Keys of the streams: each has its own, as each voice session has."""

from __future__ import annotations

import hashlib

_MASTER = bytes(range(32))


def key_of(ssrc: int) -> bytes:
    """The 32 bytes that both ends use for stream `ssrc`."""
    return hashlib.sha256(_MASTER + ssrc.to_bytes(4, "big")).digest()
