"""A session: the playing of an entry, long, leased, one per key."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from voicecore import _core
from voicecore.errors import InvalidArgument
from voicecore.queue import Command, CommandQueue
from voicecore.sessions import Claim

if TYPE_CHECKING:
    from voicecore.player import Player


class Entry(Protocol):
    """What the scheduler needs of whatever is played."""

    @property
    def id(self) -> int | None: ...


class Session:
    """One playing of an entry. Made by the scheduler, given to its `play_session`.

    Attributes:
        key: whose session it is, a guild's by default.
        entry: what is played.
        command: the `play` that started it; None when the schedule did.
        claim: the key, and the durable lease with its attempt.
    """

    def __init__(
        self,
        claim: Claim,
        entry: Any,
        command: Command | None,
        native: _core.Scheduler | None,
    ) -> None:
        self.key = claim.key
        self.entry = entry
        self.command = command
        self.claim = claim
        self._native = native
        self._stop = asyncio.Event()
        self._player: Player | None = None
        self._control: _core.PlayerControl | None = None

    @property
    def entry_id(self) -> int | None:
        """The entry's id."""
        return self.claim.entry_id

    @property
    def attempt(self) -> int | None:
        """The lease's fence."""
        return self.claim.attempt

    @property
    def stop_requested(self) -> bool:
        """Of this session alone: the next one begins without it (lesson D04)."""
        if self._control is not None and self._control.stop_requested:
            self._stop.set()
        return self._stop.is_set()

    async def wait_stop(self) -> None:
        """Until somebody asks this session to stop: an interruptible gap is
        `asyncio.wait_for(session.wait_stop(), gap)` (lesson D19)."""
        await self._stop.wait()

    @property
    def player(self) -> Player | None:
        """What commands steer."""
        return self._player

    def attach(self, player: Player) -> None:
        """From now on commands for the key reach this player natively, whatever the loop does.

        Raises:
            StaleClaim: the session no longer holds its key; the player is stopped. Let it pass: it
                ends this session, with a warning, and nothing else.
        """
        try:
            self.claim.check()
        except BaseException:
            player.stop()
            raise
        self._player = player
        if self._native is not None:
            self._control = player._control()
            self._tell_native()
        if self.stop_requested:
            player.stop()

    def detach(self) -> None:
        """No player any more: between two tracks, or at the end. The lease goes on."""
        self._player = None
        self._control = None
        self._tell_native()

    def _tell_native(self) -> None:
        # Its lease is renewed natively in any case; without a control, commands come to the loop.
        if self._native is not None:
            self._native.attach(self.key, self.claim.attempt or 0, self._control)

    def stop(self) -> None:
        """Ask the session to end; its player falls silent at the next frame."""
        self._stop.set()
        if self._player is not None:
            self._player.stop()

    def steer(self, command: Command) -> str:
        """Carry out a pause, resume, stop, seek, volume or next; returns the result's text.

        Raises:
            InvalidArgument: arguments that are out of range, or not there.
            NotSeekable: the track cannot.
            Closed: the player has ended meanwhile, or its engine has.
        """
        if command.command == "stop":
            self.stop()
            return "done"
        player = self._player
        if player is None or player.finished:
            return "not playing"
        return _STEERS[command.command](player, command)


def _pause(player: Player, _command: Command) -> str:
    if player.is_paused():
        return "not playing"
    player.pause()
    return "done"


def _resume(player: Player, _command: Command) -> str:
    if not player.is_paused():
        return "not paused"
    player.resume()
    return "done"


def _seek(player: Player, command: Command) -> str:
    value, relative = _place(command)
    player.seek(max(0.0, player.position + value) if relative else value)
    return "done"


def _volume(player: Player, command: Command) -> str:
    value, relative = _place(command)
    player.set_volume(min(4.0, max(0.0, player.volume + value)) if relative else value)
    return "done"


def _next(player: Player, _command: Command) -> str:
    player.skip()
    return "done"


_STEERS: dict[str, Callable[[Any, Command], str]] = {
    "pause": _pause,
    "resume": _resume,
    "seek": _seek,
    "volume": _volume,
    "next": _next,
}


def _place(command: Command) -> tuple[float, bool]:
    args = command.args
    given = [name for name in ("to", "by") if name in args]
    if len(given) == 1:
        value = args[given[0]]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            # JSON has integers beyond every float.
            with contextlib.suppress(OverflowError):
                return float(value), given[0] == "by"
    raise InvalidArgument(
        f"args of {command.command}: got {json.dumps(args)[:80]}, expected "
        '{"to": number} or {"by": number}'
    )


class StateRepository:
    """What plays now, for the admin side: the `bot_sessions` table (lesson R11, R40)."""

    def __init__(self, queue: CommandQueue) -> None:
        self._queue = queue

    async def clear(self) -> int:
        """Free what crashed runs on this machine left; how much it was."""
        return await self._queue.clear_dead()

    async def running(self) -> list[tuple[str, int | None, int]]:
        """(key, entry id, attempt) of every session that is leased now, in any process."""
        rows = await self._queue.execute(
            "SELECT key, entry_id, attempt FROM bot_sessions"
            " WHERE owner IS NOT NULL AND lease_until > ? ORDER BY key",
            (round(self._queue.now() * 1000),),
        )
        return [(str(key), entry, int(attempt)) for key, entry, attempt in rows]  # type: ignore[misc, arg-type]
