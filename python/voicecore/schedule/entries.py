"""One row of the schedule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from voicecore import _validate
from voicecore.errors import InvalidArgument
from voicecore.schedule.rules import Rule, refuse_unknown, rule_from_dict
from voicecore.schedule.zones import Gap, Overlap, zone_of

Coalesce = Literal["latest", "all"]
Busy = Literal["drop", "replace", "queue"]

MAX_ID = 2**63 - 1
MAX_TEXT = 1000


@dataclass(frozen=True, slots=True)
class Policy:
    """What an entry does on awkward days; the names are those of APScheduler where it has them."""

    gap: Gap = "shift"
    """A local time that clocks jump over: "shift" to the first valid instant, or "skip"."""
    overlap: Overlap = "first"
    """A local time that comes twice: its "first" or its "second" pass; never both."""
    misfire_grace_time: float = 120.0
    """Seconds after its instant during which a late occurrence still starts; 1 to a week."""
    coalesce: Coalesce = "latest"
    """Several due at once: only the "latest" starts, or "all"."""
    busy: Busy = "drop"
    """When the key already plays: "drop" the occurrence, "replace" what plays, or "queue" it."""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise InvalidArgument(f"{name}: got {value!r}, expected {' or '.join(allowed)}")
        grace = _validate.number(
            "misfire_grace_time", self.misfire_grace_time, 1.0, 7 * 86_400.0, "seconds"
        )
        object.__setattr__(self, "misfire_grace_time", grace)

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults."""
        return {
            name: getattr(self, name)
            for name in (*_CHOICES, "misfire_grace_time")
            if getattr(self, name) != getattr(_DEFAULTS, name)
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Policy:
        """From its stored form; what is not named has its default.

        Raises:
            InvalidArgument: an unknown setting, or a value out of range.
        """
        if not isinstance(record, Mapping):
            raise InvalidArgument(f"policy: got {record!r}, expected a table")
        refuse_unknown("policy", record, (*_CHOICES, "misfire_grace_time"))
        return cls(**record)


_CHOICES: dict[str, tuple[str, ...]] = {
    "gap": get_args(Gap),
    "overlap": get_args(Overlap),
    "coalesce": get_args(Coalesce),
    "busy": get_args(Busy),
}
_DEFAULTS = Policy()


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """What to play, and when. Immutable; change one with `dataclasses.replace`.

    Raises:
        InvalidArgument: a value out of its range; `UnknownZone` for the zone.
    """

    name: str
    """For people, in lists and notifications; 1 to 1,000 characters."""
    rule: Rule
    """`FixedTimes`, `Interval` or `CronLine`."""
    zone: str = "UTC"
    """The IANA zone of the rule's times and dates."""
    remind_minutes: int = 0
    """A reminder this long before each occurrence, 0 (none) to 10,080 (a week); R62."""
    key: str | None = None
    """At most one session per key; None is the queue's default key."""
    voice_channel_id: int | None = None
    """Where it plays."""
    text_channel_id: int | None = None
    """Where reminders and start messages go."""
    files: tuple[str, ...] = ()
    """What it plays, in order: paths or URLs."""
    enabled: bool = True
    """A disabled entry is kept and never due."""
    policy: Policy = field(default_factory=Policy)
    """What happens on awkward days."""
    id: int | None = None
    """Given by the store."""
    generation: int = 1
    """Grows with each change of the stored entry."""
    since: float = field(default=0.0, compare=False)
    """Instants before this one are not due; the store sets it when what decides them changes.
    0.0 is unknown, as of a row that was typed by hand: the checker sets it."""

    def __post_init__(self) -> None:
        _text("name", self.name)
        if not isinstance(self.rule, Rule):
            raise InvalidArgument(
                f"rule: got {self.rule!r}, expected FixedTimes, Interval or CronLine"
            )
        zone_of(self.zone)
        remind = _validate.whole("remind_minutes", self.remind_minutes, 0, 10_080, "minutes")
        object.__setattr__(self, "remind_minutes", remind)
        number = _validate.integer(self.key)
        if number is not None:
            object.__setattr__(self, "key", str(number))
        if self.key is not None:
            _text("key", self.key)
            if self.key == "*":
                raise InvalidArgument("key: got '*', which stands for every key; expected another")
        for name in ("voice_channel_id", "text_channel_id", "id"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _validate.whole(name, value, 1, MAX_ID))
        object.__setattr__(self, "files", _files(self.files))
        if not isinstance(self.enabled, bool):
            raise InvalidArgument(f"enabled: got {self.enabled!r}, expected True or False")
        if not isinstance(self.policy, Policy):
            raise InvalidArgument(f"policy: got {self.policy!r}, expected a Policy")
        generation = _validate.whole("generation", self.generation, 1, MAX_ID)
        object.__setattr__(self, "generation", generation)

    @property
    def tz(self) -> ZoneInfo:
        """The zone itself."""
        return zone_of(self.zone)

    def same_times(self, other: ScheduleEntry) -> bool:
        """Whether both are due at the same instants, under the same slots."""
        return (
            self.rule == other.rule
            and self.zone == other.zone
            and (self.policy.gap, self.policy.overlap) == (other.policy.gap, other.policy.overlap)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON and TOML; what has its default is left out."""
        record: dict[str, Any] = {"id": self.id, "name": self.name, "rule": self.rule.to_dict()}
        record["zone"] = self.zone
        record["remind_minutes"] = self.remind_minutes or None
        record["key"] = self.key
        record["voice_channel_id"] = self.voice_channel_id
        record["text_channel_id"] = self.text_channel_id
        record["files"] = list(self.files) or None
        record["enabled"] = None if self.enabled else False
        record["policy"] = self.policy.to_dict() or None
        record["generation"] = self.generation if self.generation != 1 else None
        return {name: value for name, value in record.items() if value is not None}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ScheduleEntry:
        """From `to_dict`'s form.

        Raises:
            InvalidArgument: a missing name or rule, an unknown key, or a value out of range.
        """
        if not isinstance(record, Mapping):
            raise InvalidArgument(f"entry: got {record!r}, expected a table")
        refuse_unknown("entry", record, _FIELDS)
        for name in ("name", "rule"):
            if name not in record:
                raise InvalidArgument(f"entry: got no {name}, expected one")
        values = dict(record)
        values["rule"] = rule_from_dict(record["rule"])
        if "policy" in record:
            values["policy"] = Policy.from_dict(record["policy"])
        if not isinstance(record.get("files", []), (list, tuple)):
            raise InvalidArgument(f"files: got {record['files']!r}, expected a list")
        return cls(**values)

    def with_id(self, number: int, generation: int, since: float) -> ScheduleEntry:
        """This entry as a store holds it."""
        return replace(self, id=number, generation=generation, since=since)


_FIELDS = (
    "id",
    "name",
    "rule",
    "zone",
    "remind_minutes",
    "key",
    "voice_channel_id",
    "text_channel_id",
    "files",
    "enabled",
    "policy",
    "generation",
)


@dataclass(frozen=True, slots=True)
class DamagedEntry:
    """A stored row that is no valid entry: edited by hand, or its zone is unknown here."""

    id: int
    name: str
    error: str
    """What is wrong with it."""


def _text(name: str, value: str) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT or not _storable(value):
        raise InvalidArgument(
            f"{name}: got {value!r}, expected 1 to {MAX_TEXT:,} characters without control "
            "characters"
        )


def _storable(value: str) -> bool:
    """No control characters, and no bytes that are not UTF-8."""
    return all(c >= " " and c != "\x7f" and not "\ud800" <= c <= "\udfff" for c in value)


def _files(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)):
        raise InvalidArgument(f"files: got {value!r}, expected a list")
    files = tuple(value)
    for one in files:
        if not isinstance(one, str) or not one or not _storable(one):
            raise InvalidArgument(
                f"files: got {one!r}, expected paths or URLs in UTF-8 without control characters"
            )
    return files
