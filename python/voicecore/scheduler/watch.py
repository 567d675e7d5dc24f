"""What goes wrong in silence, looked for now and then: each warned of once."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from voicecore import _core
from voicecore._sqlite_versions import has_wal_race

if TYPE_CHECKING:
    from voicecore.scheduler.scheduler import Scheduler

log = logging.getLogger("voicecore.scheduler")

_OTHERS_EVERY: Final = 30.0
"""Seconds between two looks at who else has the file open: a read of a small table."""
_UNRUNG: Final = 10
"""So many wakes in a row without the doorbell are no accident: a sender that rings is overtaken by
a look at the file once in hundreds of commands."""


class Watch:
    """Looks with the tick; nothing here keeps a command waiting."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._rung = 0
        self._others = 0
        self._told_of_bell = False
        self._told_of: set[str] = set()
        self._look_at = 0.0

    async def look(self) -> None:
        """What there is to warn of now."""
        self._look_at_bell()
        now = self._scheduler._monotonic()
        if now >= self._look_at:
            self._look_at = now + _OTHERS_EVERY
            await self._look_at_others()

    async def _look_at_others(self) -> None:
        """Processes whose SQLite can damage the log of a file that is checkpointed here."""
        workers = await self._scheduler.queue.workers()
        for other in workers:
            if other.pid == os.getpid() or other.owner in self._told_of:
                continue
            if _core.owner_may_live(other.owner) and has_wal_race(other.sqlite_version):
                self._told_of.add(other.owner)
                log.warning(
                    "Process %d has the queue file open with SQLite %s, whose commits can meet a "
                    "checkpoint of this process at a bad moment; 3.51.3 is the first without that",
                    other.pid,
                    other.sqlite_version,
                )
        self._told_of &= {other.owner for other in workers}

    def _look_at_bell(self) -> None:
        scheduler = self._scheduler
        native = scheduler._native
        # Without claims of its own the native half counts rows that only wait, too.
        if native is None or self._told_of_bell or scheduler._drains_itself:
            return
        if not scheduler._doorbell or scheduler._time is not None:
            return
        wakes = native.report()["wakes"]
        others = wakes["data_version"] + wakes["tick"]
        if wakes["doorbell"] != self._rung:
            self._rung, self._others = wakes["doorbell"], others
        elif others - self._others >= _UNRUNG:
            self._told_of_bell = True
            log.warning(
                "The last %d times commands were found by looking at the file, up to %g s late: "
                "either whoever sends them does not ring (a bare INSERT cannot; call ring() after "
                "it), or the doorbell beside %s was removed or may not be written to; it hangs "
                "again after a restart",
                others - self._others,
                scheduler._poll,
                scheduler.queue.path,
            )
