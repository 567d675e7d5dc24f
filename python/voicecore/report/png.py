"""A picture with a palette as PNG (ISO/IEC 15948), by the standard library alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

# From black over red to pale yellow; perceptually even, and readable without colour.
_ANCHORS = (
    (0, 0, 4),
    (31, 12, 72),
    (85, 15, 109),
    (136, 34, 106),
    (186, 54, 85),
    (227, 89, 51),
    (249, 140, 10),
    (249, 201, 50),
    (252, 255, 164),
)


def heat_palette() -> list[tuple[int, int, int]]:
    """256 colours for levels."""
    colours = []
    for level in range(256):
        place = level / 255 * (len(_ANCHORS) - 1)
        index = min(int(place), len(_ANCHORS) - 2)
        part = place - index
        low, high = _ANCHORS[index], _ANCHORS[index + 1]
        red, green, blue = (round(a + (b - a) * part) for a, b in zip(low, high, strict=True))
        colours.append((red, green, blue))
    return colours


def encode(rows: Sequence[bytes], palette: Sequence[tuple[int, int, int]]) -> bytes:
    """Rows of palette indices, all of one length, from top to bottom.

    Raises:
        ValueError: no rows, or rows of different lengths.
    """
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("expected rows of one length, at least one of at least one pixel")
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 3, 0, 0, 0)
    # Filter type 0 before each row: levels of audio gain nothing from the others.
    pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows), 9)
    colours = b"".join(bytes(colour) for colour in palette)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", colours),
            _chunk(b"IDAT", pixels),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
