"""Both stores, and clocks that a test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schedule.clock import Clock
from schedule.plain_queue import NativeQueue, PlainQueue
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


@pytest.fixture
def native(tmp_path: Path) -> Iterator[NativeQueue]:
    """The real queue."""
    queue = NativeQueue(tmp_path / "queue.db")
    yield queue
    queue.close()


@pytest.fixture(params=["memory", "plain", "native"])
def store(request: pytest.FixtureRequest) -> ScheduleStore:
    """Each store in turn, and each way to its file: the same promises hold for all."""
    if request.param == "memory":
        return MemoryScheduleStore()
    return SqliteScheduleStore(request.getfixturevalue(request.param))
