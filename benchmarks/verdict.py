"""Who loses where, in sentences made from the figures of the run."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

GOOD_DELIVERY, GOOD_GAP_MS = 99.9, 25.0
"""What no listener can tell from perfect: the smallest jitter buffer takes it in."""


def _good(row: Row) -> bool:
    return bool(
        not row.get("overloaded")
        and row["delivered"] >= GOOD_DELIVERY
        and row["gap_ms"]["p99"] <= GOOD_GAP_MS
    )


def _good_up_to(rows: list[Row]) -> int:
    """The largest size up to which every one is good; 0 when the first is not."""
    best = 0
    for row in rows:
        if not _good(row):
            break
        best = int(row["streams"])
    return best


def _of(rows: list[Row], side: str) -> list[Row]:
    return [row for row in rows if row["side"] == side]


def _passthrough(found: Row) -> list[str]:
    out = []
    rows = found["rows"]
    for side in ("discord.py raw", "discord.py raw, tuned"):
        own = _of(rows, side)
        good = _good_up_to(own)
        failed = [row["streams"] for row in own if row["delivered"] < GOOD_DELIVERY]
        text = f"**{side}**, the least work a discord.py source can have: "
        if good:
            text += (
                f"up to {good} streams on an idle machine it is as good as voicecore for the "
                f"listener (all delivered, p99 gap within {GOOD_GAP_MS:g} ms)"
            )
        else:
            text += f"no size stays within a p99 gap of {GOOD_GAP_MS:g} ms"
        if failed:
            text += f"; at {min(failed)} it no longer delivers {GOOD_DELIVERY} %"
        out.append(text + ".")
    ours = {row["streams"]: row for row in _of(rows, "voicecore")}
    for floor in found["floor"]:
        cost = ours[floor["streams"]]["cpu_percent"] if floor["streams"] in ours else None
        if cost:
            out.append(
                f"At {floor['streams']:,} streams voicecore spends {cost['process']:.1f} % of a "
                f"core, of which {floor['cpu_percent']:.1f} are the kernel's `send()` "
                f"({floor['batched_percent']:.1f} if one socket sent each group in one call)."
            )
    theirs = {row["streams"]: row for row in _of(rows, "discord.py raw")}
    for size in sorted(set(ours) & set(theirs)):
        mine, other = ours[size], theirs[size]
        if other.get("overloaded"):
            continue
        if other["cpu_percent"]["process"] < mine["cpu_percent"]["process"]:
            out.append(
                f"At {size} passthrough streams voicecore costs more CPU: "
                f"{mine['cpu_percent']['process']:.1f} % of a core against "
                f"{other['cpu_percent']['process']:.1f} %."
            )
    memory = [
        (size, ours[size]["rss_kib_per_stream"], theirs[size]["rss_kib_per_stream"])
        for size in sorted(set(ours) & set(theirs))
        if size >= 50 and not theirs[size].get("overloaded")
    ]
    if memory and memory[-1][1] > memory[-1][2]:
        size, mine_kib, other_kib = memory[-1]
        out.append(
            f"voicecore keeps more memory for a passthrough stream: {mine_kib:.0f} KiB against "
            f"{other_kib:.0f} KiB (at {size}), most of it the ring of packets ready to leave."
        )
    return out


def _disturbed(found: Row) -> list[str]:
    rows = {(row["side"], row["condition"]): row for row in found["rows"]}
    out = []
    pairs = [
        (rows["voicecore, PCM", name], rows["discord.py, PCM", name], name)
        for name in ("busy thread", "GIL held")
        if ("voicecore, PCM", name) in rows
    ]
    for mine, other, name in pairs:
        tuned = rows.get(("discord.py, PCM, tuned", name))
        also = f", tuned {tuned['gap_ms']['p99']:.1f} ms" if tuned else ""
        out.append(
            f"With a {name} (ten PCM streams), the p99 gap is {mine['gap_ms']['p99']:.2f} ms for "
            f"voicecore and {other['gap_ms']['p99']:.1f} ms for discord.py{also}."
            if name == "busy thread"
            else f"With the GIL held 150 ms in each second, it is {mine['gap_ms']['p99']:.2f} ms "
            f"against {other['gap_ms']['p99']:.1f} ms{also}."
        )
    mine = rows["voicecore, passthrough", "stopped"]
    passing = ("discord.py, passthrough, tuned", "stopped")
    other = rows.get(passing, rows["discord.py, PCM", "stopped"])
    out.append(
        "A process stopped for 300 ms is lost time for both. discord.py sends "
        f"{other['caught_up']:.0f} packets after their time and delivers {other['delivered']:.1f} "
        f"%; voicecore sends {mine['caught_up']:.0f} and goes on in step, so the audio is "
        f"that much later and {mine['delivered']:.1f} % of the window's periods carry a packet. A "
        f"60 ms jitter buffer conceals {other['concealed_percent']:.1f} % against "
        f"{mine['concealed_percent']:.1f} %: here discord.py loses nothing by bursting unless "
        "the peer limits or drops bursts."
    )
    return out


def _reach(own: list[Row]) -> str:
    """How far one side gets: its rows by size."""
    holds = [row["streams"] for row in own if row["delivered"] >= GOOD_DELIVERY]
    good = _good_up_to(own)
    fails = [row for row in own if row["delivered"] < GOOD_DELIVERY]
    text = f"delivers up to {max(holds)} mp3 streams" if holds else "delivers no size in full"
    if fails:
        text += f", at {fails[0]['streams']} {fails[0]['delivered']:.1f} %"
    if good:
        text += f"; p99 gap within {GOOD_GAP_MS:g} ms up to {good}"
    return text


def _sides(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row["side"] for row in rows))


def _transcode(found: Row) -> list[str]:
    rows = found["rows"]
    return [f"{side}: {_reach(_of(rows, side))}." for side in _sides(rows) if side != "voicecore"]


def _side_by_side(rows: list[Row], streams: int) -> str:
    """All sides at one size, and whether a listener can tell them apart."""
    here = [row for row in rows if row["streams"] == streams]
    parts = []
    for row in here:
        if row.get("overloaded"):
            parts.append(f"{row['side']} came to no end")
            continue
        if not row["heard"]:
            parts.append(f"{row['side']} brought nothing in time")
            continue
        cpu = row["cpu_percent"]["process"] + row["cpu_percent"]["children"]
        parts.append(
            f"{row['side']} {row['delivered']:.1f} % delivered, p99 gap {row['gap_ms']['p99']:.1f} "
            f"ms, {cpu:.0f} % of a core"
        )
    good = [row["side"] for row in here if row["side"] != "voicecore" and _good(row)]
    as_good = f". To the listener {' and '.join(good)} is as good there" if good else ""
    return f"{streams} streams: {'; '.join(parts)}{as_good}."


def _compared(rows: list[Row]) -> list[str]:
    """`_side_by_side` for each size that more than one side has."""
    sizes = [row["streams"] for row in rows]
    return [_side_by_side(rows, size) for size in sorted(set(sizes)) if sizes.count(size) > 1]


def _encoder(found: Row) -> list[str]:
    out = []
    for settings in dict.fromkeys(row["settings"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["settings"] == settings]
        title = f"At complexity 10, {settings}"
        out += [f"{title}, {line}" for line in _compared(rows)]
        out.append(f"{title}, voicecore {_reach(_of(rows, 'voicecore'))}.")
    return out


def _volume(found: Row) -> list[str]:
    out = []
    for kind in dict.fromkeys(row["file"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["file"] == kind]
        out += [f"{kind} at volume 0.5, {line}" for line in _compared(rows)]
    return out


def _broken(row: Row) -> str:
    breaks, longest = row["breaks"] / row["streams"], row["gap_ms"]["max"]
    return f"{breaks:.1f} breaks a stream, the longest gap {longest:,.0f} ms,"


def _stalls(found: Row) -> list[str]:
    out = []
    for stall in dict.fromkeys(row["stall"] for row in found["rows"]):
        rows = {row["side"]: row for row in found["rows"] if row["stall"] == stall}
        mine = rows.pop("voicecore")
        for side, other in rows.items():
            text = f"A station that stalls for {stall}: "
            if other.get("overloaded"):
                out.append(f"{text}{side} came to no end.")
                continue
            if not mine["breaks"] and not other["breaks"]:
                out.append(f"{text}heard on neither side, both have more than that in stock.")
                continue
            out.append(
                f"{text}{_broken(mine)} for voicecore, {_broken(other)} for {side}. Afterwards "
                f"voicecore sends at most {mine['most_in_10_ms']:.0f} packets of a stream in 10 ms "
                f"and {mine['caught_up']:.0f} in a row after their time, {side} "
                f"{other['most_in_10_ms']:.0f} and {other['caught_up']:.0f}, up to "
                f"{other['lateness_ms']['max']:,.0f} ms late."
            )
    return out


def _first_frame(found: Row) -> list[str]:
    medians = {
        row["side"]: row["from_open_ms"]["median"]
        for row in found["rows"]
        if row["script"] == "first"
    }
    ours = medians.pop("voicecore")
    best = min(medians.values())
    return [
        f"The first frame of an mp3 comes {ours:.1f} ms after opening it begins, against "
        f"{best:.0f} ms with an ffmpeg child to start."
    ]


def sentences(results: Row) -> list[str]:
    """What the run shows, workload by workload."""
    found = results["workloads"]
    out: list[str] = []
    for name, words in (
        ("passthrough", _passthrough),
        ("disturbed", _disturbed),
        ("transcode", _transcode),
        ("encoder", _encoder),
        ("volume", _volume),
        ("stalls", _stalls),
        ("first_frame", _first_frame),
    ):
        if name in found:
            out += words(found[name])
    missed = [
        f"{workload['title']}, {bar['name']}: {bar['measured']:g} {bar['unit']}"
        for workload in found.values()
        for bar in workload["bars"]
        if not bar["reached"]
    ]
    if missed:
        out.append("**voicecore misses these bars**: " + "; ".join(missed) + ".")
    return out
