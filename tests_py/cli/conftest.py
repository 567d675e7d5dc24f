"""What every test of the command line uses."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cli.command import Here, write_tone

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Tests in the background of a shell: what they start would ignore it, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def here(capfdbinary: pytest.CaptureFixture[bytes]) -> Here:
    """The command, in this process."""
    return Here(capfdbinary)


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """One second of 440 Hz as a WAV file."""
    return write_tone(tmp_path / "tone.wav")
