"""When a loop is due next: on a grid of the monotonic clock, or at times of day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Protocol

from voicecore.tasks import _times
from voicecore.tasks.clock import Clock

LEAST_GRACE_SECONDS = 1.0
"""A running loop is always a little late; less than this is on time whatever the grace."""

WALL_CHECK_SECONDS = 5.0
"""A loop that waits for a time of day looks at the wall clock this often: a timer of hours would
notice neither a step nor a suspended machine."""

_LOOK_BACK_SECONDS = 8 * 86_400.0
"""Of a longer gap in the wall clock (a machine without a battery boots in 1970) no more counts as
missed."""


Missed = Callable[[int], None]


class Plan(Protocol):
    """What a loop asks its timing."""

    def wait(self, clock: Clock) -> float:
        """Seconds to sleep before asking again; 0 or less: due."""

    def take(self, clock: Clock) -> float:
        """Begin the run that is due; its lateness in seconds."""

    def finish(self) -> None:
        """The run that was begun is over and must not be begun again."""

    def following(self, clock: Clock) -> float:
        """The next due time, as seconds since 1970."""


class Grid:
    """Deadlines at `epoch + k × period` of the monotonic clock. Never a burst, never a drift.

    Args:
        missed: called with the number of due times that were skipped, when some were.
        period: seconds; 0 is due always.
        epoch: seconds of the monotonic clock.
        index: the first k.
    """

    def __init__(self, missed: Missed, period: float, epoch: float, index: int = 0) -> None:
        self._missed = missed
        self.period = period
        self.epoch = epoch
        self.index = index

    @property
    def deadline(self) -> float:
        """The next one."""
        return self.epoch + self.index * self.period

    def wait(self, clock: Clock) -> float:
        """Seconds until the deadline."""
        return self.deadline - clock.monotonic()

    def take(self, clock: Clock) -> float:
        """Late by a period or more: the whole periods are skipped, and counted."""
        now = clock.monotonic()
        missed = 0
        if self.period > 0:
            missed = max(0, int((now - self.deadline) / self.period))
            while missed and self.epoch + (self.index + missed) * self.period > now:
                missed -= 1  # the division rounded up
        else:
            self.epoch = now  # no period, no grid
        if missed:
            self.index += missed
            self._missed(missed)
        late = max(0.0, now - self.deadline)
        self.index += 1
        return late

    def finish(self) -> None:
        """Nothing to remember: a deadline never comes back."""

    def following(self, clock: Clock) -> float:
        """The deadline, translated."""
        return clock.wall() + self.wait(clock)

    def previous(self) -> float:
        """The deadline before the next one, where another period would be counted from."""
        return self.epoch + (self.index - 1) * self.period


class Daily:
    """Times of day, each once per local date, whatever the wall clock does.

    Overdue times coalesce into the latest instant; those later than `grace` are missed. Different
    times that fall on the same instant (equal times in two zones, two times in one gap) each get
    their run, one after the other.

    Args:
        missed: called with the number of due times that will not run, when some are found.
        slots: at least one.
        handled: (slot, local date) that must not run again; shared by successive plans of a loop.
        grace: seconds.
        since: seconds since 1970; what was due after that still runs.
    """

    def __init__(
        self,
        missed: Missed,
        slots: Sequence[_times.Slot],
        handled: set[tuple[_times.Slot, dt.date]],
        grace: float,
        since: float,
    ) -> None:
        self.slots = slots
        self.running: _times.Occurrence | None = None
        self._handled = handled
        self._grace = max(grace, LEAST_GRACE_SECONDS)
        self._horizon = since
        self._due: list[_times.Occurrence] = []
        self._quiet: float | None = None  # nothing is due between the horizon and then
        self._missed = missed

    def wait(self, clock: Clock) -> float:
        """Until the next time, or until the wall clock has to be looked at again."""
        now = clock.wall()
        if self._quiet is None or not self._horizon <= now < self._quiet:
            self._scan(now)
            if self._due:
                return 0.0
            self._quiet = self._next(now).instant
        self._horizon = now
        return min(self._quiet - now, WALL_CHECK_SECONDS)

    def take(self, clock: Clock) -> float:
        """The first of what is due at the latest instant."""
        now = clock.wall()
        self._scan(now)
        self.running = self._due.pop(0)
        return max(0.0, now - self.running.instant)

    def finish(self) -> None:
        """Not again on this local date."""
        if self.running is not None:
            self._handled.add((self.running.slot, self.running.date))
            self.running = None

    def following(self, clock: Clock) -> float:
        """The next time that has not run."""
        return self._due[0].instant if self._due else self._next(clock.wall()).instant

    def _scan(self, now: float) -> None:
        # Looks at each stretch of the wall clock once, unless the clock was set back: then the same
        # dates come again, and `handled` knows those that have run.
        after = max(self._horizon, now - _LOOK_BACK_SECONDS)
        self._horizon = now
        self._quiet = None
        fresh = [one for one in _times.between(self.slots, after, now) if self._open(one)]
        timely = [one for one in fresh if now - one.instant <= self._grace]
        kept = self._due
        if timely:
            latest = timely[-1].instant
            kept = [one for one in self._due + timely if one.instant == latest]
        lost = len(self._due) + len(fresh) - len(kept)
        self._due = kept
        if lost:
            self._missed(lost)
        if len(self._handled) > 64 * len(self.slots):
            today = dt.datetime.fromtimestamp(now, dt.UTC).date()
            old = {key for key in self._handled if abs((key[1] - today).days) > 16}
            self._handled -= old

    def _open(self, one: _times.Occurrence) -> bool:
        return (
            (one.slot, one.date) not in self._handled
            and one not in self._due
            and one != self.running
        )

    def _next(self, now: float) -> _times.Occurrence:
        return min(
            (
                next(one for one in _times.upcoming(slot, now) if self._open(one))
                for slot in self.slots
            ),
            key=lambda one: one.instant,
        )
