"""SINK as people type it: `ogg:PATH`, `null:`, `rtp://HOST:PORT?ssrc=N&mode=MODE&key-file=PATH`."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, unquote_to_bytes

from voicecore.errors import InvalidArgument, SinkError
from voicecore.sinks import MODES, Mode, NullSink, OggSink, Sink, UdpSink

RTP = "rtp://HOST:PORT?ssrc=N&mode=MODE&key-file=PATH"
RECORDING = "ogg:PATH or null:"
GRAMMAR = f"ogg:PATH, null: or {RTP}"
KEY_BYTES = 32

_PARAMETERS = ("ssrc", "mode", "key-file", "key")
_DEFAULT_MODE: Mode = MODES[0]


@dataclass(frozen=True, slots=True)
class OggTarget:
    """An Ogg Opus file."""

    path: str

    def __str__(self) -> str:
        return f"ogg:{self.path}"

    def make(self) -> Sink:
        """Create the file."""
        return OggSink(self.path)


@dataclass(frozen=True, slots=True)
class NullTarget:
    """Nowhere."""

    def __str__(self) -> str:
        return "null:"

    def make(self) -> Sink:
        """A sink that counts."""
        return NullSink()


@dataclass(frozen=True, slots=True)
class RtpTarget:
    """One end of an RTP stream."""

    host: str
    port: int
    ssrc: int | None
    mode: Mode
    key: bytes = field(repr=False)
    key_file: Path | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """As typed, without the key: this goes into logs and statistics."""
        ssrc = "" if self.ssrc is None else f"ssrc={self.ssrc}&"
        return f"rtp://{self.address}?{ssrc}mode={self.mode}"

    @property
    def address(self) -> str:
        """HOST:PORT, with IPv6 in brackets."""
        return join_address(self.host, self.port)

    def make(self) -> Sink:
        """Resolve the name (which can take seconds) and open a socket."""
        nonce, held = 0, None
        if self.key_file is not None:
            held = _hold(self.key_file)
            nonce = fresh_nonce(time.time())
        try:
            sink = UdpSink(
                self.host,
                self.port,
                ssrc=self.ssrc,
                mode=self.mode,
                key=self.key,
                first_nonce=nonce,
            )
        except BaseException:
            if held is not None:
                os.close(held)
            raise
        if held is not None:
            weakref.finalize(sink, os.close, held)
        return sink


Target = OggTarget | NullTarget | RtpTarget


def refuse_sink(sink: Target | None, path: str, option: str) -> None:
    """Results in the place of the recording would destroy it."""
    if not isinstance(sink, OggTarget) or path == "-":
        return
    if os.path.realpath(path) == os.path.realpath(sink.path):
        raise InvalidArgument(f"{option}: {path} is the sink; choose another file to write to")


def join_address(host: str, port: int) -> str:
    """HOST:PORT, with IPv6 in brackets, and its zone as RFC 6874 writes it."""
    if ":" not in host:
        return f"{host}:{port}"
    address, percent, zone = host.partition("%")
    return f"[{address}%25{quote(zone, safe='')}]:{port}" if percent else f"[{address}]:{port}"


def fresh_nonce(now: float) -> int:
    """A start for the nonce counter that no earlier run with the same key file has reached.

    The counter must never repeat under one key, and a process does not know what the ones before
    it have spent. A stream spends at most one nonce in 20 ms, so counting from the wall clock in
    units of 20 ms keeps runs apart, as long as the clock is not set back and they do not send at
    once (see `_hold`). The count goes round in 2.7 years, also within a run.
    """
    return int(now * 50)


def _hold(path: Path) -> int | None:
    """Lock the key file for as long as the descriptor stays open.

    Two senders with one key would seal under the same nonces, and who records both streams could
    take them apart.

    Raises:
        SinkError: another sender has it, or it cannot be locked.
    """
    try:
        if not path.is_file():
            return None  # a pipe has given its key to us alone
        held = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SinkError(error.errno, f"key-file {path}: {error.strerror}") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        reason = f"cannot be locked: {error.strerror}"
        if isinstance(error, BlockingIOError):
            reason = "another sender is using it; give each a key of its own"
        raise SinkError(error.errno, f"key-file {path}: {reason}") from None
    return held


def parse_sink(
    text: str,
    *,
    listening: bool = False,
    grammar: str = GRAMMAR,
    warn: Callable[[str], object] | None = None,
) -> Target:
    """Understand a SINK.

    Args:
        text: as typed.
        listening: for the receiving end, where port 0 lets the system choose.
        grammar: what the message names when it is of no kind that is known.
        warn: told about a key file that others can read.

    Raises:
        InvalidArgument: what is wrong with it, in one line.
    """
    try:
        return _parse(text, listening, grammar, warn)
    except InvalidArgument as error:
        raise InvalidArgument(_hidden(str(error))) from None


def _parse(
    text: str, listening: bool, grammar: str, warn: Callable[[str], object] | None
) -> Target:
    scheme, colon, rest = text.partition(":")
    if not colon:
        raise InvalidArgument(f"got {text!r}, expected {grammar}")
    match scheme.lower():
        case "ogg":
            if not rest or "\0" in rest:
                raise InvalidArgument(f"got {text!r}, expected ogg:PATH with the path of a file")
            return OggTarget(rest)
        case "null":
            if rest:
                raise InvalidArgument(f"got {text!r}, expected null: with nothing after it")
            return NullTarget()
        case "rtp":
            if not rest.startswith("//"):
                raise InvalidArgument(f"got {text!r}, expected rtp://HOST:PORT?…")
            return _parse_rtp(rest[2:], listening, warn)
        case _:
            raise InvalidArgument(f"unknown kind {scheme!r}, expected {grammar}")


def _hidden(text: str) -> str:
    """The message without a key, wherever it was typed: error messages end up in logs."""
    text = re.sub(r"(?i)(key(?:=|%3d))[^&'\"]+", r"\1…", text)
    return re.sub(r"[0-9a-fA-F]{32,}", "…", text)


def _parse_rtp(rest: str, listening: bool, warn: Callable[[str], object] | None) -> RtpTarget:
    authority, _, query = rest.partition("?")
    host, port = _parse_address(authority, listening)
    given = _parse_query(query)
    mode = _parse_mode(given.get("mode"))
    ssrc = _parse_ssrc(given["ssrc"]) if "ssrc" in given else None
    key_file = _expanded(given["key-file"]) if "key-file" in given else None
    key = _parse_key(given, key_file, mode, warn)
    return RtpTarget(host, port, ssrc, mode, key, key_file)


def _parse_address(authority: str, listening: bool) -> tuple[str, int]:
    if "/" in authority or "@" in authority:
        raise InvalidArgument(f"got {authority!r}, expected HOST:PORT and nothing else before '?'")
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or ":" not in host:
            raise InvalidArgument(f"got {authority!r}, expected [IPv6 address]:PORT")
        host = _with_zone(host)
        _, colon, port = rest.partition(":") if rest.startswith(":") else ("", "", "")
        if rest and not colon:
            raise InvalidArgument(f"got {authority!r}, expected [IPv6 address]:PORT")
    else:
        host, colon, port = authority.rpartition(":")
        if ":" in host:
            raise InvalidArgument(
                f"got {authority!r}: put an IPv6 address in brackets, as in rtp://[::1]:5004"
            )
        if not colon:
            host, port = authority, ""
    if not host:
        raise InvalidArgument(f"the host is missing in {authority!r}, expected HOST:PORT")
    if not port:
        raise InvalidArgument(f"the port is missing in {authority!r}, expected HOST:PORT")
    low = 0 if listening else 1
    number = _decimal(port)
    if number is None or not low <= number <= 65_535:
        raise InvalidArgument(f"port: got {port!r}, expected {low} to 65535")
    return host, number


def _with_zone(host: str) -> str:
    """The address as the system takes it: a zone follows "%25" (RFC 6874), or a bare "%"."""
    address, percent, zone = host.partition("%")
    if not percent:
        return host
    try:
        zone = unquote(zone[2:], errors="strict") if zone.startswith("25") else zone
    except UnicodeDecodeError:
        zone = ""
    if not zone or "\0" in zone:
        raise InvalidArgument(f"got [{host}], expected a zone as in [fe80::1%25eth0]")
    return f"{address}%{zone}"


def _decimal(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


def _parse_query(query: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for part in query.split("&"):
        if not part:
            continue
        name, equals, value = part.partition("=")
        if name not in _PARAMETERS:
            raise InvalidArgument(
                f"unknown parameter {name!r}, expected one of {', '.join(_PARAMETERS)}"
            )
        if name in given:
            raise InvalidArgument(f"{name} is given twice")
        if not equals or not value:
            raise InvalidArgument(f"{name} has no value, expected {name}=…")
        given[name] = os.fsdecode(unquote_to_bytes(value))
    return given


def _parse_mode(text: str | None) -> Mode:
    if text is None:
        return _DEFAULT_MODE
    for mode in MODES:
        if mode == text:
            return mode
    raise InvalidArgument(f"mode: got {text!r}, expected one of {', '.join(MODES)}")


def _parse_ssrc(text: str) -> int:
    number = _decimal(text)
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", text):
        number = int(text, 16)
    if number is None or number >= 2**32:
        raise InvalidArgument(
            f"ssrc: got {text!r}, expected 0 to {2**32 - 1}, or hexadecimal as 0x1f"
        )
    return number


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InvalidArgument(f"key-file {path}: no such user, or none with a home") from None


def _parse_key(
    given: Mapping[str, str],
    key_file: Path | None,
    mode: Mode,
    warn: Callable[[str], object] | None,
) -> bytes:
    if "key" in given and "key-file" in given:
        raise InvalidArgument("both key and key-file are given, expected one")
    if mode == "none":
        if "key" in given or "key-file" in given:
            raise InvalidArgument("mode none takes no key")
        return b""
    if key_file is not None:
        return _read_key(key_file, warn)
    if "key" in given:
        key = _from_hex(given["key"])
        if key is None:
            raise InvalidArgument(
                f"key: got {len(given['key'])} characters, expected {2 * KEY_BYTES} hex digits"
            )
        return key
    raise InvalidArgument(
        f"mode {mode} needs a key: add key-file=PATH "
        f"(make one with: (umask 077; head -c {KEY_BYTES} /dev/urandom > PATH)), or mode=none"
    )


def _from_hex(text: str) -> bytes | None:
    if re.fullmatch(rf"[0-9a-fA-F]{{{2 * KEY_BYTES}}}", text):
        return bytes.fromhex(text)
    return None


def _read_key(path: Path, warn: Callable[[str], object] | None) -> bytes:
    """32 raw bytes, or 64 hex digits with white space around them."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(4096)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidArgument(f"key-file {path}: {reason}") from None
    if warn is not None and stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        warn(f"key-file {path} can be read by others; chmod 600 it")
    if len(data) == KEY_BYTES:
        return data
    key = _from_hex(data.strip().decode("ascii", "replace"))
    if key is None:
        raise InvalidArgument(
            f"key-file {path}: got {len(data)} bytes, expected {KEY_BYTES} bytes "
            f"or {2 * KEY_BYTES} hex digits"
        )
    return key
