"""How audio is encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voicecore import _validate
from voicecore.errors import InvalidArgument

Application = Literal["audio", "voip", "lowdelay"]
Signal = Literal["auto", "music", "voice"]
RateControl = Literal["vbr", "constrained", "cbr"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSettings:
    """Settings of the Opus encoder (RFC 6716), checked on construction.

    Args:
        bitrate_kbps: kbit/s, 1 to 510. 128 is transparent for most music and what Discord allows
            in every boosted channel; unboosted channels carry 96.
        complexity: 0 to 10: quality against CPU. 5 costs about half of 10.
        fec: in-band forward error correction. Off, because libopus leaves its music codec for the
            hybrid one to carry it, at two to three times the CPU.
        expected_loss: share of packets expected to be lost, 0 to 1; only matters with `fec`.
        application: "audio" for fidelity, "voip" for speech, "lowdelay" for the least delay.
        signal: what the encoder should assume it hears.
        rate_control: "vbr" spends more where the music needs it, up to a tenth over all;
            "constrained" keeps the bitrate on average; "cbr" makes every packet alike.
        dtx: stop sending detail during silence.

    Raises:
        InvalidArgument: a value out of its range.
    """

    bitrate_kbps: int = 128
    complexity: int = 5
    fec: bool = False
    expected_loss: float = 0.0
    application: Application = "audio"
    signal: Signal = "auto"
    rate_control: RateControl = "vbr"
    dtx: bool = False

    def __post_init__(self) -> None:
        for name, value in (
            ("bitrate_kbps", _validate.whole("bitrate_kbps", self.bitrate_kbps, 1, 510, "kbit/s")),
            ("complexity", _validate.whole("complexity", self.complexity, 0, 10)),
            ("expected_loss", _validate.number("expected_loss", self.expected_loss, 0.0, 1.0)),
        ):
            object.__setattr__(self, name, value)
        _validate.flag("fec", self.fec)
        _validate.flag("dtx", self.dtx)
        for name, given, allowed in (
            ("application", self.application, ("audio", "voip", "lowdelay")),
            ("signal", self.signal, ("auto", "music", "voice")),
            ("rate_control", self.rate_control, ("vbr", "constrained", "cbr")),
        ):
            if given not in allowed:
                raise InvalidArgument(
                    f"{name}: got {given!r}, expected one of {', '.join(allowed)}"
                )
