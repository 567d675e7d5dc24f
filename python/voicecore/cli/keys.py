"""Keys pressed while something plays."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import termios
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self


class Key(enum.Enum):
    """What a key means."""

    PAUSE = "space"
    BACK = "left"
    FORWARD = "right"
    FAR_BACK = "down"
    FAR_FORWARD = "up"
    LOUDER = "+"
    QUIETER = "-"
    NEXT = "n"
    QUIT = "q"


HELP = "space pause · ←/→ 5 s · ↓/↑ 30 s · +/- volume · n next · q quit"

_PLAIN = {
    " ": Key.PAUSE,
    "+": Key.LOUDER,
    "=": Key.LOUDER,  # the same key without shift
    "-": Key.QUIETER,
    "_": Key.QUIETER,
    "n": Key.NEXT,
    "N": Key.NEXT,
    "q": Key.QUIT,
    "Q": Key.QUIT,
}
_ARROWS = {"A": Key.FAR_FORWARD, "B": Key.FAR_BACK, "C": Key.FORWARD, "D": Key.BACK}


class KeyDecoder:
    """Bytes from a terminal to keys. Sequences may arrive in pieces; what is unknown is ignored."""

    def __init__(self) -> None:
        self._sequence: str | None = None

    def feed(self, data: bytes) -> list[Key]:
        """The keys that `data` completes."""
        keys = []
        for byte in data:
            key = self._step(chr(byte))
            if key is not None:
                keys.append(key)
        return keys

    def _step(self, char: str) -> Key | None:
        if char == "\x1b":
            self._sequence = ""
            return None
        if self._sequence is None:
            return _PLAIN.get(char)
        if not self._sequence and char not in "[O":
            # Escape alone, then an ordinary key.
            self._sequence = None
            return _PLAIN.get(char)
        if len(self._sequence) > 0 and "\x40" <= char <= "\x7e":
            # The last byte of a control sequence (ECMA-48); modifiers make no difference.
            self._sequence = None
            return _ARROWS.get(char)
        self._sequence = (self._sequence + char)[-16:]
        return None


class Keyboard:
    """Reads keys from a terminal without waiting for Enter, and leaves it as it was.

    Does nothing when `fd` is no terminal, or while the process is in the background: reading or
    changing the terminal there would stop it, and the terminal is somebody else's then.

    Args:
        on_key: called in the loop for each key.
        fd: the terminal.
    """

    def __init__(self, on_key: Callable[[Key], object], fd: int = 0) -> None:
        self._on_key = on_key
        self._fd = fd
        self._decoder = KeyDecoder()
        self._saved: list[Any] | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def active(self) -> bool:
        """Whether keys are being read."""
        return self._saved is not None

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.give_back()

    def take(self) -> None:
        """Begin; again after the process was stopped and continued."""
        if not self._in_foreground():
            self._let_go()
            return
        try:
            if self._saved is None:
                self._saved = termios.tcgetattr(self._fd)
                self._loop.add_reader(self._fd, self._read)
            tty.setcbreak(self._fd, termios.TCSANOW)
        except (termios.error, OSError, NotImplementedError):
            self.give_back()

    def follow(self) -> None:
        """Take keys in the foreground and none in the background; cheap enough to poll.

        A shell brings a running job back to the foreground without telling it.
        """
        if self._in_foreground() != self.active:
            self.take()

    def give_back(self) -> None:
        """Restore the terminal, if it is still ours. Idempotent."""
        saved = self._let_go()
        if saved is not None and self._in_foreground():
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self._fd, termios.TCSANOW, saved)

    def _let_go(self) -> list[Any] | None:
        """Stop reading, and no more; how the terminal was before."""
        saved, self._saved = self._saved, None
        if saved is not None:
            self._loop.remove_reader(self._fd)
        return saved

    def _in_foreground(self) -> bool:
        try:
            return os.isatty(self._fd) and os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return False

    def _read(self) -> None:
        if not self._in_foreground():
            self._let_go()
            return
        try:
            data = os.read(self._fd, 256)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # the terminal is gone
            self._loop.remove_reader(self._fd)
            return
        for key in self._decoder.feed(data):
            self._on_key(key)
