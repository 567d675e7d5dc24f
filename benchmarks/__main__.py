"""`python -m benchmarks`: see the package."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import machine, media, native, queue_report, report, sysinfo
from benchmarks.lab import Lab
from benchmarks.processes import ROOT, BenchmarkError, raise_limits
from benchmarks.queue_lab import QueueLab
from benchmarks.workloads import AUDIO, QUEUE

HERE = ROOT / "benchmarks"
GROUPS = {"audio": AUDIO, "queue": QUEUE}
"""Each is a run and a report of its own: REPORT.md and QUEUE.md."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="voicecore and its peers on the same work: audio (discord.py's own player, by "
        "one receiver) and the command queue (on one file system).",
    )
    names = [workload.NAME for group in GROUPS.values() for workload in group]
    parser.add_argument(
        "--group",
        choices=tuple(GROUPS),
        help="only these; by default audio, then queue",
    )
    parser.add_argument("--quick", action="store_true", help="two minutes or so: a first look")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        help="folder for the reports (REPORT.md, QUEUE.md), their results and figures/ "
        "(benchmarks/ for a full run, otherwise build/benchmarks/)",
    )
    return parser.parse_args()


def _measure(options: argparse.Namespace, group: str, scratch: Path) -> dict[str, Any]:
    began = time.monotonic()

    def note(text: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {text}", file=sys.stderr, flush=True)

    note(f"{group}: preparing")
    lab: Lab | QueueLab
    if group == "audio":
        facts = machine.describe()
        lab = Lab(media.make(scratch), native.build(scratch), quick=options.quick, note=note)
    else:
        facts = machine.describe_queue(scratch)
        lab = QueueLab(scratch, quick=options.quick, note=note)
    found: dict[str, Any] = {}
    for workload in _chosen(options, group):
        load = _elsewhere()
        found[workload.NAME] = {"title": workload.TITLE, **workload.run(lab), **load()}
    return {
        "schema": 1,
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "quick": options.quick,
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "seconds": round(time.monotonic() - began),
        "machine": facts,
        "spoiled": lab.spoiled,
        "workloads": found,
    }


def _chosen(options: argparse.Namespace, group: str) -> list[ModuleType]:
    """What of the group is to run."""
    if options.group not in (None, group):
        return []
    return [one for one in GROUPS[group] if not options.only or one.NAME in options.only]


def _elsewhere() -> Callable[[], dict[str, float]]:
    """Start to watch; what it returns tells what of the machine others have had since then, in
    percent of one core: other programs on it, and the host of a virtual machine.

    The kernel counts whole ticks: coarse, but enough to tell an idle machine from a busy one.
    """
    began, own = time.monotonic(), sysinfo.benchmark_busy_s()
    busy, stolen = sysinfo.machine_busy_s()

    def shares() -> dict[str, float]:
        busy_now, stolen_now = sysinfo.machine_busy_s()
        elsewhere = busy_now - busy - (sysinfo.benchmark_busy_s() - own)
        scale = 100 / (time.monotonic() - began)
        return {
            "elsewhere_percent": round(scale * max(0.0, elsewhere), 1),
            "stolen_percent": round(scale * (stolen_now - stolen), 1),
        }

    return shares


def _out_folder(options: argparse.Namespace) -> Path:
    if options.out is not None:
        return Path(options.out)
    # The committed reports are of full runs.
    whole = not options.quick and not options.only
    return HERE if whole else ROOT / "build" / "benchmarks"


def main() -> int:
    options = _arguments()
    raise_limits()
    # As Ctrl-C: every context is left, every child ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out = _out_folder(options)
    out.mkdir(parents=True, exist_ok=True)
    try:
        for group in GROUPS:
            if not _chosen(options, group):
                continue
            with tempfile.TemporaryDirectory(prefix="voicecore-bench-") as scratch:
                results = _measure(options, group, Path(scratch))
            _write(results, group, out)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _write(results: dict[str, Any], group: str, out: Path) -> None:
    name = "results.json" if group == "audio" else "queue_results.json"
    (out / name).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    written = (report if group == "audio" else queue_report).write(results, out)
    print(report.bars_text(results))
    print(f"{written}")


if __name__ == "__main__":
    sys.exit(main())
