"""The README's examples run as they stand."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

README = (ROOT / "README.md").read_text()
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", README, re.DOTALL))
COMMANDS = re.search(r"## The command\n```sh\n(.*?)```", README, re.DOTALL)


def fresh(tmp_path: Path) -> Path:
    """A folder in which the README's relative paths are right."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def test_there_are_examples() -> None:
    assert set(EXAMPLES) == {"play_a_file", "virtual_time", "commands"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_example_runs(name: str, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[name]],
        cwd=fresh(tmp_path),
        check=True,
        timeout=50,
    )


@pytest.mark.slow
def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    assert COMMANDS is not None
    folder = fresh(tmp_path)
    for line in COMMANDS[1].strip().splitlines():
        program, *arguments = shlex.split(line)
        assert program == "voicecore"
        subprocess.run(
            [sys.executable, "-m", "voicecore", *arguments],
            cwd=folder,
            check=True,
            timeout=50,
            capture_output=True,
        )


def test_every_file_that_the_readme_names_exists() -> None:
    for target in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / target).exists(), target
    for path in re.findall(r"`((?:tests_cpp|tests_py|benchmarks|examples)/[\w./]*)`", README):
        assert (ROOT / path).exists(), path
