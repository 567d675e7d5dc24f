"""One run of `voicecore play`: from the first file opened to the statistics written."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from voicecore import Engine, ManualClock, Player, PlayerState, Source
from voicecore.cli import options as opt
from voicecore.cli.exits import SIGNAL_BASE, Exit, Failure, Interrupted, exit_code, text_of
from voicecore.cli.keys import HELP, Key, Keyboard
from voicecore.cli.output import ResultFile, complain, json_bytes, say, stderr_is_terminal
from voicecore.cli.progress import INTERVAL, PlayPicture, StatusLine, short_name
from voicecore.cli.signals import StopSignals, die_of
from voicecore.cli.sink_url import Target
from voicecore.cli.words import play_summary
from voicecore.errors import NotSeekable, VoicecoreError
from voicecore.settings import EncoderSettings
from voicecore.sinks import Sink

OPEN_AT_ONCE = 64
"""Files opened before playing begins; of longer lists one more is opened as each track starts."""

VIRTUAL_STEP = 2.0
"""Seconds of virtual time between two looks at the signals and the progress line."""

SEEK_NEAR = 5.0
SEEK_FAR = 30.0
VOLUME_STEP = 1.1


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """The command line, understood."""

    files: tuple[str, ...]
    sink: Target
    volume: float
    start: float
    duration: float | None
    gap: float
    loop: int
    encoder: EncoderSettings
    passthrough: bool
    virtual: bool
    quiet: bool
    summary: bool
    input: opt.InputOptions


@dataclass
class PlayRun:
    """One run of the command."""

    options: PlayOptions
    results: ResultFile | None
    pending: deque[str] = field(default_factory=deque)
    durations: list[float | None] = field(default_factory=list)
    problem: BaseException | None = None
    reason: str = ""
    open_s: float = 0.0
    cpu_began: float = 0.0
    hinted: bool = False
    note: str = ""
    note_until: float = 0.0
    seek_target: float = 0.0
    seek_until: float = 0.0
    seek_from: tuple[int, float] | None = None

    async def run(self) -> int:
        with StopSignals() as signals, self.results or contextlib.nullcontext():
            clock = ManualClock() if self.options.virtual else None
            async with Engine(clock=clock) as engine:
                self.cpu_began, began = time.process_time(), time.monotonic()
                sources = await signals.guard(self._open_first(engine))
                self.open_s = time.monotonic() - began
                loop = asyncio.get_running_loop()
                make = self.options.sink.make  # a name look-up can take seconds
                sink = await signals.guard(loop.run_in_executor(None, make))
                return await self._play(engine, clock, sources, sink, signals)

    # -- opening -----------------------------------------------------------------------------------

    async def _open_first(self, engine: Engine) -> list[Source]:
        files = self.options.files
        # Going round needs the whole list from the start.
        eager = len(files) if self.options.loop != 1 else OPEN_AT_ONCE
        self.pending = deque(files[eager:])
        sources: list[Source] = []
        for index, name in enumerate(files[:eager]):
            start = self.options.start if index == 0 else 0.0
            sources.append(await self._open(engine, name, start))
        self._check_start(sources[0].info.duration)
        return sources

    def _check_start(self, length: float | None) -> None:
        start = self.options.start
        if length is not None and 0.0 < length <= start:
            self._hint(f"--start {start:g}: {self._name(0)} is only {length:.2f} s long")

    def _hint(self, text: str) -> None:
        """What is no error, but not what one expects of the command line."""
        self.hinted = True
        if not self.options.quiet:
            complain(text)

    async def _open(self, engine: Engine, name: str, start: float = 0.0) -> Source:
        try:
            source = await engine.open(name, start=start, **self.options.input.for_open())
        except VoicecoreError as error:
            raise Failure(Exit(exit_code(error)), error, short_name(name)) from error
        self.durations.append(source.info.duration)
        return source

    async def _open_rest(self, engine: Engine, player: Player) -> None:
        """Keep as many tracks ahead as there were at the start."""
        async for event in player.events():
            if event.kind != "track_started" or not self.pending:
                continue
            name = self.pending.popleft()
            try:
                player.append(await self._open(engine, name))
            except (Failure, VoicecoreError) as error:
                self._fail(error)
            if not self.pending:
                player.close_playlist()

    # -- playing -----------------------------------------------------------------------------------

    async def _play(
        self,
        engine: Engine,
        clock: ManualClock | None,
        sources: list[Source],
        sink: Sink,
        signals: StopSignals,
    ) -> int:
        options = self.options
        began = time.monotonic()
        player = engine.play(
            sources,
            sink,
            volume=options.volume,
            gap=options.gap,
            loop=options.loop,
            duration=options.duration,
            encoder=options.encoder,
            passthrough=options.passthrough,
            keep_open=bool(self.pending),
        )
        tasks = [asyncio.create_task(self._watch(player))]
        if self.pending:
            tasks.append(asyncio.create_task(self._open_rest(engine, player)))
        if clock is not None:
            tasks.append(asyncio.create_task(self._drive(clock, player)))
        try:
            await self._until_finished(player, signals)
        finally:
            for task in tasks[1:]:
                task.cancel()
            # The watcher ends by itself, having seen the last event.
            await asyncio.wait(tasks, timeout=1.0)
            self._collect(player)
            elapsed, cpu = time.monotonic() - began, time.process_time() - self.cpu_began
            code = self._code(signals)
            record = self._record(engine, player, sink, signals, code)
            record["open_ms"] = self.open_s * 1000
            record["elapsed_s"], record["process_cpu_ms"] = elapsed, cpu * 1000
            if self.problem is not None:
                complain(text_of(self.problem))  # first: writing may fail for the same reason
            if self.results is not None:
                self.results.write(json_bytes("play", record))
        if self.problem is None and options.start and not (record["frames_sent"] or self.hinted):
            self._hint(f"--start {options.start:g}: {self._name(0)} ended before that")
        if options.summary:
            for line in play_summary(record):
                say(line)
        return code

    async def _until_finished(self, player: Player, signals: StopSignals) -> None:
        # On a virtual clock keys would come whenever; everything is over in a moment anyway.
        with (
            StatusLine(wanted=not self.options.quiet and stderr_is_terminal()) as line,
            contextlib.ExitStack() as stack,
        ):
            keyboard: Keyboard | None = None
            if not self.options.virtual:
                keyboard = stack.enter_context(Keyboard(lambda key: self._on_key(key, player)))
                signals.also(signal.SIGCONT, keyboard.take)
                if keyboard.active:
                    self._say(HELP, 4.0)

            def leave() -> None:
                if keyboard is not None:
                    keyboard.give_back()
                line.hide()

            def quit_now() -> None:
                leave()
                die_of(signal.SIGQUIT)

            signals.around_stop(leave, None if keyboard is None else keyboard.take)
            signals.also(signal.SIGQUIT, quit_now)
            painter = asyncio.create_task(self._paint(line, player, keyboard))
            try:
                await self._wait(player, signals)
            except (VoicecoreError, Interrupted) as error:
                self._fail(error)
            finally:
                painter.cancel()
                await asyncio.wait([painter])

    async def _wait(self, player: Player, signals: StopSignals) -> None:
        try:
            await signals.guard(player.wait_finished())
        except Interrupted:
            player.stop()
            await signals.guard_end(player.wait_finished())

    async def _drive(self, clock: ManualClock, player: Player) -> None:
        while not player.finished:
            await clock.advance(VIRTUAL_STEP)

    async def _watch(self, player: Player) -> None:
        async for event in player.events():
            if event.kind == "track_failed":
                self._collect(player)
            elif event.kind == "finished":
                self.reason = event.detail

    def _collect(self, player: Player) -> None:
        """Tracks that failed; playing goes on with the next."""
        for track, error in player.take_track_errors():
            self._fail(Failure(Exit(exit_code(error)), error, self._name(track)))

    def _fail(self, error: BaseException) -> None:
        """Remember the first problem; say every further one at once."""
        if self.problem is None:
            self.problem = error
        elif str(error) not in str(self.problem) and not isinstance(error, Interrupted):
            complain(text_of(error))

    # -- the terminal ------------------------------------------------------------------------------

    async def _paint(self, line: StatusLine, player: Player, keyboard: Keyboard | None) -> None:
        while True:
            if keyboard is not None:
                keyboard.follow()
            if line.shown:
                line.show(self._picture(player))
            await asyncio.sleep(INTERVAL)

    def _picture(self, player: Player) -> PlayPicture:
        statistics = player.statistics()
        track = player.track
        real = not self.options.virtual and statistics.lateness_ms.count
        return PlayPicture(
            state=player.state.value,
            name=self._name(track),
            track=track % len(self.options.files),
            tracks=len(self.options.files),
            position=self._position(player),
            duration=self._duration(track),
            volume=player.volume,
            lateness_p99=statistics.lateness_ms.p99 if real else None,
            underruns=statistics.underruns.total,
            note=self.note if time.monotonic() < self.note_until else "",
        )

    def _name(self, track: int) -> str:
        return short_name(self.options.files[track % len(self.options.files)])

    def _duration(self, track: int) -> float | None:
        return self.durations[track % len(self.durations)] if self.durations else None

    def _say(self, note: str, seconds: float = 1.5) -> None:
        self.note, self.note_until = note, time.monotonic() + seconds

    def _on_key(self, key: Key, player: Player) -> None:
        self.note_until = 0.0
        match key:
            case Key.PAUSE:
                if player.state is PlayerState.PAUSED:
                    player.resume()
                else:
                    player.pause()
            case Key.BACK:
                self._seek(player, -SEEK_NEAR)
            case Key.FORWARD:
                self._seek(player, SEEK_NEAR)
            case Key.FAR_BACK:
                self._seek(player, -SEEK_FAR)
            case Key.FAR_FORWARD:
                self._seek(player, SEEK_FAR)
            case Key.LOUDER | Key.QUIETER:
                self._turn(player, louder=key is Key.LOUDER)
            case Key.NEXT:
                self.seek_from, self.seek_until = None, 0.0
                player.skip()
            case Key.QUIT:
                player.stop()

    def _seek(self, player: Player, by: float) -> None:
        target = max(0.0, self._position(player) + by)
        try:
            player.seek(target)
        except NotSeekable:
            self._say("this input cannot seek")
            return
        self.seek_target = target
        self.seek_from = (player.track, player.position)
        self.seek_until = time.monotonic() + 0.3

    def _position(self, player: Player) -> float:
        """Where playing goes on: the last seek's target until something from there was sent.

        Keys can come faster than seeks are done, and in a pause nothing is sent at all.
        """
        pending = self.seek_from == (player.track, player.position)
        if pending or time.monotonic() < self.seek_until:
            return self.seek_target
        return player.position

    def _turn(self, player: Player, *, louder: bool) -> None:
        volume = player.volume
        if louder:
            # From silence there is no factor that leads out.
            volume = min(4.0, max(volume * VOLUME_STEP, 0.01))
        else:
            volume = volume / VOLUME_STEP if volume > 0.011 else 0.0
        if abs(volume - 1.0) < 0.02:
            volume = 1.0  # back to exactly 1, where packets can be copied again
        player.set_volume(volume)

    # -- the end -----------------------------------------------------------------------------------

    def _code(self, signals: StopSignals) -> int:
        if self.problem is not None and not isinstance(self.problem, Interrupted):
            return exit_code(self.problem)
        if signals.caught is not None:
            return SIGNAL_BASE + signals.caught
        return Exit.DONE

    def _record(
        self,
        engine: Engine,
        player: Player,
        sink: Sink,
        signals: StopSignals,
        code: int,
    ) -> dict[str, Any]:
        shared = asdict(engine.statistics())
        del shared["lateness_ms"]  # the player is alone: it has the same numbers
        return {
            "files": list(self.options.files),
            "sink": str(self.options.sink),
            "virtual": self.options.virtual,
            "ended": self.reason or ("stopped" if signals.caught else "ended"),
            "signal": signals.caught,
            "error": None if self.problem is None else text_of(self.problem),
            "exit_code": int(code),
            "volume": player.volume,
            **player.statistics().as_dict(),
            "engine": shared,
            "sink_counters": sink.statistics(),
        }
