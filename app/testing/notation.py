"""How tests of definitions write events, clock steps and changes, one short line each.

    an event; values are JSON or bare text
        10m click category=yoga price=5 tags=["a","b"] ship.city=Oslo id=e7 user=v
    attributes and consents
        0 profile age=30 consent.marketing=true plan=null
    every timer due up to that instant fires
        fire 24h
    changes; the cause is the event unless it says otherwise
        10m enters s          24h leaves s:yoga timer         1h moves g a -> null

Instants are durations after the case's `base` (`1d2h`, `24h+1ms`, `24h-1ms`), or RFC 3339 with a
zone. The user is `u` unless a line says otherwise: `user=v` in a step, `v@10m enters s` in a
change. An event's id is `e` and its place among the steps; `id=null`: none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.domain.changes import Change
from app.domain.errors import nearest
from app.domain.events import Event
from app.domain.options import EngineOptions
from app.domain.time import instant_ms, is_instant, offset_ms, offset_text

BASE = "2026-11-02T00:00:00Z"  # a Monday
DEFAULT_USER = "u"
_STEP = "an event, such as 10m click category=yoga, or a clock step: fire 24h"
_EXPECTED_CHANGE = (
    "10m enters name, 24h leaves name:value timer or 1h moves group one -> other (causes: timer, profile, bound; late)"
)


class NotationError(ValueError):
    """A line that says nothing this notation knows; `found`, `expected` and `hint` as in
    DefinitionError."""

    def __init__(self, message: str, found: str, expected: str, hint: str = "") -> None:
        self.message, self.found, self.expected, self.hint = message, found, expected, hint
        super().__init__(f"{message}; found {found}; expected {expected}")


@dataclass(frozen=True)
class Fire:
    """A clock step."""

    upto: int


@dataclass(frozen=True)
class Expected:
    """One change as a case writes it; `value` is JSON; `cause` is event, profile, timer or
    bound."""

    user: str
    at: int
    what: str
    name: str
    value: str | None
    from_: str | None
    to: str | None
    cause: str
    late: bool


def instant(text: str, base: int) -> int:
    """Epoch milliseconds of an instant as cases write it. Raises NotationError."""
    found = instant_ms(text) if "T" in text else base + duration(text)
    if found is None:
        raise NotationError("no instant", f'"{text}"', f"RFC 3339 with a zone, such as {BASE}")
    if not is_instant(found):
        raise NotationError("no instant", f'"{text:.80}"', "one between the years 1970 and 9999")
    return found


def duration(text: str) -> int:
    """`1d2h`, `24h-1ms`, `0`: milliseconds. Raises NotationError."""
    found = offset_ms(text)
    if found is None:
        raise NotationError("no instant", f'"{text:.80}"', "a duration such as 0, 10m, 1d2h or 24h-1ms")
    return found


def step(text: str, base: int, options: EngineOptions, index: int) -> Event | Fire:
    """One line of a case's `steps`; `index` numbers it. Raises NotationError."""
    words = re.findall(r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+', text)
    if len(words) < 2:
        raise NotationError("no step", f'"{text}"', _STEP)
    if words[0] == "fire":
        return Fire(instant(words[1], base))
    names = [stream.name for stream in options.streams]
    stream = next((s for s in options.streams if s.name == words[1]), None)
    if stream is None:
        raise NotationError("unknown stream", f'"{words[1]}"', "one of " + ", ".join(names), nearest(words[1], names))
    given = dict(_pair(word) for word in words[2:])
    user, own_id = given.pop("user", DEFAULT_USER), given.pop("id", f"e{index}")
    fields = _nested(given) if stream.behaviour else _profile(given)
    own_name = f"r{index}" if own_id is None else str(own_id)
    return Event(str(user), instant(words[0], base), stream.name, stream.rank, own_name, own_id is not None, fields)


def _pair(word: str) -> tuple[str, Any]:
    name, found, value = word.partition("=")
    if not found or not name:
        raise NotationError(
            "no field", f'"{word}"', "field=value, such as category=yoga or price=5, without spaces around ="
        )
    return name, _value(value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for path, value in flat.items():
        *outer, last = path.split(".")
        place = fields
        for name in outer:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise NotationError("a field has a value and fields below it", f'"{path}"', "one of the two")
        place[last] = value
    return fields


def _profile(flat: dict[str, Any]) -> dict[str, Any]:
    consent = {name.removeprefix("consent."): value for name, value in flat.items() if name.startswith("consent.")}
    attributes = {name: value for name, value in flat.items() if not name.startswith("consent.")}
    return {"attributes": _nested(attributes), "consent": consent}


_MEMBER = r'(?P<name>\w+)(?::(?P<value>"(?:[^"\\]|\\.)*"|\S+))?'
_CHANGE = re.compile(
    r"(?:(?P<user>[^\s@]+)@)?(?P<at>[^\s@]+) "
    rf"(?:(?P<what>enters|leaves) {_MEMBER}|moves (?P<group>\w+) (?P<from>\w+) -> (?P<to>\w+))"
    r"(?P<marks>(?: (?:timer|profile|bound|late))*)"
)


def change(text: str, base: int) -> Expected:
    """One line of a case's `changes`. Raises NotationError."""
    found = _CHANGE.fullmatch(text)
    if not found:
        raise NotationError("no change", f'"{text}"', _EXPECTED_CHANGE)
    marks = found["marks"].split()
    return Expected(
        found["user"] or DEFAULT_USER,
        instant(found["at"], base),
        {"enters": "entered", "leaves": "exited", None: "moved"}[found["what"]],
        found["name"] or found["group"],
        _json(found["value"]),
        _name(found["from"]),
        _name(found["to"]),
        next((mark for mark in marks if mark != "late"), "event"),
        "late" in marks,
    )


def member(text: str) -> tuple[str, str, str | None]:
    """`s`, `s:yoga`, `v@s:yoga`: user, name and value (JSON). Raises NotationError."""
    found = re.fullmatch(rf"(?:(?P<user>[^\s@]+)@)?{_MEMBER}", text)
    if not found:
        raise NotationError("no membership", f'"{text}"', "name, name:value or user@name")
    return found["user"] or DEFAULT_USER, found["name"], _json(found["value"])


def _json(value: str | None) -> str | None:
    return None if value is None else json.dumps(_value(value), ensure_ascii=False)


def _name(text: str | None) -> str | None:
    return None if text == "null" else text


def told(changes: Iterable[Change]) -> list[Expected]:
    """What the engine did, in the notation's terms."""
    return [
        Expected(
            change.user_id,
            change.at,
            change.change,
            str(change.group if change.change == "moved" else change.segment),
            None if change.value is None else json.dumps(change.value, ensure_ascii=False),
            change.from_,
            change.to,
            change.cause.kind,
            change.late,
        )
        for change in changes
    ]


def spelled(change: Expected, base: int) -> str:
    """A change as a case writes it, with its instant in the units that fit."""
    what = f"moves {change.name} {change.from_ or 'null'} -> {change.to or 'null'}"
    if change.what != "moved":
        what = f"{'enters' if change.what == 'entered' else 'leaves'} {spelled_member(change.name, change.value)}"
    marks = ("" if change.cause == "event" else f" {change.cause}") + (" late" if change.late else "")
    user = "" if change.user == DEFAULT_USER else f"{change.user}@"
    return f"{user}{offset_text(change.at - base)} {what}{marks}"


def spelled_member(name: str, value: str | None) -> str:
    """A membership; a value that is a plain word stands without quotes."""
    if value is None:
        return name
    bare = _value(value)
    plain = isinstance(bare, str) and re.fullmatch(r'[^\s"]+', bare) and isinstance(_value(bare), str)
    return f"{name}:{bare if plain else value}"
