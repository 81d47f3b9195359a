"""How golden cases write events, clock steps and changes, one short line each.

    10m click category=yoga price=5 tags=["a","b"] ship.city=Oslo id=e7 user=v     an event; values are JSON or bare text
    0 profile age=30 consent.marketing=true plan=null                              attributes and consents
    fire 24h                                                                       every timer due up to that instant fires
    10m enters s          24h leaves s:yoga timer         1h moves g a -> null    changes; the cause is the event unless it says otherwise

Instants are durations after the case's `base` (`1d2h`, `24h+1ms`, `24h-1ms`), or RFC 3339.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.events import Event
from app.domain.options import EngineOptions

BASE = "2026-11-02T00:00:00Z"  # a Monday
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULT_USER = "u"


def instant(text: str, base: int) -> int:
    """Epoch milliseconds of an instant as cases write it."""
    if "T" in text:
        return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)
    return base + duration(text)


def duration(text: str) -> int:
    """`1d2h`, `24h-1ms`, `0`: milliseconds."""
    if text == "0":
        return 0
    parts = re.findall(r"([+-]?)(\d+)(ms|s|m|h|d|w)", text)
    if "".join("".join(part) for part in parts) != text or not parts:
        raise ValueError(f"no instant: {text!r}")
    return sum((-1 if sign == "-" else 1) * int(number) * _UNITS[unit] for sign, number, unit in parts)


@dataclass(frozen=True)
class Fire:
    """A clock step."""

    upto: int


def step(text: str, base: int, options: EngineOptions, index: int) -> Event | Fire:
    """One line of a case's `steps`."""
    words = re.findall(r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+', text)
    if words[0] == "fire":
        return Fire(instant(words[1], base))
    stream = next((s for s in options.streams if s.name == words[1]), None)
    if stream is None:
        raise ValueError(f"no stream {words[1]!r} in {text!r}")
    given = dict(_pair(word) for word in words[2:])
    user, own_id = given.pop("user", DEFAULT_USER), given.pop("id", f"e{index}")
    fields = _nested(given) if stream.behaviour else _profile(given)
    return Event(user, instant(words[0], base), stream.name, stream.rank, own_id or f"r{index}", own_id is not None, fields)


def _pair(word: str) -> tuple[str, Any]:
    name, found, value = word.partition("=")
    if not found:
        raise ValueError(f"no field=value: {word!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for path, value in flat.items():
        *outer, last = path.split(".")
        place = fields
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
    return fields


def _profile(flat: dict[str, Any]) -> dict[str, Any]:
    consent = {name.removeprefix("consent."): value for name, value in flat.items() if name.startswith("consent.")}
    attributes = {name: value for name, value in flat.items() if not name.startswith("consent.")}
    return {"attributes": _nested(attributes), "consent": consent}


@dataclass(frozen=True)
class Expected:
    """One change as a case writes it; `cause` is event, profile, timer or bound."""

    user: str
    at: int
    what: str
    name: str
    value: str | None
    from_: str | None
    to: str | None
    cause: str
    late: bool


_CHANGE = re.compile(
    r"(?:(?P<user>\w+)@)?(?P<at>\S+) "
    r"(?:(?P<what>enters|leaves) (?P<name>\w+)(?::(?P<value>\S+))?|moves (?P<group>\w+) (?P<from>\w+) -> (?P<to>\w+))"
    r"(?P<marks>(?: (?:timer|profile|bound|late))*)"
)


def change(text: str, base: int) -> Expected:
    """One line of a case's `changes`."""
    found = _CHANGE.fullmatch(text)
    if not found:
        raise ValueError(f"no change: {text!r}")
    marks = found["marks"].split()
    cause = next((mark for mark in marks if mark != "late"), "event")
    return Expected(
        found["user"] or DEFAULT_USER,
        instant(found["at"], base),
        {"enters": "entered", "leaves": "exited", None: "moved"}[found["what"]],
        found["name"] or found["group"],
        found["value"],
        _name(found["from"]),
        _name(found["to"]),
        cause,
        "late" in marks,
    )


def _name(text: str | None) -> str | None:
    return None if text == "null" else text


def spelled(change: Expected, base: int) -> str:
    """A change as a case writes it, with its instant in the units that fit."""
    what = f"moves {change.name} {change.from_ or 'null'} -> {change.to or 'null'}"
    if change.what != "moved":
        value = "" if change.value is None else f":{change.value}"
        what = f"{'enters' if change.what == 'entered' else 'leaves'} {change.name}{value}"
    marks = ("" if change.cause == "event" else f" {change.cause}") + (" late" if change.late else "")
    user = "" if change.user == DEFAULT_USER else f"{change.user}@"
    return f"{user}{spelled_duration(change.at - base)} {what}{marks}"


def spelled_duration(ms: int) -> str:
    parts = []
    for unit, size in sorted(_UNITS.items(), key=lambda item: -item[1]):
        count, ms = divmod(ms, size)
        if count and unit != "w":
            parts.append(f"{count}{unit}")
        elif count:
            ms += count * size
    return "".join(parts) or "0"
