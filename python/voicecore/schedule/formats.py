"""Schedules as TOML and JSON files, without loss.

TOML is read by `tomllib` and written here: its values are only texts, whole numbers, finite
floats, booleans and lists of texts, for which a dependency would be longer than the writer.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from voicecore.errors import InvalidArgument
from voicecore.schedule.entries import ScheduleEntry
from voicecore.schedule.rules import refuse_unknown

FORMAT = 1
"""Grows when a file of today could be misread; newer files are refused."""


def to_json(entries: Iterable[ScheduleEntry]) -> str:
    """The entries as JSON text, with their ids and generations."""
    return json.dumps(_document(entries), ensure_ascii=False, indent=2) + "\n"


def to_toml(entries: Iterable[ScheduleEntry]) -> str:
    """The entries as TOML text, with their ids and generations; one `[[entry]]` each."""
    document = _document(entries)
    lines = [f"schema = {document['schema']}"]
    for record in document["entry"]:
        lines += ["", "[[entry]]"]
        lines += [f"{name} = {_toml(value)}" for name, value in record.items()]
    return "\n".join(lines) + "\n"


def from_json(text: str) -> list[ScheduleEntry]:
    """Entries from `to_json`'s text, or one that a person wrote.

    Raises:
        InvalidArgument: not JSON, a newer format, or an entry that is none; it says which.
    """
    try:
        return _entries(json.loads(text))
    except InvalidArgument:
        raise
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidArgument(f"not JSON: {error}") from None
    except ValueError:
        raise _too_long() from None


def from_toml(text: str) -> list[ScheduleEntry]:
    """Entries from `to_toml`'s text, or one that a person wrote.

    Times may be given as TOML local times (`times = [08:00:00]`) and dates as local dates.

    Raises:
        InvalidArgument: not TOML, a newer format, or an entry that is none; it says which.
    """
    try:
        return _entries(tomllib.loads(text))
    except InvalidArgument:
        raise
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidArgument(f"not TOML: {error}") from None
    except ValueError:
        raise _too_long() from None


def _too_long() -> InvalidArgument:
    """Python refuses to convert numbers beyond some thousands of digits, from text and to it."""
    return InvalidArgument("got a number of too many digits, expected 64 bits at most")


def _document(entries: Iterable[ScheduleEntry]) -> dict[str, Any]:
    return {"schema": FORMAT, "entry": [entry.to_dict() for entry in entries]}


def _entries(document: Any) -> list[ScheduleEntry]:
    if not isinstance(document, Mapping):
        raise InvalidArgument(f"schedule: got {type(document).__name__}, expected a table")
    refuse_unknown("schedule", document, ("schema", "entry"))
    version = document.get("schema", FORMAT)
    if version != FORMAT or isinstance(version, bool):
        raise InvalidArgument(f"schema: got {version!r}, expected {FORMAT}")
    records = document.get("entry", [])
    if not isinstance(records, list):
        raise InvalidArgument(f"entry: got {type(records).__name__}, expected a list of tables")
    entries = []
    for place, record in enumerate(records, 1):
        try:
            entries.append(ScheduleEntry.from_dict(record))
        except InvalidArgument as error:
            raise type(error)(f"entry {place}: {error}") from None
    return entries


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value) if "e" not in repr(value) else repr(value).replace("e+", "e")
        case str():
            # JSON's escapes are TOML's; entries hold no control characters.
            return json.dumps(value, ensure_ascii=False)
        case list():
            return f"[{', '.join(_toml(one) for one in value)}]"
        case dict():
            return f"{{{', '.join(f'{name} = {_toml(one)}' for name, one in value.items())}}}"
        case _:
            raise TypeError(f"{value!r} is no value of an entry")
