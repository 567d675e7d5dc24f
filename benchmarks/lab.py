"""Runs a sender against the receiver and says what arrived. Every workload is made of this."""

from __future__ import annotations

import contextlib
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks import arrivals
from benchmarks.media import Media
from benchmarks.native import Programs
from benchmarks.processes import BenchmarkError, Sender, TookTooLong, cpu_hogs
from benchmarks.recorder import Recorder, Recording
from benchmarks.sending import Spec

VOICECORE, DISCORD = "sender_voicecore", "peer_discord"

STOPPED_S = 0.300
XCHACHA = "aead_xchacha20_poly1305_rtpsize"
AES = "aead_aes256_gcm_rtpsize"

GAP_EDGES_MS = np.concatenate(
    (np.arange(0.0, 60.0, 0.25), np.arange(60.0, 400.0, 5.0), [400.0, 1e9])
)


@dataclass(frozen=True)
class Outcome:
    """One run."""

    sent: dict[str, Any]
    """What the sender says of itself."""
    recording: Recording
    hogs: int = 0


class Lab:
    """What the workloads share: files, programs, and how long to look.

    Args:
        media: what is played.
        programs: the receiver and the bare calls.
        quick: short windows and few repeats, for a first look.
        note: told what goes on.
    """

    def __init__(
        self, media: Media, programs: Programs, *, quick: bool, note: Callable[[str], None]
    ) -> None:
        self.media = media
        self.programs = programs
        self.quick = quick
        self.note = note
        self.spoiled: list[str] = []

    def seconds(self, full: float) -> float:
        """Length of a window."""
        return 1.5 if self.quick else full

    def repeats(self, full: int) -> int:
        return 1 if self.quick else full

    def send(self, module: str, *, hogs: int = 0, **wanted: Any) -> Outcome:
        """Run one sender with one receiver, to its end."""
        limit = 40.0 + wanted.get("window_s", 5.0) * 3
        with contextlib.ExitStack() as stack:
            recorder = stack.enter_context(Recorder(self.programs.recorder, limit=limit))
            spec = Spec(port=recorder.port, **wanted)
            sender = stack.enter_context(Sender(module, asdict(spec), limit=limit))
            result: dict[str, Any] = {}
            for event in sender.events():
                if event.get("event") != "window":
                    result = event
                    continue
                if hogs:
                    stack.enter_context(cpu_hogs(hogs, spec.window_s + 1.0))
                if spec.condition == "stopped":
                    self._stop_and_go(sender, spec.window_s)
            sender.finish()
            recording = recorder.stop()
        if not result:
            raise BenchmarkError(f"{module} gave no result")
        if spec.mode == XCHACHA:
            self._check(module, recording)
        return Outcome(result, recording, hogs)

    def _check(self, module: str, recording: Recording) -> None:
        if recording.forged or (not recording.verified and len(recording.rows)):
            raise BenchmarkError(
                f"{module}: {recording.forged} of {recording.forged + recording.verified} sample "
                "datagrams do not decrypt"
            )
        if recording.drops:
            self.spoiled.append(f"{module}: the receiver lost {recording.drops} datagrams")

    @staticmethod
    def _stop_and_go(sender: Sender, seconds: float) -> None:
        """SIGSTOP for 300 ms, each time well apart."""
        began = time.monotonic()
        while time.monotonic() - began + 1.2 < seconds:
            time.sleep(0.7)
            sender.signal_group(signal.SIGSTOP)
            time.sleep(STOPPED_S)
            sender.signal_group(signal.SIGCONT)

    def window(self, module: str, *, hogs: int = 0, **wanted: Any) -> dict[str, Any]:
        """One run of the script "window", analysed."""
        if self.quick:
            wanted.setdefault("warm_s", 0.5)
        outcome = self.send(module, hogs=hogs, script="window", **wanted)
        sent, recording = outcome.sent, outcome.recording
        t0, t1 = sent["t0"], sent["t1"]
        found = arrivals.analyse(recording.rows, t0, t1, wanted.get("streams", 1))
        found["cpu_percent"] = sent["cpu_percent"]
        found["rss_kib_per_stream"] = sent["rss_kib_per_stream"]
        found["children_kib"] = sent["children_kib"]
        found["counts"] = sent["counts"]
        found["send_lateness_ms"] = sent["send_lateness_ms"]
        found["sender"] = sent["statistics"]
        found["receiver_drops"] = recording.drops
        found["verified"] = recording.verified
        found["gap_histogram"] = arrivals.gap_histogram(recording.rows, t0, t1, GAP_EDGES_MS)
        return found

    def bare_send(self, streams: int, seconds: float, call: str = "send") -> dict[str, float]:
        """What the system's `send` or `sendmmsg` costs for as many streams: % of a core."""
        with Recorder(self.programs.recorder, limit=seconds + 10) as recorder:
            command = [self.programs.bare, call, recorder.port, streams, seconds]
            found = program_output(command)
            recorder.stop()
        return {"streams": streams, "cpu_percent": round(found["cpu_ns"] / seconds / 1e7, 3)}

    def bare_lateness(self, streams: int, seconds: float, *, hogs: int = 0) -> dict[str, Any]:
        """How late a bare loop is that sleeps and sends as the clock does, at the same priority."""
        with contextlib.ExitStack() as stack:
            recorder = stack.enter_context(Recorder(self.programs.recorder, limit=seconds + 10))
            if hogs:
                stack.enter_context(cpu_hogs(hogs, seconds + 1.0))
            found = program_output([self.programs.bare, "late", recorder.port, streams, seconds])
            recorder.stop()
        return {
            "streams": streams,
            "send_lateness_ms": {
                name: round(found[f"{name}_ns"] / 1e6, 4) for name in ("p50", "p99", "p99_9", "max")
            },
        }

    def peer_window(self, **wanted: Any) -> dict[str, Any]:
        """The same with discord.py, which may be too busy to come to an end."""
        try:
            return self.window(DISCORD, **wanted)
        except TookTooLong:
            streams = wanted.get("streams", 1)
            return {"streams": streams, "heard": 0, "delivered": 0.0, "overloaded": True}


def median_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of every number, down through the records; of "max", the largest. Lists are taken
    from the first run.
    """
    first = runs[0]
    out: dict[str, Any] = {}
    for key, value in first.items():
        every = [run[key] for run in runs if key in run]
        if isinstance(value, dict):
            out[key] = median_of(every)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            # A slowest of all must not lose the run that it was in.
            out[key] = max(every) if key == "max" else statistics.median(every)
        else:
            out[key] = value
    return out


Job = tuple[str, Callable[[], dict[str, Any]]]
"""A name and one run."""


def interleave(
    repeats: int, jobs: Iterable[Job], enough: Callable[[dict[str, Any]], bool] | None = None
) -> dict[str, dict[str, Any]]:
    """Every job once, then every job again, so that a passing disturbance hits all of them alike.

    Args:
        repeats: how often.
        jobs: what.
        enough: True for a first run that need not be repeated.

    Returns:
        By name: the medians (see `median_of`), with `runs` saying over how many.
    """
    listed = list(jobs)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name, _ in listed}
    for _ in range(repeats):
        for name, job in listed:
            if not (runs[name] and enough is not None and enough(runs[name][0])):
                runs[name].append(job())
    out = {}
    for name, every in runs.items():
        out[name] = median_of(every)
        out[name]["runs"] = len(every)
    return out


@dataclass(frozen=True)
class Bar:
    """A target and what was measured."""

    name: str
    limit: float
    measured: float
    unit: str
    at_least: bool = False
    note: str = ""

    def record(self) -> dict[str, Any]:
        better, worse = self.measured, self.limit
        if not self.at_least:
            better, worse = worse, better
        return {**asdict(self), "reached": better >= worse}


def program_output(command: Sequence[object], limit: float = 60.0) -> dict[str, int]:
    """Runs a program that prints "name value name value"."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=limit
    )
    if done.returncode != 0:
        raise BenchmarkError(f"{command[0]} failed: {done.stderr.strip()}")
    words = done.stdout.split()
    return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}
