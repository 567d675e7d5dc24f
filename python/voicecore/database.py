"""The one error class that needs Python's `sqlite3`, which `import voicecore` does without."""

from __future__ import annotations

import sqlite3

from voicecore.errors import VoicecoreError


class DatabaseError(VoicecoreError, sqlite3.OperationalError):
    """SQLite failed: a full disk, a lock held too long, a file that was replaced.

    Also a `sqlite3.Error`, so that code written for Python's own module catches it.

    Attributes:
        sqlite_errorcode: SQLite's extended result code; 0 when the failure is not SQLite's own.
    """

    sqlite_errorcode: int

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.sqlite_errorcode = code
