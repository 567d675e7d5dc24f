"""Every test here runs on both engines, and may be a coroutine function."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

from contract.harness import ENGINES, Bench


@pytest.fixture(params=sorted(ENGINES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """A file, and the engine under test."""
    return Bench(request.param, tmp_path / "queue.db")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
