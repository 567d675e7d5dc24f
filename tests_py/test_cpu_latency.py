"""Asking the kernel for processors that wake up at once."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import MUSIC
from voicecore import CpuLatencyRequest, InvalidArgument, cpu_latency
from voicecore.cli.app import run


def in_force() -> int:
    """Microseconds that the kernel allows a wake-up to take now, by the strictest request."""
    with open(cpu_latency.DEVICE, "rb", buffering=0) as device:
        return int(struct.unpack("=i", device.read(4))[0])


def test_the_kernel_holds_to_it_until_it_is_closed() -> None:
    request = CpuLatencyRequest(0.000_003)
    if request.refusal is not None:
        # The only machine where nothing can be seen: the same words as for everybody.
        assert cpu_latency.DEVICE in request.refusal
        assert not request.granted
        return
    before = in_force()
    with request, CpuLatencyRequest() as stricter:
        assert request.granted
        assert stricter.granted
        assert before <= 3
        assert in_force() == 0
    assert not request.granted
    assert request.refusal is None
    assert in_force() > 3


def test_it_writes_whole_microseconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "device"
    device.touch()
    monkeypatch.setattr(cpu_latency, "DEVICE", str(device))
    with CpuLatencyRequest(0.000_150):
        assert device.read_bytes() == struct.pack("=i", 150)
    device.write_bytes(b"")
    with CpuLatencyRequest(2000):
        assert device.read_bytes() == struct.pack("=i", 2_000_000_000)


@pytest.mark.parametrize(
    ("device", "words"),
    [("missing", "No such file"), (".", "Is a directory"), ("/dev/full", "No space left")],
)
def test_a_refusal_is_told_and_survived(
    device: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / device)
    monkeypatch.setattr(cpu_latency, "DEVICE", path)
    with CpuLatencyRequest() as request:
        assert not request.granted
        assert request.refusal is not None
        assert request.refusal.startswith(f"{path}: ")
        assert words in request.refusal
        assert words in repr(request)
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), 2000.1, "0"])
def test_a_time_out_of_range_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidArgument, match=r"seconds: got .*, expected"):
        CpuLatencyRequest(seconds)


def test_it_ends_with_the_process() -> None:
    program = (
        "import voicecore; r = voicecore.CpuLatencyRequest(0.000_002);"
        "print(r.granted); import os; os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    if done.stdout.strip() == b"True":
        assert in_force() > 2


def test_the_command_holds_it_while_it_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    device = tmp_path / "device"
    device.touch()
    monkeypatch.setattr(cpu_latency, "DEVICE", str(device))
    arguments = ["play", str(MUSIC), "--to", "null:", "--virtual", "--duration", "0.1", "-q"]
    assert run([*arguments, "--keep-awake"]) == 0
    assert device.read_bytes() == struct.pack("=i", 0)
    device.unlink()
    assert run([*arguments, "--keep-awake"]) == 0
    assert "--keep-awake: " in capfd.readouterr().err
    assert run(arguments) == 0
    assert capfd.readouterr().err == ""
