"""From `enqueue` to the handler in another process, by the rung that woke it; and idle CPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.awake import AWAKE, can_keep_awake, kept_awake
from benchmarks.lab import Bar, Job, interleave
from benchmarks.processes import BenchmarkError, Sender
from benchmarks.queue_lab import LEVELS, SIZES, QueueLab, spread

NAME = "queue_wake"
TITLE = "From enqueue to the handler in another process"

COUNT = 500
SLOW_COUNT = 200
IDLE_S = 10.0
LIMITS = {"normal": {"p50": 0.5, "p99": 5.0}, "full": {"p50": 3.0}}
IDLE_PERCENT = 0.7


@dataclass(frozen=True)
class Side:
    title: str
    side: str
    settings: dict[str, Any]
    slow: bool = False
    """Waits so long that fewer commands must do."""
    sizes: tuple[int, ...] = SIZES[:1]


OURS = "voicecore, doorbell"
SIDES = (
    Side(OURS, "voicecore", {"rung": "doorbell"}, sizes=SIZES),
    Side("voicecore, data_version", "voicecore", {"rung": "data_version"}, slow=True),
    Side("voicecore, tick", "voicecore", {"rung": "tick"}, slow=True),
    Side("lesson, aiosqlite, 2 s tick", "lesson", {"poll_s": 2.0}, slow=True),
    Side("lesson, aiosqlite, every 10 ms", "lesson", {"poll_s": 0.010}),
    Side("litequeue, every 10 ms", "litequeue", {"poll_s": 0.010}),
    Side("huey, its defaults", "huey", {"poll_s": 0.1}, slow=True),
    Side("huey, every 10 ms", "huey", {"poll_s": 0.010}),
    Side("persist-queue, every 10 ms", "persist-queue", {"poll_s": 0.010}),
)
CORE = "voicecore's core, C++, both processes"
TOLD = "voicecore's core, C++, to a thread in epoll"
FLOORS = {"claimed": CORE, "told": TOLD}
QUICK = (OURS, "voicecore, data_version", "lesson, aiosqlite, 2 s tick")


def run(lab: QueueLab) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for level in LEVELS:
        lab.note(f"enqueue to handler, {level.upper()}")
        fast: list[Job] = []
        once: list[Job] = []
        for side in SIDES:
            if lab.quick and side.title not in QUICK:
                continue
            for size in side.sizes:
                job = (f"{side.title}|{size}", partial(_measure, lab, side, level, size))
                (once if side.slow else fast).append(job)
        fast += [(f"{CORE}|{size}", partial(_core, lab, level, size)) for size in SIZES]
        if can_keep_awake():
            fast += [
                (title.replace("|", f"{AWAKE}|"), partial(kept_awake, run))
                for title, run in fast
                if title.partition("|")[0] in (OURS, CORE)
            ]
        for jobs, repeats in ((fast, lab.repeats(2)), (once, 1)):
            for name, found in interleave(repeats, jobs).items():
                title, _, text = name.partition("|")
                awake = AWAKE if title.endswith(AWAKE) else ""
                seen = found.pop("floors", {title.removesuffix(AWAKE): {}})
                rows += [
                    {"side": side + awake, "level": level, "bytes": int(text), **found, **row}
                    for side, row in seen.items()
                ]
    idle = {side.title: _idle(lab, side) for side in SIDES if not lab.quick or side.title in QUICK}
    for row in rows:
        row["idle_cpu_percent"] = idle.get(row["side"])
    return {"rows": rows, "bars": [bar.record() for bar in _bars(rows)]}


def _measure(lab: QueueLab, side: Side, level: str, size: int) -> dict[str, Any]:
    count = lab.count(SLOW_COUNT if side.slow else COUNT)
    with lab.file() as path:
        spec = {
            "side": side.side,
            "path": path,
            "level": level,
            "count": count,
            "patience_s": count * 0.010 + 15.0,
            **side.settings,
        }
        with Sender("queue_worker", spec, limit=120) as worker:
            result: dict[str, Any] = {}
            for event in worker.events():
                if event.get("event") == "go":
                    wanted = {key: spec[key] for key in ("side", "path", "level", "count")}
                    lab.run("queue_sender", {**wanted, "size": size})
                elif "event" not in event:
                    result = event
            worker.finish()
    latencies = result["latency_ms"]
    if not latencies:
        raise BenchmarkError(f"{side.title}: nothing came")
    return {
        "latency_ms": spread(latencies),
        "sent": count,
        "handled": len(latencies),
        "wakes": result.get("wakes", {}),
    }


def _core(lab: QueueLab, level: str, size: int) -> dict[str, Any]:
    """The same without Python: what two processes, their commits and a bell take here, and what
    waking the thread of an event loop adds."""
    count = lab.count(COUNT)
    with lab.file() as path:
        found = lab.core("wake", path, level, count, size)
    floors = {
        title: {
            "latency_ms": {
                name: round(found[f"{floor}_{name}_ns"] / 1e6, 4) for name in ("p50", "p99", "max")
            }
        }
        for floor, title in FLOORS.items()
    }
    return {"floors": floors, "sent": count, "handled": count, "wakes": {"doorbell": count}}


def _idle(lab: QueueLab, side: Side) -> float:
    """With nothing to do, for ten seconds."""
    lab.note(f"idle CPU: {side.title}")
    with lab.file() as path:
        spec = {
            "side": side.side,
            "path": path,
            "level": "full",
            "count": 1,
            "patience_s": 0.0,
            "idle_s": lab.seconds(IDLE_S, 3.0),
            **side.settings,
        }
        return float(lab.run("queue_worker", spec)["idle_cpu_percent"])


def _bars(rows: list[dict[str, Any]]) -> list[Bar]:
    bars = []
    for row in rows:
        if row["side"] not in (OURS, f"{OURS}{AWAKE}"):
            continue
        case = f"{row['level'].upper()}, {row['bytes']:,} B{row['side'].removeprefix(OURS)}"
        for name, limit in LIMITS[row["level"]].items():
            measured = row["latency_ms"][name] if row["handled"] == row["sent"] else float(10**6)
            bars.append(Bar(f"{case}: {name}", limit, measured, "ms"))
    idle = next(row["idle_cpu_percent"] for row in rows if row["side"] == OURS)
    bars.append(Bar("idle worker, whole process", IDLE_PERCENT, idle, "% of a core"))
    return bars
