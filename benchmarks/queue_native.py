"""Builds the queue's program: the core's command store alone, and its statements in bare C."""

from __future__ import annotations

import os
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.native import HERE
from benchmarks.processes import ROOT, BenchmarkError

LAYERS = ("base", "command")
"""What the command store is made of: its own folder and the one below, none of Python."""


@dataclass(frozen=True)
class QueuePrograms:
    core: Path
    statements: Path
    """What the core runs for one claim and one ack: the bare loop runs that."""


def _compile(compiler: list[str], source: Path, out: Path, *flags: str) -> None:
    built = subprocess.run(
        [*compiler, *flags, "-o", str(out), str(source)], capture_output=True, text=True
    )
    if built.returncode != 0:
        raise BenchmarkError(f"{source} does not compile:\n{built.stderr}")


def build(folder: Path) -> QueuePrograms:
    """Compile it into `folder`, with the optimisation of a release."""
    folder.mkdir(parents=True, exist_ok=True)
    core = folder / "core_queue"
    cxx = shlex.split(os.environ.get("CXX", "c++"))
    flags = ("-std=c++20", "-O3", "-DNDEBUG", f"-I{ROOT / 'cpp'}", "-c")
    sources = [
        path
        for layer in LAYERS
        for path in sorted((ROOT / "cpp" / "voicecore" / layer).glob("*.cpp"))
    ]
    sources.append(HERE / "core_queue.cpp")
    objects = [folder / f"{path.parent.name}_{path.stem}.o" for path in sources]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(
            pool.map(lambda pair: _compile(cxx, *pair, *flags), zip(sources, objects, strict=True))
        )
    bare = folder / "bare_queue.o"
    _compile(shlex.split(os.environ.get("CC", "cc")), HERE / "bare_queue.c", bare, "-O3", "-c")
    linked = subprocess.run(
        [*cxx, "-o", str(core), *map(str, [*objects, bare]), "-lsqlite3", "-lpthread"],
        capture_output=True,
        text=True,
    )
    if linked.returncode != 0:
        raise BenchmarkError(f"core_queue does not link:\n{linked.stderr}")
    traced = subprocess.run([core, "statements"], capture_output=True, text=True, check=True)
    statements = folder / "statements.sql"
    statements.write_text(traced.stdout)
    return QueuePrograms(core, statements)
