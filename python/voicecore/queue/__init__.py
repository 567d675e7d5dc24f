"""The durable command queue: what one process sends, another carries out, and nothing is lost.

The rows live in SQLite (`bot_commands`, lesson R50); the native core does the work with the GIL
released. `CommandQueue` is for asyncio and never blocks the loop, `SyncCommandQueue` for scripts
and web handlers.

A command that fails is tried `max_attempts` times, once by default; one whose holder died is
carried out again (lesson D20), but not after three deaths: commands should be idempotent.
"""

from __future__ import annotations

from voicecore.queue.base import Executor
from voicecore.queue.client import CommandQueue
from voicecore.queue.convert import command_from_row, key_text
from voicecore.queue.model import (
    DEFAULT,
    DEFAULT_KEY,
    EVERY_KEY,
    KNOWN_VERBS,
    STEERING_VERBS,
    Command,
    NewCommand,
    Outcome,
    QueueStatistics,
    Row,
    Value,
    WorkerInfo,
)
from voicecore.queue.sync_client import SyncCommandQueue

__all__ = [
    "DEFAULT",
    "DEFAULT_KEY",
    "EVERY_KEY",
    "KNOWN_VERBS",
    "STEERING_VERBS",
    "Command",
    "CommandQueue",
    "Executor",
    "NewCommand",
    "Outcome",
    "QueueStatistics",
    "Row",
    "SyncCommandQueue",
    "Value",
    "WorkerInfo",
    "command_from_row",
    "key_text",
]
