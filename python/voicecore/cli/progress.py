"""The line that shows what is playing. Redrawn by whoever calls `show`; no thread of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from voicecore.cli.exits import one_line
from voicecore.cli.words import clock_time, milliseconds

INTERVAL = 0.1
"""Seconds between two pictures."""


@dataclass(frozen=True, slots=True)
class PlayPicture:
    """What the line shows of a player."""

    state: str
    name: str
    track: int
    tracks: int
    position: float
    duration: float | None
    volume: float = 1.0
    lateness_p99: float | None = None
    underruns: int = 0
    note: str = ""

    def __rich_console__(self, console: Console, options: object) -> list[RenderableType]:
        return [self.line(console.width)]

    def line(self, width: int) -> Table:
        """One row that fits the width; what matters least goes first."""
        marks = {"playing": ("▶", "green"), "paused": ("⏸", "yellow"), "priming": ("…", "cyan")}
        mark, colour = marks.get(self.state, ("■", "dim"))
        name = Text(overflow="ellipsis", no_wrap=True)
        if self.tracks > 1:
            name.append(f"{self.track + 1}/{self.tracks} ", style="dim")
        name.append(self.name, style="bold")
        cells: list[RenderableType] = [Text(mark, style=colour), name, Text(self._times())]
        row = Table.grid(padding=(0, 1))
        row.add_column(no_wrap=True)
        row.add_column(no_wrap=True, overflow="ellipsis", max_width=max(8, width // 3))
        row.add_column(no_wrap=True)
        if width >= 60:
            row.add_column(no_wrap=True)
            cells.append(self._bar(min(30, width // 4)))
        extras = self._extras(width)
        if extras.plain:
            row.add_column(no_wrap=True, overflow="ellipsis")
            cells.append(extras)
        row.add_row(*cells)
        return row

    def _times(self) -> str:
        text = clock_time(self.position)
        return text if self.duration is None else f"{text} / {clock_time(self.duration)}"

    def _bar(self, width: int) -> ProgressBar:
        if self.duration is None:
            return ProgressBar(total=None, width=width, pulse=True)
        return ProgressBar(
            total=max(self.duration, 0.001),
            completed=min(self.position, self.duration),
            width=width,
        )

    def _extras(self, width: int) -> Text:
        extras = Text(no_wrap=True, overflow="ellipsis")
        if self.note:
            extras.append(self.note, style="yellow")
            return extras
        if self.volume != 1.0:
            extras.append(f"vol {self.volume:.2f} ", style="cyan")
        if self.underruns:
            extras.append(f"{self.underruns} underruns ", style="yellow")
        if width >= 80 and self.lateness_p99 is not None:
            extras.append(f"late p99 {milliseconds(self.lateness_p99)}", style="dim")
        return extras


class StatusLine:
    """One line at the bottom of the terminal, gone at the end.

    Args:
        wanted: False shows nothing, as when stderr is not a terminal.
    """

    def __init__(self, *, wanted: bool) -> None:
        console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        if wanted and console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(
                console=console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )

    @property
    def shown(self) -> bool:
        """Whether anybody sees it."""
        return self._live is not None

    def show(self, picture: RenderableType) -> None:
        """Draw it."""
        if self._live is not None:
            self._live.update(picture, refresh=True)

    def print(self, text: str) -> None:
        """A message that stays, above the line."""
        if self._live is not None:
            self._live.console.print(Text(f"voicecore: {one_line(text)}"))

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()


def short_name(location: str) -> str:
    """A file or URL as the line shows it."""
    name = (
        location.rstrip("/").rsplit("/", 1)[-1] if "://" in location else os.path.basename(location)
    )
    return one_line(name or location)
