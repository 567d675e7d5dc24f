"""Option types, and the groups of options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from voicecore import EncoderSettings, _validate
from voicecore.cli.output import complain
from voicecore.cli.sink_url import GRAMMAR, Target, parse_sink
from voicecore.errors import InvalidArgument

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic for type checkers of recent versions only

F = TypeVar("F", bound=Callable[..., Any])


class Number(_ParamType):
    """A finite number in a range; the message says both."""

    def __init__(self, low: float, high: float, unit: str = "", name: str = "number") -> None:
        self.name = name
        self._bounds = (low, high, unit)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        low, high, unit = self._bounds
        try:
            number = float(value)
        except (TypeError, ValueError):
            self.fail(f"got {value!r}, expected a number", param, ctx)
        return _checked(self, lambda: _validate.number("", number, low, high, unit), param, ctx)


class Whole(_ParamType):
    """An integer in a range; the message says both."""

    def __init__(self, low: int, high: int, unit: str = "", name: str = "integer") -> None:
        self.name = name
        self._bounds = (low, high, unit)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        low, high, unit = self._bounds
        try:
            number = int(value)
        except (TypeError, ValueError):
            self.fail(f"got {value!r}, expected an integer", param, ctx)
        return _checked(self, lambda: _validate.whole("", number, low, high, unit), param, ctx)


class SinkType(_ParamType):
    """SINK; for the receiving end too."""

    name = "sink"

    def __init__(self, *, listening: bool = False, grammar: str = GRAMMAR) -> None:
        self._listening = listening
        self._grammar = grammar

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Target:
        if not isinstance(value, str):
            target: Target = value
            return target
        return _checked(
            self,
            lambda: parse_sink(
                value, listening=self._listening, grammar=self._grammar, warn=complain
            ),
            param,
            ctx,
        )


class HeaderType(_ParamType):
    """One HTTP header, `Name: value`."""

    name = "name: value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, colon, text = str(value).partition(":")
        if not colon or not name.strip() or any(c in str(value) for c in "\r\n\0"):
            self.fail(f"got {value!r}, expected 'Name: value'", param, ctx)
        return name.strip(), text.strip()


_R = TypeVar("_R")


def _checked(
    kind: _ParamType,
    convert: Callable[[], _R],
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> _R:
    try:
        return convert()
    except InvalidArgument as error:
        kind.fail(str(error).removeprefix(": "), param, ctx)


def seconds_type() -> Number:
    """Seconds, not negative, at most a leap year."""
    return Number(0.0, _validate.MAX_SECONDS, "seconds", name="seconds")


@dataclass(frozen=True, slots=True)
class InputOptions:
    """How a file or URL is opened."""

    headers: tuple[tuple[str, str], ...]
    playlists: bool
    private_addresses: bool
    timeout: float

    def for_open(self) -> dict[str, Any]:
        """As keyword arguments of `Engine.open`."""
        return {
            "headers": dict(self.headers),
            "playlists": self.playlists,
            "private_addresses": self.private_addresses,
            "timeout": self.timeout,
        }


def input_options(function: F) -> F:
    """--header, --playlists, --private-addresses, --timeout."""
    for option in (
        click.option(
            "--timeout",
            type=Number(0.001, 3600, "seconds", name="seconds"),
            default=10.0,
            show_default=True,
            help="Give a network source up after this long without a byte; one that had begun is "
            "connected anew first, five times at most.",
        ),
        click.option(
            "--private-addresses/--no-private-addresses",
            default=True,
            help="Whether a URL may lead to loopback, private and link-local addresses; forbid it "
            "for URLs that strangers give.  [default: private-addresses]",
        ),
        click.option(
            "--playlists",
            is_flag=True,
            help="Follow HLS playlists (refused otherwise: they name further addresses).",
        ),
        click.option(
            "--header",
            "headers",
            type=HeaderType(),
            multiple=True,
            metavar="'NAME: VALUE'",
            help="Send this header with every HTTP request. Repeatable. A redirect to another host "
            "gets no Authorization and no Cookie; any other header goes along.",
        ),
    ):
        function = option(function)
    return function


def encoder_options(function: F) -> F:
    """--bitrate, --complexity, --fec, --expected-loss, --no-passthrough."""
    defaults = EncoderSettings()
    for option in (
        click.option(
            "--no-passthrough",
            is_flag=True,
            help="Encode every frame, also where Opus packets could be copied as they are.",
        ),
        click.option(
            "--expected-loss",
            type=Number(0, 1, name="share"),
            default=defaults.expected_loss,
            show_default=True,
            help="Share of packets expected to be lost, 0 to 1; matters with --fec.",
        ),
        click.option(
            "--fec/--no-fec",
            default=defaults.fec,
            show_default=True,
            help="In-band forward error correction; costs two to three times the CPU.",
        ),
        click.option(
            "--complexity",
            type=Whole(0, 10),
            default=defaults.complexity,
            show_default=True,
            help="Opus complexity, 0 to 10: quality against CPU.",
        ),
        click.option(
            "--bitrate",
            type=Whole(1, 510, "kbit/s", name="kbit/s"),
            default=defaults.bitrate_kbps,
            show_default=True,
            help="Opus bitrate in kbit/s, 1 to 510.",
        ),
    ):
        function = option(function)
    return function


volume_option = click.option(
    "--volume",
    type=Number(0, 4, name="gain"),
    default=1.0,
    show_default=True,
    help="Linear gain, 0 (mute) to 4; 1 leaves the audio as it is.",
)
