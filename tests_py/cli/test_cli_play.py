"""`voicecore play`: what it sends, what it writes, how it ends."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.command import (
    KEY,
    MUSIC,
    PATIENCE,
    VOICECORE,
    Done,
    Here,
    environment,
    finish,
    read_ogg,
    receiving,
    start,
    wait_until_written,
    write_tone,
)
from voicecore.cli import play_run
from voicecore.cli.exits import one_line

SILENCE = b"\xf8\xff\xfe"
PROMISED = {
    "schema",
    "command",
    "version",
    "files",
    "sink",
    "virtual",
    "ended",
    "signal",
    "error",
    "exit_code",
    "frames_sent",
    "silence_frames",
    "skipped",
    "late",
    "underruns",
    "decode_errors",
    "passthrough",
    "first_frame_ms",
    "duration_s",
    "lateness_ms",
    "cpu_ms",
}


def virtual(here: Here, *arguments: object) -> Any:
    """Plays on the virtual clock; the statistics."""
    done = here("play", *arguments, "--virtual", "--quiet", "--stats", "-")
    assert done.code == 0, done.err
    return done.json


def test_virtual_gives_the_same_bytes_run_after_run(here: Here, tmp_path: Path) -> None:
    outs = [tmp_path / "a.ogg", tmp_path / "b.ogg"]
    for out in outs:
        virtual(here, MUSIC, "--to", f"ogg:{out}", "--volume", "0.7", "--start", "3.3")
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_virtual_gives_the_bytes_of_real_time(here: Here, tmp_path: Path, tone: Path) -> None:
    virtual(here, tone, "--to", f"ogg:{tmp_path / 'virtual.ogg'}")
    assert here("play", tone, "--to", f"ogg:{tmp_path / 'real.ogg'}", "-q").code == 0
    assert (tmp_path / "virtual.ogg").read_bytes() == (tmp_path / "real.ogg").read_bytes()


def test_a_file_is_played_whole_and_followed_by_five_silence_frames(
    here: Here, tmp_path: Path, tone: Path
) -> None:
    record = virtual(here, tone, "--to", f"ogg:{tmp_path / 'out.ogg'}")
    ogg = read_ogg(tmp_path / "out.ogg")
    assert ogg.complete
    assert ogg.packets[-5:] == [SILENCE] * 5
    assert record["frames_sent"] == len(ogg.packets) - 5
    assert 50 <= record["frames_sent"] <= 51


def test_the_statistics_have_every_promised_field(here: Here, tone: Path) -> None:
    record = virtual(here, tone, "--to", "null:")
    assert set(record) >= PROMISED
    assert record["schema"] == 1
    assert next(iter(record)) == "schema"
    assert record["files"] == [str(tone)]
    assert record["sink"] == "null:"
    assert record["ended"] == "ended"
    assert record["exit_code"] == 0
    assert set(record["lateness_ms"]) >= {"p50", "p90", "p99", "p99_9", "max"}
    assert set(record["cpu_ms"]) == {"decode", "encode", "send"}
    assert set(record["underruns"]) == {
        "source_slow",
        "decoder_slow",
        "sealing_late",
        "worker_late",
        "kernel_late",
    }


def test_statistics_go_to_a_file(here: Here, tmp_path: Path, tone: Path) -> None:
    path = tmp_path / "stats.json"
    done = here("play", tone, "--to", "null:", "--virtual", "--stats", path)
    assert done.code == 0
    assert done.out == ""
    assert json.loads(path.read_text())["silence_frames"] == 5


def test_it_says_in_words_how_it_went(here: Here, tone: Path) -> None:
    done = here("play", tone, "--to", "null:")
    assert "Sent 1.0" in done.err
    assert re.search(r"(none|\d+ more than 5 ms) late, none skipped", done.err)
    assert done.out == ""
    assert "Sent" not in here("play", tone, "--to", "null:", "--virtual", "--no-summary").err


def test_quiet_says_nothing(here: Here, tone: Path) -> None:
    assert here("play", tone, "--to", "null:", "--virtual", "-q") == Done(0, "", "")


def test_start_skips_into_the_first_file_only(here: Here, tmp_path: Path) -> None:
    tone = write_tone(tmp_path / "t.wav", 2.0)
    record = virtual(here, tone, tone, "--to", "null:", "--start", "1.5")
    assert record["duration_s"] == pytest.approx(2.5, abs=0.05)


def test_a_start_past_the_end_is_said_in_one_line(here: Here, tone: Path) -> None:
    arguments = ["play", tone, "--to", "null:", "--virtual", "--start", 100]
    done = here(*arguments, "--no-summary")
    assert (done.code, done.one_line()) == (0, "--start 100: tone.wav is only 1.00 s long")
    assert here(*arguments).err.splitlines()[1] == "Nothing was sent to null:."
    assert here(*arguments, "--quiet").err == ""
    assert here(*arguments[:-1], 0.9, "--no-summary").err == ""


def test_a_start_past_the_end_of_a_pipe_is_said_afterwards(tone: Path) -> None:
    arguments = ["--to", "null:", "--virtual", "--no-summary", "--start", 100]
    with tone.open("rb") as file:
        cat = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        done = finish(start("play", "-", *arguments, stdin=cat.stdout))
        cat.communicate()
    assert (done.code, len(done.err.splitlines())) == (0, 1)
    assert "--start 100: " in done.one_line()


def test_loop_counts_all_plays(here: Here, tone: Path) -> None:
    record = virtual(here, tone, "--to", "null:", "--loop", "3", "--start", "0.5")
    assert record["duration_s"] == pytest.approx(2.5, abs=0.05)


def test_loop_0_ends_at_the_duration(here: Here, tone: Path) -> None:
    record = virtual(here, tone, "--to", "null:", "--loop", "0", "--duration", "4.5")
    assert record["duration_s"] == pytest.approx(4.5, abs=0.02)


def test_duration_ends_the_whole_run(here: Here, tone: Path) -> None:
    record = virtual(here, tone, tone, tone, "--to", "null:", "--duration", "2.5")
    assert record["frames_sent"] == 125
    assert record["silence_frames"] == 5


def test_gap_puts_silence_between_files(here: Here, tone: Path, tmp_path: Path) -> None:
    joined = virtual(here, tone, tone, "--to", f"ogg:{tmp_path / 'joined.ogg'}")
    virtual(here, tone, tone, "--gap", "0.5", "--to", f"ogg:{tmp_path / 'gap.ogg'}")
    assert joined["duration_s"] == pytest.approx(2.0, abs=0.05)
    longer = read_ogg(tmp_path / "gap.ogg").samples - read_ogg(tmp_path / "joined.ogg").samples
    assert longer == pytest.approx(24_000, abs=960)


def test_encoder_options_reach_the_encoder(here: Here, tmp_path: Path) -> None:
    def size(*options: object) -> int:
        out = tmp_path / "out.ogg"
        virtual(here, MUSIC, "--duration", "3", "--to", f"ogg:{out}", *options)
        return sum(map(len, read_ogg(out).packets))

    usual = size()
    assert size("--bitrate", "32") < usual / 2
    assert size("--complexity", "0") != usual
    # Redundancy is only carried by the speech layer, at low bitrates.
    low = ("--bitrate", "24")
    assert size(*low, "--fec", "--expected-loss", "0.3") != size(*low, "--no-fec")


def test_opus_is_copied_unless_told_otherwise(here: Here, tmp_path: Path, tone: Path) -> None:
    opus = tmp_path / "in.ogg"
    assert here("transcode", tone, opus, "-q").code == 0
    copied = virtual(here, opus, "--to", f"ogg:{tmp_path / 'copy.ogg'}")
    assert copied["passthrough"] >= 49
    inside = read_ogg(opus).packets[1:-2]
    assert all(packet in read_ogg(tmp_path / "copy.ogg").packets for packet in inside)
    encoded = virtual(here, opus, "--to", "null:", "--no-passthrough")
    assert encoded["passthrough"] == 0


def test_volume_makes_it_quieter(here: Here, tmp_path: Path, tone: Path) -> None:
    opus = tmp_path / "in.ogg"
    assert here("transcode", tone, opus, "-q").code == 0
    assert virtual(here, opus, "--to", "null:", "--volume", "0.5")["passthrough"] == 0


def test_more_files_than_are_opened_at_once_play_in_order(
    here: Here, tone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play_run, "OPEN_AT_ONCE", 2)
    record = virtual(here, *[tone] * 7, "--to", "null:")
    assert record["duration_s"] == pytest.approx(7.0, abs=0.15)
    assert record["ended"] == "ended"


def test_a_late_file_that_cannot_be_opened_is_named_and_the_rest_is_played(
    here: Here, tone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play_run, "OPEN_AT_ONCE", 2)
    files = [tone, tone, tone, tmp_path / "missing.mp3", tone]
    done = here("play", *files, "--to", "null:", "--virtual", "-q", "--stats", "-")
    assert done.code == 3
    assert "missing.mp3" in done.one_line()
    assert done.json["duration_s"] == pytest.approx(4.0, abs=0.1)
    assert done.json["exit_code"] == 3


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["play"], "Missing argument 'FILE...'"),
        (["play", MUSIC], "Missing option '--to'"),
        (["play", MUSIC, "--to", "here.ogg"], "expected ogg:PATH"),
        (["play", MUSIC, "--to", "rtp://h:1"], "needs a key"),
        (["play", MUSIC, "--to", "rtp://h:1?mode=none", "--virtual"], "not for rtp"),
        (["play", MUSIC, "--to", "null:", "--virtual", "--loop", "0"], "would never end"),
        (["play", "-", "--to", "null:", "--loop", "2"], "cannot be played twice"),
        (["play", "-", "-", "--to", "null:"], "standard input is given twice"),
        (["play", "-", MUSIC, "/dev/stdin", "--to", "null:"], "standard input is given twice"),
        (["transcode", "-", "-", "out.ogg"], "standard input is given twice"),
        (["play", MUSIC, "--to", "null:", "--volume", "nan"], "got nan, expected 0 to 4"),
        (["play", MUSIC, "--to", "null:", "--volume", "-1"], "got -1.0, expected 0 to 4"),
        (["play", MUSIC, "--to", "null:", "--volume", "1e9"], "expected 0 to 4"),
        (["play", MUSIC, "--to", "null:", "--volume", "loud"], "got 'loud', expected a number"),
        (["play", MUSIC, "--to", "null:", "--bitrate", "0"], "expected an integer 1 to 510"),
        (["play", MUSIC, "--to", "null:", "--complexity", "11"], "expected an integer 0 to 10"),
        (["play", MUSIC, "--to", "null:", "--expected-loss", "2"], "expected 0 to 1"),
        (["play", MUSIC, "--to", "null:", "--start", "-1"], "expected 0 to"),
        (["play", MUSIC, "--to", "null:", "--duration", "0"], "expected 0.001 to"),
        (["play", MUSIC, "--to", "null:", "--gap", "inf"], "expected 0 to"),
        (["play", MUSIC, "--to", "null:", "--loop", "x"], "got 'x', expected an integer"),
        (["play", MUSIC, "--to", "null:", "--header", "x"], "expected 'Name: value'"),
        (["play", MUSIC, "--to", "null:", "--stats", "/no/such/folder/s"], "No such file"),
        (["play", MUSIC, "--to", "null:", "--loud"], "No such option"),
        (["sing"], "No such command 'sing'"),
    ],
)
def test_a_wrong_command_line_is_code_2_and_one_line(
    here: Here, arguments: list[str], says: str
) -> None:
    done = here(*arguments)
    assert done.code == 2
    assert says in done.one_line()


def test_without_arguments_the_help_is_shown(here: Here) -> None:
    done = here()
    assert done.code == 2
    assert "voicecore doctor" in done.err


@pytest.mark.parametrize(
    "command", [[], ["play"], ["receive"], ["probe"], ["transcode"], ["doctor"]]
)
def test_help_has_examples(here: Here, command: list[str]) -> None:
    done = here(*command, "--help")
    assert done.code == 0
    assert "  voicecore " in done.out


def bad_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Names and what the message must say."""
    (folder / "empty.mp3").touch()
    (folder / "text.mp3").write_text("Dear Sir or Madam,\n" * 500)
    yield str(folder / "missing.mp3"), "missing.mp3"
    yield str(folder), folder.name
    yield str(folder / "empty.mp3"), "empty.mp3"
    yield str(folder / "text.mp3"), "text.mp3"


def test_an_input_that_cannot_be_opened_is_code_3_and_one_line(here: Here, tmp_path: Path) -> None:
    out = tmp_path / "out.ogg"
    for name, says in bad_files(tmp_path):
        done = here("play", MUSIC, name, "--to", f"ogg:{out}")
        assert done.code == 3, done.err
        assert says in done.one_line()
        assert not out.exists(), "the sink is touched only when all inputs are open"


@pytest.mark.parametrize("command", ["play", "probe", "transcode"])
def test_a_sink_in_the_place_of_a_file_is_refused_without_its_key(
    here: Here, tmp_path: Path, command: str
) -> None:
    more: dict[str, tuple[object, ...]] = {
        "play": ("--to", "null:"),
        "transcode": (tmp_path / "out.ogg",),
    }
    done = here(command, f"rtp://h:1?key={KEY}&ssrc=7", *more.get(command, ()))
    assert done.code == 3
    assert "rtp://h:1?key=…&ssrc=7" in done.one_line()


def test_control_characters_are_made_visible() -> None:
    assert one_line("a\x1b[31m\r\n b\u202e ü") == r"a\x1b[31m b\u202e ü"


def test_a_file_name_with_control_characters_is_shown_harmlessly(
    here: Here, tmp_path: Path
) -> None:
    done = here("play", tmp_path / "a\x1b[31m\nb.mp3", "--to", "null:")
    assert done.code == 3
    assert "\x1b" not in done.one_line()


def test_a_file_name_that_is_not_utf_8_is_played_and_written(here: Here, tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/t\xff.wav")
    write_tone(Path(path), 0.1)
    stats = tmp_path / "s.json"
    done = here("play", path, "--to", "null:", "--virtual", "-q", "--stats", stats)
    assert done.code == 0
    assert json.loads(stats.read_bytes())["files"] == [path]


@pytest.mark.parametrize("path", ["/no/such/folder/out.ogg", "/"])
def test_a_sink_that_cannot_be_opened_is_code_4(here: Here, tone: Path, path: str) -> None:
    done = here("play", tone, "--to", f"ogg:{path}")
    assert done.code == 4
    assert done.one_line()


def test_a_full_disk_is_code_4_with_statistics(here: Here, tmp_path: Path) -> None:
    stats = tmp_path / "s.json"
    done = here("play", MUSIC, "--to", "ogg:/dev/full", "--virtual", "-q", "--stats", stats)
    assert done.code == 4
    assert "No space left" in done.one_line()
    record = json.loads(stats.read_text())
    assert record["ended"] == "sink_failed"
    assert record["exit_code"] == 4
    assert "No space left" in record["error"]


def test_a_disk_that_is_full_for_the_statistics_too_is_told_twice(here: Here) -> None:
    with Path("/dev/full").open("wb") as full:
        command = ("play", MUSIC, "--to", "ogg:/dev/full", "--virtual", "-q", "--stats", "-")
        done = finish(start(*command, stdout=full))
    assert done.code == 4
    assert [line.count("No space left") for line in done.err.splitlines()] == [1, 1]


def test_an_unknown_host_is_code_4(here: Here, tone: Path) -> None:
    done = here("play", tone, "--to", "rtp://no-such-host.invalid:5004?mode=none")
    assert done.code == 4
    assert "no-such-host.invalid" in done.one_line()


def test_an_address_with_a_zone_is_found(here: Here) -> None:
    # Loopback has no link-local address; with another one the system takes the zone's number only.
    zone = "".join(f"%{ord(digit):x}" for digit in str(socket.if_nametoindex("lo")))
    host = f"[::1%25{zone}]"
    with receiving(f"rtp://{host}:0?mode=none", "--idle", "0.3", "--json") as (receiver, port):
        sink = f"rtp://{host}:{port}?mode=none"
        assert here("play", MUSIC, "--to", sink, "--duration", "0.1", "-q").code == 0
        assert finish(receiver).json["packets"] > 0


def test_an_unknown_zone_is_code_4(here: Here, tone: Path) -> None:
    done = here("play", tone, "--to", "rtp://[fe80::1%25nope]:1?mode=none")
    assert done.code == 4
    assert "fe80::1%nope" in done.one_line()


def test_the_input_is_never_overwritten(here: Here, tone: Path) -> None:
    before = tone.read_bytes()
    done = here("play", tone, "--to", f"ogg:{tone}")
    assert done.code == 2
    assert "is the input" in done.one_line()
    assert tone.read_bytes() == before


def test_debug_shows_a_traceback_and_the_line(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICECORE_DEBUG", "1")
    done = here("play", tmp_path / "missing.mp3", "--to", "null:")
    assert done.code == 3
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("voicecore: ")


def test_a_bug_is_code_1_and_one_line(
    here: Here, tone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_record: object) -> list[str]:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(play_run, "play_summary", broken)
    done = here("play", tone, "--to", "null:", "--virtual")
    assert done.code == 1
    assert "internal error: ZeroDivisionError: oops" in done.one_line()


# -- other inputs ----------------------------------------------------------------------------------


def test_standard_input_is_a_dash(tone: Path) -> None:
    with tone.open("rb") as file:
        process = start("play", "-", "--to", "null:", "--stats", "-", stdin=file)
        done = finish(process)
    assert done.code == 0
    assert done.json["duration_s"] == pytest.approx(1.0, abs=0.05)


def test_a_pipe_is_played_as_it_comes(tone: Path) -> None:
    feeder = subprocess.Popen(["cat", str(tone)], stdout=subprocess.PIPE)
    done = finish(start("play", "-", "--to", "null:", "--stats", "-", stdin=feeder.stdout))
    assert feeder.stdout is not None
    feeder.stdout.close()
    assert feeder.wait() == 0
    assert done.code == 0
    assert done.json["duration_s"] == pytest.approx(1.0, abs=0.05)


def test_a_url_is_played_with_its_headers(here: Here, tone: Path) -> None:
    asked: list[str | None] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["X-Token"])
            data = tone.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/tone.wav"
        try:
            record = virtual(here, url, "--to", "null:", "--header", "X-Token: seven")
            missing = here("play", url + "x", "--to", "null:", "--timeout", "0.5", "--header", "x:")
        finally:
            server.shutdown()
            thread.join()
    assert asked[0] == "seven"
    assert record["duration_s"] == pytest.approx(1.0, abs=0.05)
    assert missing.code == 0


# -- over the network ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        ("127.0.0.1", "aead_xchacha20_poly1305_rtpsize"),
        ("[::1]", "aead_aes256_gcm_rtpsize"),
        ("[::1]", "none"),
        ("localhost", "none"),
    ],
)
def test_what_is_played_is_received(here: Here, host: str, mode: str, tmp_path: Path) -> None:
    tone = write_tone(tmp_path / "t.wav", 0.4)
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    key_file.chmod(0o600)
    key = "" if mode == "none" else f"&key-file={key_file}"
    out = tmp_path / "heard.ogg"
    with receiving(
        *(f"rtp://{host}:0?ssrc=0x1234&mode={mode}{key}", "--to", f"ogg:{out}"),
        *("--json", "--idle", "0.2"),
    ) as (receiver, port):
        played = finish(
            start(
                *("play", tone, "--to", f"rtp://{host}:{port}?ssrc=4660&mode={mode}{key}"),
                *("--stats", "-", "-q"),
            )
        )
        heard = finish(receiver)
    assert played.code == 0, played.err
    assert heard.code == 0
    sent = played.json["frames_sent"]
    assert heard.json["packets"] == sent + 5
    assert heard.json["silence_frames"] == 5
    assert heard.json["lost"] == heard.json["decryption_failures"] == heard.json["malformed"] == 0
    assert KEY not in played.out + heard.out
    recorded = read_ogg(out)
    assert recorded.complete
    expected = tmp_path / "expected.ogg"
    virtual(here, tone, "--to", f"ogg:{expected}")
    assert recorded.packets == read_ogg(expected).packets


def test_runs_with_one_key_file_never_repeat_a_nonce(tmp_path: Path) -> None:
    import socket

    tone = write_tone(tmp_path / "t.wav", 0.2)
    key_file = tmp_path / "key"
    key_file.write_bytes(bytes(32))
    key_file.chmod(0o600)
    nonces: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.2)
        sink = f"rtp://127.0.0.1:{sock.getsockname()[1]}?key-file={key_file}"
        for _ in range(2):
            assert finish(start("play", tone, "--to", sink, "-q")).code == 0
            while True:
                try:
                    datagram = sock.recv(2048)
                except TimeoutError:
                    break
                if datagram[:2] == b"\x80\x78":
                    nonces.append(datagram[-4:])
    assert len(nonces) >= 30
    assert len(set(nonces)) == len(nonces)


def test_a_key_file_is_for_one_sender_at_a_time(tmp_path: Path, here: Here) -> None:
    key_file, stats = tmp_path / "key", tmp_path / "s.json"
    key_file.write_bytes(os.urandom(32))
    key_file.chmod(0o600)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)
        sink = f"rtp://127.0.0.1:{sock.getsockname()[1]}?key-file={key_file}"
        first = start("play", MUSIC, "--to", sink, "-q", "--stats", stats)
        sock.recv(2048)
        second = here("play", MUSIC, "--to", sink, "-q")
        assert second.code == 4
        assert second.one_line() == (
            f"key-file {key_file}: another sender is using it; give each a key of its own"
        )
        first.send_signal(signal.SIGTERM)
        assert finish(first).code == 143
        assert json.loads(stats.read_text())["frames_sent"] > 0
        assert here("play", MUSIC, "--to", sink, "-q", "--duration", "0.1").code == 0


def test_a_run_across_the_end_of_the_count_of_nonces_goes_on(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file = tmp_path / "key"
    key_file.write_bytes(os.urandom(32))
    key_file.chmod(0o600)
    monkeypatch.setattr("voicecore.cli.sink_url.time.time", lambda: (21 * 2**32 - 5) / 50)
    with receiving(f"rtp://127.0.0.1:0?key-file={key_file}", "--to", "null:") as (process, port):
        sink = f"rtp://127.0.0.1:{port}?key-file={key_file}"
        done = here("play", MUSIC, "--to", sink, "--duration", "0.4")
        assert done.code == 0, done.err
        process.send_signal(signal.SIGTERM)
        assert "Received 25 packets" in finish(process).out


# -- signals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_with_silence_a_whole_file_and_statistics(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out, stats = tmp_path / "out.ogg", tmp_path / "s.json"
    process = start("play", MUSIC, "--to", f"ogg:{out}", "--stats", stats)
    wait_until_written(out)
    process.send_signal(number)
    done = finish(process)
    assert done.code == code
    assert "Traceback" not in done.err
    ogg = read_ogg(out)
    assert ogg.complete
    assert ogg.packets[-5:] == [SILENCE] * 5
    record = json.loads(stats.read_text())
    assert record["ended"] == "stopped"
    assert record["signal"] == number
    assert record["exit_code"] == code
    assert record["silence_frames"] == 5
    assert len(ogg.packets) == record["frames_sent"] + 5


def test_a_signal_ends_a_virtual_run_in_the_same_way(tmp_path: Path) -> None:
    out, stats = tmp_path / "out.ogg", tmp_path / "s.json"
    process = start(
        *("play", MUSIC, "--to", f"ogg:{out}", "--stats", stats),
        *("--virtual", "--loop", "0", "--duration", "1000000"),
    )
    wait_until_written(out)
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 130
    assert read_ogg(out).complete
    assert read_ogg(out).packets[-5:] == [SILENCE] * 5
    assert json.loads(stats.read_text())["ended"] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_that_was_ignored_before_stays_ignored(
    number: signal.Signals, tmp_path: Path
) -> None:
    out = tmp_path / "out.ogg"
    process = start(
        "play", MUSIC, "--to", f"ogg:{out}", "--duration", "1.5",
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),
    )  # fmt: skip
    wait_until_written(out)
    process.send_signal(number)
    assert finish(process).code == 0
    assert read_ogg(out).samples >= 1.5 * 48_000


def test_a_signal_while_opening_ends_at_once(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/stalls.mp3"
        process = start("play", url, "--to", f"ogg:{tmp_path / 'out.ogg'}")
        peer, _ = silent.accept()
        with peer:
            peer.recv(100)
            process.send_signal(signal.SIGINT)
            assert finish(process) == Done(130, "", "")
    assert not (tmp_path / "out.ogg").exists()


KILLED_BESIDE_A_NEW_FILE = """
import os, signal, sys
from voicecore.cli import app, output
out = sys.argv.pop(1)
opened = os.open
def open_and_be_told(path, *rest, **more):
    fd = opened(path, *rest, **more)
    if path == out:
        os.kill(os.getpid(), signal.SIGTERM)
    return fd
output.os.open = open_and_be_told
sys.exit(app.run(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "command",
    [
        ["play", MUSIC, "--to", "null:", "-q", "--stats"],
        ["receive", "rtp://127.0.0.1:0?mode=none", "--log"],
    ],
    ids=["play", "receive"],
)
def test_a_signal_right_after_a_file_for_results_was_made_leaves_none_that_is_empty(
    tmp_path: Path, command: list[str]
) -> None:
    out = tmp_path / "results"
    code = [sys.executable, "-c", KILLED_BESIDE_A_NEW_FILE]
    done = subprocess.run([*code, out, *command, out], timeout=PATIENCE, check=False)
    assert done.returncode == 143
    assert not out.exists() or out.stat().st_size > 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_opening_leaves_no_statistics(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    stats, pipe = tmp_path / "s.json", tmp_path / "pipe.mp3"
    os.mkfifo(pipe)
    process = start("play", MUSIC, pipe, "--to", "null:", "-q", "--stats", stats)
    with pipe.open("wb"):  # nothing comes
        process.send_signal(number)
        assert finish(process) == Done(code, "", "")
    assert not stats.exists()


def test_a_closed_pipe_is_no_traceback(tone: Path) -> None:
    process = start("play", tone, "--to", "null:", "--virtual", "-q", "--stats", "-")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    done = finish(process)
    assert done.err == ""
    assert done.code in (0, 1)


def test_output_on_a_dumb_terminal_has_no_escapes(tone: Path) -> None:
    done = finish(start("play", tone, "--to", "null:", env=environment(TERM="dumb")))
    assert "\x1b" not in done.err


def test_statistics_do_not_replace_the_input_or_the_recording(
    here: Here, tone: Path, tmp_path: Path
) -> None:
    before = tone.read_bytes()
    link = tmp_path / "link.json"
    link.symlink_to(tone)
    for stats in (tone, link):
        done = here("play", tone, "--to", "null:", "--virtual", "--stats", stats)
        assert done.code == 2
        assert f"{stats} is the input" in done.one_line()
    assert tone.read_bytes() == before
    out = tmp_path / "out.ogg"
    done = here("play", tone, "--to", f"ogg:{out}", "--virtual", "--stats", out)
    assert done.code == 2
    assert f"{out} is the sink" in done.one_line()
    source = "rtp://127.0.0.1:0?mode=none"
    done = here("receive", source, "--to", f"ogg:{out}", "--log", out, "--duration", "0.1")
    assert done.code == 2
    assert f"{out} is the sink" in done.one_line()


def test_a_play_that_never_began_leaves_older_statistics_alone(here: Here, tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("older")
    new = tmp_path / "new.json"
    for stats in (old, new):
        done = here("play", tmp_path / "none.mp3", "--to", "null:", "--virtual", "--stats", stats)
        assert done.code == 3
    assert old.read_text() == "older"
    assert not new.exists()


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        ("--stats", ["play", MUSIC, "--to", "null:"]),
        ("--log", ["receive", "rtp://127.0.0.1:0?mode=none"]),
    ],
)
def test_results_without_a_place_have_the_exit_code_that_the_help_names(
    here: Here, option: str, arguments: list[str]
) -> None:
    done = here(*arguments, option, "/no/such/folder/x")
    assert done.one_line().startswith(f"{option}: /no/such/folder/x: No such file")
    text = " ".join(here(arguments[0], "--help").out.split())
    assert f" {done.code} usage or a {option} that cannot be created" in text


def test_a_full_disk_for_the_statistics_is_named(here: Here, tone: Path) -> None:
    done = here("play", tone, "--to", "null:", "--virtual", "-q", "--stats", "/dev/full")
    assert done.code == 4
    assert done.one_line() == "/dev/full: No space left on device"


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_a_closed_standard_stream_leads_nowhere(tone: Path, tmp_path: Path, closed: str) -> None:
    out = tmp_path / "out.ogg"
    command = f'exec "$@" {closed}>&-'
    done = subprocess.run(
        ["sh", "-c", command, "sh", *VOICECORE, "play", tone, "--virtual", "--to", f"ogg:{out}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert out.read_bytes().startswith(b"OggS")
