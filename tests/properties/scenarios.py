"""Random scenarios: definitions, one user's events, orders of arrival."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from hypothesis import assume
from hypothesis import strategies as st

from app.domain.events import Event
from app.domain.options import EngineOptions
from app.domain.streams import with_declared
from app.rules.definitions import Definitions, load_text
from app.testing.notation import instant
from tests.properties.chance import Chance, Drawn
from tests.properties.grammar import STREAMS, Writer

QUARTER_MS = 900_000
STREAM_SET = with_declared({"email": "emails"})
RANKS = {stream.name: stream.rank for stream in STREAM_SET}
USER = "u"

# A zone and an instant at which its calendar turns: midnights, a week's and a month's beginning,
# both ends of summer time, odd offsets.
TURNS = (
    ("UTC", "2026-11-02T00:00:00Z"),
    ("UTC", "2026-12-01T00:00:00Z"),
    ("Europe/Oslo", "2026-03-29T01:00:00Z"),
    ("Europe/Oslo", "2026-03-28T23:00:00Z"),
    ("Europe/Oslo", "2026-10-25T01:00:00Z"),
    ("Europe/Oslo", "2026-10-25T23:00:00Z"),
    ("America/New_York", "2026-11-01T04:00:00Z"),
    ("Asia/Kathmandu", "2026-11-01T18:15:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("America/Santiago", "2026-09-06T04:00:00Z"),
)


@dataclass(frozen=True)
class Scenario:
    """`events` are in order of arrival; `unit_ms` is the scale of all durations; `until` is when
    the clock stops."""

    options: EngineOptions
    text: str
    definitions: Definitions
    events: tuple[Event, ...]
    until: int
    unit_ms: int
    base: int

    @property
    def in_order(self) -> list[Event]:
        return sorted(self.events, key=lambda event: (event.ts, event.rank))

    def arriving(self, events: list[Event]) -> Scenario:
        return replace(self, events=tuple(events))

    def __repr__(self) -> str:
        lines = [f"{e.ts - self.base:>10} {e.stream} id={e.id if e.has_id else None} {e.fields}" for e in self.events]
        o = self.options
        bounds = f"gap={o.session_gap_ms} dedupe={o.dedupe_window_ms} lateness={o.allowed_lateness_ms}"
        return "\n".join(
            ["", self.text, *lines, f"base={self.base} until=+{self.until - self.base} zone={o.timezone} {bounds}"]
        )


@st.composite
def scenarios(draw: Callable[..., Any], unit_ms: int = 1, most_events: int = 10) -> Scenario:
    """Scenarios that hypothesis chooses; events in random order of arrival."""
    scenario = make_scenario(Drawn(draw), unit_ms, most_events)
    assume(not scenario.definitions.errors)
    return scenario


def make_scenario(by: Chance, unit_ms: int, most_events: int) -> Scenario:
    """One scenario; its definitions may have errors (a circle of references)."""
    zone, turn = by.pick(TURNS)
    base = instant(turn, 0) - by.whole(0, 30) * unit_ms
    options = EngineOptions(
        streams=STREAM_SET,
        timezone=zone,
        session_gap_ms=by.whole(1, 15) * unit_ms,
        dedupe_window_ms=by.whole(1, 30) * unit_ms,
        allowed_lateness_ms=by.pick((200, 20, 5)) * unit_ms,
    )
    text = definition_text(by, unit_ms, base)
    events = [_event(by, i, unit_ms, base) for i in range(by.whole(1, most_events))]
    until = max(event.ts for event in events) + by.whole(0, 30) * unit_ms
    return Scenario(options, text, load_text(text, options), tuple(events), until, unit_ms, base)


def arrival(by: Chance, scenario: Scenario) -> list[Event]:
    """The events in an order in which none is later than the allowed lateness behind the largest
    instant before it."""
    most = min(scenario.options.allowed_lateness_ms // scenario.unit_ms, 45)
    delays = [by.whole(0, most) * scenario.unit_ms for _ in scenario.events]
    order = sorted(range(len(delays)), key=lambda i: (scenario.events[i].ts + delays[i], i))
    return [scenario.events[i] for i in order]


@st.composite
def arrivals(draw: Callable[..., Any], scenario: Scenario) -> list[Event]:
    return arrival(Drawn(draw), scenario)


# --- definitions --------------------------------------------------------------------------------

_NAMES = ("alpha", "beta", "gamma")
_ORDERS = tuple((a, b, c) for a in _NAMES for b in _NAMES for c in _NAMES if len({a, b, c}) == 3)


def definition_text(by: Chance, unit_ms: int, base: int) -> str:
    names = by.pick(_ORDERS)[: by.pick((3, 2, 1))]
    segments = [_segment(by, name, names[:i], unit_ms, base) for i, name in enumerate(names)]
    plain = [segment["name"] for segment in segments if "for_each" not in segment]
    groups = [{"name": by.pick(("also", "zone")), "segments": plain}] if len(plain) > 1 and by.one_in(3) else []
    return yaml.safe_dump({"segments": segments, "groups": groups}, sort_keys=False, width=10_000)


def _segment(by: Chance, name: str, others: tuple[str, ...], unit_ms: int, base: int) -> dict[str, Any]:
    each = by.one_in(4)
    writer = Writer(by, unit_ms, each, others, _range(by, unit_ms, base), ("2026-11-02", "2026-03-29", "2026-10-26"))
    segment: dict[str, Any] = {"name": name, "when": writer.condition(by.whole(0, 2))}
    if by.one_in(4):
        segment["exit_when"] = writer.condition(1)
    if by.one_in(4):
        segment["min_dwell"] = writer.duration()
    if by.one_in(4):
        segment["cooldown"] = writer.duration()
    if each:
        segment["for_each"] = by.pick(("click.c", "click.c", "*.c", "cart.n"))
        segment["max_per_user"] = by.whole(1, 3)
    return segment


def _range(by: Chance, unit_ms: int, base: int) -> tuple[str, str]:
    """A window's ends inside the history: instants, or midnights where the history passes some."""
    if unit_ms > 1 and by.one_in(2):
        return ("2026-11-02", "2026-11-03")
    start = by.whole(0, 20)
    return _iso(base + start * unit_ms), _iso(base + (start + by.whole(1, 20)) * unit_ms)


def _iso(ts: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ts)).isoformat()


# --- events -------------------------------------------------------------------------------------

_NUMBERS = (1, 2, 1, 2.5, 0, 1.0, -1)
_TEXTS = ("a", "b", "a", "ab", "")
_ODD = (None, True, False, "1", [1], ["a"], {"k": 1})
_LARGE = (0.1, 0.2, 0.3, 1e16, -1e16, 1e308, 2**53 + 1)
_FIELDS: dict[str, tuple[Any, ...]] = {
    "ok": (True, False, None, 1),
    "tags": (["a", "b"], [], [1], "a"),
    "o": ({"k": 1}, {"k": 2}, {"k": "a"}, {"k": None}, {}, "a", None),
    "lat": (0, 1, 2, "0"),
    "lon": (0, 1, -179),
}
_ATTRIBUTES: dict[str, tuple[Any, ...]] = {
    "age": (1, 2, 3, 0, None, "2"),
    "plan": ("a", "ab", "b", None, 1),
    "vip": (True, False, None, 1),
    "list": (["a"], ["b"], None),
}


def _event(by: Chance, i: int, unit_ms: int, base: int) -> Event:
    ts, stream = base + by.whole(0, 40) * unit_ms, by.pick(("click", "cart", *STREAMS, "click", "profile"))
    has_id = not by.one_in(10)
    id_ = f"e{by.whole(0, i)}" if has_id and by.one_in(8) else f"e{i}" if has_id else f"r{i}"
    return Event(USER, ts, stream, RANKS[stream], id_, has_id, _profile(by) if stream == "profile" else _fields(by))


def _fields(by: Chance) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if not by.one_in(8):
        fields["c"] = by.pick(_ODD if by.one_in(8) else _NUMBERS if by.one_in(8) else _TEXTS)
    if not by.one_in(6):
        fields["n"] = by.pick(_ODD if by.one_in(8) else _LARGE if by.one_in(12) else _NUMBERS)
    return fields | {name: by.pick(values) for name, values in _FIELDS.items() if by.one_in(3)}


def _profile(by: Chance) -> dict[str, Any]:
    attributes = {name: by.pick(values) for name, values in _ATTRIBUTES.items() if by.one_in(2)}
    return {"attributes": attributes, "consent": {"mail": by.pick((True, False, None))} if by.one_in(2) else {}}
