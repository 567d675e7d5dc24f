"""voicecore: native audio for Discord bots.

Decoding, Opus, the 20 ms frame clock, RTP and encryption run in C++ threads with the GIL
released; this package is the thin asyncio layer over them.
"""

from __future__ import annotations

import sys as _sys

if not _sys.platform.startswith("linux"):
    raise ImportError(
        f"voicecore runs on Linux; this is {_sys.platform}. "
        "On other systems use it in a Linux container or virtual machine."
    )

from typing import TYPE_CHECKING

from voicecore._core import __version__
from voicecore.errors import (
    AccessRefused,
    AddressInUse,
    CertificateError,
    Closed,
    CorruptMedia,
    HTTPStatusError,
    InternalError,
    InvalidArgument,
    IOFailure,
    NoAudio,
    NotSeekable,
    OpenError,
    QueueTimeout,
    SinkError,
    SourceInUse,
    SourceIsDirectory,
    SourceNotFound,
    SourcePermissionError,
    SourceTimeout,
    StaleClaim,
    Unavailable,
    UnsupportedMedia,
    VoicecoreError,
    WrongType,
)

if TYPE_CHECKING:
    from voicecore.cpu_latency import CpuLatencyRequest
    from voicecore.database import DatabaseError
    from voicecore.engine import Engine, ManualClock
    from voicecore.player import Event, Player, PlayerState
    from voicecore.queue import (
        Command,
        CommandQueue,
        NewCommand,
        Outcome,
        QueueStatistics,
        SyncCommandQueue,
    )
    from voicecore.receiver import Arrival, ArrivalTimes, Receiver, ReceiverStatistics
    from voicecore.schedule import (
        CronLine,
        FixedTimes,
        Interval,
        MemoryScheduleStore,
        ScheduleChecker,
        ScheduleEntry,
        SqliteScheduleStore,
    )
    from voicecore.scheduler import Scheduler, SchedulerStatistics, Session
    from voicecore.sessions import Claim, SessionMutex, SessionTaken
    from voicecore.settings import EncoderSettings
    from voicecore.sinks import MemorySink, NullSink, OggSink, ReceivedPacket, Sink, UdpSink
    from voicecore.sources import OpusSource, PcmSource, Source, SourceInfo, ToneSource
    from voicecore.statistics import EngineStatistics, Lateness, PlayerStatistics, Underruns
    from voicecore.transcoding import TranscodeResult, transcode

# Loaded when it is first named: whoever only sends commands loads nothing of playing, and the other
# way round.
_LAZY = {
    "Arrival": "receiver",
    "ArrivalTimes": "receiver",
    "Claim": "sessions",
    "Command": "queue",
    "CommandQueue": "queue",
    "CpuLatencyRequest": "cpu_latency",
    "CronLine": "schedule",
    "DatabaseError": "database",
    "EncoderSettings": "settings",
    "Engine": "engine",
    "EngineStatistics": "statistics",
    "Event": "player",
    "FixedTimes": "schedule",
    "Interval": "schedule",
    "Lateness": "statistics",
    "ManualClock": "engine",
    "MemoryScheduleStore": "schedule",
    "MemorySink": "sinks",
    "NewCommand": "queue",
    "NullSink": "sinks",
    "OggSink": "sinks",
    "OpusSource": "sources",
    "Outcome": "queue",
    "PcmSource": "sources",
    "Player": "player",
    "PlayerState": "player",
    "PlayerStatistics": "statistics",
    "QueueStatistics": "queue",
    "ReceivedPacket": "sinks",
    "Receiver": "receiver",
    "ReceiverStatistics": "receiver",
    "ScheduleChecker": "schedule",
    "ScheduleEntry": "schedule",
    "Scheduler": "scheduler",
    "SchedulerStatistics": "scheduler",
    "Session": "scheduler",
    "SessionMutex": "sessions",
    "SessionTaken": "sessions",
    "Sink": "sinks",
    "Source": "sources",
    "SourceInfo": "sources",
    "SqliteScheduleStore": "schedule",
    "SyncCommandQueue": "queue",
    "ToneSource": "sources",
    "TranscodeResult": "transcoding",
    "UdpSink": "sinks",
    "Underruns": "statistics",
    "transcode": "transcoding",
}


def __getattr__(name: str) -> object:
    import importlib

    if name in _LAZY:
        value: object = getattr(importlib.import_module(f"voicecore.{_LAZY[name]}"), name)
    elif name in _LAZY.values():
        value = importlib.import_module(f"voicecore.{name}")
    else:
        raise AttributeError(f"module 'voicecore' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """What `__getattr__` would load as well, and without loading it: for completion."""
    return sorted(globals().keys() | _LAZY.keys() | set(_LAZY.values()))


__all__ = [
    "AccessRefused",
    "AddressInUse",
    "Arrival",
    "ArrivalTimes",
    "CertificateError",
    "Claim",
    "Closed",
    "Command",
    "CommandQueue",
    "CorruptMedia",
    "CpuLatencyRequest",
    "CronLine",
    "DatabaseError",
    "EncoderSettings",
    "Engine",
    "EngineStatistics",
    "Event",
    "FixedTimes",
    "HTTPStatusError",
    "IOFailure",
    "InternalError",
    "Interval",
    "InvalidArgument",
    "Lateness",
    "ManualClock",
    "MemoryScheduleStore",
    "MemorySink",
    "NewCommand",
    "NoAudio",
    "NotSeekable",
    "NullSink",
    "OggSink",
    "OpenError",
    "OpusSource",
    "Outcome",
    "PcmSource",
    "Player",
    "PlayerState",
    "PlayerStatistics",
    "QueueStatistics",
    "QueueTimeout",
    "ReceivedPacket",
    "Receiver",
    "ReceiverStatistics",
    "ScheduleChecker",
    "ScheduleEntry",
    "Scheduler",
    "SchedulerStatistics",
    "Session",
    "SessionMutex",
    "SessionTaken",
    "Sink",
    "SinkError",
    "Source",
    "SourceInUse",
    "SourceInfo",
    "SourceIsDirectory",
    "SourceNotFound",
    "SourcePermissionError",
    "SourceTimeout",
    "SqliteScheduleStore",
    "StaleClaim",
    "SyncCommandQueue",
    "ToneSource",
    "TranscodeResult",
    "UdpSink",
    "Unavailable",
    "Underruns",
    "UnsupportedMedia",
    "VoicecoreError",
    "WrongType",
    "__version__",
    "transcode",
]
