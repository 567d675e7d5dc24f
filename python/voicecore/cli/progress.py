"""The line that shows what is playing. Redrawn by whoever calls `show`; no thread of its own."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.text import Text

from voicecore.cli.exits import one_line
from voicecore.cli.output import in_background
from voicecore.cli.words import clock_time, count, milliseconds

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

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.line(options.max_width)

    def line(self, width: int) -> Text:
        """One line that fits the width; what matters least goes first."""
        mark, colour = _MARKS.get(self.state, ("■", "dim"))
        times = clock_time(self.position)
        if self.duration is not None:
            times += f" / {clock_time(self.duration)}"
        place = f"{self.track + 1}/{self.tracks} " if self.tracks > 1 else ""
        name = Text(self.name)
        room = width - len(times) - len(place) - 6
        name.truncate(max(6, min(width // 3, room)), overflow="ellipsis")
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(mark, style=colour)
        line.append(f" {place}", style="dim")
        line.append(name.plain, style="bold")
        line.append(f"  {times}  ")
        if self.note:
            line.append(self.note, style="yellow")
            return line
        extras = self._extras()
        room = min(30, width - line.cell_len - extras.cell_len - 2)
        if self.duration and room >= 8:
            line.append_text(bar(self.position / self.duration, room))
            line.append("  ")
        line.append_text(extras)
        return line

    def _extras(self) -> Text:
        parts = Text()
        if self.volume != 1.0:
            parts.append(f"vol {self.volume:.2f}  ", style="cyan")
        if self.underruns:
            parts.append(count(self.underruns, "underrun") + "  ", style="yellow")
        if self.lateness_p99 is not None:
            parts.append(f"late p99 {milliseconds(self.lateness_p99)}", style="dim")
        return parts


_MARKS = {"playing": ("▶", "green"), "paused": ("⏸", "yellow"), "priming": ("…", "cyan")}


def bar(share: float, width: int) -> Text:
    """How much is done, 0 to 1."""
    done = round(min(1.0, max(0.0, share)) * width)
    return Text.assemble(("━" * done, "green"), ("━" * (width - done), "bright_black"))


class StatusLine:
    """One line at the bottom of the terminal, gone at the end.

    In the background it is not drawn: the terminal shows what somebody else writes then.

    Args:
        wanted: False shows nothing, as when stderr is not a terminal.
    """

    def __init__(self, *, wanted: bool) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._shown = wanted and self._console.is_terminal and not self._console.is_dumb_terminal
        self._live: Live | None = None

    @property
    def shown(self) -> bool:
        """Whether anybody sees it, in the foreground."""
        return self._shown

    def show(self, picture: RenderableType) -> None:
        """Draw it."""
        if not self._shown:
            return
        if in_background(self._console.file.fileno()):
            self.hide()
            return
        try:
            if self._live is None:
                self._live = Live(
                    console=self._console,
                    auto_refresh=False,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._live.start()
            self._live.update(picture, refresh=True)
        except OSError:  # the terminal has gone
            self._shown, self._live = False, None

    def hide(self) -> None:
        """Take it away and show the cursor again, until the next `show`."""
        live, self._live = self._live, None
        if live is not None:
            self._console.quiet = in_background(self._console.file.fileno())
            with contextlib.suppress(OSError):
                live.stop()
            self._console.quiet = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hide()


def short_name(location: str) -> str:
    """A file or URL as the line shows it."""
    name = (
        location.rstrip("/").rsplit("/", 1)[-1] if "://" in location else os.path.basename(location)
    )
    return one_line(name or location)
