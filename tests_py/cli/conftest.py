"""What every test of the command line uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.command import Here, write_tone


@pytest.fixture
def here(capfdbinary: pytest.CaptureFixture[bytes]) -> Here:
    """The command, in this process."""
    return Here(capfdbinary)


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """One second of 440 Hz as a WAV file."""
    return write_tone(tmp_path / "tone.wav")
