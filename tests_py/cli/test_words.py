"""Statistics in words."""

from __future__ import annotations

from typing import Any

import pytest

from voicecore.cli.words import play_summary, receive_summary

PLAYED: dict[str, Any] = {
    "frames_sent": 50,
    "duration_s": 1.0,
    "sink": "null:",
    "passthrough": 0,
    "silence_frames": 5,
    "virtual": True,
    "underruns": {},
    "decode_errors": 0,
    "dropped": 0,
    "overflow": 0,
    "cpu_ms": {},
}
REJECTED = {"decryption_failures": 0, "malformed": 0, "foreign_ssrc": 0, "keepalives": 0, "rtcp": 0}


@pytest.mark.parametrize(
    ("name", "one", "two"),
    [
        ("decode_errors", "1 damaged packet was skipped", "2 damaged packets were skipped"),
        ("dropped", "1 packet was refused", "2 packets were refused"),
        ("overflow", "1 packet was lost", "2 packets were lost"),
    ],
)
def test_a_single_lost_packet_is_one(name: str, one: str, two: str) -> None:
    assert one in " ".join(play_summary({**PLAYED, name: 1}))
    assert two in " ".join(play_summary({**PLAYED, name: 2}))


@pytest.mark.parametrize(
    ("name", "one", "two"),
    [
        ("malformed", "1 that is not RTP.", "2 that are not RTP."),
        ("keepalives", "1 keep-alive.", "2 keep-alives."),
        ("rtcp", "1 RTCP datagram.", "2 RTCP datagrams."),
        ("foreign_ssrc", "1 of another stream.", "2 of another stream."),
    ],
)
def test_a_single_rejected_datagram_is_one(name: str, one: str, two: str) -> None:
    for number, text in ((1, one), (2, two)):
        record = {"packets": 0, "datagrams": number, **REJECTED, name: number}
        assert receive_summary(record)[0].endswith(f"none valid: {text}")
