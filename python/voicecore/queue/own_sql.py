"""What a user's own SQL may be, on the connection that the queue itself works with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from typing import Final

from voicecore import _validate
from voicecore.errors import InvalidArgument, WrongType
from voicecore.queue.model import Value

_COMMENT: Final = r"--[^\n]*|/\*(?:.*?\*/|.*)"
# As texts: re compiles them on first use, and who only sends commands never does.
_FIRST_WORD: Final = rf"(?is)(?>(?:[\s;\ufeff]|{_COMMENT})*)([a-z]+)"
_SETTING: Final = r"(?i)pragma\s+(?:\w+\s*\.\s*)?(\w+)\s*[=(]"

_TRANSACTIONS: Final = ("begin", "commit", "end", "rollback", "savepoint", "release")
_FILES: Final = ("attach", "detach")
_READ: Final = (
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
)
"""Pragmas whose argument says what to look at. Any other one is a setting."""


def statement(sql: str) -> str:
    """One statement that leaves the connection as it is.

    Raises:
        InvalidArgument: it begins or ends a transaction, attaches a file or changes a setting: the
            queue's own statements, on the same connection, would meet it.
    """
    _validate.word("sql", sql, "a statement")
    found = re.match(_FIRST_WORD, sql)
    first = found[1].lower() if found is not None else ""
    if first in _TRANSACTIONS:
        expected = "one that neither begins nor ends a transaction; see transaction()"
    elif first in _FILES:
        expected = "one on the queue's own file"
    elif first == "pragma" and _sets(sql):
        expected = "one that changes no setting of the queue's connection"
    else:
        return sql
    raise InvalidArgument(f"sql: got {sql[:80]!r}, expected {expected}")


def _sets(pragma: str) -> bool:
    found = re.search(_SETTING, re.sub(rf"(?s){_COMMENT}", " ", pragma))
    return found is not None and found[1].lower() not in _READ


def parameters(values: Iterable[Value]) -> list[Value]:
    """The values of a statement's places, in their order.

    Raises:
        WrongType: a mapping, whose keys would be taken for them, or a single text.
    """
    if isinstance(values, (Mapping, Set, str, bytes, bytearray, memoryview)):
        raise WrongType(
            f"parameters: got {values!r}, expected a sequence of values, one for each place (?)"
        )
    found = _validate.items("parameters", values, "a sequence of values")
    for one in found:
        if isinstance(one, str) and not one.isascii():
            _validate.text("parameters", one)
    return found
