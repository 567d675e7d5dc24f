"""What `make demo` and `make test` say on machines that they cannot set up by themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("bash", "dirname", "mktemp", "rm", "cat", "cut", "grep", "head", "tail", "sha256sum")


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """All that the script may find: the basics, and what a test adds."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    (folder / "python3").symlink_to(sys.executable)
    return folder


def add(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!{shutil.which('bash')}\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def set_up(folder: Path) -> subprocess.CompletedProcess[str]:
    # A copy, so that nothing of the real checkout is touched should it go too far.
    copy = folder.parent / "checkout" / "tools"
    copy.mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "setup.sh", copy)
    return subprocess.run(
        ["bash", str(copy / "setup.sh"), "test"],
        env={"PATH": str(folder), "HOME": os.environ.get("HOME", "/")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_without_apt_it_names_what_is_missing_and_stops(bin_folder: Path) -> None:
    add(bin_folder, "pkg-config", '[ "$2" = opus ]')  # of all libraries only this one is there
    done = set_up(bin_folder)
    assert done.returncode == 1
    assert "this system has no apt-get" in done.stderr
    for name in (
        *("g++", "ffmpeg", "opusinfo", "openssl", "catch2 (pkg-config)"),
        *("libsodium (pkg-config)", "libavformat (pkg-config)"),
    ):
        assert name in done.stderr
    assert " opus (pkg-config)" not in done.stderr
    assert "libsodium-dev" in done.stderr  # as Debian calls it
    assert not (bin_folder.parent / "checkout" / ".venv").exists()


def test_where_sudo_would_ask_it_says_what_to_run_and_stops(bin_folder: Path) -> None:
    add(bin_folder, "dpkg-query", "exit 1")
    add(bin_folder, "apt-get", "echo 'apt-get was run' >&2; exit 1")
    add(bin_folder, "id", "echo 1000")
    add(bin_folder, "sudo", '[ "$1" = -n ] || { read -r; }; exit 1')
    done = set_up(bin_folder)
    assert done.returncode == 1
    assert "sudo apt-get install -y --no-install-recommends" in done.stderr
    assert "libopus-dev" in done.stderr
    assert "catch2" in done.stderr
    assert "apt-get was run" not in done.stderr


def test_an_old_python_is_refused_with_the_version_that_is_needed(bin_folder: Path) -> None:
    add(bin_folder, "old", "exit 1")
    (bin_folder / "python3").unlink()
    (bin_folder / "python3").symlink_to(bin_folder / "old")
    done = set_up(bin_folder)
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr


@pytest.mark.parametrize("file", ["a \"b\" $HOME `id` 'c' é.mp3", "-x.mp3", "$(FILE)"])
def test_the_demo_gets_the_name_of_a_file_as_it_was_given(tmp_path: Path, file: str) -> None:
    (tmp_path / "bin").mkdir()
    add(tmp_path / "bin", "python", f'printf "%s\\n" "$@" > {tmp_path}/given')
    # The set-up is taken to be done, and Python to be the program above.
    call = ["make", "-C", str(ROOT), "-o", "setup", "demo", f"VENV={tmp_path}", f"FILE={file}"]
    subprocess.run(call, check=True, capture_output=True, timeout=30)
    assert (tmp_path / "given").read_text() == f"tools/demo.py\n--\n{file}\n"
