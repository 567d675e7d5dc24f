"""Closing, cancelling, loops, forks, exits."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable

import pytest
import uvloop

import voicecore
from conftest import Runner, native_threads
from voicecore import Engine, MemorySink, NullSink, Receiver, ToneSource, _bridge

pytestmark = pytest.mark.slow


def test_closing_an_engine_silences_and_finishes_every_player(run: Runner) -> None:
    async def main() -> None:
        sinks = [MemorySink() for _ in range(5)]
        async with Engine() as engine:
            players = [engine.play(ToneSource(440), sink) for sink in sinks]
            await asyncio.sleep(0.1)
        for player, sink in zip(players, sinks, strict=True):
            assert player.finished
            packets = sink.take()
            assert [p.silence for p in packets[-5:]] == [True] * 5
            assert not packets[-6].silence
        assert native_threads() == []

    run(main())


def test_closing_twice_and_at_once_is_harmless(run: Runner) -> None:
    async def main() -> None:
        engine = Engine()
        await engine.aclose()
        engine = Engine()
        async with engine:
            player = engine.play(ToneSource(440), NullSink())
            await asyncio.gather(engine.aclose(), engine.aclose(), player.aclose())
            await player.aclose()
        await engine.aclose()
        with pytest.raises(voicecore.Closed):
            engine.play(ToneSource(440), NullSink())

    run(main())


def test_controls_after_the_end_have_no_effect(run: Runner) -> None:
    async def main() -> None:
        async with Engine() as engine:
            player = engine.play(ToneSource(440, 0.05), NullSink())
            await player.wait_finished()
            sent = player.statistics().frames_sent
            player.pause()
            player.resume()
            player.seek(0.0)
            player.set_volume(0.5)
            player.skip()
            player.stop()
            await asyncio.sleep(0.1)
            assert player.finished
            assert player.statistics().frames_sent == sent
            await player.wait_finished()

    run(main())


def test_cancelling_the_closing_does_not_stop_it(run: Runner) -> None:
    async def main() -> None:
        engine = Engine()
        async with engine:
            player = engine.play(ToneSource(440), NullSink())
            async for _ in player.events():
                break  # it has started: closing takes the 0.1 s of its silence
            closing = asyncio.create_task(engine.aclose())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
        assert native_threads() == []

    run(main())


def test_a_player_outlives_its_handle(run: Runner) -> None:
    async def main() -> None:
        async with Engine() as engine:
            sink = MemorySink()
            engine.play(ToneSource(440, 0.2), sink)
            gc.collect()
            await asyncio.sleep(0.5)
            assert len(sink.take()) == 11 + 5

    run(main())


def test_an_engine_left_open_is_closed_with_its_loop() -> None:
    async def main() -> tuple[Engine, voicecore.Player]:
        engine = Engine()
        await engine.__aenter__()
        player = engine.play(ToneSource(440), NullSink())
        await asyncio.sleep(0.05)
        return engine, player

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine, player = asyncio.run(main())
    assert any("before" in str(w.message) and w.category is ResourceWarning for w in caught)
    assert player.finished
    assert native_threads() == []
    del engine


def test_a_loop_closed_by_hand_is_swept_by_the_next() -> None:
    loop = asyncio.new_event_loop()

    async def start() -> voicecore.Player:
        engine = Engine()
        await engine.__aenter__()
        return engine.play(ToneSource(440), NullSink())

    player = loop.run_until_complete(start())
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)

        async def again() -> None:
            async with Engine() as engine:
                other = engine.play(ToneSource(440, 0.05), NullSink())
                await other.wait_finished()

        asyncio.run(again())
    assert player.finished


def a_player_of_a_closed_loop(duration: float | None) -> tuple[Engine, voicecore.Player]:
    loop = asyncio.new_event_loop()

    async def start() -> tuple[Engine, voicecore.Player]:
        engine = Engine()
        await engine.__aenter__()
        return engine, engine.play(ToneSource(440, duration), NullSink())

    engine, player = loop.run_until_complete(start())
    loop.close()
    return engine, player


WAYS_TO_WAIT: dict[str, Callable[[voicecore.Player], Awaitable[object]]] = {
    "wait_finished": lambda player: player.wait_finished(),
    "events": lambda player: anext(player.events()),
    "aclose": lambda player: player.aclose(),
}


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
def test_waiting_in_another_loop_than_the_closed_one_of_the_player_ends(way: str) -> None:
    engine, player = a_player_of_a_closed_loop(None)

    async def wait() -> None:
        await asyncio.wait_for(WAYS_TO_WAIT[way](player), 5)

    if way == "aclose":
        asyncio.run(wait())
    else:
        with pytest.raises(voicecore.Closed, match="loop ended"):
            asyncio.run(wait())
    engine._native_close(0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        _bridge._bridges[id(player._bridge.loop)].close()


def test_a_player_that_has_finished_says_so_in_every_loop() -> None:
    engine, player = a_player_of_a_closed_loop(0.05)
    while not player.finished:
        time.sleep(0.01)  # nobody is told
    asyncio.run(asyncio.wait_for(player.wait_finished(), 5))
    asyncio.run(asyncio.wait_for(player.aclose(), 5))

    async def told() -> list[str]:
        return [event.kind async for event in player.events()]

    assert asyncio.run(asyncio.wait_for(told(), 5))[-1] == "finished"
    engine._native_close(0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        _bridge._bridges[id(player._bridge.loop)].close()


def test_waiting_in_another_loop_than_the_running_one_of_the_player_is_refused(run: Runner) -> None:
    async def main() -> None:
        async with Engine() as engine:
            player = engine.play(ToneSource(440), NullSink())
            for wait in WAYS_TO_WAIT.values():
                with pytest.raises(RuntimeError, match="another event loop"):
                    await asyncio.to_thread(asyncio.run, asyncio.wait_for(wait(player), 5))

    run(main())


def test_two_loops_in_two_threads_do_not_meet() -> None:
    results: list[int] = []

    async def main() -> None:
        async with Engine() as engine:
            sink = MemorySink()
            players = [
                engine.play(ToneSource(300 + i, 0.3), sink_)
                for i, sink_ in enumerate([sink, NullSink(), NullSink()])
            ]
            await asyncio.gather(*(player.wait_finished() for player in players))
            results.append(len(sink.take()))

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [16 + 5, 16 + 5]


def test_an_engine_refuses_another_loop() -> None:
    engine = Engine()

    async def first() -> None:
        await engine.__aenter__()

        async def second() -> None:
            engine.play(ToneSource(440), NullSink())

        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, second())
        await engine.aclose()

    asyncio.run(first())


def test_uvloop_gets_its_events() -> None:
    async def main() -> None:
        async with Engine() as engine:
            player = engine.play(ToneSource(440, 0.2), NullSink())
            kinds = [event.kind async for event in player.events()]
            assert kinds == ["started", "track_started", "finished"]

    uvloop.run(main())
    gc.collect()


def test_a_forked_child_is_refused_and_the_parent_plays_on(run: Runner) -> None:
    async def main() -> None:
        async with Engine() as engine:
            player = engine.play(ToneSource(440, 0.5), NullSink())
            await asyncio.sleep(0.05)
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    player.pause()
                except voicecore.Closed:
                    code = 0
                del player, engine
                os._exit(code)
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            await asyncio.wait_for(player.wait_finished(), 5)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of fork with threads
        run(main())


FRESH_ENGINE_IN_A_CHILD = """
import asyncio, os, sys, warnings
warnings.simplefilter("ignore")
import voicecore
async def play():
    async with voicecore.Engine() as engine:
        sink = voicecore.MemorySink()
        player = engine.play(voicecore.ToneSource(440, 0.1), sink)
        await player.wait_finished()
        return len(sink.take())
async def parent():
    async with voicecore.Engine() as engine:
        player = engine.play(voicecore.ToneSource(440, 0.5), voicecore.NullSink())
        await asyncio.sleep(0.05)
        return os.fork()
pid = asyncio.run(parent()) if len(sys.argv) < 2 else 0
if pid == 0:
    asyncio.events._set_running_loop(None)
    assert asyncio.run(play()) == 11
    os._exit(0)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_gets_no_sink_with_its_parents_key() -> None:
    key = os.urandom(32)

    def sink() -> voicecore.UdpSink:
        return voicecore.UdpSink("127.0.0.1", 9, key=key)

    parents = sink()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            sink()
        except voicecore.Closed as error:
            code = 0 if "fork" in str(error) else 2
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert parents.statistics()["next_nonce"] == 0


def script(code: str, *, expect: int = 0, timeout: float = 30) -> str:
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert result.returncode == expect, (result.returncode, result.stderr[-2000:])
    return result.stdout


EXIT_WHILE_PLAYING = """
import asyncio, sys, threading, time, voicecore
how = sys.argv[1] if len(sys.argv) > 1 else {how!r}
async def main():
    engine = voicecore.Engine()
    await engine.__aenter__()
    for i in range(8):
        engine.play(voicecore.ToneSource(300 + i), voicecore.NullSink())
    source = voicecore.PcmSource()
    engine.play(source, voicecore.NullSink())
    await asyncio.sleep(0.05)
    if how == "exit":
        sys.exit(0)
    if how == "daemon":
        def spin():
            while True:
                for _ in range(100):
                    voicecore.OggSink("/dev/null")
        threading.Thread(target=spin, daemon=True).start()
        await asyncio.sleep(0.02)
    return engine
if how == "bare":
    loop = asyncio.new_event_loop()
    keep = loop.run_until_complete(main())   # never closed
else:
    keep = asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["return", "exit", "bare", "daemon"])
def test_the_interpreter_exits_cleanly_while_playing(how: str) -> None:
    code = EXIT_WHILE_PLAYING.replace("{how!r}", repr(how))
    for _ in range(5):
        script(code)


EXIT_WHILE_ADVANCING = """
import asyncio, voicecore
async def main():
    clock = voicecore.ManualClock()
    engine = voicecore.Engine(clock=clock)
    await engine.__aenter__()
    engine.play(voicecore.ToneSource(440), voicecore.NullSink())
    advance = asyncio.create_task(clock.advance(360_000))
    await asyncio.sleep(0.05)
    return engine, advance
loop = asyncio.new_event_loop()
keep = loop.run_until_complete(main())   # never closed
"""


def test_the_interpreter_does_not_wait_for_virtual_time_to_pass() -> None:
    script(EXIT_WHILE_ADVANCING, timeout=10)


def test_a_signal_that_ends_python_ends_the_native_threads_too() -> None:
    code = (
        # A process that a shell has put into the background inherits an ignored SIGINT.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import asyncio, voicecore\n"
        "async def main():\n"
        "    async with voicecore.Engine() as engine:\n"
        "        engine.play(voicecore.ToneSource(), voicecore.NullSink())\n"
        "        print('playing', flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode in (1, 130, -signal.SIGINT)
    assert "KeyboardInterrupt" in stderr
    assert "terminate called" not in stderr


def test_two_hundred_cancelled_waits_leave_nothing(run: Runner) -> None:
    async def main() -> None:
        async with Engine() as engine:
            player = engine.play(ToneSource(440), NullSink())
            for i in range(200):
                waiter = asyncio.create_task(player.wait_finished())
                await asyncio.sleep(0 if i % 2 else 0.0005)
                waiter.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiter
            assert not player._waiters
            player.stop()
            await player.wait_finished()

    run(main())


def test_cancelled_waits_for_a_receiver_are_told_of_nothing(run: Runner) -> None:
    async def main() -> None:
        receiver = Receiver(mode="none")
        for i in range(200):
            waiter = asyncio.create_task(receiver.wait())
            await asyncio.sleep(0 if i % 2 else 0.0005)
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
        receiver.stop()
        while receiver.running:
            time.sleep(0.01)  # the loop hears nothing
        time.sleep(0.1)
        channel = _bridge.current()._channel
        assert channel is not None
        assert channel.drain() == ([], False)
        await receiver.wait()

    run(main())


def test_a_wait_for_a_receiver_goes_on_when_events_of_others_are_lost(run: Runner) -> None:
    async def main() -> None:
        async with Receiver(mode="none") as receiver:
            waiter = asyncio.create_task(receiver.wait())
            await asyncio.sleep(0)
            for sweep in list(_bridge.current()._sweepers.values()):
                sweep()
            await asyncio.sleep(0.05)
            assert not waiter.done()
            receiver.stop()
            await waiter

    run(main())


def test_one_wake_up_carries_many_events(run: Runner) -> None:
    async def main() -> None:
        async with Engine() as engine:
            players = [engine.play(ToneSource(440, 0.05), NullSink()) for _ in range(100)]
            import time

            time.sleep(0.4)  # the loop is blocked on purpose; everything finishes meanwhile
            await asyncio.gather(*(player.wait_finished() for player in players))
            assert engine._bridge is not None
            assert engine._bridge.channel.wakes <= 5

    run(main())


CHILD_BESIDE_A_HELD_LOCK = """
import asyncio, os, signal, threading, time, warnings
import voicecore
from voicecore import _bridge
warnings.simplefilter("ignore")
held = threading.Event()
def hold():
    with _bridge._lock:
        held.set()
        time.sleep(0.05)  # the fork has to wait for us
async def use():
    _bridge.current()
holder = threading.Thread(target=hold)
holder.start()
held.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(5)
    asyncio.run(use())
    os._exit(0)
holder.join()
print(os.waitpid(pid, 0)[1])
"""


def test_a_child_made_while_another_thread_made_its_bridge_can_make_one() -> None:
    assert script(CHILD_BESIDE_A_HELD_LOCK).strip() == "0"
