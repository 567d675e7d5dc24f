"""Keys on a terminal: what they mean, what they do, and how the terminal is left."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.command import MUSIC, PATIENCE, VOICECORE, read_ogg, wait_until_written
from voicecore.cli.keys import Key, KeyDecoder

ALL = [
    (b" ", Key.PAUSE),
    (b"+", Key.LOUDER),
    (b"=", Key.LOUDER),
    (b"-", Key.QUIETER),
    (b"n", Key.NEXT),
    (b"q", Key.QUIT),
    (b"\x1b[A", Key.FAR_FORWARD),
    (b"\x1b[B", Key.FAR_BACK),
    (b"\x1b[C", Key.FORWARD),
    (b"\x1b[D", Key.BACK),
    (b"\x1bOC", Key.FORWARD),
    (b"\x1b[1;5D", Key.BACK),
]


@pytest.mark.parametrize(("data", "key"), ALL)
def test_a_key_is_recognised(data: bytes, key: Key) -> None:
    assert KeyDecoder().feed(data) == [key]


@given(st.lists(st.sampled_from(ALL)), st.data())
def test_keys_are_the_same_however_the_bytes_are_cut(
    pressed: list[tuple[bytes, Key]], data: st.DataObject
) -> None:
    whole = b"".join(text for text, _ in pressed)
    decoder, keys, place = KeyDecoder(), [], 0
    while place < len(whole):
        size = data.draw(st.integers(1, len(whole) - place))
        keys += decoder.feed(whole[place : place + size])
        place += size
    assert keys == [key for _, key in pressed]


@given(st.binary())
def test_any_bytes_are_read_and_q_is_heard_after_them(noise: bytes) -> None:
    decoder = KeyDecoder()
    decoder.feed(noise)
    # At most one sequence is open; a letter ends it.
    assert decoder.feed(b"~q")[-1:] == [Key.QUIT] or decoder.feed(b"q") == [Key.QUIT]


def test_unknown_sequences_are_ignored() -> None:
    assert KeyDecoder().feed(b"\x1b[200~\x1bx\x1b[Z\t\r\x7f") == []


class Terminal:
    """The command on a pseudo-terminal."""

    def __init__(self, *arguments: str, program: Sequence[str] = VOICECORE) -> None:
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.shown = self.raw = b""
        self.process = subprocess.Popen(
            [*program, *arguments],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "PS1": "$ "},
            preexec_fn=self._own_session,
        )

    def _own_session(self) -> None:
        # As in a terminal, also where these tests run behind nohup or in a shell's background.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        # In the child: a session whose terminal this is, as under a terminal emulator.
        os.setsid()
        os.close(os.open(os.ttyname(0), os.O_RDWR))

    def see(self, pattern: str) -> re.Match[str]:
        """Waits until the pattern is shown; consumes what came up to it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            text = self.shown.decode(errors="replace")
            plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
            if found := re.search(pattern, plain):
                self.shown = plain[found.end() :].encode()
                return found
            assert time.monotonic() < deadline, f"{pattern!r} not in {plain[-600:]!r}"
            assert self._read(0.5) or self.process.poll() is None, f"ended: {plain[-600:]!r}"

    def press(self, data: bytes) -> None:
        os.write(self.master, data)

    def end(self) -> int:
        """Waits for the end, reading what is written meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.shown
            self._read(0.05)
        return self.process.returncode

    def _read(self, patience: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], patience)
        if not ready:
            return False
        with contextlib.suppress(OSError):
            data = os.read(self.master, 65536)
            self.shown += data
            self.raw += data
            return True
        return False

    def mode(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def shows_the_cursor(self) -> bool:
        while self._read(0.05):
            pass
        return self.raw.rfind(b"\x1b[?25h") >= self.raw.rfind(b"\x1b[?25l")

    def takes_keys(self) -> bool:
        """Whether keys arrive without Enter, and are not echoed."""
        return not self.mode()[3] & (termios.ICANON | termios.ECHO)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@contextlib.contextmanager
def terminal(*arguments: str, program: Sequence[str] = VOICECORE) -> Iterator[Terminal]:
    one = Terminal(*arguments, program=program)
    try:
        yield one
    finally:
        one.close()


def test_keys_pause_seek_turn_and_skip(tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    with terminal("play", MUSIC, MUSIC, "--to", "null:", "--stats", str(stats)) as tty:
        tty.see(r"▶ 1/2 palace.mp3 +0:00 / 0:23 +space pause")
        assert tty.takes_keys()
        tty.press(b" ")
        tty.see("⏸")
        tty.press(b"\x1b[C\x1b[C")  # twice at once: ten seconds
        tty.see(r"⏸ 1/2 palace.mp3 +0:1\d")
        tty.press(b" ")
        tty.see(r"▶ 1/2 palace.mp3 +0:1\d")
        tty.press(b"--")
        tty.see(r"vol 0\.83")
        tty.press(b"+")
        tty.see(r"vol 0\.91")
        tty.press(b"n")
        tty.see("2/2 palace.mp3 +0:0")
        tty.press(b"q")
        assert tty.end() == 0
        tty.see("Sent ")
        assert tty.mode() == tty.before
    record = json.loads(stats.read_text())
    assert record["ended"] == "stopped"
    assert record["signal"] is None
    assert record["silence_frames"] >= 10  # the pause and the end
    assert record["volume"] == pytest.approx(1 / 1.1)


def test_the_last_n_ends_the_run() -> None:
    with terminal("play", MUSIC, "--to", "null:") as tty:
        tty.see("palace.mp3")
        tty.press(b"n")
        assert tty.end() == 0


def test_far_arrows_seek_half_a_minute(tmp_path: Path) -> None:
    with terminal("play", MUSIC, "--to", "null:") as tty:
        tty.see("palace.mp3")
        tty.press(b"\x1b[A")  # past the end: that is the next track, and there is none
        assert tty.end() == 0


def test_volume_ends_at_0_and_4() -> None:
    with terminal("play", MUSIC, "--to", "null:", "--volume", "3.9") as tty:
        tty.see("palace.mp3")
        tty.press(b"++++")
        tty.see(r"vol 4\.00")
        tty.press(b"-" * 90)
        tty.see(r"vol 0\.00")
        tty.press(b"+")
        tty.see(r"vol 0\.01")
        tty.press(b"q")
        assert tty.end() == 0


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, -3)],
)
def test_the_terminal_is_restored_after_a_signal(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    path = tmp_path / "out.ogg"
    with terminal("play", MUSIC, "--to", f"ogg:{path}") as tty:
        tty.see("palace.mp3")
        assert tty.takes_keys()
        tty.process.send_signal(number)
        assert tty.end() == code
        assert tty.mode() == tty.before
        assert tty.shows_the_cursor()
        if number is not signal.SIGQUIT:
            assert read_ogg(path).complete


def test_control_c_ends_it() -> None:
    with terminal("play", MUSIC, "--to", "null:") as tty:
        tty.see("palace.mp3")
        tty.press(b"\x03")
        assert tty.end() == 130
        assert tty.mode() == tty.before


def test_the_terminal_is_restored_after_an_error(tmp_path: Path) -> None:
    with terminal("play", MUSIC, "--to", "ogg:/dev/full") as tty:
        assert tty.end() == 4
        assert tty.mode() == tty.before


def test_quiet_shows_nothing_and_still_takes_keys() -> None:
    with terminal("play", MUSIC, "--to", "null:", "--quiet") as tty:
        deadline = time.monotonic() + PATIENCE
        while not tty.takes_keys():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        tty.press(b"q")
        assert tty.end() == 0
        tty._read(0.0)
        assert tty.shown == b""


def test_after_stop_and_continue_keys_work_again() -> None:
    with terminal("play", MUSIC, "--to", "null:") as tty:
        tty.see("palace.mp3")
        tty.process.send_signal(signal.SIGSTOP)
        os.waitpid(tty.process.pid, os.WUNTRACED)
        termios.tcsetattr(tty.slave, termios.TCSANOW, tty.before)  # as a shell does
        tty.process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + PATIENCE
        while not tty.takes_keys():
            assert time.monotonic() < deadline
            tty._read(0.02)
        tty.press(b"q")
        assert tty.end() == 0
        assert tty.mode() == tty.before


@contextlib.contextmanager
def shell(command: str) -> Iterator[Terminal]:
    """A shell that controls jobs and has been told to run the command."""
    with terminal(program=("bash", "--norc", "--noprofile", "-i")) as tty:
        tty.see(r"\$ ")
        tty.press(f"{shlex.join(VOICECORE)} {command}\r".encode())
        tty.see("--to")
        yield tty
        # It hangs its jobs up when it ends.
        tty.process.send_signal(signal.SIGHUP)
        tty.end()


def test_what_was_stopped_plays_to_its_end_in_the_background() -> None:
    with shell(f"play {MUSIC} --to null: --duration 2") as tty:
        tty.see("▶ palace.mp3")
        tty.press(b"\x1a")
        tty.see(r"Stopped.*\s+\$ ")
        assert tty.shows_the_cursor()
        tty.press(b"bg\r")
        tty.see("Sent 2.00 s")
        assert tty.shows_the_cursor()


def test_what_was_stopped_takes_keys_again_in_the_foreground() -> None:
    with shell(f"play {MUSIC} --to null:") as tty:
        tty.see("▶ palace.mp3")
        tty.press(b"\x1a")
        tty.see(r"Stopped.*\s+\$ ")
        tty.press(b"fg\r")
        tty.see("▶ palace.mp3")
        tty.press(b"q")
        tty.see("Sent ")
        assert tty.shows_the_cursor()


def test_in_the_background_no_line_is_drawn() -> None:
    with shell(f"play {MUSIC} --to null: --duration 1 &") as tty:
        tty.see("Sent 1.00 s")
        assert b"\xe2\x96\xb6" not in tty.raw  # the mark of the line
        assert tty.shows_the_cursor()


@pytest.mark.parametrize("quiet", ["", "--quiet"])
def test_what_comes_to_the_foreground_takes_keys(quiet: str, tmp_path: Path) -> None:
    path, stats = tmp_path / "out.ogg", tmp_path / "stats.json"
    with shell(f"play {MUSIC} --to ogg:{path} {quiet} --stats {stats} &") as tty:
        wait_until_written(path)
        tty.press(b"fg\r")
        deadline = time.monotonic() + PATIENCE / 4  # the file has more than that to play
        while not stats.stat().st_size:
            assert time.monotonic() < deadline
            tty.press(b"q")
            tty._read(0.1)
    assert json.loads(stats.read_text())["ended"] == "stopped"


def test_a_terminal_that_goes_away_does_not_end_what_ignores_it() -> None:
    program = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh", *VOICECORE)
    with terminal("play", MUSIC, "--to", "null:", "--duration", "2", program=program) as tty:
        tty.see("▶ palace.mp3")
        os.close(tty.master)
        tty.master = os.dup(tty.slave)  # something to close at the end
        assert tty.process.wait(PATIENCE) == 0
