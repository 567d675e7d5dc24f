"""One kind of file: what one engine has made, the other goes on with."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from contract.harness import Bench, one


def words(sql: str | None) -> str:
    return re.sub(r"\s+", " ", sql or "").replace("( ", "(").replace(" )", ")").strip()


async def test_both_engines_make_the_same_tables(tmp_path: Path) -> None:
    made = []
    for engine in ("reference", "native"):
        bench = Bench(engine, tmp_path / engine)
        async with bench.queue():
            pass
        sql = (
            "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
        )
        tables = [(kind, name, words(text)) for kind, name, text in bench.stranger(sql)]
        marks = [bench.stranger(f"PRAGMA {name}") for name in ("application_id", "user_version")]
        made.append((tables, marks, bench.stranger("SELECT version FROM voicecore_schema")))
    assert made[0] == made[1]


@pytest.mark.parametrize(("first", "second"), [("reference", "native"), ("native", "reference")])
async def test_either_engine_goes_on_where_the_other_stopped(
    tmp_path: Path, first: str, second: str
) -> None:
    bench = Bench(first, tmp_path / "queue.db")
    async with bench.queue() as before:
        done = await before.enqueue("work", 1, key="a")
        await before.ack(await one(before), "kept")
        lost = await before.enqueue("work", 2, key="a", args={"x": "ü"}, max_attempts=2)
        await before.claim()
        waiting = await before.enqueue("work", 3, key="b", delay=40)
    async with bench.queue(second) as after:
        assert (await after.wait_result(done, 1)).text == "kept"
        bench.wall.pass_(31)
        command = await one(after)
        assert (command.id, command.attempt, command.args) == (lost, 2, {"x": "ü"})
        await after.ack(command)
        bench.wall.pass_(9)
        assert (await one(after)).id == waiting


async def test_the_file_is_in_wal_mode(bench: Bench) -> None:
    """R51."""
    async with bench.queue():
        assert bench.stranger("PRAGMA journal_mode") == [["wal"]]


async def test_a_lock_held_elsewhere_for_too_long_is_an_sqlite_error(bench: Bench) -> None:
    async with bench.queue(busy_timeout=0.05) as queue, bench.queue() as other:
        await other.enqueue("work")
        blocker = sqlite3.connect(bench.path, isolation_level=None)
        try:
            blocker.execute("BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.Error, match="locked"):
                await queue.enqueue("work")
            assert len(await queue.peek()) == 1  # readers are not held up
        finally:
            blocker.execute("ROLLBACK")
            blocker.close()
        await queue.enqueue("work")
