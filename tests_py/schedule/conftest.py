"""Both stores, and clocks that a test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schedule.clock import Clock
from schedule.plain_queue import PlainQueue
from voicecore.schedule import MemoryScheduleStore, ScheduleStore, SqliteScheduleStore


@pytest.fixture
def clock() -> Clock:
    """A wall clock and a monotonic one; both stand still until moved."""
    return Clock()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[PlainQueue]:
    """A real file."""
    queue = PlainQueue(tmp_path / "schedule.db")
    yield queue
    queue.close()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest) -> ScheduleStore:
    """Each store in turn: the same promises hold for both."""
    if request.param == "memory":
        return MemoryScheduleStore()
    return SqliteScheduleStore(request.getfixturevalue("plain"))
