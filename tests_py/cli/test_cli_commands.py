"""`receive`, `probe`, `transcode`, `doctor`."""

from __future__ import annotations

import asyncio
import csv
import functools
import http.server
import json
import re
import shlex
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from cli.command import (
    KEY,
    MUSIC,
    PATIENCE,
    VOICECORE,
    Done,
    Here,
    finish,
    read_ogg,
    receiving,
    start,
    wait_until_written,
    write_tone,
)
from voicecore.cli import doctor as doctor_module

RECEIVED = {
    "schema",
    "packets",
    "silence_frames",
    "lost",
    "reordered",
    "duplicates",
    "decryption_failures",
    "malformed",
    "gap_ms",
    "jitter_ms",
}


def send(port: int, count: int, *, skip: int = -1, ssrc: int = 7) -> None:
    """Plain RTP: silence packets without encryption."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for n in range(count):
            if n == skip:
                continue
            header = b"\x80\x78" + n.to_bytes(2, "big") + (960 * n).to_bytes(4, "big")
            sock.sendto(header + ssrc.to_bytes(4, "big") + b"\xf8\xff\xfe", ("127.0.0.1", port))


# -- receive ---------------------------------------------------------------------------------------


def test_receive_counts_what_is_lost_and_logs_every_packet(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    with receiving("rtp://127.0.0.1:0?mode=none", "--json", "--idle", "0.2", "--log", log) as (
        receiver,
        port,
    ):
        send(port, 10, skip=4)
        done = finish(receiver)
    assert done.code == 0
    assert set(done.json) >= RECEIVED
    assert (done.json["packets"], done.json["lost"]) == (9, 1)
    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert [int(row["sequence"]) for row in rows] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert [int(row["timestamp"]) for row in rows[:2]] == [0, 960]
    assert {row["size"] for row in rows} == {"3"}
    times = [int(row["time_ns"]) for row in rows]
    assert times == sorted(times)


def test_receive_writes_the_log_as_packets_come(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("older and longer than what comes, " * 100)
    with receiving("rtp://127.0.0.1:0?mode=none", "--log", log) as (receiver, port):
        send(port, 10)
        deadline = time.monotonic() + PATIENCE
        while len(log.read_text().splitlines()) != 11:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        send(port, 12, skip=4)  # the first ten again, but for one
        receiver.send_signal(signal.SIGTERM)
        assert finish(receiver).code == 143
    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert [int(row["sequence"]) for row in rows] == [*range(10), 0, 1, 2, 3, *range(5, 12)]


def test_receive_whose_log_cannot_be_written_finishes_the_recording(tmp_path: Path) -> None:
    out = tmp_path / "out.ogg"
    to = ("--to", f"ogg:{out}", "--log", "/dev/full")
    with receiving("rtp://127.0.0.1:0?mode=none", *to) as (receiver, _):
        done = finish(receiver)
    assert done.code == 4
    assert "/dev/full: No space left" in done.err
    assert read_ogg(out).complete


def test_receive_says_it_in_words() -> None:
    with receiving("rtp://127.0.0.1:0?mode=none", "--idle", "0.2") as (receiver, port):
        send(port, 5)
        done = finish(receiver)
    assert "Received 5 packets" in done.out
    assert "none lost" in done.out


def test_receive_takes_only_its_ssrc() -> None:
    with receiving("rtp://127.0.0.1:0?mode=none&ssrc=8", "--json", "--idle", "0.2") as (
        receiver,
        port,
    ):
        send(port, 3, ssrc=7)
        send(port, 2, ssrc=8)
        done = finish(receiver)
    assert (done.json["packets"], done.json["foreign_ssrc"]) == (2, 3)


def test_receive_counts_what_the_key_does_not_open() -> None:
    with receiving(f"rtp://127.0.0.1:0?key={KEY}", "--duration", "0.5") as (receiver, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"\x80\x78" + bytes(60), ("127.0.0.1", port))
        done = finish(receiver)
    assert done.code == 0
    assert "1 datagram arrived, none valid: 1 that the key does not open." in done.out


def test_receive_ends_after_its_duration_without_a_packet() -> None:
    with receiving("rtp://127.0.0.1:0?mode=none", "--duration", "0.2") as (receiver, _):
        done = finish(receiver)
    assert done.code == 0
    assert done.out == "Nothing arrived.\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_receive_finishes_its_file_at_a_signal(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "heard.ogg"
    with receiving("rtp://127.0.0.1:0?mode=none", "--json", "--to", f"ogg:{out}") as (
        receiver,
        port,
    ):
        player = start("play", MUSIC, "--to", f"rtp://127.0.0.1:{port}?mode=none", "-q")
        try:
            wait_until_written(out)
            receiver.send_signal(number)
            done = finish(receiver)
        finally:
            player.terminate()
            finish(player)
    assert done.code == code
    assert read_ogg(out).complete
    assert len(read_ogg(out).packets) == done.json["packets"]


def test_a_port_in_use_is_code_4(here: Here) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        done = here("receive", f"rtp://127.0.0.1:{sock.getsockname()[1]}?mode=none")
    assert done.code == 4
    assert "in use" in done.one_line()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ogg:x"], "cannot receive from ogg:x"),
        (["rtp://h:1?mode=none", "--to", "rtp://h:1?mode=none"], "cannot record to"),
        (["rtp://h:1"], "needs a key"),
        (["rtp://h:1?mode=none", "--idle", "0"], "expected 0.02 to"),
        (["rtp://h:1?mode=none", "--log", "/no/such/folder/x"], "No such file"),
    ],
)
def test_receive_refuses_a_wrong_command_line(here: Here, arguments: list[str], says: str) -> None:
    done = here("receive", *arguments)
    assert done.code == 2
    assert says in done.one_line()


@pytest.mark.parametrize("wrong", ["foo", "http://h:1"])
def test_receive_suggests_only_what_it_takes(here: Here, wrong: str) -> None:
    assert re.search(r"expected rtp://\S+ \(see", here("receive", wrong).one_line())
    done = here("receive", "rtp://h:1?mode=none", "--to", wrong)
    assert "expected ogg:PATH or null: (see" in done.one_line()


def test_receive_cannot_write_there_is_code_4(here: Here) -> None:
    done = here("receive", "rtp://127.0.0.1:0?mode=none", "--to", "ogg:/no/such/folder/x")
    assert done.code == 4
    assert done.one_line()


def test_quiet_receive_says_nothing(here: Here) -> None:
    assert here("receive", "rtp://127.0.0.1:0?mode=none", "--duration", "0.1", "-q") == Done(
        0, "", ""
    )


# -- probe -----------------------------------------------------------------------------------------


def test_probe_knows_the_example_music(here: Here) -> None:
    record = here("probe", MUSIC, "--json").json
    assert record["schema"] == 1
    assert (record["codec"], record["sample_rate"], record["channels"]) == ("mp3", 44_100, 2)
    assert record["duration_s"] == pytest.approx(24.0, abs=0.01)
    assert record["bitrate_kbps"] == pytest.approx(128, abs=1)
    assert record["tags"]["artist"] == "Will Savino"
    assert record["passthrough"] is False
    assert "not Opus" in record["no_passthrough"]


def test_probe_says_it_in_words(here: Here) -> None:
    out = here("probe", MUSIC).out
    assert "Codec        mp3" in out
    assert "44,100 Hz" in out
    assert "Passthrough  no: " in out


def test_probe_tells_opus_that_can_be_copied(here: Here, tone: Path, tmp_path: Path) -> None:
    assert here("transcode", tone, tmp_path / "t.ogg", "-q").code == 0
    assert here("probe", tmp_path / "t.ogg", "--json").json["passthrough"] is True


@pytest.mark.parametrize("command", [["probe"], ["transcode"]])
def test_a_missing_input_is_code_3(here: Here, command: list[str], tmp_path: Path) -> None:
    out = [str(tmp_path / "out.ogg")] if command == ["transcode"] else []
    done = here(*command, "/no/such/file.mp3", *out)
    assert done.code == 3
    assert "file.mp3" in done.one_line()


def test_a_playlist_is_refused_unless_asked_for(here: Here, tone: Path, tmp_path: Path) -> None:
    playlist = tmp_path / "list.mp3"
    playlist.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{tone.as_uri()}\n#EXT-X-ENDLIST\n"
    )
    done = here("probe", playlist)
    assert done.code == 3
    assert "playlist" in done.one_line()
    # Asked for, and still no way from the outside to a file of this machine.
    assert here("probe", playlist, "--playlists").code == 3


def test_an_hls_playlist_on_the_web_is_followed_when_asked_for(here: Here, tmp_path: Path) -> None:
    tone = write_tone(tmp_path / "t.wav", 3.0)
    site = tmp_path / "site"
    site.mkdir()
    subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-i",
            tone,
            "-c:a",
            "aac",
            "-f",
            "hls",
            "-hls_time",
            "1",
            "-hls_playlist_type",
            "vod",
            site / "list.m3u8",
        ],
        check=True,
    )
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/list.m3u8"
            assert here("probe", url).code == 3
            out = tmp_path / "out.ogg"
            done = here("transcode", url, out, "--playlists", "--json")
            assert done.code == 0, done.one_line()
            assert done.json["duration_s"] == pytest.approx(3.0, abs=0.15)
        finally:
            server.shutdown()
            thread.join()


# -- transcode -------------------------------------------------------------------------------------


def test_transcode_keeps_the_exact_length(here: Here, tmp_path: Path) -> None:
    tone = write_tone(tmp_path / "t.wav", 1.2345)
    out = tmp_path / "out.ogg"
    record = here("transcode", tone, out, "--json").json
    ogg = read_ogg(out)
    assert ogg.complete
    assert ogg.samples == round(1.2345 * 48_000)
    assert record["schema"] == 1
    assert record["duration_s"] == pytest.approx(1.2345, abs=1e-4)
    assert record["realtime_ratio"] > 1


def test_transcode_joins_several_inputs(here: Here, tone: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.ogg"
    assert here("transcode", tone, tone, out, "--gap", "0.25", "--volume", "0.5", "-q").code == 0
    assert read_ogg(out).samples == pytest.approx(2.25 * 48_000, abs=960)


def test_transcode_says_how_fast_it_was(here: Here, tone: Path, tmp_path: Path) -> None:
    done = here("transcode", tone, tmp_path / "out.ogg")
    assert "times faster than real time" in done.err


def test_transcode_to_a_full_disk_is_code_4(here: Here) -> None:
    done = here("transcode", MUSIC, "/dev/full")
    assert done.code == 4
    assert "No space left" in done.one_line()


def test_transcode_never_overwrites_its_input(here: Here, tone: Path) -> None:
    done = here("transcode", tone, tone)
    assert done.code == 2
    assert "is the input" in done.one_line()


def test_transcode_takes_a_dash_for_no_file(
    here: Here, tone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = here("transcode", tone, "-")
    assert done.code == 2
    assert "stdout is not supported" in done.one_line()
    assert not Path("-").exists()
    assert here("transcode", tone, "./-", "-q").code == 0
    assert read_ogg(Path("-")).complete


def test_a_signal_leaves_a_valid_file(tmp_path: Path) -> None:
    tone = write_tone(tmp_path / "t.wav", 30)
    out = tmp_path / "out.ogg"
    process = start("transcode", *[tone] * 40, out, "--complexity", "10")
    wait_until_written(out)
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 130
    ogg = read_ogg(out)
    assert ogg.complete
    assert ogg.samples < 40 * 30 * 48_000


# -- doctor ----------------------------------------------------------------------------------------


def test_doctor_looks_at_everything_and_says_what_it_means(
    capfd: pytest.CaptureFixture[str],
) -> None:
    record = asyncio.run(doctor_module._examine())
    names = {row["name"]: row for row in record["versions"]}
    ours = {"libopus", "libogg", "libsodium", "SQLite", "FFmpeg"}
    assert ours | {"discord.py"} <= set(names)
    assert "GPL" in names["FFmpeg"]["licence"]
    assert all(names[name]["version"] and names[name]["licence"] for name in ours)
    assert record["sqlite"]["same_copy"] is True
    assert record["clock"]["resolution_ns"] <= 1000
    assert 0 < record["sleep"]["p50_ms"] <= record["sleep"]["p99_ms"] <= record["sleep"]["max_ms"]
    awake, refusal = record["sleep"]["kept_awake"], record["sleep"]["refusal"]
    assert (awake is None) == (refusal is not None)
    if awake is not None:
        assert 0 < awake["p50_ms"] <= awake["p99_ms"] <= awake["max_ms"]
    assert record["loopback"]["error"] is None
    assert record["loopback"]["received"] == record["loopback"]["sent"] >= 55
    assert "aead_xchacha20_poly1305_rtpsize" in record["ciphers"]
    assert isinstance(record["problems"], list)
    doctor_module._print(record)
    out, _ = capfd.readouterr()
    for words in (
        "Libraries",
        "Python's sqlite3",
        "A sleeping thread wakes",
        "processors kept awake",
    ):
        assert words in out


@pytest.mark.parametrize(
    "command",
    [["probe"], ["play", "--to", "null:", "-q"], ["transcode", "-q"]],
    ids=lambda command: command[0],
)
def test_private_addresses_can_be_forbidden_to_urls(
    here: Here, tmp_path: Path, command: list[str]
) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0.05)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/a.mp3"
        output = [tmp_path / "out.ogg"] if command[0] == "transcode" else []
        done = here(*command, url, *output, "--no-private-addresses")
        assert done.code == 3
        assert "not a public address" in done.one_line()
        with pytest.raises(TimeoutError):
            listening.accept()


@pytest.mark.parametrize("command", ["play", "transcode", "receive", "work"])
def test_the_help_names_the_exit_code_of_each_signal(here: Here, command: str) -> None:
    words = " ".join(here(command, "--help").out.split())
    assert "129, 130 and 143 ended by SIGHUP, SIGINT and SIGTERM" in words


# -- the whole -------------------------------------------------------------------------------------


def test_the_module_is_the_command(tone: Path) -> None:
    import subprocess

    done = subprocess.run([*VOICECORE, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("voicecore ")


def test_json_on_stdout_is_all_there_is(
    here: Here, tone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_module, "SLEEPS", 5)
    monkeypatch.setattr(doctor_module, "LOOPBACK_S", 0.1)
    for command in (
        ["probe", tone, "--json"],
        ["play", tone, "--to", "null:", "--virtual", "--stats", "-"],
        ["doctor", "--json"],
    ):
        assert json.loads(here(*command).out)["schema"] == 1


STDERR = {
    "closed": "2>&-",
    "full": "2>/dev/full",
    "only to be read": "2</dev/null",
    "without a reader": "2> >(exec true)",
}


@pytest.mark.parametrize("stderr", STDERR.values(), ids=STDERR)
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"play {MUSIC} --to null: --virtual --summary", 0),
        (f"play {MUSIC} --to null: --duration 0.1", 0),
        (f"transcode {MUSIC} out.ogg", 0),
        ("probe missing.mp3", 3),
        ("", 2),
    ],
)
def test_messages_that_nobody_takes_do_not_change_the_exit_code(
    command: str, code: int, stderr: str, tmp_path: Path
) -> None:
    line = f"sleep 0.05; exec {shlex.join(VOICECORE)} {command}"
    script = ["bash", "-c", f"{{ {line}; }} {stderr}"]
    assert subprocess.run(script, cwd=tmp_path, stdout=subprocess.DEVNULL).returncode == code
