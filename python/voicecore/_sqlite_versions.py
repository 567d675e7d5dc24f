"""Which versions of SQLite have what is to be known of them."""

from __future__ import annotations

import re


def has_wal_race(version: str) -> bool:
    """Whether a commit and a checkpoint of two connections can damage the log in this version.

    SQLite 3.7.0 to 3.51.2, but for 3.44.6 and later of 3.44, and 3.50.7 and later of 3.50. A
    version that cannot be read counts as one that can.
    """
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    if not found:
        return True
    number = (int(found[1]), int(found[2]), int(found[3] or 0))
    mended = {44: 6, 50: 7}
    if number[:2] in {(3, minor) for minor in mended}:
        return number[2] < mended[number[1]]
    return (3, 7, 0) <= number < (3, 51, 3)
