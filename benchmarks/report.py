"""REPORT.md (placeholder)."""

from pathlib import Path
from typing import Any


def bars_text(results: dict[str, Any]) -> str:
    lines = []
    for workload in results["workloads"].values():
        lines.append(workload["title"])
        for bar in workload["bars"]:
            sign = "≥" if bar["at_least"] else "≤"
            word = "reached" if bar["reached"] else "MISSED"
            lines.append(
                f"  {word:8} {bar['name']}: {bar['measured']:g} {bar['unit']} ({sign} {bar['limit']:g}) {bar['note']}"
            )
    return "\n".join(lines)


def write(results: dict[str, Any], out: Path) -> None:
    pass
