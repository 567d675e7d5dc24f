"""Builds the two C programs: the receiver, and the bare library calls."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BenchmarkError

HERE = Path(__file__).resolve().parent
BARE_LIBRARIES = ("libavformat", "libavcodec", "libswresample", "libavutil", "opus")


@dataclass(frozen=True)
class Programs:
    recorder: Path
    bare: Path


def _compile(source: str, folder: Path, libraries: tuple[str, ...] = ()) -> Path:
    out = folder / Path(source).stem
    flags: list[str] = []
    if libraries:
        found = subprocess.run(
            ["pkg-config", "--cflags", "--libs", *libraries], capture_output=True, text=True
        )
        if found.returncode != 0:
            raise BenchmarkError(found.stderr.strip())
        flags = shlex.split(found.stdout)
    compiler = shlex.split(os.environ.get("CC", "cc"))
    built = subprocess.run(
        [*compiler, "-O2", "-o", str(out), str(HERE / source), *flags],
        capture_output=True,
        text=True,
    )
    if built.returncode != 0:
        raise BenchmarkError(f"{source} does not compile:\n{built.stderr}")
    return out


def build(folder: Path) -> Programs:
    """Compile both into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return Programs(
        recorder=_compile("recorder.c", folder),
        bare=_compile("bare.c", folder, BARE_LIBRARIES),
    )
