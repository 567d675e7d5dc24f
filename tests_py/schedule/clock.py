"""Virtual time, and instants written the way people read them."""

from __future__ import annotations

from datetime import datetime

from voicecore.schedule import ScheduleChecker, ScheduleStore


def at(text: str) -> float:
    """Seconds since 1970 of "2026-03-29 01:00" in UTC."""
    return datetime.fromisoformat(f"{text}+00:00").timestamp()


class Clock:
    """Wall and monotonic time; only tests move them."""

    def __init__(self, start: str = "2026-06-01 00:00") -> None:
        self.wall = at(start)
        self.monotonic = 1000.0
        self.asleep = 0.0

    def pass_time(self, seconds: float) -> None:
        """Time passes as it does."""
        self.wall += seconds
        self.monotonic += seconds

    def go_to(self, text: str) -> None:
        """Time passes until then."""
        self.pass_time(at(text) - self.wall)

    def step(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self.wall += seconds

    def suspend(self, seconds: float) -> None:
        """The machine sleeps: CLOCK_MONOTONIC stands still."""
        self.wall += seconds
        self.asleep += seconds

    def checker(self, store: ScheduleStore) -> ScheduleChecker:
        """A checker on this clock, as after a start of the process."""
        return ScheduleChecker(
            store,
            lambda: self.wall,
            lambda: self.monotonic,
            boottime=lambda: self.monotonic + self.asleep,
        )
