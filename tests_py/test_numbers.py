"""Numbers of NumPy, fractions and decimals are numbers; truths, texts and times are none."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Runner
from voicecore import (
    EncoderSettings,
    Engine,
    InvalidArgument,
    ManualClock,
    NullSink,
    SyncCommandQueue,
    ToneSource,
    UdpSink,
    WrongType,
    _validate,
    transcode,
)
from voicecore.schedule import Interval, ScheduleEntry
from voicecore.schedule.zones import instant

HALVES: list[Any] = [
    np.float16(0.5),
    np.float32(0.5),
    np.float64(0.5),
    np.array(0.5, np.float32),
    np.array([0.5])[0],
    Fraction(1, 2),
    Decimal("0.5"),
]
THREES: list[Any] = [np.int8(3), np.int64(3), np.uint16(3), np.arange(9)[3], np.array(3)]
NONE: list[Any] = [
    True,
    np.True_,
    "3",
    np.str_("3"),
    b"3",
    None,
    3j,
    np.complex64(3),
    np.timedelta64(3, "ns"),
    np.datetime64(3, "ns"),
    np.zeros(2),
]


@pytest.mark.parametrize("value", [*HALVES, *THREES], ids=repr)
def test_a_real_number_is_one_and_becomes_a_float(value: Any) -> None:
    number = _validate.number("x", value, 0, 4)
    assert type(number) is float
    assert number == float(value)


@pytest.mark.parametrize("value", THREES, ids=repr)
def test_an_integer_is_one_and_becomes_an_int(value: Any) -> None:
    number = _validate.whole("x", value, 0, 4)
    assert type(number) is int
    assert number == 3


@pytest.mark.parametrize("value", NONE, ids=repr)
def test_what_only_converts_to_a_number_is_none(value: Any) -> None:
    with pytest.raises(WrongType, match=r"^x: got .*, expected a number"):
        _validate.number("x", value, 0, 4)
    with pytest.raises(WrongType, match=r"^x: got .*, expected an integer"):
        _validate.whole("x", value, 0, 4)


@pytest.mark.parametrize("value", HALVES, ids=repr)
def test_half_is_no_integer(value: Any) -> None:
    with pytest.raises(WrongType, match=r"^x: got .*, expected an integer"):
        _validate.whole("x", value, 0, 4)


@pytest.mark.parametrize(
    "value", [np.float32("nan"), np.float16("inf"), np.int64(5), Fraction(10**400), Decimal("NaN")]
)
def test_a_number_out_of_range_is_told_as_it_was_given(value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^x: got .*, expected 0 to 4") as caught:
        _validate.number("x", value, 0, 4)
    assert not isinstance(caught.value, WrongType)
    assert repr(value) in str(caught.value)


def test_sources_sinks_and_players_take_them(run: Runner, tmp_path: Path) -> None:
    one: Any = np.int64(1)
    half: Any = np.float32(0.5)

    async def main() -> None:
        clock = ManualClock()
        async with Engine(feeders=one, clock=clock) as engine:
            wave = tmp_path / "a.ogg"
            tone = ToneSource(np.float32(440), one, amplitude=half)  # type: ignore[arg-type]
            made = await transcode(tone, wave, volume=half, gap=half, serial=one)
            assert made.duration_s == 1.0
            source = await engine.open(wave, start=half, timeout=one, reconnects=one)
            player = engine.play(source, NullSink(), volume=half, gap=half, loop=one)
            assert type(player.volume) is float
            player.seek(half)
            player.set_volume(Fraction(1, 4))  # type: ignore[arg-type]
            assert player.volume == 0.25
            await clock.advance(np.float32(3))  # type: ignore[arg-type]
            await player.wait_finished()

    run(main())
    assert UdpSink("127.0.0.1", np.uint16(5), ssrc=np.uint32(7), mode="none").ssrc == 7  # type: ignore[arg-type]
    settings = EncoderSettings(bitrate_kbps=np.int64(64), expected_loss=half)  # type: ignore[arg-type]
    assert (type(settings.bitrate_kbps), type(settings.expected_loss)) == (int, float)


def test_a_queue_takes_them(tmp_path: Path) -> None:
    guild: Any = np.int64(2**60)
    two: Any = np.int32(2)
    with SyncCommandQueue(tmp_path / "q.db", lease=two, play_expires_after=np.float32(9)) as queue:  # type: ignore[arg-type]
        queue.enqueue("x", two, key=guild, priority=two, max_attempts=two, expires_after=two)
        (claimed,) = queue.claim(limit=two, lease=two)
        assert (claimed.entry_id, claimed.key, claimed.priority) == (2, str(2**60), 2)
        assert queue.nack(claimed, "no", retry_in=np.float32(0.5), max_attempts=two)  # type: ignore[arg-type]
        queue.prune(np.float32(5), limit=two)  # type: ignore[arg-type]


def test_a_schedule_takes_them_and_can_be_stored() -> None:
    rule = Interval(np.int64(3600), anchor=np.int64(60))  # type: ignore[arg-type]
    assert json.loads(json.dumps(rule.to_dict())) == {"every": 3600, "anchor": 60}
    entry = ScheduleEntry("x", rule, key=np.int64(5), remind_minutes=np.int64(3), id=np.int64(9))  # type: ignore[arg-type]
    found = (entry.key, entry.remind_minutes, entry.id)
    assert found == ("5", 3, 9)
    assert [type(one) for one in found] == [str, int, int]
    assert instant("after", np.float32(64)) == 64.0  # type: ignore[arg-type]
