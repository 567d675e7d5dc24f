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
from typing import Any

from benchmarks import machine, media, native, report, sysinfo
from benchmarks.lab import Lab
from benchmarks.processes import ROOT, BenchmarkError, raise_limits
from benchmarks.workloads import ALL

HERE = ROOT / "benchmarks"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="voicecore and discord.py's own player on the same work, by one receiver.",
    )
    names = [workload.NAME for workload in ALL]
    parser.add_argument("--quick", action="store_true", help="under two minutes: a first look")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        help="folder for REPORT.md, results.json and figures/ "
        "(benchmarks/ for a full run, otherwise build/benchmarks/)",
    )
    return parser.parse_args()


def _measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    began = time.monotonic()

    def note(text: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {text}", file=sys.stderr, flush=True)

    note("preparing music and programs")
    facts = machine.describe()
    lab = Lab(media.make(scratch), native.build(scratch), quick=options.quick, note=note)
    found: dict[str, Any] = {}
    for workload in ALL:
        if options.only and workload.NAME not in options.only:
            continue
        load = _elsewhere()
        found[workload.NAME] = {"title": workload.TITLE, **workload.run(lab)}
        found[workload.NAME]["elsewhere_percent"] = load()
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


def _elsewhere() -> Callable[[], float]:
    """Start to watch; what it returns tells how busy other programs kept the machine since then.

    The kernel counts whole ticks: coarse, but enough to tell an idle machine from a busy one.
    """
    began, before, own = time.monotonic(), sysinfo.machine_busy_s(), sysinfo.benchmark_busy_s()

    def percent() -> float:
        busy = sysinfo.machine_busy_s() - before - (sysinfo.benchmark_busy_s() - own)
        return round(100 * max(0.0, busy) / (time.monotonic() - began), 1)

    return percent


def _out_folder(options: argparse.Namespace) -> Path:
    if options.out is not None:
        return Path(options.out)
    # The committed report is of a full run.
    whole = not options.quick and not options.only
    return HERE if whole else ROOT / "build" / "benchmarks"


def main() -> int:
    options = _arguments()
    raise_limits()
    # As Ctrl-C: every context is left, every child ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="voicecore-bench-") as scratch:
            results = _measure(options, Path(scratch))
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    out = _out_folder(options)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    report.write(results, out)
    print(report.bars_text(results))
    print(f"{out / 'REPORT.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
