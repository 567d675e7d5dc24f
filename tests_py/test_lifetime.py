"""Closing, cancelling, loops, forks, exits."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

import voicecore
from conftest import Runner, native_threads
from voicecore import Engine, ManualClock, MemorySink, NullSink, Receiver, ToneSource, _bridge

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


@pytest.mark.parametrize("what", [ValueError, asyncio.CancelledError])
def test_what_an_after_callback_raises_concerns_no_other_player(
    run: Runner, what: type[BaseException]
) -> None:
    def fail(_error: BaseException | None) -> None:
        raise what("the callback's own")

    async def main() -> None:
        told: list[BaseException] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: told.append(context["exception"]))
        async with Engine() as engine:
            called: list[BaseException | None] = []
            engine.play(ToneSource(440, 0.1), NullSink(), after=fail)
            others = [
                engine.play(ToneSource(440, 0.1), NullSink(), after=called.append)
                for _ in range(10)
            ]
            early = asyncio.gather(*(player.wait_finished() for player in others[:5]))
            await asyncio.sleep(0)
            time.sleep(0.5)  # all of them end within one wake-up of the loop
            late = asyncio.gather(*(player.wait_finished() for player in others[5:]))
            await asyncio.wait_for(asyncio.gather(early, late), 5)
            assert called == [None] * 10
        assert [type(error) for error in told] == [what]

    run(main())


EXIT_IN_AFTER = """
import asyncio, sys, time, voicecore
called = []
def leave(_error):
    sys.exit(7)
async def main():
    async with voicecore.Engine() as engine:
        def play(after):
            return engine.play(voicecore.ToneSource(440, 0.1), voicecore.NullSink(), after=after)
        play(leave)
        other = play(called.append)
        await asyncio.sleep(0)
        time.sleep(0.5)
        try:
            await other.wait_finished()
        except SystemExit:
            print("raised by another player's wait")
        await asyncio.sleep(5)
try:
    asyncio.run(main())
finally:
    print(called)
"""


def test_an_exit_in_an_after_callback_ends_the_loop_and_loses_no_event() -> None:
    assert script(EXIT_IN_AFTER, expect=7).strip() == "[None]"


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


def test_closing_does_not_wait_for_the_work_of_others_in_the_loops_executor(run: Runner) -> None:
    async def main() -> None:
        release = threading.Event()
        loop = asyncio.get_running_loop()
        pool = concurrent.futures.ThreadPoolExecutor(1)
        loop.set_default_executor(pool)
        async with Engine() as engine:
            player = engine.play(ToneSource(440), NullSink())
            busy = asyncio.create_task(asyncio.to_thread(release.wait, 20))
            await asyncio.sleep(0.05)
            try:
                await asyncio.wait_for(engine.aclose(), 5)
                assert player.finished
                assert native_threads() == []
            finally:
                release.set()
                await busy

    run(main())


def test_closing_ends_the_virtual_time_that_fills_the_loops_executor(run: Runner) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with Engine(clock=clock) as engine:
            engine.play(ToneSource(440), NullSink())
            asyncio.get_running_loop().set_default_executor(
                concurrent.futures.ThreadPoolExecutor(1)
            )
            advances = [asyncio.create_task(clock.advance(86_400)) for _ in range(3)]
            await asyncio.sleep(0.05)
            await asyncio.wait_for(engine.aclose(), 5)
            await asyncio.wait(advances, timeout=5)
            assert all(task.done() for task in advances)
            await asyncio.gather(*advances, return_exceptions=True)

    run(main())


def test_an_engine_whose_closing_was_cancelled_is_forgotten(run: Runner) -> None:
    async def main() -> None:
        left = []
        for _ in range(10):
            engine = Engine(feeders=1)
            await engine.__aenter__()
            left.append(weakref.ref(engine))
            closing = asyncio.create_task(engine.aclose())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            del engine, closing
        deadline = time.monotonic() + 5
        while any(ref() is not None for ref in left) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
            gc.collect()
        assert not any(ref() is not None for ref in left)
        assert not _bridge.current()._dependents

    run(main())


def test_a_player_hears_of_its_end_when_the_closing_was_cancelled(run: Runner) -> None:
    async def main() -> None:
        ended: list[BaseException | None] = []
        engine = Engine()
        await engine.__aenter__()
        player = engine.play(ToneSource(440), NullSink(), after=ended.append)
        closing = asyncio.create_task(engine.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        await asyncio.wait_for(player.wait_finished(), 5)
        await asyncio.sleep(0.2)
        assert ended == [None]

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


LEAVING_THE_LOOP_IN_A_CHILD = """
import asyncio, os, sys, warnings
warnings.simplefilter("ignore")
import voicecore
async def main():
    async with voicecore.Engine() as engine:
        player = engine.play(voicecore.ToneSource(440, 0.5), voicecore.NullSink())
        await asyncio.sleep(0.05)
        pid = os.fork()
        if pid == 0:
            engine._bridge._drain()  # as a wake-up would
            raise SystemExit(0)  # asyncio.run() takes its copy of the loop apart
        assert os.waitpid(pid, 0)[1] == 0
        try:
            await asyncio.wait_for(player.wait_finished(), 5)
            print("woken", flush=True)
        finally:
            os._exit(0)  # the child took the loop's own wake-up away, which closing needs
asyncio.run(main())
"""


def test_a_child_that_leaves_its_copy_of_the_loop_takes_no_wake_up_away() -> None:
    assert script(LEAVING_THE_LOOP_IN_A_CHILD) == "woken\n"


THE_PARENTS_LOOP_IN_A_CHILD = """
import asyncio, os, warnings
warnings.simplefilter("ignore")
import voicecore
from voicecore import _bridge
async def use():
    _bridge.current()
loop = asyncio.new_event_loop()
loop.run_until_complete(use())
pid = os.fork()
if pid == 0:
    try:
        loop.run_until_complete(use())
    except voicecore.Closed as error:
        print(error, flush=True)
        os._exit(0)
    os._exit(1)
assert os.waitpid(pid, 0)[1] == 0
"""


def test_the_parents_loop_is_refused_in_a_child() -> None:
    assert "made before fork()" in script(THE_PARENTS_LOOP_IN_A_CHILD)


FRESH_ENGINE_IN_A_CHILD = """
import asyncio, os, signal, sys, threading, warnings
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
        engine.play(voicecore.ToneSource(440), voicecore.NullSink())
        begun.set()
        while not over.is_set():
            await asyncio.sleep(0.01)
begun, over = threading.Event(), threading.Event()
thread = threading.Thread(target=lambda: asyncio.run(parent()))
thread.start()
begun.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(10)
    os._exit(asyncio.run(play()))
_, status = os.waitpid(pid, 0)
over.set()
thread.join()
print(os.waitstatus_to_exitcode(status))
"""


def test_a_fresh_engine_plays_in_a_forked_child_while_the_parents_goes_on() -> None:
    assert script(FRESH_ENGINE_IN_A_CHILD).strip() == "11"


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


def script(code: str, *arguments: str, expect: int = 0, timeout: float = 30) -> str:
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code, *arguments],
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


EXIT_WHILE_BUSY = """
import asyncio, io, socket, sys, threading, time, voicecore
how, what, music, out = sys.argv[1:]
keep = []
def stalled():
    server = socket.create_server(("127.0.0.1", 0))
    data = open(music, "rb").read()
    def serve():
        client, _ = server.accept()
        client.recv(4096)
        head = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(data)
        client.sendall(head + data[:40_000])
        keep.append((server, client))
    threading.Thread(target=serve, daemon=True).start()
    return "http://127.0.0.1:%d/a.mp3" % server.getsockname()[1]
class Stuck(io.BytesIO):
    name = "stuck"
    def seekable(self):
        return False
    def read(self, size=-1):
        data = super().read(size)
        if not data:
            time.sleep(60)
        return data
async def main():
    if what == "transcode":
        tone = voicecore.ToneSource(440, 36_000.0)
        keep.append(asyncio.create_task(voicecore.transcode(tone, out)))
    elif what == "receiver":
        receiver = voicecore.Receiver(mode="none")
        keep.append((receiver, asyncio.create_task(receiver.wait())))
    else:
        engine = voicecore.Engine()
        await engine.__aenter__()
        keep.append(engine)
        if what == "opening":
            keep.append(asyncio.create_task(engine.open(Stuck(), timeout=60)))
        else:
            source = {
                "file": lambda: music,
                "url": stalled,
                "file-like": lambda: Stuck(open(music, "rb").read(40_000)),
            }[what]()
            keep.append(engine.play(await engine.open(source), voicecore.OggSink(out)))
    await asyncio.sleep(0.3)
if how == "return":
    asyncio.run(main())
else:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())   # never closed
"""


@pytest.mark.parametrize("how", ["return", "bare"])
@pytest.mark.parametrize("what", ["file", "url", "file-like", "opening", "transcode", "receiver"])
def test_the_interpreter_exits_cleanly_whatever_is_under_way(
    how: str, what: str, music: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.ogg"
    script(EXIT_WHILE_BUSY, how, what, str(music), str(out), timeout=15)
    if what in ("file", "url", "file-like", "transcode"):
        is_a_whole_ogg_file(out)


def is_a_whole_ogg_file(path: Path) -> None:
    data = path.read_bytes()
    assert data[data.rfind(b"OggS") + 5] & 4, "the last page does not end the stream"
    if shutil.which("opusinfo") is not None:
        told = subprocess.run(["opusinfo", path], capture_output=True, text=True, check=True)
        assert "WARNING" not in told.stdout + told.stderr


FORGOTTEN_ENGINE = """
import asyncio, gc, sys, voicecore
async def main():
    engine = voicecore.Engine()
    await engine.__aenter__()
    engine.play(voicecore.ToneSource(440), voicecore.OggSink(sys.argv[1]))
    await asyncio.sleep(0.2)
    del engine
    gc.collect()
    await asyncio.sleep(0.1)
asyncio.run(main())
"""


def test_a_forgotten_engine_finishes_its_files(tmp_path: Path) -> None:
    out = tmp_path / "out.ogg"
    script(FORGOTTEN_ENGINE, str(out))
    is_a_whole_ogg_file(out)


NO_PYTHON_THREADS = """
import asyncio, os, threading, voicecore
async def main():
    async with voicecore.Engine(feeders=2) as engine:
        players = [engine.play(voicecore.ToneSource(440), voicecore.NullSink()) for _ in range(5)]
        for events in [player.events() for player in players]:
            assert (await anext(events)).kind == "started"
        tasks = [t for t in os.listdir("/proc/self/task") if int(t) != os.getpid()]
        names = sorted(open(f"/proc/self/task/{t}/comm").read().strip() for t in tasks)
        print([thread.name for thread in threading.enumerate()], names)
asyncio.run(main())
"""


def test_events_need_no_python_thread() -> None:
    told = script(NO_PYTHON_THREADS).strip()
    assert told == "['MainThread'] ['vc-clock', 'vc-feed-0', 'vc-feed-1']"


WITHOUT_PRIVILEGES = """
import asyncio, os, resource, sys, voicecore, voicecore.statistics
from voicecore import Engine, NullSink, ToneSource
async def main():
    async with Engine() as engine:
        await engine.preload()
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    async with Engine() as engine:
        player = engine.play(ToneSource(440, 0.1), NullSink())
        await player.wait_finished()
        print(engine.statistics().priority, player.statistics().frames_sent)
        try:
            await engine.open(sys.argv[1])
        except voicecore.SourcePermissionError as error:
            print(type(error).__name__, isinstance(error, PermissionError), error.errno)
asyncio.run(main())
"""


def test_without_privileges_it_plays_at_normal_priority_and_says_what_is_refused(
    music: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.mp3"
    secret.write_bytes(music.read_bytes())
    secret.chmod(0)
    told = script(WITHOUT_PRIVILEGES, str(secret)).splitlines()
    assert told == ["normal 6", "SourcePermissionError True 13"]


FEW_THREADS = """
import asyncio, errno, os, resource, tempfile, voicecore
from voicecore import CommandQueue, Engine, NullSink, OggSink, Receiver, ToneSource, transcode
async def play(folder):
    async with Engine(feeders=3) as engine:
        await engine.play(ToneSource(440, 0.1), NullSink()).wait_finished()
async def record(folder):
    async with Engine(feeders=1) as engine:
        sink = OggSink(folder + "/recorded.ogg")
        await engine.play(ToneSource(440, 0.1), sink).wait_finished()
async def convert(folder):
    await transcode(ToneSource(440, 0.1), folder + "/converted.ogg")
async def receive(folder):
    async with Receiver("127.0.0.1", 0, mode="none", duration=0.0) as receiver:
        await receiver.wait()
async def send(folder):
    async with CommandQueue(folder + "/bot.db") as queue:
        await queue.enqueue("stop")
async def main():
    works = play, record, convert, receive, send
    with tempfile.TemporaryDirectory() as folder:
        for work in works:
            await work(folder)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    _, most = resource.getrlimit(resource.RLIMIT_NPROC)
    with tempfile.TemporaryDirectory() as folder:
        for work in works:
            told = []
            now = len(os.listdir("/proc/self/task"))
            for limit in (0, *range(now, now + 6)):
                resource.setrlimit(resource.RLIMIT_NPROC, (limit, most))
                try:
                    await work(folder)
                    told.append("done")
                except OSError as error:
                    told.append(errno.errorcode[error.errno])
                resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
            await work(folder)
            print(work.__name__, *told)
asyncio.run(main())
"""


def test_where_no_thread_can_be_started_each_call_says_so_and_the_next_may_work() -> None:
    told = [line.split() for line in script(FEW_THREADS).splitlines()]
    assert [name for name, *_ in told] == ["play", "record", "convert", "receive", "send"]
    for name, first, *others in told:
        assert first == "EAGAIN", name
        assert set(others) <= {"EAGAIN", "done"}, name


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
