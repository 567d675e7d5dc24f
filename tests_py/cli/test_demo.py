"""`make demo`, on a short clip."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.command import MUSIC, read_ogg

DEMO = Path(__file__).resolve().parents[2] / "tools" / "demo.py"


@pytest.mark.slow
def test_the_demo_plays_both_and_leaves_its_three_files(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(DEMO), MUSIC, "--out", str(tmp_path), "--seconds", "1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "none lost" in done.stdout
    assert "discord.py" in done.stdout
    record = json.loads((tmp_path / "stats.json").read_text())
    assert record["schema"] == 1
    assert record["received"]["packets"] == record["played"]["frames_sent"] + 5 == 55
    assert record["received"]["decryption_failures"] == 0
    # The same receiver understands what discord.py seals.
    assert record["discord_py"]["received"]["packets"] == 55
    assert record["discord_py"]["received"]["decryption_failures"] == 0
    assert read_ogg(tmp_path / "received.ogg").complete
    page = (tmp_path / "report.html").read_text()
    assert "<audio" in page
    assert "data:image/png" in page


def test_a_file_that_cannot_be_played_is_said_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(DEMO), "/no/such/file.mp3", "--out", str(tmp_path / "out")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 3
    assert "file.mp3" in done.stderr
    assert "Traceback" not in done.stderr
