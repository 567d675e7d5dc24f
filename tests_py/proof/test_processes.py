"""Several processes on one file: nothing is claimed twice, each key's commands run in order."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from voicecore.queue import SyncCommandQueue

from .nursery import Nursery
from .scale import scaled, tell
from .test_crashes import independent_check


@pytest.mark.parametrize("workers", [2, 4])
def test_two_senders_and_several_workers_claim_nothing_twice(
    nursery: Nursery, tmp_path: Path, workers: int
) -> None:
    count, keys = scaled(4_000, 100_000), 40
    db, stop = tmp_path / "queue.db", tmp_path / "stop"
    with SyncCommandQueue(db):
        pass
    logs = [tmp_path / f"{n}.log" for n in range(2 + workers)]
    began = time.monotonic()
    senders = [
        nursery.start("send", db=db, log=log, count=count // 2, keys=keys, seed=n)
        for n, log in enumerate(logs[:2])
    ]
    busy = [
        nursery.start("work", db=db, log=log, stop=stop, lease=30.0, limit=8, seed=n)
        for n, log in enumerate(logs[2:])
    ]
    assert [nursery.wait(pid) for pid in senders] == [0, 0]
    stop.touch()
    assert [nursery.wait(pid) for pid in busy] == [0] * workers
    spent = time.monotonic() - began
    figures = independent_check(db, logs)
    assert (figures["history"], figures["runs"], figures["repeated"]) == (count, count, 0)
    assert figures["workers"] == workers, "one of them did nothing: no race was run"
    tell(f"{workers} workers: {figures} in {spent:.1f} s")
