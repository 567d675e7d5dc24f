"""The stubs say what the binaries do."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def test_the_package_says_that_it_is_typed() -> None:
    assert files("voicecore").joinpath("py.typed").is_file()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("module", ["voicecore._core", "voicecore._codec"])
def test_stubs_match_the_binaries(module: str) -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy.stubtest",
            module,
            "--allowlist",
            str(HERE / "stubtest_allow.txt"),
            "--ignore-unused-allowlist",
        ],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
        cwd="/",
    )
    assert result.returncode == 0, result.stdout + result.stderr
