"""The page itself: sections of words, charts and figures, in one file without outside resources."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape
from importlib import resources

from voicecore.report import png
from voicecore.report.charts import (
    Axis,
    Plot,
    Tick,
    even_ticks,
    histogram,
    nice_step,
    round_up,
    time_axis,
)
from voicecore.report.checks import check
from voicecore.report.model import (
    PERIOD_MS,
    Picture,
    Report,
    Stream,
    percentile,
    weighted_percentile,
)

AUDIO_LIMIT = 8 * 1024 * 1024
"""A larger recording is named, not embedded."""

INAUDIBLE_MS = 60.0
"""Gaps up to this are covered by the buffer of a usual client."""

_PLAYHEAD = """
const sound = document.querySelector('audio'), plots = document.querySelectorAll('.timed');
const length = Number(sound.dataset.seconds);
sound.closest('section').classList.add('playable');
const draw = () => plots.forEach(plot => {
  plot.querySelector('.head').style.left = 100 * Math.min(1, sound.currentTime / length) + '%';
});
const follow = () => { draw(); if (!sound.paused) requestAnimationFrame(follow); };
sound.addEventListener('play', follow);
sound.addEventListener('seeked', draw);
plots.forEach(plot => plot.addEventListener('click', event => {
  const box = plot.getBoundingClientRect();
  sound.currentTime = length * (event.clientX - box.left) / box.width;
}));
"""


def render(report: Report) -> str:
    """The page as HTML text, to be written as UTF-8.

    Raises:
        InvalidArgument: a number of the report is none, is not finite, or is out of its range.
    """
    check(report)
    style = resources.files("voicecore.report").joinpath("style.css").read_text("utf-8")
    sections = [
        _tiles(report),
        _heard(report),
        _on_time(report),
        _sizes(report),
        _figures(report),
        _reading(report),
        _made(report),
    ]
    other = f" beside {report.theirs.name}" if report.theirs else ""
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>voicecore: {escape(report.file)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{escape(report.file)}, as it arrived</h1>
<p class="soft">{escape(report.ours.name)}{escape(other)}: decoded, encoded as Opus, encrypted,
sent in real time over UDP on one machine, and received by another process that measured each
packet by the kernel's own time stamps.</p>
{"".join(sections)}
</main>
</body>
</html>
"""
    # Names of files need not be UTF-8; a page is.
    return page.encode("utf-8", "backslashreplace").decode()


def _text(words: str) -> str:
    """Escaped, with numbers that stay with their units."""
    return re.sub(r"(?<=\d) (?=%|ms\b|s\b)", "&nbsp;", escape(words))


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>\n"


def _figure(caption: str, plot: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{plot}</figure>"


def _streams(report: Report) -> list[tuple[int, Stream]]:
    streams = [(1, report.ours)]
    if report.theirs is not None:
        streams.append((2, report.theirs))
    return streams


def _legend(report: Report) -> str:
    spans = "".join(f'<span class="s{n}">{escape(s.name)}</span>' for n, s in _streams(report))
    return f'<div class="legend">{spans}</div>'


# -- the head --------------------------------------------------------------------------------------


def _tiles(report: Report) -> str:
    ours, played = report.ours, report.played
    sent = played["frames_sent"] + played["silence_frames"]
    tiles = [
        (f"{ours.received['packets']:,} of {sent:,}", "packets arrived, decrypted and in order"),
        (ms(weighted_percentile(ours.lateness, 0.99)), "99 % left at most this late"),
        (str(played["skipped"] + sum(played["underruns"].values())), "frames skipped or missing"),
        (ms(ours.first_ms), "from play to the first packet"),
    ]
    if ours.cpu_percent is not None:
        tiles.append((f"{ours.cpu_percent:.1f} %", "of one core, the whole process"))
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{escape(a)}</b><span>{b}</span></div>' for a, b in tiles)
        + "</div>\n"
    )


def ms(value: float | None) -> str:
    """Milliseconds with as many digits as they deserve."""
    if value is None or value != value:
        return "–"
    if value < 0.0995:
        return f"{value * 1000:.0f} µs"
    digits = 2 if value < 100 else 0
    return f"{value:,.{digits}f} ms"


# -- what was heard --------------------------------------------------------------------------------


def _heard(report: Report) -> str:
    parts = []
    if report.audio is not None and len(report.audio) <= AUDIO_LIMIT:
        data = base64.b64encode(report.audio).decode()
        length = max(0.001, report.picture.seconds if report.picture else report.ours.seconds)
        parts.append(
            f'<audio controls preload="auto" data-seconds="{length:.3f}" '
            f'src="data:audio/ogg;base64,{data}"></audio>'
        )
    if report.picture is not None:
        parts.append(_waveform(report.picture))
        if report.picture.spectrogram and report.picture.spectrogram[0]:
            parts.append(_spectrogram(report.picture))
    else:
        parts.append('<p class="none">The recording was not drawn.</p>')
    if report.audio is not None and len(report.audio) <= AUDIO_LIMIT:
        parts.append(f"<script>{_PLAYHEAD}</script>")
    return _section("What arrived", *parts)


def _waveform(picture: Picture) -> str:
    peak = max((max(abs(low), abs(high)) for low, high in picture.envelope), default=1.0)
    top = max(0.1, nice_step(peak)) if peak < 0.5 else 1.0
    plot = Plot(
        time_axis(picture.seconds),
        Axis(-top, top, [(-top, f"−{top:g}"), (0, "0"), (top, f"{top:g}")]),
        130,
        "Waveform of the received audio",
        playhead=True,
    )
    plot.area(picture.envelope, 1)
    return _figure(
        "Waveform. A gap would show as a flat line; the end is the silence that stops a stream.",
        plot.html(),
    )


def _spectrogram(picture: Picture) -> str:
    low, high = picture.frequencies
    marks: list[Tick] = [(50, "50 Hz"), (200, "200"), (1000, "1 kHz"), (5000, "5"), (20000, "20")]
    plot = Plot(
        time_axis(picture.seconds),
        Axis(low, high, [(f, text) for f, text in marks if low <= f <= high], logarithmic=True),
        220,
        "Spectrogram of the received audio",
        playhead=True,
    )
    image = base64.b64encode(png.encode(picture.spectrogram, png.heat_palette())).decode()
    plot.image(f"data:image/png;base64,{image}")
    return _figure(
        "Spectrogram: pitch upwards, loudness as brightness. A lost or broken packet would "
        "show as a vertical line.",
        plot.html(),
    )


# -- when ------------------------------------------------------------------------------------------


def _on_time(report: Report) -> str:
    streams = _streams(report)
    gaps = {number: stream.gaps() for number, stream in streams}
    longest = max((gap for rows in gaps.values() for _, gap in rows), default=PERIOD_MS)
    seconds = max((at for rows in gaps.values() for at, _ in rows), default=0.0)
    high = max(40.0, min(200.0, round_up(longest)))
    parts = [f"<p>{_text(verdict(report))}</p>", _legend(report), "<h3>Gaps over time</h3>"]
    for number, stream in streams:
        plot = Plot(
            time_axis(seconds),
            Axis(0, high, even_ticks(high, " ms", 4)),
            130,
            f"Time between packets of {stream.name}",
        )
        plot.rule(PERIOD_MS)
        plot.dots(gaps[number], number)
        parts.append(
            _figure(f"{stream.name}: time since the packet before; 20 ms is perfect.", plot.html())
        )

    def name(number: int) -> str:
        return dict(streams)[number].name

    errors = [
        (number, [(abs(gap - PERIOD_MS), 1) for _, gap in gaps[number]]) for number, _ in streams
    ]
    parts.append("<h3>How far the gaps are from 20 ms</h3>")
    parts.append(
        _figure(
            "Share of the packets. Further left is better; the scale is logarithmic.",
            histogram(errors, name, "Histogram of the gaps' distance from 20 milliseconds"),
        )
    )
    parts.append("<h3>How late packets left</h3>")
    parts.append(
        _figure(
            "After the sender's own deadline, taken at the send call. Further left is better.",
            histogram(
                [(number, stream.lateness) for number, stream in streams],
                name,
                "Histogram of the departures' lateness",
            ),
        )
    )
    return _section("On time?", *parts)


def verdict(report: Report) -> str:
    """The comparison in words, also where it shows no difference."""
    ours = [gap for _, gap in report.ours.gaps()]
    if not ours:
        what = "One packet alone" if report.ours.media() else "Only silence"
        return (
            f"{what if report.ours.log else 'Nothing'} arrived: there is nothing to say about time."
        )
    text = (
        f"99 % of the gaps between {report.ours.name}'s packets were at most "
        f"{ms(percentile(ours, 0.99))}, the longest {ms(max(ours))}."
    )
    theirs = [gap for _, gap in report.theirs.gaps()] if report.theirs else []
    if report.theirs is None or not theirs:
        return text
    text += (
        f" For {report.theirs.name} it was {ms(percentile(theirs, 0.99))} and {ms(max(theirs))}."
    )
    if max(theirs) <= INAUDIBLE_MS and max(ours) <= INAUDIBLE_MS:
        text += (
            " One stream alone is no challenge: both are good at it, and a listener "
            "hears no difference. It shows with many streams, a busy interpreter or a slow start: "
            "that is what the benchmarks measure."
        )
    return text


def _sizes(report: Report) -> str:
    streams = [(number, stream, stream.sizes()) for number, stream in _streams(report)]
    top = max((size for _, _, rows in streams for _, size in rows), default=100.0)
    seconds = max((at for _, _, rows in streams for at, _ in rows), default=0.0)
    high = round_up(top)
    plot = Plot(
        time_axis(seconds),
        Axis(0, high, even_ticks(high, " B", 4)),
        190,
        "Bytes of Opus in each packet over time",
    )
    for number, _, rows in reversed(streams):
        draw = plot.dots if len(rows) == 1 else plot.line  # a line of one point is not seen
        draw(rows, number)
    return _section(
        "Packet sizes",
        "<p>Bytes of Opus in each packet. With a variable bitrate, busy passages take more. The "
        "RTP header, authentication tag and nonce add 32 bytes to each.</p>",
        _legend(report),
        _figure("Each packet, media only.", plot.html()),
    )


# -- figures ---------------------------------------------------------------------------------------

_Row = tuple[str, str, list[str]]


def _figures(report: Report) -> str:
    streams = [stream for _, stream in _streams(report)]

    def gap(stream: Stream, share: float) -> str:
        return ms(percentile([value for _, value in stream.gaps()], share))

    def first_gap(stream: Stream) -> str:
        rows = stream.gaps()
        return ms(rows[0][1]) if rows else "–"

    rows: list[_Row] = [
        ("Packets received", "Silence frames included.", [_n(s, "packets") for s in streams]),
        ("Lost", "Sequence numbers that never came.", [_n(s, "lost") for s in streams]),
        (
            "Out of order, or not decryptable",
            "",
            [
                f"{s.received['reordered']:,}, {s.received['decryption_failures']:,}"
                for s in streams
            ],
        ),
        ("Gap, median", "20 ms is perfect.", [gap(s, 0.5) for s in streams]),
        ("Gap, 99 % at most", "", [gap(s, 0.99) for s in streams]),
        ("Gap, longest", "", [gap(s, 1.0) for s in streams]),
        (
            "First gap",
            "Between the first packet and the second. discord.py starts its clock before it reads: "
            "a short wait shows as 40 ms here, a long one as a burst.",
            [first_gap(s) for s in streams],
        ),
        (
            "Departure lateness, 99 % at most",
            "Against the sender's own deadline.",
            [ms(weighted_percentile(s.lateness, 0.99)) for s in streams],
        ),
        (
            "From opening the file to the first packet",
            "The first file of a process: voicecore loads FFmpeg's libraries for it, discord.py "
            "starts an ffmpeg process.",
            [ms(s.opened_ms) for s in streams],
        ),
        (
            "From play to the first packet",
            "The file being open. discord.py does both in one.",
            [ms(s.first_ms) for s in streams],
        ),
        (
            "Silence frames at the end take",
            "Five at 20 ms each are 80 ms from the first to the last.",
            [ms(s.ending_ms()) for s in streams],
        ),
        (
            "Opus bitrate",
            "",
            ["–" if s.kbps is None else f"{s.kbps:.0f} kbit/s" for s in streams],
        ),
        (
            "CPU, of one core",
            "The whole process while playing: the interpreter and child processes included.",
            ["–" if s.cpu_percent is None else f"{s.cpu_percent:.1f} %" for s in streams],
        ),
    ]
    words = "".join(f"<li>{_text(line)}</li>" for line in report.words)
    return _section(
        "Figures",
        f'<ul class="words">{words}</ul>' if words else "",
        _table(["", *(stream.name for stream in streams)], rows),
    )


def _n(stream: Stream, name: str) -> str:
    return f"{stream.received[name]:,}"


def _table(head: Sequence[str], rows: Sequence[_Row]) -> str:
    cells = "".join(
        f"<th{' class=n' if place else ''}>{escape(text)}</th>" for place, text in enumerate(head)
    )
    body = ""
    for label, note, values in rows:
        small = f"<small>{escape(note)}</small>" if note else ""
        numbers = "".join(f'<td class="n">{escape(value)}</td>' for value in values)
        body += f"<tr><th>{escape(label)}{small}</th>{numbers}</tr>"
    return (
        f'<div class="scroll"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


# -- the foot --------------------------------------------------------------------------------------


def _reading(report: Report) -> str:
    return _section(
        "How to read this",
        "<p>Discord plays a packet of 20 ms every 20 ms. A listener's client keeps a small buffer, "
        "often about 60 ms, so gaps of 19 or 22 ms are inaudible, a gap of 100 ms is a click, and "
        "a burst after it does not help. What matters is the longest gaps, not the average.</p>",
        "<p><b>Lateness</b> is when the send call was made, minus when it was due. The deadlines "
        "are absolute, start plus n times 20 ms, so errors do not add up. <b>Gaps</b> are seen by "
        "the receiver, in the kernel's time stamps, so they contain everything: the sender, the "
        "system, and the virtual machine below it.</p>",
        "<p><b>Both senders</b> played the same clip one after the other, each with its own "
        "default settings, to the same receiver program. discord.py's player is the unmodified one "
        "with FFmpegPCMAudio; only its connection is a stand-in that sends to this machine.</p>"
        if report.theirs
        else "",
        *(f"<p>{escape(note)}</p>" for note in report.notes),
    )


def _made(report: Report) -> str:
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in report.versions
    )
    return _section(
        "Made with",
        f"<p><code>{escape(report.command)}</code> {escape(report.made)}</p>",
        f"<dl>{rows}</dl>",
    )
