"""What a queue says to values that it cannot take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voicecore import InvalidArgument, SyncCommandQueue

BAD: list[tuple[str, Callable[[SyncCommandQueue], Any]]] = [
    ("command", lambda q: q.enqueue("x\ud800")),
    ("requested_by", lambda q: q.enqueue("x", requested_by=5)),
    ("dedup_key", lambda q: q.enqueue("x", dedup_key=5)),
    ("key", lambda q: q.enqueue("x", key="\ud800")),
    ("entry_id", lambda q: q.enqueue("x", 2**70)),
    ("delay", lambda q: q.enqueue("x", delay=float("nan"))),
    ("id", lambda q: q.get(2**70)),
    ("id", lambda q: q.cancel(2**70)),
    ("id", lambda q: q.history(before=2**70)),
]


@pytest.mark.parametrize(("name", "call"), BAD)
def test_a_value_it_cannot_take_is_named_and_nothing_is_sent(
    tmp_path: Path, name: str, call: Callable[[SyncCommandQueue], Any]
) -> None:
    with SyncCommandQueue(tmp_path / "q.db") as queue:
        with pytest.raises(InvalidArgument, match=name):
            call(queue)
        assert queue.peek() == []


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_that_names_no_file_is_refused_before_any_is_made(path: str) -> None:
    with pytest.raises(InvalidArgument, match="path"):
        SyncCommandQueue(path)
