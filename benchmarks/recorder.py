"""The receiver process and what it wrote down."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt
from nacl.exceptions import CryptoError

from benchmarks.keys import key_of
from benchmarks.processes import BenchmarkError, Child

RECORD = np.dtype(
    [
        ("time_ns", "<u8"),
        ("ssrc", "<u4"),
        ("timestamp", "<u4"),
        ("sequence", "<u2"),
        ("size", "<u2"),
        ("zero", "<u4"),
    ]
)
HEADER, TAG, SUFFIX = 12, 16, 4

SILENCE_DATAGRAM = HEADER + 3 + TAG + SUFFIX
"""Bytes of a sealed Opus silence frame: the encoder never makes one as short from music."""


@dataclass(frozen=True)
class Recording:
    """Every RTP header that arrived, in order of arrival."""

    rows: npt.NDArray[Any]
    others: int
    """Datagrams that are not RTP: keep-alives."""
    drops: int
    """Datagrams that the receiver's socket had no room for; anything but 0 spoils a run."""
    cpu_s: float
    """CPU time of the receiver."""
    verified: int
    """Sample datagrams that decrypt with their stream's key."""
    forged: int
    """Sample datagrams that do not."""


class Recorder:
    """Runs the recorder; a context manager. `stop` gives the recording."""

    CAPACITY = 4_000_000

    def __init__(self, program: Path, *, limit: float) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="voicecore-bench-")
        self._out = Path(self._folder.name) / "records"
        self._samples = Path(self._folder.name) / "samples"
        self._child = Child(
            [str(program), str(self._out), str(self._samples), str(self.CAPACITY), str(limit)],
            limit=limit + 10,
        )
        line = self._child.line()
        if line is None or not line.startswith("port "):
            raise BenchmarkError("the receiver did not start")
        self.port = int(line.split()[1])

    def stop(self) -> Recording:
        self._child.terminate()
        line = self._child.line()
        self._child.finish()
        if line is None:
            raise BenchmarkError("the receiver ended without a word")
        _, _records, others, drops, _buffer, cpu_ns = line.split()
        verified, forged = self._check_samples()
        return Recording(
            rows=np.fromfile(self._out, dtype=RECORD),
            others=int(others),
            drops=int(drops),
            cpu_s=int(cpu_ns) / 1e9,
            verified=verified,
            forged=forged,
        )

    def _check_samples(self) -> tuple[int, int]:
        data = self._samples.read_bytes()
        verified = forged = 0
        for offset in range(0, len(data), 1502):
            size = int.from_bytes(data[offset : offset + 2], "little")
            datagram = data[offset + 2 : offset + 2 + size]
            header, suffix = datagram[:HEADER], datagram[-SUFFIX:]
            key = key_of(int.from_bytes(header[8:12], "big"))
            try:
                crypto_aead_xchacha20poly1305_ietf_decrypt(
                    datagram[HEADER:-SUFFIX], header, suffix + bytes(20), key
                )
                verified += 1
            except CryptoError:
                forged += 1
        return verified, forged

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._child.__exit__(*exception)
        self._folder.cleanup()
