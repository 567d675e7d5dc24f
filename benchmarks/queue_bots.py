"""A bot whose event loop is blocked for a second again and again, while `stop` commands come.

Each round: some sessions play, {"event": "blocked", ...} is said, the loop sleeps for a second
without awaiting, the harness sends a stop for each session meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import voicecore
from benchmarks.keys import key_of
from benchmarks.queue_peers import lesson_connection
from benchmarks.queue_spec import from_argv
from benchmarks.sending import say

BLOCKED_S = 1.0


@dataclass(frozen=True)
class Spec:
    side: str
    """ "voicecore", or "stock": discord.py's player and the lesson's poll."""
    file: str
    port: int
    path: str
    level: str
    rounds: int
    sessions: int
    """A round."""
    poll_s: float = 2.0


async def _block(keys: list[int]) -> None:
    await asyncio.sleep(0.5)
    say({"event": "blocked", "keys": keys})
    time.sleep(BLOCKED_S)  # noqa: ASYNC251  # the point
    say({"event": "awake", "at": time.time_ns()})


async def _voicecore(spec: Spec) -> dict[str, Any]:
    async with voicecore.Engine() as engine:

        async def play(session: voicecore.Session) -> None:
            assert session.entry_id is not None
            ssrc = session.entry_id
            source = await engine.open(spec.file)
            sink = voicecore.UdpSink(
                "127.0.0.1",
                spec.port,
                ssrc=ssrc,
                mode="aead_xchacha20_poly1305_rtpsize",
                key=key_of(ssrc),
            )
            player = engine.play(source, sink)
            session.attach(player)
            await player.wait_finished()

        async def load(entry_id: int) -> Any:
            return SimpleNamespace(id=entry_id, key=str(entry_id))

        queue = voicecore.CommandQueue(
            spec.path,
            role="worker",
            synchronous=spec.level,  # type: ignore[arg-type]  # from a command line
        )
        async with queue, await engine.open(spec.file):
            scheduler = voicecore.Scheduler(None, queue, play_session=play, load_entry=load)
            scheduler.start()
            for number in range(spec.rounds):
                keys = [number * spec.sessions + i for i in range(1, spec.sessions + 1)]
                ids = [await queue.enqueue("play", key, key=key) for key in keys]
                for id in ids:
                    await queue.wait_result(id, 10.0)
                await _block(keys)
                # The scheduler tells nobody.
                while any(scheduler.session_of(key) for key in keys):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            steered = scheduler.statistics().steered
            await scheduler.shutdown()
    return {"steered": steered}


async def _stock(spec: Spec) -> dict[str, Any]:
    import discord
    from tools.discord_player import LoopbackVoiceClient

    from benchmarks.peer_discord import Connection, OpusBytes

    if not discord.opus.is_loaded():
        discord.opus._load_default()
    with open(spec.file, "rb") as file:  # noqa: ASYNC230  # before anything is measured
        data = file.read()
    loop = asyncio.get_running_loop()
    clients: dict[int, Any] = {}
    connection = await lesson_connection(spec.path, spec.level)

    async def poll() -> None:
        while True:
            async with connection.execute(
                "SELECT id, entry_id FROM bot_commands ORDER BY id"
            ) as cursor:
                rows = await cursor.fetchall()
            for number, entry in rows:
                if entry in clients:
                    clients.pop(entry).stop()
                await connection.execute("DELETE FROM bot_commands WHERE id = ?", (number,))
                await connection.commit()
            await asyncio.sleep(spec.poll_s)

    polling = asyncio.create_task(poll())
    for number in range(spec.rounds):
        keys = [number * spec.sessions + i for i in range(1, spec.sessions + 1)]
        for key in keys:
            client = LoopbackVoiceClient(Connection("127.0.0.1", spec.port, key, key_of(key)), loop)
            client.play(OpusBytes(data))
            clients[key] = client
        await _block(keys)
        while any(key in clients for key in keys):  # noqa: ASYNC110  # until the next poll
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    await connection.close()
    return {"steered": 0}


def main() -> None:
    spec = from_argv(Spec)
    say(asyncio.run(_voicecore(spec) if spec.side == "voicecore" else _stock(spec)))


if __name__ == "__main__":
    main()
