"""QUEUE.md: the bars, who loses where, every table, the machine, the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import queue_figures
from benchmarks.queue_tables import TABLES
from benchmarks.queue_verdict import sentences
from benchmarks.report import bars_table, machine_text, quiet_text

Row = dict[str, Any]

METHOD = """\
- Every side has its own file on the same file system, WAL, and the same `synchronous`, set on every
  connection: NORMAL and FULL are tables of their own. Payloads of 110 B and 1 KiB are one JSON
  text. One command a transaction unless *batched* is said.
- The sides of a table are run in turns, each in fresh processes on a fresh file; where *runs* is
  more than one the figures are medians, and the slowest is that of all runs.
- The peers are used as their documentation says. *lesson* is the pattern written out on
  `aiosqlite`: SELECT the oldest, carry out, DELETE, sleep 2 s. Each polling peer is shown with its
  own pace, or tuned to look every 10 ms. litequeue and persist-queue are told to drop finished
  rows after every 500, as they advise.
- **weaker** says what a faster peer does not promise; voicecore keeps a lease and an attempt that
  fences off late holders, one command a key at a time, and every finished command in a history.
- voicecore moves the write-ahead log into the file on the worker's tick, every two seconds and at
  the end; the peers have SQLite do it with every thousandth page. Both are within what is timed.
- *processors awake*: the same beside a `voicecore.CpuLatencyRequest`, which keeps every processor
  of the machine from sleeping. voicecore never asks for it by itself.
- Instants are of the machine's monotonic clock, or the kernel's receive timestamp at the same
  receiver that the audio runs use.
"""

ABOUT = {
    "queue_wake": """\
A sender process enqueues every 10 ms; the payload carries the instant before the call, so that
its commit is within. The handler of another process takes the time when it begins. *woken by* are
the rungs that found the work, as the scheduler counts them; the side's name is the fastest rung
that it was allowed. *both processes*: the sender and the worker are C++ programs of the core, to
the claimed row: what SQLite, the kernel and this machine take of it; *to a thread*: until a second
one, asleep in epoll as an event loop's is, has been told. *idle CPU* is the whole worker's over
ten seconds in which nothing comes.""",
    "queue_claim": """\
The core is measured without Python (`core_queue.cpp`, which links the store), against
`bare_queue.c`, which runs the same statements on the same schema and does nothing else: their texts
are taken from a trace of the core in this run. Both run in one process, on a file each, row by row
in turns. Commands of 64 keys wait from the beginning.
*claims alone*: time within the claims and their commits, the acks between them left out.""",
    "queue_enqueue": """\
Each call returns when the command is committed. What blocks its caller would block an event loop.
aiosqlite inserts into the lesson's table, which has no index; *in our table* is the same INSERT
into voicecore's file, with all its indexes.""",
    "queue_ticks": """\
Every side ticks each 20 ms and does nothing. Late by its own plan: the native tick by the core's
histogram, loops by what they said they would do next, the relative loop by what it asked of
`sleep`; ticks delivered to Python by the grid that the most punctual of them lies on.
*busy thread*: a pure-Python loop.""",
    "queue_streams": """\
500 Ogg Opus files pass through to the receiver; in the same process a scheduler carries out what
another process enqueues every millisecond, each through a Python handler. How many a second FULL
lets through is the disk's affair: sender and worker each wait for it.""",
    "queue_stop": """\
Ten sessions play (FULL), the loop sleeps for a second without awaiting, and another process sends
their stops meanwhile, one every 41 ms. From before the call to the first silence frame at the
receiver.""",
    "queue_history": """\
Two files in one process, claims and acks in turns, without Python.""",
}


def write(results: Row, out: Path) -> Path:
    """QUEUE.md and figures/ from a run's record; the report's path."""
    drawn = queue_figures.draw(results, out / "figures")
    kind = "A quick run: short windows, few repeats. " if results["quick"] else ""
    parts = [
        "# Benchmarks of the command queue",
        "",
        f"{kind}Made on {results['made']} by",
        "",
        "```sh",
        results["command"],
        "```",
        "",
        f"in {results['seconds']} seconds. Every figure below is of that one run; "
        "`queue_results.json` has all of it.",
        "",
        "## The bars",
        bars_table(results),
        "",
        "## Who loses where",
        *(f"- {line}" for line in sentences(results)),
        "",
        "## How it is measured",
        METHOD,
        "## The machine",
        f"{machine_text(results)} Queue files on {results['machine']['file_system']}.",
        "",
    ]
    if results["spoiled"]:
        parts += ["**Spoiled**: " + "; ".join(results["spoiled"]) + ".", ""]
    parts += [quiet_text(results), ""]
    for name, found in results["workloads"].items():
        parts += [f"## {found['title']}", ABOUT[name], ""]
        if name in drawn:
            parts += [f"![{found['title']}](figures/{drawn[name]})", ""]
        parts += [TABLES[name](found), ""]
    path = out / "QUEUE.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path
