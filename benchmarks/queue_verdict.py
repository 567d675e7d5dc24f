"""Who loses where, in sentences made from the figures of the queue's run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.tables import milliseconds, number
from benchmarks.workloads.queue_wake import CORE, TOLD

Row = dict[str, Any]


def _wake(found: Row) -> list[str]:
    out = []
    for level in ("normal", "full"):
        rows = [row for row in found["rows"] if row["level"] == level and row["bytes"] == 110]
        if not rows:
            continue
        ours, *others = rows
        best = min(
            (row for row in others if not row["side"].startswith("voicecore")),
            key=lambda row: row["latency_ms"]["p50"],
            default=None,
        )
        text = (
            f"At {level.upper()} a command reaches its handler in another process in "
            f"{milliseconds(ours['latency_ms']['p50'])} ms (median)"
        )
        if best is not None:
            text += (
                f"; the quickest peer, {best['side']}, takes "
                f"{milliseconds(best['latency_ms']['p50'])} ms and "
                f"{best['idle_cpu_percent']:.2f} % of a core while idle, against "
                f"{ours['idle_cpu_percent']:.2f} %"
            )
            if best["latency_ms"]["p50"] < ours["latency_ms"]["p50"]:
                text += ": **voicecore loses here**"
        core, told = (
            next(row for row in rows if row["side"] == side)["latency_ms"]["p50"]
            for side in (CORE, TOLD)
        )
        text += (
            f". Two C++ processes with the same statements and bell need {milliseconds(core)} ms, "
            f"{milliseconds(told)} ms until a second thread is woken, as a loop's is"
        )
        out.append(text + ".")
    ours_idle = found["rows"][0]["idle_cpu_percent"]
    thrifty = sorted(
        {
            row["side"]: row["idle_cpu_percent"]
            for row in found["rows"]
            if not row["side"].startswith("voicecore") and row["idle_cpu_percent"] < ours_idle
        }.items()
    )
    if thrifty:
        listed = ", ".join(f"{side} {percent:.2f} %" for side, percent in thrifty)
        out.append(
            f"Idle, **voicecore loses** to {listed} (it takes {ours_idle:.2f} % of a core): they "
            "look seldom, and are as late as that."
        )
    return out


def _rates(found: Row, what: str, ours: str, others: Callable[[Row], bool]) -> list[str]:
    out = []
    for level in ("normal", "full"):
        for size in sorted({row["bytes"] for row in found["rows"]}):
            rows = [row for row in found["rows"] if row["level"] == level and row["bytes"] == size]
            mine = next(row for row in rows if row["side"] == ours)
            faster = [row for row in rows if others(row) and row["per_s"] > mine["per_s"]]
            if not faster:
                out.append(
                    f"{what} at {level.upper()}, {size:,} B: no peer is faster than {ours} "
                    f"({number(mine['per_s'], 0)} a second)."
                )
                continue
            listed = "; ".join(
                f"{row['side']} with {number(row['per_s'], 0)}"
                + (f" (weaker: {row['weaker']})" if row["weaker"] else "")
                for row in faster
            )
            out.append(
                f"{what} at {level.upper()}, {size:,} B: **{ours} loses** with "
                f"{number(mine['per_s'], 0)} a second to {listed}."
            )
    return out


def _claim(found: Row) -> list[str]:
    return _rates(
        found,
        "Claim and ack one by one",
        "voicecore, SyncCommandQueue",
        lambda row: not row["side"].startswith(("voicecore", "bare")),
    )


def _enqueue(found: Row) -> list[str]:
    return _rates(
        found,
        "Enqueue one by one",
        "voicecore, awaited one by one",
        lambda row: not row["side"].startswith("voicecore") and "batched" not in row["side"],
    ) + _rates(
        found,
        "Enqueue in batches",
        next(row["side"] for row in found["rows"] if "enqueue_many" in row["side"]),
        lambda row: not row["side"].startswith("voicecore") and "batched" in row["side"],
    )


def _ticks(found: Row) -> list[str]:
    out = []
    for condition in dict.fromkeys(row["condition"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["condition"] == condition]
        listed = ", ".join(
            f"{row['side']} {number(row['late_ms']['p99'], 2)}"
            for row in sorted(rows, key=lambda row: row["late_ms"]["p99"])
        )
        out.append(f"Ticks, {condition}, p99 in ms: {listed}.")
    out.append(
        "A tick that Python has to hear of is as late as the interpreter lets it be: beside a busy "
        "thread **voicecore's delivered ticks lose what every asyncio timer loses**; what must not "
        "wait (claims, pause, stop, seek, volume) is done by the native tick."
    )
    return out


def _streams(found: Row) -> list[str]:
    without, *others = found["rows"]
    listed = "; ".join(
        f"{row['side']}: {number(row['handled_per_s'], 0)} carried out a second, slowest gap "
        f"{milliseconds(row['gap_ms']['max'])} ms, {row['cpu_percent']:.0f} % of a core"
        for row in others
    )
    return [
        f"500 streams without commands: slowest gap {milliseconds(without['gap_ms']['max'])} ms, "
        f"{without['cpu_percent']:.0f} % of a core. {listed}."
    ]


def _stop(found: Row) -> list[str]:
    listed = "; ".join(
        f"{row['side']} {milliseconds(row['heard_ms']['p99'])} ms "
        f"({row['while_blocked']} of {row['goes']} while the loop was blocked)"
        for row in found["rows"]
    )
    return [f"`stop` of a blocked bot, p99 until silence: {listed}."]


def _history(found: Row) -> list[str]:
    short, long = found["rows"]
    return [
        f"Beside {long['side']} a claim's p99 is {long['claim_ms']['p99']:.4f} ms, beside none "
        f"{short['claim_ms']['p99']:.4f} ms; an ack, which writes there, "
        f"{long['ack_ms']['p99']:.4f} against {short['ack_ms']['p99']:.4f} ms."
    ]


SENTENCES: dict[str, Callable[[Row], list[str]]] = {
    "queue_wake": _wake,
    "queue_claim": _claim,
    "queue_enqueue": _enqueue,
    "queue_ticks": _ticks,
    "queue_streams": _streams,
    "queue_stop": _stop,
    "queue_history": _history,
}


def sentences(results: Row) -> list[str]:
    return [line for name, found in results["workloads"].items() for line in SENTENCES[name](found)]
