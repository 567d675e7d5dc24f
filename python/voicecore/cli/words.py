"""Statistics in words. Works on the JSON records, so that scripts and reports can use it too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FRAME_S = 0.02
_PACKETS = ("packet was", "packets were")

_CAUSES = {
    "source_slow": "the input had nothing",
    "decoder_slow": "decoding was not done in time",
    "sealing_late": "end-to-end encryption was not ahead",
    "worker_late": "every worker was busy with other players",
    "kernel_late": "the system gave a woken worker no CPU",
}


def clock_time(seconds: float | None) -> str:
    """1:02:03, 2:03; "?" when unknown."""
    if seconds is None:
        return "?"
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, second = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"


def milliseconds(value: float | None) -> str:
    """0.04 ms, 20.07 ms, 1,204 ms."""
    if value is None:
        return "? ms"
    if value >= 100:
        return f"{value:,.0f} ms"
    return f"{value:.2f} ms"


def count(number: int, one: str, many: str | None = None) -> str:
    """1 packet, 2 packets."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def play_summary(record: Mapping[str, Any]) -> list[str]:
    """What `play` did, from its statistics record."""
    frames = record["frames_sent"]
    if frames == 0:
        return [f"Nothing was sent to {record['sink']}."]
    lines = [_sent(record, frames)]
    if not record.get("virtual"):
        lines.append(_timing(record))
    underruns = {cause: n for cause, n in record["underruns"].items() if n}
    if underruns:
        causes = "; ".join(f"{_CAUSES.get(cause, cause)} {n:,}×" for cause, n in underruns.items())
        lines.append(f"Nothing was ready at {count(sum(underruns.values()), 'tick')}: {causes}.")
    losses = [
        f"{count(number, one, many)} {text}"
        for number, one, many, text in (
            (
                record["decode_errors"],
                "damaged packet was",
                "damaged packets were",
                "skipped or concealed",
            ),
            (record["dropped"], *_PACKETS, "refused by the system or the peer"),
            (record["overflow"], *_PACKETS, "lost before the file's writer took them"),
        )
        if number
    ]
    if losses:
        lines.append("; ".join(losses) + ".")
    lines.append(_cpu(record))
    return lines


def _sent(record: Mapping[str, Any], frames: int) -> str:
    text = f"Sent {record['duration_s']:.2f} s in {count(frames, 'frame')} to {record['sink']}"
    copied = record["passthrough"]
    if copied == frames:
        text += ", every packet copied bit for bit"
    elif copied:
        text += f", {copied:,} of them copied bit for bit"
    if record["silence_frames"]:
        text += f", and {count(record['silence_frames'], 'silence frame')}"
    return text + "."


def _timing(record: Mapping[str, Any]) -> str:
    late = record["lateness_ms"]
    verdict = "none late" if not record["late"] else f"{record['late']:,} more than 5 ms late"
    skipped = (
        "none skipped" if not record["skipped"] else f"{count(record['skipped'], 'tick')} skipped"
    )
    text = (
        f"Timing: half left within {milliseconds(late['p50'])} of their deadline, "
        f"99 % within {milliseconds(late['p99'])}, the latest {milliseconds(late['max'])}; "
        f"{verdict}, {skipped}"
    )
    if record["first_frame_ms"] is not None:
        text += f"; the first left {milliseconds(record['first_frame_ms'])} after the start"
    return text + "."


def _cpu(record: Mapping[str, Any]) -> str:
    stages = record["cpu_ms"]
    spent = sum(stages.values())
    parts = ", ".join(f"{name} {milliseconds(ms)}" for name, ms in stages.items())
    text = f"CPU: {parts}"
    seconds = record["duration_s"]
    if seconds > 0:
        text += f": {spent / seconds / 10:.2f} % of one core in real time"
        elapsed = record.get("elapsed_s")
        if record.get("virtual") and elapsed:
            text += f"; played {seconds / elapsed:,.0f} times faster than that"
    return text + "."


def receive_summary(record: Mapping[str, Any]) -> list[str]:
    """What `receive` heard, from its record."""
    packets = record["packets"]
    if not packets:
        if not record["datagrams"]:
            return ["Nothing arrived."]
        return [
            f"{count(record['datagrams'], 'datagram')} arrived, none valid: {_rejected(record)}."
        ]
    lines = [
        f"Received {count(packets, 'packet')} in {record['duration_s']:.2f} s, "
        f"{record['silence_frames']:,} of them silence: "
        f"{record['lost'] or 'none'} lost, {record['reordered'] or 'none'} out of order, "
        f"{record['duplicates'] or 'none'} twice."
    ]
    gap, jitter = record["gap_ms"], record["jitter_ms"]
    lines.append(
        f"Gaps between packets (20 ms is perfect): half up to {milliseconds(gap['p50'])}, "
        f"99 % up to {milliseconds(gap['p99'])}, the longest {milliseconds(gap['max'])}."
    )
    lines.append(
        f"Against the stream's own time stamps: 99 % within {milliseconds(jitter['p99'])} "
        f"of the earliest, the latest {milliseconds(jitter['max'])}; "
        + (
            "no bursts."
            if record["longest_burst"] <= 1
            else f"the longest burst had {record['longest_burst']} packets."
        )
    )
    if rejected := _rejected(record):
        lines.append(f"Not counted above: {rejected}.")
    return lines


def _rejected(record: Mapping[str, Any]) -> str:
    return ", ".join(
        count(record[name], one, many)
        for name, one, many in (
            ("decryption_failures", "that the key does not open", "that the key does not open"),
            ("malformed", "that is not RTP", "that are not RTP"),
            ("foreign_ssrc", "of another stream", "of another stream"),
            ("keepalives", "keep-alive", "keep-alives"),
            ("rtcp", "RTCP datagram", "RTCP datagrams"),
        )
        if record[name]
    )


def probe_rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and value for each fact about a source."""
    rows = [
        ("Container", record["container"]),
        ("Codec", record["codec"]),
        ("Sample rate", f"{record['sample_rate']:,} Hz"),
        ("Channels", _channels(record["channels"])),
        ("Duration", _duration(record["duration_s"])),
        ("Bitrate", _bitrate(record["bitrate_kbps"])),
        ("Seekable", "yes" if record["seekable"] else "no"),
        (
            "Passthrough",
            "yes: Opus packets are copied bit for bit"
            if record["passthrough"]
            else f"no: {record['no_passthrough']}",
        ),
    ]
    rows += [(f"Tag {name}", value) for name, value in record["tags"].items()]
    return rows


def _channels(number: int) -> str:
    names = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
    return f"{number} ({names[number]})" if number in names else str(number)


def _duration(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{clock_time(seconds)} ({seconds:.3f} s)"


def _bitrate(kbps: float | None) -> str:
    return "unknown" if kbps is None else f"{kbps:,.0f} kbit/s"
