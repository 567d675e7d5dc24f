"""The lesson's scheduler on the native core: commands, the schedule, one session per key."""

from __future__ import annotations

from voicecore.scheduler.scheduler import Scheduler
from voicecore.scheduler.session import Session, StateRepository
from voicecore.scheduler.statistics import SchedulerStatistics

__all__ = ["Scheduler", "SchedulerStatistics", "Session", "StateRepository"]
