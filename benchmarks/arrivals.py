"""What arrival times say: delivery, gaps, bursts, lateness, what a jitter buffer must conceal."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.recorder import SILENCE_DATAGRAM

FRAME_NS = 20_000_000
BURST_NS = 1_000_000
"""Packets of one stream closer than this came in one burst."""
JITTER_NS = 1_000_000
"""What arrivals are later by than the most punctual one, without being late."""
EDGE_NS = 500_000_000
CROWD_NS = 10_000_000
"""Half a period: what is on time comes alone in it."""
BUFFER_NS = 60_000_000
"""Depth of the jitter buffer whose concealment is counted."""

Rows = npt.NDArray[Any]


def spread(values: npt.NDArray[Any]) -> dict[str, float]:
    """p50, p99, p99.9 and max of nanoseconds, in milliseconds."""
    if len(values) == 0:
        return {"p50": 0.0, "p99": 0.0, "p99_9": 0.0, "max": 0.0}
    p50, p99, p999 = np.percentile(values, [50, 99, 99.9])
    return {
        "p50": round(float(p50) / 1e6, 4),
        "p99": round(float(p99) / 1e6, 4),
        "p99_9": round(float(p999) / 1e6, 4),
        "max": round(float(values.max()) / 1e6, 4),
    }


def by_stream(rows: Rows) -> dict[int, Rows]:
    """Rows of each SSRC, in order of arrival."""
    if len(rows) == 0:
        return {}
    ordered = rows[np.argsort(rows["ssrc"], kind="stable")]
    ssrcs, starts = np.unique(ordered["ssrc"], return_index=True)
    return {
        int(ssrc): part for ssrc, part in zip(ssrcs, np.split(ordered, starts[1:]), strict=True)
    }


def undelivered(times: Rows, late: Rows, t0: int, t1: int) -> int:
    """Periods of 20 ms that a stream let pass without a packet, by its backlog.

    A sender that keeps up is on time again and again, however much it jitters; one that does not
    lags more and more. So: how far the most punctual packet of the last half second lags behind
    that of the first. What the timestamps leave out is counted by the caller.

    Args:
        times: of arrival, sorted.
        late: arrival against the timestamps, in the same order.
    """
    head = late[times < t0 + EDGE_NS]
    tail = late[times >= t1 - EDGE_NS]
    missing = 0
    if len(head) == 0:
        missing += (int(times[0]) - t0) // FRAME_NS
        head = late[:1]
    if len(tail) == 0:
        missing += (t1 - int(times[-1])) // FRAME_NS
        tail = late[-1:]
    backlog = int(tail.min()) - int(head.min())
    return int(missing + max(0, (backlog + FRAME_NS // 2) // FRAME_NS))


def longest_run(holds: npt.NDArray[Any]) -> int:
    """Most neighbours in a row of which it holds."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], holds.astype(np.int8), [0]))))
    runs = edges[1::2] - edges[::2]
    return int(runs.max()) if len(runs) else 0


def most_within(times: npt.NDArray[Any], span: int) -> int:
    """Most of them within any stretch of `span`; `times` are sorted."""
    if len(times) == 0:
        return 0
    until = np.searchsorted(times, times + span)
    return int((until - np.arange(len(times))).max())


def analyse(rows: Rows, t0: int, t1: int, streams: int) -> dict[str, Any]:
    """One window of one run.

    Args:
        rows: of a recording.
        t0: start of the window, nanoseconds since 1970.
        t1: its end.
        streams: how many were meant to play.
    """
    rows = rows[(rows["time_ns"] >= t0) & (rows["time_ns"] < t1)]
    # Silence frames announce a break: an underrun's are no delivery.
    media = rows[rows["size"] != SILENCE_DATAGRAM]
    parts = by_stream(media)
    periods = (t1 - t0) // FRAME_NS
    due = streams * periods
    missing = (streams - len(parts)) * periods
    lost = concealed = 0
    burst, caught_up, crowd, breaks = 1, 0, 0, 0
    gaps: list[npt.NDArray[Any]] = []
    lateness: list[npt.NDArray[Any]] = []
    for part in parts.values():
        arrivals = part["time_ns"].astype(np.int64)
        # The kernel stamps before it queues: two CPUs may swap neighbours.
        times = np.sort(arrivals)
        gap = np.diff(times)
        gaps.append(gap)
        # Packets in a row that are less than 1 ms apart; 1 when every packet stands alone.
        burst = max(burst, longest_run(gap < BURST_NS) + 1)
        crowd = max(crowd, most_within(times, CROWD_NS))
        breaks += int((gap > BUFFER_NS).sum())
        steps = np.mod(np.diff(part["sequence"].astype(np.int64)), 1 << 16)
        lost += int((steps[steps < 32768] - 1).sum())
        stamps = np.cumsum(np.mod(np.diff(part["timestamp"].astype(np.int64)), 1 << 32))
        media_ns = np.concatenate(([0], stamps)) * 1_000_000 // 48
        late = arrivals - media_ns
        late -= late.min()
        lateness.append(late)
        # Packets in a row whose period was over when they came, by more than their jitter.
        caught_up = max(caught_up, longest_run(late >= FRAME_NS + JITTER_NS))
        holes = int(np.maximum(np.diff(media_ns) // FRAME_NS - 1, 0).sum())
        missing += min(periods, holes + undelivered(times, late, t0, t1))
        # A buffer that waits when it runs dry stretches once for the worst packet so far, and fills
        # what the timestamps leave out.
        stretch = max(0, int(late.max() - late[0]) - BUFFER_NS)
        concealed += -(-stretch // FRAME_NS) + holes
    return {
        "streams": streams,
        "heard": len(parts),
        "delivered": round(100.0 * (due - missing) / due, 4),
        "due": int(due),
        "gap_ms": spread(np.concatenate(gaps) if gaps else np.array([])),
        "lateness_ms": spread(np.concatenate(lateness) if lateness else np.array([])),
        "longest_burst": burst,
        "most_in_10_ms": crowd,
        "breaks": breaks,
        "caught_up": caught_up,
        "lost": lost,
        "silence": len(rows) - len(media),
        "concealed_percent": round(100.0 * concealed / due, 4),
    }


def gap_histogram(rows: Rows, t0: int, t1: int, edges: npt.NDArray[Any]) -> list[int]:
    """Gaps of all streams, counted into `edges` (milliseconds)."""
    parts = by_stream(rows[(rows["time_ns"] >= t0) & (rows["time_ns"] < t1)])
    gaps = [np.diff(np.sort(part["time_ns"].astype(np.int64))) for part in parts.values()]
    if not gaps:
        return [0] * (len(edges) - 1)
    counts, _ = np.histogram(np.concatenate(gaps) / 1e6, bins=edges)
    return [int(count) for count in counts]


def first_after(
    rows: Rows, calls: dict[int, int], *, silence_only: bool = False
) -> dict[int, float | None]:
    """From each stream's call (ns since 1970) to its next datagram, in milliseconds."""
    if silence_only:
        rows = rows[rows["size"] == SILENCE_DATAGRAM]
    parts = by_stream(rows)
    out: dict[int, float | None] = {}
    for ssrc, call in calls.items():
        times = np.sort(parts[ssrc]["time_ns"].astype(np.int64)) if ssrc in parts else np.array([])
        at = int(np.searchsorted(times, call))
        out[ssrc] = round((int(times[at]) - call) / 1e6, 3) if at < len(times) else None
    return out
