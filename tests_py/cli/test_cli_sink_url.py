"""SINK as people type it."""

from __future__ import annotations

import contextlib
import os
import string
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.command import KEY
from voicecore.cli.sink_url import (
    NullTarget,
    OggTarget,
    RtpTarget,
    fresh_nonce,
    join_address,
    parse_sink,
)
from voicecore.errors import InvalidArgument
from voicecore.sinks import MODES

PRINTABLE = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def rtp(text: str, *, listening: bool = False) -> RtpTarget:
    target = parse_sink(text, listening=listening)
    assert isinstance(target, RtpTarget)
    return target


@given(PRINTABLE.filter(bool))
def test_everything_after_ogg_is_the_path(path: str) -> None:
    assert parse_sink(f"ogg:{path}") == OggTarget(path)


def test_null_takes_nothing() -> None:
    assert parse_sink("null:") == NullTarget()
    with pytest.raises(InvalidArgument):
        parse_sink("null:x")


@given(
    host=st.text(string.ascii_lowercase + string.digits + ".-", min_size=1),
    port=st.integers(1, 65_535),
    ssrc=st.integers(0, 2**32 - 1),
    mode=st.sampled_from(MODES),
    upper=st.booleans(),
    hexadecimal=st.booleans(),
)
def test_an_rtp_address_is_read_as_written(
    host: str, port: int, ssrc: int, mode: str, upper: bool, hexadecimal: bool
) -> None:
    number = hex(ssrc) if hexadecimal else str(ssrc)
    key = "" if mode == "none" else "&key=" + (KEY.upper() if upper else KEY)
    target = rtp(f"rtp://{host}:{port}?ssrc={number}&mode={mode}{key}")
    wanted = b"" if mode == "none" else bytes(range(32))
    assert target == RtpTarget(host, port, ssrc, MODES[MODES.index(target.mode)], wanted)
    assert target.mode == mode


def test_ipv6_stands_in_brackets() -> None:
    target = rtp("rtp://[::1]:5004?mode=none")
    assert (target.host, target.port) == ("::1", 5004)
    assert target.address == "[::1]:5004"
    with pytest.raises(InvalidArgument, match="brackets"):
        parse_sink("rtp://::1:5004?mode=none")


@given(st.ip_addresses(), st.integers(1, 65_535))
def test_every_address_survives_being_joined_and_read(address: object, port: int) -> None:
    target = rtp(f"rtp://{join_address(str(address), port)}?mode=none")
    assert (target.host, target.port) == (str(address), port)


@given(st.text(min_size=1).filter(lambda zone: "\0" not in zone))
def test_every_zone_survives_being_joined_and_read(zone: str) -> None:
    target = rtp(f"rtp://{join_address(f'fe80::1%{zone}', 1)}?mode=none")
    assert (target.host, target.port) == (f"fe80::1%{zone}", 1)


def test_a_zone_is_read_as_rfc_6874_and_people_write_it() -> None:
    for text in ("fe80::1%25eth0", "fe80::1%eth0", "fe80::1%25%65th0"):
        target = rtp(f"rtp://[{text}]:1?mode=none")
        assert target.host == "fe80::1%eth0"
        assert target.address == "[fe80::1%25eth0]:1"


def test_without_a_mode_it_is_the_one_that_always_works() -> None:
    assert rtp(f"rtp://h:1?key={KEY}").mode == "aead_xchacha20_poly1305_rtpsize"


def test_port_0_is_for_listening() -> None:
    assert rtp("rtp://h:0?mode=none", listening=True).port == 0
    with pytest.raises(InvalidArgument, match="1 to 65535"):
        parse_sink("rtp://h:0?mode=none")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected ogg:PATH"),
        ("song.ogg", "expected ogg:PATH"),
        ("http://x", "unknown kind 'http'"),
        ("ogg:", "path of a file"),
        ("rtp:h:1", "rtp://HOST:PORT"),
        ("rtp://", "host is missing"),
        ("rtp://:5004", "host is missing"),
        ("rtp://h", "port is missing"),
        ("rtp://h:", "port is missing"),
        ("rtp://[::1]", "port is missing"),
        ("rtp://[::1]5004", "[IPv6 address]:PORT"),
        ("rtp://[::1", "[IPv6 address]:PORT"),
        ("rtp://[h]:1", "[IPv6 address]:PORT"),
        ("rtp://[fe80::1%25]:1", "a zone as in [fe80::1%25eth0]"),
        ("rtp://[fe80::1%]:1", "a zone as in [fe80::1%25eth0]"),
        ("rtp://[fe80::1%25%ff]:1", "a zone as in [fe80::1%25eth0]"),
        ("rtp://[fe80::1%25%00]:1", "a zone as in [fe80::1%25eth0]"),
        ("rtp://h:x", "port: got 'x'"),
        ("rtp://h:65536", "port: got '65536'"),
        ("rtp://h:-1", "port: got '-1'"),
        ("rtp://h:１", "port: got"),
        ("rtp://h:1/x", "nothing else"),
        ("rtp://me@h:1", "nothing else"),
        ("rtp://h:1?mode=aes", "mode: got 'aes'"),
        ("rtp://h:1?mode=", "mode has no value"),
        ("rtp://h:1?mode=none&mode=none", "twice"),
        ("rtp://h:1?sscr=1", "unknown parameter 'sscr'"),
        ("rtp://h:1?mode=none&ssrc=-1", "ssrc: got '-1'"),
        ("rtp://h:1?mode=none&ssrc=4294967296", "ssrc: got"),
        ("rtp://h:1?mode=none&ssrc=0x100000000", "ssrc: got"),
        ("rtp://h:1?mode=none&ssrc=1_0", "ssrc: got"),
        ("rtp://h:1?ssrc=1", "needs a key"),
        (f"rtp://h:1?mode=none&key={KEY}", "takes no key"),
        (f"rtp://h:1?key={KEY}&key-file=k", "both key and key-file"),
        ("rtp://h:1?key=abc", "got 3 characters, expected 64"),
        (f"rtp://h:1?key={'g' * 64}", "64 hex digits"),
        ("rtp://h:1?key-file=/no/such/file", "No such file"),
        ("rtp://h:1?key-file=/", "Is a directory"),
        ("rtp://h:1?key-file=~nosuchuser/key", "key-file ~nosuchuser/key: no such user"),
    ],
)
def test_a_mistake_gets_one_line_that_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_sink(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text())
def test_any_text_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        parse_sink(text)


@given(st.text())
def test_any_rtp_text_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        parse_sink("rtp://" + text)


@pytest.mark.parametrize(
    "text",
    [
        "rtp:h?key={}",
        "rtp://h:1?key={}x",
        "rtp://h:1?key={}&ssrc=x",
        "rtp//h:1?key={}",
        "rtp//h?key={}",
        "rpt://h:1?key={}",
        "key={}",
        "key={}:rtp",
        "null:?key={}",
        "ogg:\0key={}",
        "rtp://h?key={}:1",
        "rtp://h:1&key={}",
        "rtp://h:1/?key={}",
        "rtp://key={}@h:1",
        "rtp://[h]?:1&key={}",
        "rtp://[::1&key={}",
        "rtp://h:1?KEY={}",
        "rtp://h:1?kee={}",
        "rtp://h:1?key{}",
        "rtp://h:1?key:{}",
        "rtp://h:1?key%3d{}",
        "rtp://h:1?{}",
        "rtp://h:1?mode=none;key={}",
        "rtp://h:1?mode=none&ssrc=7;key={}",
        "rtp://h:1?mode={}",
        "rtp://h:1?key-file={}",
        "rtp://h:1?key-file=~{}",
        "rtp://h:1?key-file=/no/such;key={}",
    ],
)
def test_no_message_shows_a_key(text: str) -> None:
    for key in (KEY, KEY[:-1], KEY.upper()):
        with pytest.raises(InvalidArgument) as caught:
            parse_sink(text.format(key))
        assert key[:16] not in str(caught.value)
    if "key=" in text:
        with pytest.raises(InvalidArgument) as caught:
            parse_sink(text.format("sesame street"))
        assert "street" not in str(caught.value)


def test_no_representation_shows_a_key() -> None:
    target = rtp(f"rtp://h:1?key={KEY}")
    assert KEY[:8] not in str(target) + repr(target)
    assert repr(target.key) not in repr(target)


@pytest.mark.parametrize(
    "content",
    [bytes(range(32)), KEY.encode(), KEY.upper().encode(), f"  {KEY}\n".encode()],
    ids=["raw", "hex", "capitals", "white space"],
)
def test_a_key_file_is_32_bytes_or_64_hex_digits(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    said: list[str] = []
    target = parse_sink(f"rtp://h:1?key-file={path}", warn=said.append)
    assert isinstance(target, RtpTarget)
    assert target.key == bytes(range(32))
    assert target.key_file == path
    assert said == []


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33, b"x" * 64, KEY.encode() + b"0"])
def test_a_key_file_of_another_size_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(InvalidArgument, match=f"got {len(content)} bytes, expected 32 bytes or 64"):
        parse_sink(f"rtp://h:1?key-file={path}")


def test_a_key_file_that_others_can_read_is_warned_about(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o640)
    said: list[str] = []
    parse_sink(f"rtp://h:1?key-file={path}", warn=said.append)
    assert said == [f"key-file {path} can be read by others; chmod 600 it"]


def test_a_key_file_may_have_any_name(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/a & b=c?#%\xff+"
    with open(path, "w") as file:
        file.write(KEY)
    assert rtp(f"rtp://h:1?key-file={quote_from_bytes(path)}").key == bytes(range(32))


def test_a_plus_in_a_path_stays_a_plus(tmp_path: Path) -> None:
    path = tmp_path / "a+b"
    path.write_text(KEY)
    assert rtp(f"rtp://h:1?key-file={path}").key == bytes(range(32))


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text(KEY)
    assert rtp("rtp://h:1?key-file=~/key").key == bytes(range(32))


@given(st.floats(0, 4e9), st.integers(0, 100_000))
def test_a_later_run_starts_past_all_nonces_of_an_earlier_one(start: float, frames: int) -> None:
    # A run that spends one nonce in 20 ms, and another that starts when it has ended.
    spent = range(frames)
    distance = (fresh_nonce(start + (frames + 1) * 0.02) - fresh_nonce(start)) % 2**32
    assert distance >= len(spent)
