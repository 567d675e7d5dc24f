"""CPU time and memory of processes and threads, from the kernel's nanosecond clocks.

/proc/PID/stat counts in ticks of 10 ms, which short bursts of work mostly miss.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable
from pathlib import Path


def process_cpu(pid: int) -> float:
    """CPU seconds of any process, all its threads included."""
    return time.clock_gettime((~pid << 3) | 2)


def thread_cpu(name: str) -> float:
    """CPU seconds of this process's threads called `name`."""
    total = 0.0
    for task in os.listdir("/proc/self/task"):
        try:
            comm = Path(f"/proc/self/task/{task}/comm").read_text().strip()
            if comm == name:
                total += time.clock_gettime((~int(task) << 3) | 6)
        except OSError:
            continue  # ended in between
    return total


def memory_kib(pid: int | str = "self") -> dict[str, int]:
    """`rss` and `pss` of a process in KiB."""
    out = {"rss": 0, "pss": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        key, _, rest = line.partition(":")
        if key.lower() in out:
            out[key.lower()] = int(rest.split()[0])
    return out


def children_memory_kib(pids: Iterable[int]) -> dict[str, int]:
    """The same, summed; processes that have ended count nothing."""
    total = {"rss": 0, "pss": 0}
    for pid in pids:
        try:
            one = memory_kib(pid)
        except OSError:
            continue
        total = {key: total[key] + one[key] for key in total}
    return total


def machine_busy_s() -> tuple[float, float]:
    """CPU seconds of all cores together since the machine started: those spent by its programs, and
    those that the host of a virtual machine gave to others while a program here wanted to run.
    """
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(field) for field in fields[:8])
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / ticks, steal / ticks


def benchmark_busy_s() -> float:
    """CPU seconds of this process and of its children and theirs, as far as they have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
