"""A station on the web: sends a file at the pace of its playing and stalls where it is told to.

`python -m benchmarks.station FILE` prints {"port": ...} and serves until it is ended. What a
request gets is written in its address: `?stall=2.3:0.3` holds the bytes back that are due 2.3
seconds after the request, and all behind them, for 0.3 seconds. Then what is owed comes at once, as
it does when a network recovers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from benchmarks.processes import Child
from benchmarks.sending import say

BYTES_PER_S = 16_000
"""The pace of `Media.mp3`, 128 kbit/s."""
LEAD_S = 2.0
"""How far it is ahead of playing, from the first answer on: what a listener can have in stock.
Icecast gives 64 KiB, four seconds of this."""
STEP_S = 0.05

Stalls = Sequence[tuple[float, float]]
"""Each: seconds after the request, and how long."""

_HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\nConnection: close\r\n\r\n"


def bytes_due(elapsed: float, stalls: Stalls) -> int:
    """How much may have been sent so many seconds after the request."""
    for begins, lasts in stalls:
        if begins <= elapsed < begins + lasts:
            elapsed = begins
    return int(BYTES_PER_S * (LEAD_S + elapsed))


@contextlib.contextmanager
def station(file: str) -> Iterator[str]:
    """A station in a process of its own; its address."""
    command = [sys.executable, "-m", "benchmarks.station", file]
    with Child(command, limit=30.0) as child:
        line = child.line()
        if line is None:
            child.finish()  # says why
        yield f"http://127.0.0.1:{json.loads(line or '')['port']}/music.mp3"


def address_of(base: str, stalls: Stalls) -> str:
    return f"{base}?{urlencode([('stall', f'{begins}:{lasts}') for begins, lasts in stalls])}"


def _stalls_of(target: str) -> Stalls:
    listed = parse_qs(urlsplit(target).query).get("stall", [])
    parts = (text.split(":") for text in listed)
    return [(float(begins), float(lasts)) for begins, lasts in parts]


async def _serve(data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    stalls = _stalls_of(head.split(b" ", 2)[1].decode())
    loop = asyncio.get_running_loop()
    began = loop.time()
    writer.write(_HEAD)
    sent = 0
    while sent < len(data):
        due = bytes_due(loop.time() - began, stalls)
        writer.write(data[sent:due])
        sent = max(sent, due)
        await writer.drain()
        await asyncio.sleep(STEP_S)


async def main(data: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A listener may leave at any time.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await _serve(data, reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    say({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_bytes()))
