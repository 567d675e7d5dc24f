"""Refuses what no page can be made of, by the name of its field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from voicecore import _validate
from voicecore.errors import InvalidArgument, WrongType
from voicecore.report.model import Picture, Report, Stream

_MOST: Final = 1e19
"""Nanoseconds since 1970 are below it, and whatever is computed of such numbers stays finite."""

_LOG: Final = ("kernel time", "sequence", "time stamp", "bytes")


def check(report: Report) -> None:
    """Look at everything that is computed with.

    Raises:
        InvalidArgument: a value is missing, no number, not finite, or out of its range.
    """
    _stream("ours", report.ours)
    if report.theirs is not None:
        _stream("theirs", report.theirs)
    _counts("played", report.played, ("frames_sent", "silence_frames", "skipped"))
    underruns = report.played.get("underruns")
    if not isinstance(underruns, Mapping):
        raise WrongType(f"played['underruns']: got {underruns!r}, expected counts by their reason")
    _counts("played['underruns']", underruns, tuple(underruns))
    if report.picture is not None:
        _picture(report.picture)


def _stream(name: str, stream: Stream) -> None:
    for row in stream.log:
        _shape(f"{name}.log", row, len(_LOG), "(kernel time, sequence, time stamp, bytes)")
        for what, value in zip(_LOG, row, strict=True):
            _validate.number(f"{name}.log: {what}", value, 0, _MOST)
    for pair in stream.lateness:
        _shape(f"{name}.lateness", pair, 2, "(milliseconds, packets)")
        _validate.number(f"{name}.lateness: milliseconds", pair[0], -_MOST, _MOST)
        _validate.number(f"{name}.lateness: packets", pair[1], 0, _MOST)
    for what in ("first_ms", "opened_ms", "cpu_ms"):
        value = getattr(stream, what)
        if value is not None:
            _validate.number(f"{name}.{what}", value, 0, _MOST, "milliseconds")
    fields = ("packets", "lost", "reordered", "decryption_failures")
    _counts(f"{name}.received", stream.received, fields)


def _picture(picture: Picture) -> None:
    _validate.seconds("picture.seconds", picture.seconds)
    for pair in picture.envelope:
        _shape("picture.envelope", pair, 2, "(lowest, highest)")
        for value in pair:
            _validate.number("picture.envelope", value, -_MOST, _MOST)
    _shape("picture.frequencies", picture.frequencies, 2, "(lowest, highest)")
    low, high = picture.frequencies
    _validate.number("picture.frequencies: the highest", high, 1e-3, _MOST, "Hz")
    _validate.number("picture.frequencies: the lowest", low, 1e-3, math.nextafter(high, 0), "Hz")
    rows = picture.spectrogram
    if any(len(row) != len(rows[0]) for row in rows):
        raise InvalidArgument("picture.spectrogram: got rows of different lengths, expected equal")


def _counts(name: str, record: Mapping[str, Any], wanted: tuple[str, ...]) -> None:
    for one in wanted:
        if one not in record:
            raise InvalidArgument(f"{name}: got no {one!r}, expected one of the JSON record")
        _validate.whole(f"{name}[{one!r}]", record[one], 0, 2**63 - 1)


def _shape(name: str, row: Any, length: int, expected: str) -> None:
    if not hasattr(row, "__len__") or len(row) != length:
        raise InvalidArgument(f"{name}: got {row!r}, expected {expected}")
