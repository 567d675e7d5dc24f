"""Where packets go: a UDP peer, an Ogg Opus file, memory, nowhere."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import Literal

from voicecore import _core, _validate
from voicecore.errors import InvalidArgument

Mode = Literal["aead_xchacha20_poly1305_rtpsize", "aead_aes256_gcm_rtpsize", "none"]
MODES: tuple[Mode, ...] = ("aead_xchacha20_poly1305_rtpsize", "aead_aes256_gcm_rtpsize", "none")


class Sink:
    """A sink serves one player at a time; all but `OggSink` may serve several in turn."""

    _handle: _core.Sink

    def statistics(self) -> dict[str, int]:
        """Counters of this sink, by name."""
        return self._handle.statistics()


class UdpSink(Sink):
    """RTP over UDP, encrypted the way Discord's voice servers expect it.

    Args:
        host: address or name of the peer.
        port: its UDP port.
        ssrc: the stream's RTP synchronisation source.
        mode: transport encryption. XChaCha20-Poly1305 always works; AES-256-GCM needs AES
            instructions and costs a quarter of it.
        key: 32 bytes; none with mode "none". A key belongs to one voice session: the nonce counter
            goes on, never back, for as long as the process uses the same key.
        first_nonce: the counter's start for a key not seen before in this process: a count up to
            2^32, of which somebody else has used what lies before. From 2^32 on it is a place in a
            count that goes round once.
        keep_alive: seconds between keep-alive datagrams; 0 sends none.
        fd: send through a duplicate of this UDP socket instead of one of our own.

    The sender never waits: a datagram that the system cannot take is dropped and counted.

    Raises:
        InvalidArgument: a value out of its range, or a key of the wrong length.
        SinkError: the name does not resolve, or there is no route.
        Closed: in the child of a fork, for a key that the parent has used: both would go on with
            the same nonces.
        Unavailable: AES-256-GCM on a processor without it.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ssrc: int | None = None,
        mode: Mode = "aead_xchacha20_poly1305_rtpsize",
        key: bytes = b"",
        first_nonce: int = 0,
        keep_alive: float = 5.0,
        fd: int | None = None,
    ) -> None:
        _validate.word("host", host, "an address or a name")
        port = _validate.whole("port", port, 1, 65_535)
        keep_alive = _validate.number("keep_alive", keep_alive, 0.0, 3_600.0, "seconds")
        first_nonce = _validate.whole("first_nonce", first_nonce, 0, 2**62)
        if mode not in MODES:
            raise InvalidArgument(f"mode: got {mode!r}, expected one of {', '.join(MODES)}")
        chosen = secrets.randbits(32) if ssrc is None else ssrc
        self.ssrc = _validate.whole("ssrc", chosen, 0, 2**32 - 1)
        self.mode = mode
        secret = _validate.key(key)
        if fd is not None:
            fd = _validate.whole("fd", fd, 0, 2**31 - 1)
        self._handle = _core.udp_sink(
            host, port, self.ssrc, mode, secret, first_nonce, keep_alive, fd
        )


class OggSink(Sink):
    """An Ogg Opus file (RFC 7845), complete at every kind of end. It serves one player.

    A file holds one playing: for the next one `Engine.play` raises `Closed`.

    The file is written in place by a thread of its own, a page at least every second, so that what
    has arrived can be followed and survives a crash.

    Args:
        path: the file; an existing one is replaced when the first packet is written.
        tags: comments such as `{"TITLE": "..."}`.
        serial: the Ogg stream's serial number.

    Raises:
        SinkError: the file cannot be created.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        tags: dict[str, str] | None = None,
        serial: int = 1,
    ) -> None:
        serial = _validate.whole("serial", serial, 0, 2**32 - 1)
        _validate.path("path", path)
        comments = _validate.texts("tags", tags)
        self.path = os.fspath(path)
        self._handle = _core.ogg_sink(os.fsencode(path), comments, serial)
        self._file = os.path.abspath(self.path)  # for a later chdir


@dataclass(frozen=True, slots=True)
class ReceivedPacket:
    """A packet as a sink got it."""

    opus: bytes
    """One Opus packet of 20 ms."""
    tick: int
    """The 20 ms period it was sent in, counted from 0 over the sink's life."""
    media_samples: int
    """How many of its 960 samples belong to the media: fewer only at an end."""
    silence: bool
    """Whether it is one of the five silence frames that begin a break."""


class MemorySink(Sink):
    """Keeps packets in memory, for tests and experiments.

    Args:
        limit: packets kept until `take`; further ones are counted as overflow.
    """

    def __init__(self, *, limit: int = 200_000) -> None:
        limit = _validate.whole("limit", limit, 1, 100_000_000, "packets")
        self._handle = _core.memory_sink(limit)

    def take(self) -> list[ReceivedPacket]:
        """Everything since the last call, oldest first. Complete once the player has finished."""
        return [ReceivedPacket(*packet) for packet in _core.take_packets(self._handle)]


class NullSink(Sink):
    """Goes nowhere; counts."""

    def __init__(self) -> None:
        self._handle = _core.null_sink()
