"""`import voicecore` is cheap and quiet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import voicecore


def in_fresh_interpreter(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_maps_no_ffmpeg_starts_no_thread_and_needs_no_discord() -> None:
    output = in_fresh_interpreter(
        "import sys, os, json, threading\n"
        "sys.modules['discord'] = None  # importing it would raise\n"
        "sys.modules['click'] = None\n"
        "sys.modules['rich'] = None\n"
        "import voicecore\n"
        "maps = open('/proc/self/maps').read()\n"
        "print(json.dumps({\n"
        "  'ffmpeg': [n for n in ('libavformat', 'libavcodec', 'libavutil', 'libswresample')\n"
        "             if n in maps],\n"
        "  'core': '_core' in maps,\n"
        "  'native': len(os.listdir('/proc/self/task')),\n"
        "  'python': threading.active_count()}))"
    )
    found = json.loads(output)
    assert found == {"ffmpeg": [], "core": True, "native": 1, "python": 1}


@pytest.mark.slow
@pytest.mark.timing
def test_importing_costs_at_most_ten_milliseconds_beyond_the_standard_library() -> None:
    # The standard library first, with everything of it that voicecore brings in; then the rest. CPU
    # time, and the best of as many runs as it takes: what else the machine does only ever adds.
    stdlib = in_fresh_interpreter(
        "import sys; before = set(sys.modules); import voicecore\n"
        "print(','.join(m for m in sorted(set(sys.modules) - before)\n"
        "    if m.split('.')[0] in sys.stdlib_module_names and not m.startswith('_')))"
    ).strip()
    code = (
        f"import {stdlib or 'sys'}\n"
        "import time; t = time.process_time(); import voicecore; print(time.process_time() - t)"
    )
    costs: list[float] = []
    while not costs or (min(costs) > 0.010 and len(costs) < 40):
        costs.append(float(in_fresh_interpreter(code)))
    assert min(costs) <= 0.010, f"{min(costs) * 1000:.1f} ms"


def test_whoever_only_sends_commands_loads_nothing_of_playing() -> None:
    output = in_fresh_interpreter(
        "import sys, voicecore\n"
        "voicecore.SyncCommandQueue\n"
        "print(sorted(m for m in sys.modules if m.startswith('voicecore.')))"
    )
    assert "'voicecore.queue'" in output
    for name in ("engine", "player", "sinks", "sources", "scheduler"):
        assert f"'voicecore.{name}'" not in output


def test_every_public_name_and_module_is_found_when_it_is_named() -> None:
    output = in_fresh_interpreter(
        "import voicecore\n"
        "print(all(getattr(voicecore, name) is not None for name in voicecore.__all__),\n"
        "    voicecore.sinks.OggSink is voicecore.OggSink, hasattr(voicecore, 'nonsense'))"
    )
    assert output.split() == ["True", "True", "False"]


def test_completion_offers_every_public_name_and_loads_none() -> None:
    output = in_fresh_interpreter(
        "import sys, voicecore\n"
        "print(set(voicecore.__all__) <= set(dir(voicecore)), 'sinks' in dir(voicecore),\n"
        "    'voicecore.engine' in sys.modules)"
    )
    assert output.split() == ["True", "True", "False"]


def test_the_codec_is_loaded_from_a_folder_whose_name_is_no_utf8(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/mus\xe9e"
    os.symlink(Path(voicecore.__file__).parent.parent, folder)
    code = (
        f"import sys; sys.path.insert(0, {os.fsdecode(folder)!r})\n"
        "import asyncio, voicecore\n"
        "async def main():\n"
        "    async with voicecore.Engine() as engine:\n"
        "        await engine.preload()\n"
        "asyncio.run(main())\n"
        "print(ascii(voicecore.__file__))"
    )
    assert "mus\\udce9e" in in_fresh_interpreter(code)


def test_other_systems_get_one_clear_error() -> None:
    output = in_fresh_interpreter(
        "import sys\n"
        "sys.platform = 'win32'\n"
        "try:\n"
        "    import voicecore\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    assert "runs on Linux" in output
    assert "win32" in output


IN_A_SUB_INTERPRETER = """
try:
    import _interpreters as interpreters
    run = interpreters.exec
except ImportError:
    import _xxsubinterpreters as interpreters
    run = interpreters.run_string
{first}
run(interpreters.create(), '''
try:
    import voicecore
    voicecore.ToneSource(440)
except ImportError as error:
    print(error, flush=True)
''')
print("goes on")
"""


@pytest.mark.parametrize("first", ["", "import voicecore; voicecore.ToneSource(440)"])
def test_a_sub_interpreter_gets_one_clear_error(first: str) -> None:
    told, after = in_fresh_interpreter(IN_A_SUB_INTERPRETER.format(first=first)).splitlines()
    assert "sub-interpreter" in told or "subinterpreters" in told  # the latter is Python's own
    assert after == "goes on"


def test_a_command_loads_nothing_of_the_others() -> None:
    output = in_fresh_interpreter(
        "import sys\n"
        "from voicecore.cli import run\n"
        "run(['queue', '--help'])\n"
        "loaded = {'doctor', 'play', 'probe', 'receive', 'schedule', 'transcode', 'work'}\n"
        "print([m for m in sorted(loaded) if f'voicecore.cli.{m}' in sys.modules],\n"
        "      'rich' in sys.modules, 'voicecore._codec' in sys.modules)"
    )
    assert output.splitlines()[-1] == "[] False False"
