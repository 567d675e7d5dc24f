"""How much is done: a short form with every test run, the full one by `tools/proof.sh full`."""

from __future__ import annotations

import os

FULL = os.environ.get("VOICECORE_PROOF") == "full"


def scaled(short: int, full: int) -> int:
    """`short`, or `full` in a full run."""
    return full if FULL else short


def tell(text: str) -> None:
    """A figure of the proof, for whoever runs it in full (with `-s`)."""
    if FULL:
        print(f"\n  {text}", flush=True)
