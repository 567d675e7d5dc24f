"""One self-contained HTML page about a run: what arrived, when, and how that compares."""

from __future__ import annotations

from voicecore.report.model import Picture, Report, Stream
from voicecore.report.page import render

__all__ = ["Picture", "Report", "Stream", "render"]
