"""The machine and the versions, as the report prints them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import platform
import sqlite3
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import voicecore
from voicecore import _core
from voicecore.engine import _codec


def _first_line(path: str, start: str) -> str:
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            if line.startswith(start):
                return line.split(":", 1)[1].strip()
    return "unknown"


def _ffmpeg_program() -> str:
    done = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[2]


def _may_raise_priority() -> bool:
    """Tried in a child, since lowering it again may not be allowed."""
    child = os.fork()
    if child == 0:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _computer() -> dict[str, Any]:
    memory = int(_first_line("/proc/meminfo", "MemTotal").split()[0]) / 1048576
    return {
        "processor": _first_line("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": platform.platform(),
        "realtime_allowed": _may_raise_priority(),
        "load_before": os.getloadavg()[0],
    }


def _file_system(folder: Path) -> str:
    """The type of the file system that holds `folder`."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _device, place, kind, *_rest = line.split()
        inside = folder.resolve().is_relative_to(place)
        if inside and len(place) >= len(best[0]):
            best = (place, kind)
    return best[1]


def describe_queue(folder: Path) -> dict[str, Any]:
    """Facts about machine, libraries and the file system of the queue files."""
    return {
        **_computer(),
        "file_system": _file_system(folder),
        "versions": {
            "voicecore": voicecore.__version__,
            "Python": platform.python_version(),
            "SQLite (voicecore)": _core.sqlite_version(),
            "SQLite (Python's sqlite3: every peer)": sqlite3.sqlite_version,
            **{
                name: metadata.version(name)
                for name in (
                    *("litequeue", "huey", "persist-queue", "aiosqlite"),
                    *("APScheduler", "discord.py"),
                )
            },
        },
    }


def describe() -> dict[str, Any]:
    """Facts about machine, libraries and settings."""
    asyncio.run(_codec.ready())
    from voicecore import _codec as native

    opus = ctypes.CDLL("libopus.so.0")
    opus.opus_get_version_string.restype = ctypes.c_char_p
    return {
        **_computer(),
        "versions": {
            "voicecore": voicecore.__version__,
            "discord.py": metadata.version("discord.py"),
            "Python": platform.python_version(),
            "libopus (voicecore)": _core.opus_version(),
            "libopus (discord.py)": opus.opus_get_version_string().decode(),
            "libsodium (voicecore)": _core.sodium_version(),
            "PyNaCl (discord.py)": metadata.version("PyNaCl"),
            "FFmpeg libraries (voicecore)": str(native.versions()["ffmpeg"]),
            "ffmpeg program (discord.py)": _ffmpeg_program(),
        },
    }
