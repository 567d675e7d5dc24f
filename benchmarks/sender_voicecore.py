"""The sending process of voicecore."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import voicecore
from benchmarks import sysinfo
from benchmarks.keys import key_of
from benchmarks.processes import raise_limits
from benchmarks.sending import Spec, run_script, say


class VoicecoreStreams:
    """Plays `spec.file`, whatever it is: Opus passes through, the rest is encoded."""

    def __init__(self, engine: voicecore.Engine, spec: Spec) -> None:
        self._engine = engine
        self._spec = spec
        self._encoder = voicecore.EncoderSettings(**spec.encoder)
        self._players: dict[int, voicecore.Player] = {}

    async def warm(self) -> None:
        """Load the codec module and the file, so that what is measured is playing."""
        async with await self._engine.open(self._spec.file):
            pass

    async def start(self, ssrc: int) -> dict[str, int]:
        opened = time.time_ns()
        source = await self._engine.open(self._spec.file)
        sink = voicecore.UdpSink(
            "127.0.0.1",
            self._spec.port,
            ssrc=ssrc,
            mode=self._spec.mode,  # type: ignore[arg-type]  # comes from a command line
            key=key_of(ssrc),
        )
        played = time.time_ns()
        self._players[ssrc] = self._engine.play(
            source, sink, encoder=self._encoder, volume=self._spec.volume
        )
        return {"open": opened, "play": played}

    def pause(self, ssrc: int) -> None:
        self._players[ssrc].pause()

    def resume(self, ssrc: int) -> None:
        self._players[ssrc].resume()

    def stop(self, ssrc: int) -> None:
        self._players[ssrc].stop()

    def children(self) -> list[int]:
        return []

    def clock_cpu(self) -> float:
        return sysinfo.thread_cpu("vc-clock")

    def counts(self) -> dict[str, int]:
        every = [player.statistics() for player in self._players.values()]
        return {
            "skipped": sum(one.skipped for one in every),
            "underruns": sum(one.underruns.total for one in every),
            "dropped": sum(one.dropped for one in every),
            "copied": sum(one.passthrough for one in every),
        }

    def lateness(self) -> dict[float, int]:
        return dict(self._engine.statistics().lateness_ms.histogram)

    def statistics(self) -> dict[str, Any]:
        engine = self._engine.statistics()
        return {"priority": engine.priority, "feeders": engine.feeders}


async def main() -> None:
    spec = Spec.from_argv()
    async with voicecore.Engine() as engine:
        streams = VoicecoreStreams(engine, spec)
        await streams.warm()
        result = await run_script(spec, streams)
    say(result)


if __name__ == "__main__":
    raise_limits()
    asyncio.run(main())
