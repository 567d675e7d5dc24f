"""What the queue's child processes are told: a JSON object on their command line."""

from __future__ import annotations

import json
import sys
from typing import TypeVar

T = TypeVar("T")


def from_argv(kind: type[T]) -> T:
    """The specification of this process, as that dataclass."""
    return kind(**json.loads(sys.argv[1]))
