"""What the proofs share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .nursery import Nursery
from .scale import FULL


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The proofs are slow; in full they take as long as they take."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)
            if FULL:
                item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where child processes come from."""
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def ram() -> Iterator[Path]:
    """A folder in memory where there is one: a killed process leaves the same there as on a disk,
    and hundreds of new files do not wait for it."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="voicecore-", dir=where) as folder:
        yield Path(folder)
