"""What the benchmarks make of arrival times, and the pace of their station."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from benchmarks import arrivals
from benchmarks.climb import Side, climb
from benchmarks.recorder import RECORD
from benchmarks.station import BYTES_PER_S, LEAD_S, bytes_due
from hypothesis import given
from hypothesis import strategies as st

FRAME = arrivals.FRAME_NS
MS = 1_000_000


def recording(times: list[int], samples: list[int]) -> Any:
    """One stream's packets: when they came, and their timestamps."""
    rows = np.zeros(len(times), RECORD)
    rows["time_ns"], rows["timestamp"] = times, samples
    rows["ssrc"], rows["size"] = 1, 320
    rows["sequence"] = np.arange(len(times))
    return rows


def with_a_stall(catches_up: bool) -> Any:
    """Four seconds whose second one brings nothing."""
    ticks = [tick for tick in range(200) if not 50 <= tick < 100]
    if not catches_up:
        return recording([t * FRAME for t in ticks], [t * 960 for t in ticks])
    # The debt comes at once, half a millisecond apart.
    times = [
        max(t * FRAME, 100 * FRAME + (t - 50) * MS // 2) if t >= 50 else t * FRAME
        for t in range(200)
    ]
    return recording(times, [t * 960 for t in range(200)])


def test_a_stream_on_its_grid_never_has_two_packets_in_half_a_period() -> None:
    rows = recording([t * FRAME for t in range(200)], [t * 960 for t in range(200)])
    found = arrivals.analyse(rows, 0, 200 * FRAME, 1)
    assert (found["most_in_10_ms"], found["breaks"], found["delivered"]) == (1, 0, 100.0)


def test_a_gap_after_which_a_stream_goes_on_in_step_is_one_break_and_no_burst() -> None:
    found = arrivals.analyse(with_a_stall(catches_up=False), 0, 200 * FRAME, 1)
    assert (found["most_in_10_ms"], found["breaks"], found["caught_up"]) == (1, 1, 0)
    assert found["delivered"] == 75.0


def test_a_debt_that_is_sent_at_once_is_a_burst_and_late() -> None:
    found = arrivals.analyse(with_a_stall(catches_up=True), 0, 200 * FRAME, 1)
    assert (found["most_in_10_ms"], found["breaks"], found["delivered"]) == (20, 1, 100.0)
    assert found["caught_up"] >= 48


@given(st.lists(st.integers(0, 1_000), max_size=40), st.integers(1, 300))
def test_the_most_within_a_span_is_what_counting_from_each_arrival_gives(
    times: list[int], span: int
) -> None:
    times.sort()
    counted = (sum(begin <= t < begin + span for t in times) for begin in times)
    assert arrivals.most_within(np.array(times, np.int64), span) == max(counted, default=0)


def test_a_station_holds_back_what_falls_due_in_a_stall_and_then_owes_nothing() -> None:
    due = partial(bytes_due, stalls=((2.0, 1.0),))
    ahead = BYTES_PER_S * LEAD_S
    assert due(0.0) == ahead
    assert due(2.0) == due(2.999) == ahead + 2 * BYTES_PER_S
    assert due(3.0) == ahead + 3 * BYTES_PER_S


def holding(limit: int) -> Callable[..., dict[str, Any]]:
    return lambda streams: {"streams": streams, "delivered": 100.0 if streams <= limit else 50.0}


def test_a_side_climbs_until_it_no_longer_delivers() -> None:
    sides = [
        Side("stops", holding(20), (10, 20, 40, 60)),
        Side("goes on", holding(20), (40, 60), climbs_on=True),
    ]
    sizes: list[int] = []
    rows = climb(sides, repeats=lambda size: 2, note=sizes.append)
    assert [(row["side"], row["streams"]) for row in rows] == [
        ("stops", 10),
        ("stops", 20),
        ("stops", 40),
        ("goes on", 40),
        ("goes on", 60),
    ]
    assert sizes == [10, 20, 40, 60]
    # Repeated only where all is delivered.
    assert [row["runs"] for row in rows] == [2, 2, 1, 1, 1]
