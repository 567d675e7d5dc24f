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

from voicecore._core import __version__
from voicecore.engine import Engine, Event, ManualClock, Player, PlayerState
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
    SinkError,
    SourceInUse,
    SourceIsDirectory,
    SourceNotFound,
    SourcePermissionError,
    SourceTimeout,
    Unavailable,
    UnsupportedMedia,
    VoicecoreError,
)
from voicecore.receiver import Arrival, ArrivalTimes, Receiver, ReceiverStatistics
from voicecore.settings import EncoderSettings
from voicecore.sinks import MemorySink, NullSink, OggSink, ReceivedPacket, Sink, UdpSink
from voicecore.sources import OpusSource, PcmSource, Source, SourceInfo, ToneSource
from voicecore.statistics import EngineStatistics, Lateness, PlayerStatistics, Underruns
from voicecore.transcode import TranscodeResult, transcode

__all__ = [
    "AccessRefused",
    "AddressInUse",
    "Arrival",
    "ArrivalTimes",
    "CertificateError",
    "Closed",
    "CorruptMedia",
    "EncoderSettings",
    "Engine",
    "EngineStatistics",
    "Event",
    "HTTPStatusError",
    "IOFailure",
    "InternalError",
    "InvalidArgument",
    "Lateness",
    "ManualClock",
    "MemorySink",
    "NoAudio",
    "NotSeekable",
    "NullSink",
    "OggSink",
    "OpenError",
    "OpusSource",
    "PcmSource",
    "Player",
    "PlayerState",
    "PlayerStatistics",
    "ReceivedPacket",
    "Receiver",
    "ReceiverStatistics",
    "Sink",
    "SinkError",
    "Source",
    "SourceInUse",
    "SourceInfo",
    "SourceIsDirectory",
    "SourceNotFound",
    "SourcePermissionError",
    "SourceTimeout",
    "ToneSource",
    "TranscodeResult",
    "UdpSink",
    "Unavailable",
    "Underruns",
    "UnsupportedMedia",
    "VoicecoreError",
    "__version__",
    "transcode",
]
