"""`stop` from another process to silence, while the bot's event loop is blocked for a second."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final

import voicecore
from benchmarks import arrivals
from benchmarks.lab import Bar
from benchmarks.processes import Sender
from benchmarks.queue_lab import QueueLab, spread
from benchmarks.queue_peers import LESSON_SCHEMA, pragma
from benchmarks.recorder import Recorder

NAME = "queue_stop"
TITLE = "Stop from another process, the event loop blocked for a second"

SESSIONS, ROUNDS, STOCK_ROUNDS = 10, 6, 2
FIRST_S, BETWEEN_S = 0.05, 0.041
"""Stops are sent within the second, and at every phase of the 20 ms of a frame."""
P99_MS = 60.0
LEVEL: Final = "full"
SIDES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("voicecore", "voicecore", {}),
    ("discord.py, aiosqlite every 10 ms", "stock", {"poll_s": 0.010}),
    ("discord.py, aiosqlite, 2 s tick", "stock", {"poll_s": 2.0}),
)


def run(lab: QueueLab) -> dict[str, Any]:
    rows = []
    for title, side, settings in SIDES[:2] if lab.quick else SIDES:
        lab.note(f"stop of a blocked bot: {title}")
        rounds = ROUNDS if side == "voicecore" else STOCK_ROUNDS
        found = _measure(lab, side, 1 if lab.quick else rounds, settings)
        rows.append({"side": title, **found})
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _measure(lab: QueueLab, side: str, rounds: int, settings: dict[str, Any]) -> dict[str, Any]:
    calls: dict[int, int] = {}
    awake: list[int] = []
    with lab.file() as path, Recorder(lab.audio.programs.recorder, limit=100) as recorder:
        spec = {
            "side": side,
            "file": lab.audio.media.opus,
            "port": recorder.port,
            "path": path,
            "level": LEVEL,
            "rounds": rounds,
            "sessions": SESSIONS,
            **settings,
        }
        with Sender("queue_bots", spec, limit=100) as bot:
            stop = _voicecore_stop(path) if side == "voicecore" else _lesson_stop(path)
            result: dict[str, Any] = {}
            for event in bot.events():
                if event.get("event") == "blocked":
                    time.sleep(FIRST_S)
                    for key in event["keys"]:
                        calls[key] = time.time_ns()
                        stop(key)
                        time.sleep(BETWEEN_S)
                elif event.get("event") == "awake":
                    awake.append(event["at"])
                else:
                    result = event
            bot.finish()
        recording = recorder.stop()
    heard = arrivals.first_after(recording.rows, calls, silence_only=True)
    times = [value for value in heard.values() if value is not None]
    still_blocked = sum(
        value is not None and calls[key] + value * 1e6 < awake[(key - 1) // SESSIONS]
        for key, value in heard.items()
    )
    return {
        "goes": len(calls),
        "never": len(calls) - len(times),
        "heard_ms": spread(times),
        "while_blocked": still_blocked,
        "steered": result["steered"],
    }


def _voicecore_stop(path: str) -> Callable[[int], object]:
    queue = voicecore.SyncCommandQueue(path, synchronous=LEVEL)
    return lambda key: queue.enqueue("stop", key=key)


def _lesson_stop(path: str) -> Callable[[int], object]:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(pragma(LEVEL))
    connection.execute(LESSON_SCHEMA)
    return lambda key: connection.execute(
        "INSERT INTO bot_commands(command, entry_id) VALUES ('stop', ?)", (key,)
    )


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    ours = rows[0]
    # Not heard at all is worse than any time.
    measured = ours["heard_ms"]["p99"] if ours["never"] == 0 else float(10**6)
    return [Bar(f"p99 of {ours['goes']}", P99_MS, measured, "ms")]
