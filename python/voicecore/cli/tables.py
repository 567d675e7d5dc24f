"""Tables and times for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from voicecore.cli.exits import one_line


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """A table on stdout; `empty` when it has no rows.

    Cells come from strangers: nothing in them is markup, and control characters are made visible.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        click.echo(empty)
        return
    table = Table(*titles, box=box.SIMPLE, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    # In a pipe lines are as long as they need to be.
    width = None if sys.stdout.isatty() else 10_000
    console = Console(file=sys.stdout, width=width, highlight=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        if line.strip():
            click.echo(line.rstrip())


def print_pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Label and value, one pair on each line."""
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        click.echo(f"{label:<{width}}  {one_line(value)}")


def iso(seconds: float | None) -> str | None:
    """An instant for programs: ISO 8601 in UTC, with milliseconds."""
    moment = _moment(seconds)
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def local(seconds: float | None) -> str:
    """An instant for people: local time, UTC with a Z where that has none; "-" for none."""
    moment = _moment(seconds)
    if moment is None:
        return "-"
    shape = "%Y-%m-%d %H:%M:%S"
    try:
        return moment.astimezone().strftime(shape)
    except (OverflowError, ValueError):  # behind the year 9999, a TZ of more than a day
        return moment.strftime(shape + "Z")


def _moment(seconds: float | None) -> datetime | None:
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None  # typed by hand: no calendar has it


def span(seconds: float) -> str:
    """0.25 s, 42 s, 5 min, 3.5 h, 12 days."""
    if seconds < 10:
        return f"{seconds:.3g} s"
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 86_400:,.0f} days"
