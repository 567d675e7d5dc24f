"""What is due now: one look at the schedule per tick."""

from __future__ import annotations

import logging
import math
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from voicecore.errors import InvalidArgument
from voicecore.schedule.clocks import ClockEvent, ClockWatch
from voicecore.schedule.entries import DamagedEntry, ScheduleEntry
from voicecore.schedule.occurrences import Occurrence, iterate, last_occurrences
from voicecore.schedule.rules import CronLine, Interval
from voicecore.schedule.sqlite_store import SqliteScheduleStore
from voicecore.schedule.store import Mark, ScheduleStore, State
from voicecore.schedule.zones import EARLIEST, LATEST

logger = logging.getLogger(__name__)

LOOK_BACK = 86_400.0
"""After a restart, what was due in the last day and did not run is recorded as missed."""
LOOK_BACK_ELAPSED = 3600.0
"""The same for what follows elapsed time and may be due each second."""
AHEAD = 25 * 3600.0
"""Rows decided for instants further ahead than this come from a wrong clock."""
KEEP_FIXED = 400 * 86_400.0
"""Occurrences of fixed times are kept for a good year."""
KEEP_ELAPSED = 3 * 86_400.0
"""Those of intervals, of which there may be thousands a day, for three days."""
_MOST = 500
_PRUNE_EVERY = 6 * 3600.0
_PRUNE_FIRST = 600.0  # not among what a start has to do


@dataclass(frozen=True, slots=True)
class Due:
    """Something to do now, given out once across restarts and processes."""

    kind: Literal["reminder", "start"]
    """A reminder for people, or the start itself."""
    entry: ScheduleEntry
    """As stored when it was claimed."""
    occurrence: Occurrence
    """Which one."""
    late: float
    """Seconds after its instant (a reminder's instant is `remind_minutes` before the start)."""
    coalesced: int = 0
    """Earlier occurrences of the same entry that this start stands for."""


@dataclass(frozen=True, slots=True)
class ScheduleStatistics:
    """What the checker did since it was made."""

    checks: int = 0
    """Looks at the schedule."""
    started: int = 0
    """Starts given out; with `as_commands` those of them that were carried out."""
    busy: int = 0
    """Starts that were dropped because their key already played."""
    reminded: int = 0
    """Reminders given out."""
    missed: int = 0
    """Occurrences whose grace ended before they were found or while they waited for their key; with
    `as_commands` also starts that failed."""
    coalesced: int = 0
    """Occurrences that a later one of the same entry stood for."""
    lost_races: int = 0
    """Claims that another process, or an edit, was faster with."""
    clock_jumps: int = 0
    """Jumps of the wall clock."""
    damaged: int = 0
    """Rows that are no valid entries, at the last check."""


@dataclass(slots=True)
class _Known:
    """What was computed of an entry."""

    entry: ScheduleEntry
    seen: float
    """Everything due up to here is decided."""
    next: float
    """Nothing is to be done before."""


class ScheduleChecker:
    """Finds what is due, and claims it in the store before giving it out.

    An occurrence is given out at most once, by whichever process inserts its row first. A start
    that fails can be given back and comes again with the next check. A crash between the claim and
    the start loses it, unless `as_commands` puts a `play` into the queue in the transaction that
    claims it. A check costs one read while nothing is due.

    Not safe across threads; `check` is never to run twice at a time (the scheduler's ticks do not
    overlap).

    Args:
        store: where the entries are.
        wall_clock: seconds since 1970 UTC.
        monotonic: seconds, to tell a clock step from time that passed.
        boottime: seconds that also run while the machine sleeps, to tell a suspend from a step;
            `voicecore.schedule.boottime` on a real machine.
        owner: written to the rows; None makes a name of the process id and a random part.
        as_commands: starts are not returned but sent as `play` commands, which the queue does not
            lose; they expire when the grace ends. Needs a store in the queue's file.

    Raises:
        InvalidArgument: `as_commands` with a store that has no queue.
    """

    def __init__(
        self,
        store: ScheduleStore,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        boottime: Callable[[], float] | None = None,
        owner: str | None = None,
        as_commands: bool = False,
    ) -> None:
        if as_commands and not isinstance(store, SqliteScheduleStore):
            raise InvalidArgument("as_commands: the store has no queue, expected one that has")
        self._store = store
        self._sends_to = store if as_commands and isinstance(store, SqliteScheduleStore) else None
        self._given_back: list[Due] = []
        self._clocks = ClockWatch(wall_clock, monotonic, boottime)
        self._owner = owner or f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._known: dict[int, _Known] = {}
        self._damaged: tuple[DamagedEntry, ...] = ()
        self._statistics = ScheduleStatistics()
        self._first = True
        self._prune_at: float | None = None

    async def check(self, *, reminders: bool = True) -> list[Due]:
        """Claim and return what is due now, earliest first.

        What is later than its entry's `misfire_grace_time` is recorded as missed and not returned.
        Of several starts of one entry only the latest is returned unless its policy says "all".
        Cancelled or failed before the claim, nothing is lost: the next check finds it again.

        Args:
            reminders: False claims none: whoever has nobody to remind leaves them to the others
                that share the store.

        Raises:
            DatabaseError: of the store; nothing was claimed.
        """
        now, jump = self._clocks.look()
        self._count(checks=1, clock_jumps=1 if jump else 0)
        if not EARLIEST <= now < LATEST - LOOK_BACK:
            logger.warning("The clock says %s seconds since 1970; the schedule waits", now)
            return []
        if jump:
            logger.warning("The clock jumped by %+.3f s; the schedule was looked at anew", jump)
        if self._first or jump < 0:
            # A clock that was far ahead may have used up slots that are still to come.
            await self._store.forget_after(now + AHEAD)
            self._known.clear()
        await self._settle(now)
        entries = await self._read()
        if unknown := [one for one in entries if one.since == 0.0]:
            # Typed by hand: what was due before anybody knew of it is neither due nor missed.
            await self._store.begin(unknown, now=now)
            entries = await self._read()
        # Before the claims, after which nothing may fail: what was claimed is to be given out.
        await self._prune(now)
        returned = len(self._given_back)
        again = await self._again(now, entries)
        marks: list[Mark] = []
        dues: list[Due | None] = []
        looked: list[_Known] = []
        for entry in entries:
            if not entry.enabled or entry.id is None:
                continue
            known = self._known.get(entry.id)
            if known is None or known.entry is not entry:
                if known is not None and known.entry.since == entry.since:
                    seen = known.seen
                else:
                    seen = self._look_back(entry, now)
                known = _Known(entry, seen, -1.0)
            if now < known.next:
                continue
            looked.append(known)
            for mark, due in await self._decide(known, now, reminders):
                marks.append(mark)
                dues.append(due)
        taken = await self._store.mark(marks, owner=self._owner, now=now) if marks else []
        self._first = False
        del self._given_back[:returned]
        for known in looked:
            number = known.entry.id
            assert number is not None
            self._known[number] = replace(known, seen=now, next=_next_look(known.entry, now))
        self._known = {
            one.id: self._known[one.id]
            for one in entries
            if one.id is not None and one.id in self._known
        }
        given = self._tell(marks, dues, taken)
        if self._sends_to is not None:
            given = [due for due in given if due.kind == "reminder"]
        given += again
        return sorted(given, key=lambda due: (due.occurrence.due, due.kind != "start"))

    def give_back(self, due: Due) -> None:
        """A start, or a reminder, that failed or has to wait: the next check returns it again.

        Only while its grace lasts, then a start is recorded as missed. What was edited meanwhile
        comes as it is then; an entry that is disabled or gone does not. Kept in memory: after a
        restart it is not tried again.
        """
        self._given_back.append(due)

    async def record(self, occurrence: Occurrence, state: State) -> None:
        """Say what became of a start that was given out: "busy" when its key already played (D14).

        Raises:
            InvalidArgument: no such state.
            DatabaseError: of the store.
        """
        await self._store.record(occurrence, state)
        self._count(busy=int(state == "busy"))

    def take_clock_event(self) -> ClockEvent | None:
        """Clock steps and suspends noticed since the last call, summed up; None if there were none.

        Asked after each check.
        """
        return self._clocks.take()

    def damaged(self) -> tuple[DamagedEntry, ...]:
        """Rows that are no valid entries, as of the last check; the others are served."""
        return self._damaged

    def statistics(self) -> ScheduleStatistics:
        """What was done since the checker was made."""
        return self._statistics

    async def _settle(self, now: float) -> None:
        """What became of the starts that were sent as commands."""
        if self._sends_to is None:
            return
        for state in await self._sends_to.settle(now - LOOK_BACK):
            match state:
                case "fired":
                    self._count(started=1)
                case "busy":
                    self._count(busy=1)
                case "missed":
                    self._count(missed=1)

    async def _read(self) -> list[ScheduleEntry]:
        entries, damaged = await self._store.read()
        if tuple(damaged) != self._damaged:
            self._damaged = tuple(damaged)
            for one in damaged:
                logger.warning("Schedule entry %d (%s) is ignored: %s", one.id, one.name, one.error)
            self._statistics = replace(self._statistics, damaged=len(damaged))
        return entries

    async def _decide(
        self, known: _Known, now: float, reminders: bool
    ) -> list[tuple[Mark, Due | None]]:
        """The marks to set for one entry, each with what it gives out if it takes."""
        entry = known.entry
        assert entry.id is not None
        pending = last_occurrences(entry, max(known.seen, entry.since), _after(now), _MOST)
        ahead = _to_remind(entry, now) if reminders else []
        slots = [one.slot for one in (*pending, *ahead)]
        states = await self._store.states(entry.id, slots) if slots else {}
        pending = [one for one in pending if states.get(one.slot, "reminded") == "reminded"]

        found: list[tuple[Mark, Due | None]] = []
        fresh: list[Occurrence] = []
        for one in pending:
            if now - one.due > entry.policy.misfire_grace_time:
                found.append((Mark(one, "missed", entry.generation), None))
            else:
                fresh.append(one)
        passed_over = fresh[:-1] if entry.policy.coalesce == "latest" else []
        for one in passed_over:
            found.append((Mark(one, "coalesced", entry.generation), None))
        for one in fresh[len(passed_over) :]:
            due = Due("start", entry, one, now - one.due, len(passed_over))
            until = (
                one.due + entry.policy.misfire_grace_time if self._sends_to is not None else None
            )
            found.append((Mark(one, "fired", entry.generation, until, entry.policy.busy), due))
        for one in ahead:
            if one.slot not in states:
                late = now - (one.due - entry.remind_minutes * 60)
                due = Due("reminder", entry, one, late)
                found.append((Mark(one, "reminded", entry.generation), due))
        return found

    def _tell(self, marks: list[Mark], dues: list[Due | None], taken: list[bool]) -> list[Due]:
        """Count and log what took."""
        given: list[Due] = []
        for mark, due, took in zip(marks, dues, taken, strict=True):
            if not took:
                number = mark.occurrence.entry_id
                # An edit may have been in the way: look again at the next check.
                if number is not None:
                    self._known.pop(number, None)
                self._count(lost_races=1)
            elif due is not None:
                given.append(due)
                if due.kind == "reminder":
                    self._count(reminded=1)
                elif self._sends_to is None:  # otherwise it counts when it has been carried out
                    self._count(started=1)
            elif mark.state == "missed":
                self._count(missed=1)
                logger.warning(
                    "Schedule entry %s missed %s", mark.occurrence.entry_id, mark.occurrence.slot
                )
            else:
                self._count(coalesced=1)
        return given

    async def _again(self, now: float, entries: list[ScheduleEntry]) -> list[Due]:
        """What was given back, is still in time and still wanted."""
        wanted = {entry.id: entry for entry in entries if entry.enabled}
        again = []
        for due in tuple(self._given_back):
            entry = wanted.get(due.entry.id)
            lead = due.entry.remind_minutes * 60 if due.kind == "reminder" else 0
            late = now - due.occurrence.due + lead
            if entry is not None and late <= due.entry.policy.misfire_grace_time:
                again.append(replace(due, entry=entry, late=late))
            elif due.kind == "start":
                await self._store.record(due.occurrence, "skipped" if entry is None else "missed")
                self._count(missed=int(entry is not None))
        return again

    async def _prune(self, now: float) -> None:
        if self._prune_at is None or self._prune_at > now + _PRUNE_EVERY:
            self._prune_at = now + _PRUNE_FIRST
        elif now >= self._prune_at:
            self._prune_at = now + _PRUNE_EVERY
            await self._store.prune(now - KEEP_FIXED, now - KEEP_ELAPSED)

    def _look_back(self, entry: ScheduleEntry, now: float) -> float:
        elapsed = isinstance(entry.rule, Interval) or (
            isinstance(entry.rule, CronLine) and not entry.rule.fixed
        )
        back = max(LOOK_BACK_ELAPSED if elapsed else LOOK_BACK, entry.policy.misfire_grace_time)
        return max(float(EARLIEST), now - back)

    def _count(self, **more: int) -> None:
        for name, number in more.items():
            total = getattr(self._statistics, name) + number
            self._statistics = replace(self._statistics, **{name: total})


def _after(now: float) -> float:
    """The end of a half-open window that has `now` in it, and the start of one that has not."""
    return math.nextafter(now, math.inf)


def _to_remind(entry: ScheduleEntry, now: float) -> list[Occurrence]:
    """Occurrences still to come whose reminder is due, and not so late that it would be wrong."""
    if not entry.remind_minutes:
        return []
    lead = entry.remind_minutes * 60
    oldest = max(now, now + lead - entry.policy.misfire_grace_time, entry.since)
    found = []
    for one in islice(iterate(entry, oldest), _MOST):
        if one.due > _after(now) + lead:
            break
        if one.due > _after(now):
            found.append(one)
    return found


def _next_look(entry: ScheduleEntry, now: float) -> float:
    """When there is something to do next: a start, or a reminder."""
    lead = entry.remind_minutes * 60
    start = next(iterate(entry, _after(now)), None)
    if start is None:
        return LATEST
    if not lead:
        return start.due
    reminder = next(iterate(entry, _after(now) + lead), None)
    return start.due if reminder is None else min(start.due, reminder.due - lead)
