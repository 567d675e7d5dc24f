"""The report: numbers in, one self-contained page out."""

from __future__ import annotations

import math
import re
import struct
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecore.errors import InvalidArgument
from voicecore.report import Picture, Report, Stream, png, render
from voicecore.report.charts import Axis, bin_edges, even_ticks, log_bins, round_up, time_ticks
from voicecore.report.model import percentile, weighted_percentile
from voicecore.report.page import ms, verdict

VOID = {"meta", "path", "rect", "image", "br"}


def stream(name: str, gaps_ms: list[float], **more: Any) -> Stream:
    """A stream with these gaps, and five silence frames at its end."""
    now, rows = 1_700_000_000_000_000_000, []
    for number, gap in enumerate([0.0, *gaps_ms]):
        now += round(gap * 1e6)
        rows.append((now, number, 960 * number, 300 + number % 7))
    for _ in range(5):
        now += 20_000_000
        rows.append((now, len(rows), 960 * len(rows), 3))
    received = {"packets": len(rows), "lost": 0, "reordered": 0, "decryption_failures": 0}
    return Stream(name, rows, received, **more)


PLAYED: dict[str, Any] = {
    "frames_sent": 101,
    "silence_frames": 5,
    "skipped": 0,
    "underruns": {"source_slow": 0},
}
OURS = stream("ours 1.0", [20.0] * 100, lateness=[(0.05, 90), (0.2, 11)], first_ms=3.0, cpu_ms=20.0)
THEIRS = stream("theirs 2.0", [40.0, *[20.1, 19.9] * 50], lateness=[(1.5, 101)])
PICTURE = Picture(
    seconds=2.0,
    envelope=[(-0.5, 0.5)] * 40,
    spectrogram=[bytes(range(40))] * 20,
    frequencies=(50.0, 20_000.0),
)
REPORT = Report(
    file="a <b> & c.mp3",
    ours=OURS,
    played=PLAYED,
    theirs=THEIRS,
    picture=PICTURE,
    audio=b"OggS-audio",
    words=["99 % within 0.1 ms <really>"],
    versions=[("lib", "1.0")],
)


class Page(HTMLParser):
    """Checks that tags nest, and collects what the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_refers_to_nothing_outside() -> None:
    text = render(REPORT)
    page = Page(text)
    assert {"audio", "svg", "table", "style"} <= set(page.tags)
    assert page.addresses
    assert all(address.startswith("data:") for address in page.addresses)
    assert not re.search(r"https?://|@import|url\(", text)


def test_it_follows_light_and_dark_and_fits_a_phone() -> None:
    text = render(REPORT)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_names_from_outside_are_escaped() -> None:
    text = render(REPORT)
    assert "a &lt;b&gt; &amp; c.mp3" in text
    assert "<b> & c" not in text
    assert "&lt;really&gt;" in text


def test_without_a_peer_a_picture_or_audio_it_is_a_page_still() -> None:
    text = render(replace(REPORT, theirs=None, picture=None, audio=None))
    assert "audio" not in Page(text).tags
    assert "theirs" not in text


def test_with_nothing_received_it_is_a_page_still() -> None:
    empty = Stream("ours", [], {**OURS.received, "packets": 0})
    text = render(Report(file="x", ours=empty, played=PLAYED))
    Page(text)
    assert "Nothing arrived" in text


def received_once() -> Stream:
    return stream("ours", [], lateness=[(0.05, 6)], first_ms=3.0, cpu_ms=20.0)


def test_one_packet_is_a_page_still() -> None:
    for alone in (received_once(), replace(received_once(), log=received_once().log[:1])):
        text = render(replace(REPORT, ours=alone, theirs=None))
        Page(text)
        assert "One packet alone arrived" in text
        assert 'class="dots s1"' in text
    silence = replace(received_once(), log=received_once().log[1:])
    assert "Only silence arrived" in render(replace(REPORT, ours=silence))


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2 * 10**9, 10**19]), st.integers(0, 9)), max_size=3),
    st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 1e19]), st.integers(0, 2)), max_size=2),
    st.sampled_from([None, 0.0, 1e19]),
)
def test_few_packets_at_odd_times_are_a_page_still(
    packets: list[tuple[int, int]], lateness: list[tuple[float, int]], number: float | None
) -> None:
    log = [(time, 0, 0, size) for time, size in packets]
    more: dict[str, Any] = dict.fromkeys(("first_ms", "opened_ms", "cpu_ms"), number)
    ours = Stream("ours", log, OURS.received, lateness, **more)
    for theirs in (None, THEIRS, ours):
        text = render(Report("x", ours, PLAYED, theirs, replace(PICTURE, seconds=0.0), b"a"))
        Page(text)
        assert len(text) < 200_000
        assert not re.search(r"\b(nan|inf)\b", text)


def test_a_recording_too_short_to_be_drawn_is_a_page_still() -> None:
    for rows in ([], [b""]):
        text = render(replace(REPORT, picture=Picture(0.0, [], rows, (50.0, 20_000.0))))
        assert "Spectrogram" not in text
        Page(text)


@pytest.mark.parametrize(
    ("says", "changed"),
    [
        ("ours.log: got", {"log": [(1, 2, 3)]}),
        ("ours.log: kernel time: got nan", {"log": [(math.nan, 0, 0, 300)]}),
        ("ours.log: bytes: got -1", {"log": [(1, 0, 0, -1)]}),
        ("ours.lateness: milliseconds: got inf", {"lateness": [(0.0, 1), (math.inf, 2)]}),
        ("ours.lateness: milliseconds: got nan", {"lateness": [(math.nan, 2)]}),
        ("ours.lateness: packets: got -1", {"lateness": [(0.1, -1)]}),
        ("ours.lateness: got", {"lateness": [5]}),
        ("ours.first_ms: got nan", {"first_ms": math.nan}),
        ("ours.cpu_ms: got '5'", {"cpu_ms": "5"}),
        ("ours.received: got no 'lost'", {"received": {"packets": 1}}),
        ("ours.received\\['lost'\\]: got 'x'", {"received": {**OURS.received, "lost": "x"}}),
    ],
)
def test_nonsense_of_a_stream_is_refused_by_name(says: str, changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=f"^{says}"):
        render(replace(REPORT, ours=replace(OURS, **changed)))


@pytest.mark.parametrize(
    ("says", "changed"),
    [
        ("played: got no 'skipped'", {"played": {"frames_sent": 1, "silence_frames": 1}}),
        ("played\\['underruns'\\]: got 5", {"played": {**PLAYED, "underruns": 5}}),
        ("played\\['underruns'\\]\\['a'\\]", {"played": {**PLAYED, "underruns": {"a": 0.5}}}),
        ("picture.seconds: got inf", {"picture": replace(PICTURE, seconds=math.inf)}),
        ("picture.envelope: got nan", {"picture": replace(PICTURE, envelope=[(math.nan, 1.0)])}),
        ("picture.frequencies", {"picture": replace(PICTURE, frequencies=(0.0, 9.0))}),
        ("picture.frequencies", {"picture": replace(PICTURE, frequencies=(9.0, 9.0))}),
        (
            "picture.spectrogram: .* different",
            {"picture": replace(PICTURE, spectrogram=[b"a", b""])},
        ),
    ],
)
def test_nonsense_of_a_report_is_refused_by_name(says: str, changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=f"^{says}"):
        render(replace(REPORT, **changed))


def test_a_name_that_is_not_utf_8_is_written_with_its_odd_bytes() -> None:
    text = render(replace(REPORT, file="caf\udce9.mp3"))
    assert "caf\\udce9.mp3" in text
    text.encode()


def test_a_large_recording_is_not_embedded() -> None:
    assert "<audio" not in render(replace(REPORT, audio=bytes(9_000_000)))


def test_silence_at_the_end_is_no_gap() -> None:
    assert len(OURS.gaps()) == 100
    assert {gap for _, gap in OURS.gaps()} == {20.0}
    assert OURS.ending_ms() == pytest.approx(80)
    assert OURS.seconds == pytest.approx(2.0)
    assert OURS.cpu_percent == pytest.approx(1.0)


def test_the_verdict_is_fair_when_there_is_no_difference() -> None:
    assert "both are good at it" in verdict(REPORT)
    bad = stream("theirs", [20.0] * 50 + [300.0])
    assert "both are good" not in verdict(replace(REPORT, theirs=bad))


@given(st.binary(min_size=1, max_size=50), st.integers(1, 20))
def test_a_png_holds_its_pixels(row: bytes, rows: int) -> None:
    data = png.encode([row] * rows, png.heat_palette())
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, place = {}, 8
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        crc = int.from_bytes(data[place + 8 + size : place + 12 + size], "big")
        assert crc == zlib.crc32(kind + body)
        chunks[kind] = body
        place += 12 + size
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (len(row), rows)
    assert len(chunks[b"PLTE"]) == 768
    assert zlib.decompress(chunks[b"IDAT"]) == (b"\0" + row) * rows


def test_a_png_of_nothing_or_of_uneven_rows_is_refused() -> None:
    for rows in ([], [b""], [b"ab", b"a"]):
        with pytest.raises(ValueError, match="one length"):
            png.encode(rows, png.heat_palette())


@given(st.lists(st.tuples(st.floats(0, 1e4), st.integers(1, 1000)), min_size=1))
def test_a_histogram_loses_nothing(values: list[tuple[float, int]]) -> None:
    assert sum(log_bins(values)) == pytest.approx(1.0)


@given(st.floats(0.001, 99))
def test_a_value_lies_in_its_bin(value: float) -> None:
    index = log_bins([(value, 1)]).index(1.0)
    low, high = bin_edges(index)
    assert low * 0.999 <= value <= high * 1.001


@given(st.floats(1e-3, 1e6))
def test_an_axis_ends_past_its_largest_value_at_a_round_one(top: float) -> None:
    end = round_up(top)
    assert top <= end * (1 + 1e-9)
    assert end <= 2 * top + 1e-9
    assert 2 <= len(even_ticks(end, "", 4)) <= 7


@given(st.floats(0.5, 1e5))
def test_time_ticks_are_few_and_inside(seconds: float) -> None:
    ticks = time_ticks(seconds)
    assert 1 <= len(ticks) <= 30
    assert all(0 <= value <= seconds * 1.001 for value, _ in ticks)


@given(st.floats(allow_nan=False), st.booleans())
def test_every_value_has_a_place_on_an_axis(value: float, logarithmic: bool) -> None:
    assert 0 <= Axis(1, 100, logarithmic=logarithmic).place(value) <= 1


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
def test_percentiles_agree_weighted_or_not(values: list[float], share: float) -> None:
    plain = percentile(values, share)
    assert plain in values
    assert weighted_percentile([(value, 1) for value in values], share) == pytest.approx(plain)
    assert sum(value <= plain for value in values) >= share * len(values) - 1e-9


def test_milliseconds_have_the_digits_they_deserve() -> None:
    assert [ms(v) for v in (None, math.nan, 0.0423, 3.14159, 83.2, 1234.5)] == [
        "–",
        "–",
        "42 µs",
        "3.14 ms",
        "83.20 ms",
        "1,234 ms",
    ]
