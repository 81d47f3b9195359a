"""What definitions cost: the bytes a user's state keeps at most for each signal, and which timers each segment needs. Pure.

The bound of a signal is entries × bytes of one entry, after how its kind keeps them (`engine.sliding`, `engine.accumulators`,
`engine.sources`) and how MessagePack writes them (`engine.state`): an instant or a number takes 9 bytes, a value of a field TEXT_BYTES
(a field may hold 4 KiB; what is counted and compared is short).

| kind | entries of `last W` | entries of other windows |
|---|---|---|
| any, last, since, since_first | 1 | 1 |
| count | what the rule needs (`count(…) >= k`: k), else max_points | 1: a number |
| sum, avg | max_points | 1 |
| min, max | max_points | 1 |
| first | max_points | 1 |
| top | max_points | max_points different values |
| distinct | what the rule needs, else max_points | the same |
| days, session_count | the same, and no more than W has days, or sessions a gap apart | the same |
| decay | – | one for each half-life with an event, at most 1,100 |

A chain keeps the latest start of each step and the events of the last instant, with `on` for each of at most 1,024 values; an absence
keeps each start that nothing has prevented yet, at most 1,024. A signal that uses `each` is kept once a value, `max_per_user` times.
A signal spelled alike in several segments is kept once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.domain import limits
from app.domain.options import EngineOptions
from app.rules import ast
from app.rules.ast import Node
from app.rules.model import Segment
from app.rules.needs import AGES, COUNTING
from app.rules.plan import Plan, SignalSpec, signal_key
from app.rules.types import uses_each
from app.rules.walk import conditions, nodes

WORD = 9  # an instant, an id, a double: one byte of type, eight of value
HEAD = 3  # of a list or a map with up to 65,535 entries
TEXT_BYTES = 24  # a value of a field as a key: categories, devices and product ids are shorter
EXACT_BYTES = 48  # an exact sum as hexadecimal text and exponent: amounts with cents over five decimal powers
HALF_LIVES_MAX = 1_101  # of a decay: what is older is nothing
USER_BYTES = 160  # the fixed part of a state: ids, clocks, empty maps
EVENT_BYTES = 120  # a recent event kept for late ones, with the fields that definitions read
SNAPSHOTS = 3  # of the state, between which late events find their place

_PERIOD_MS: dict[str, int] = {"today": limits.DAY_MS, "this week": limits.WEEK_MS, "this month": 31 * limits.DAY_MS}


@dataclass(frozen=True, slots=True)
class SignalCost:
    """One signal: how many entries and bytes a user's state keeps of it at most, and which segments use it."""

    text: str
    entries: int
    bytes: int
    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SegmentCost:
    """One segment: signals of its own and shared ones, their bytes at most (memberships among its own), and its kinds of timers."""

    name: str
    own: int
    shared: int
    own_bytes: int
    shared_bytes: int
    timers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Costs:
    """What one user costs at most, in bytes: `user_bytes` for all signals and memberships; ids and recent events come on top."""

    segments: tuple[SegmentCost, ...]
    signals: tuple[SignalCost, ...]
    user_bytes: int
    ids_bytes: int
    recent_bytes: int


def estimate(plan: Plan, options: EngineOptions) -> Costs:
    """The costs of every segment of a plan."""
    users = _users(plan)
    values = {segment.name: segment.max_per_user for segment in plan.segments}
    costs = {spec.key: _signal_cost(spec, options, values.get(spec.owner, 1), users.get(spec.key, ())) for spec in plan.signals}
    segments = tuple(_segment_cost(segment, costs) for segment in plan.segments)
    total = USER_BYTES + sum(cost.bytes for cost in costs.values()) + sum(membership_bytes(segment) for segment in plan.segments)
    recent = 2 * options.reorder_events_max * EVENT_BYTES + SNAPSHOTS * total if options.reorder else 0
    return Costs(segments, tuple(costs.values()), total, options.dedupe_ids_max * (TEXT_BYTES + WORD), recent)


def _keys(segment: Segment) -> set[int]:
    return {signal_key(node, segment.name) for tree in conditions(segment) for node in nodes(tree) if isinstance(node, ast.Aggregate)}


def _users(plan: Plan) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for segment in plan.segments:
        for key in _keys(segment):
            found[key] = (*found.get(key, ()), segment.name)
    return found


def _segment_cost(segment: Segment, costs: dict[int, SignalCost]) -> SegmentCost:
    used = [costs[key] for key in _keys(segment)]
    own = [cost for cost in used if len(cost.segments) == 1]
    shared = [cost for cost in used if len(cost.segments) > 1]
    own_bytes = sum(cost.bytes for cost in own) + membership_bytes(segment)
    return SegmentCost(segment.name, len(own), len(shared), own_bytes, sum(cost.bytes for cost in shared), timers(segment))


def membership_bytes(segment: Segment) -> int:
    """A segment's memberships, timers, cooldowns and `held` conditions."""
    name = len(segment.name) + 2 + (TEXT_BYTES if segment.for_each else 0)
    maps = 2 + bool(segment.cooldown_ms) + 2 * bool(segment.group)  # members, dues; exits; a group's ranks and its current one
    held = sum(2 * (name + 18 + WORD) for tree in conditions(segment) for node in nodes(tree) if isinstance(node, ast.Held))
    one = maps * (name + WORD) + held
    return one if segment.for_each is None else segment.max_per_user * (one + TEXT_BYTES + 1)


# --- signals -------------------------------------------------------------------------------------------------------


def _signal_cost(spec: SignalSpec, options: EngineOptions, values: int, segments: tuple[str, ...]) -> SignalCost:
    node = spec.node
    entries, size = _entries(spec, options), _entry_bytes(node)
    cell = HEAD + 2 * WORD + EXACT_BYTES * (node.fn in ("sum", "avg")) + entries * size
    if not isinstance(node.selector, ast.Events):
        cell += _source_bytes(node.selector, _carrier_bytes(node))
    if uses_each(node):
        cell = HEAD + (values + 1) * (TEXT_BYTES + cell)
    return SignalCost(spec.text, entries, WORD + cell, segments)


def _entries(spec: SignalSpec, options: EngineOptions) -> int:
    fn, window = spec.node.fn, spec.node.window
    if fn == "decay":
        return HALF_LIVES_MAX
    if fn in ("any", "last", *AGES) or (window.kind != "last" and fn not in ("top", "distinct", "days", "session_count")):
        return 1
    need = int(spec.need[-1]) if isinstance(spec.need, tuple) and fn in COUNTING else None
    most = min(need or options.max_points, options.max_points)
    length: int | None = window.ms if window.kind == "last" else _PERIOD_MS.get(window.kind)
    if fn == "session_count" and window.kind == "session":
        return 1
    if length is not None and fn in ("days", "session_count"):
        apart = limits.DAY_MS if fn == "days" else max(1, options.session_gap_ms)
        most = min(most, length // apart + 2)
    return most


def _entry_bytes(node: ast.Aggregate) -> int:
    sliding = node.window.kind == "last"
    match node.fn:
        case "any" | "since" | "since_first":
            return WORD
        case "count":
            return WORD + 1 if sliding else WORD
        case "sum" | "avg":
            return 2 * WORD + 1 if sliding else WORD
        case "min" | "max":
            return 2 * WORD
        case "distinct":
            return TEXT_BYTES + (WORD if sliding else 1)
        case "days" | "session_count":
            return WORD + (WORD if sliding else 1)
        case "top":
            return TEXT_BYTES + WORD
        case "decay":
            return WORD + EXACT_BYTES
        case _:
            return TEXT_BYTES + WORD


def _carrier_bytes(node: ast.Aggregate) -> int:
    """What a moment carries of its event: its number, its session and the fields that are read of it."""
    names = {node.field[0]} if node.field else set()
    names |= {n.on[0] for n in nodes(node.selector) if isinstance(n, ast.Chain | ast.Absence) and n.on is not None}
    return 2 * HEAD + 2 * WORD + sum(len(name) + 2 + TEXT_BYTES for name in names)


def _source_bytes(selector: Node, carrier: int) -> int:
    match selector:
        case ast.Chain(steps, on, _):
            chain = 4 * HEAD + len(steps) * WORD + 2 * WORD + carrier
            return chain if on is None else HEAD + limits.MAX_POINTS * (TEXT_BYTES + chain)
        case ast.Absence(first, missing, _, _):
            latest = HEAD + WORD + 2 * (TEXT_BYTES + WORD)
            pending = limits.MAX_POINTS * (HEAD + WORD + carrier)
            return HEAD + latest + pending + _source_bytes(first, carrier) + _source_bytes(missing, carrier)
        case _:
            return 1


# --- timers --------------------------------------------------------------------------------------------------------

TIMERS = ("window exit", "absence", "dwell", "cooldown", "held", "calendar", "session", "age", "decay")


def timers(segment: Segment) -> tuple[str, ...]:
    """Which kinds of timers can wake the segment with no event: in the order of TIMERS."""
    found = set(_timers(segment))
    return tuple(kind for kind in TIMERS if kind in found)


def _timers(segment: Segment) -> Iterable[str]:
    if segment.min_dwell_ms:
        yield "dwell"
    if segment.cooldown_ms:
        yield "cooldown"
    for tree in conditions(segment):
        for node in nodes(tree):
            match node:
                case ast.Held():
                    yield "held"
                case ast.Calendar():
                    yield "calendar"
                case ast.Absence():
                    yield "absence"
                case ast.Aggregate(fn, _, _, window, _):
                    yield from _aggregate_timers(fn, window)


def _aggregate_timers(fn: str, window: ast.Window) -> Iterable[str]:
    if fn in AGES:
        yield "age"
    elif fn == "decay":
        yield "decay"
    elif window.kind == "last":
        yield "window exit"
    elif window.kind in _PERIOD_MS:
        yield "calendar"
    elif window.kind == "session":
        yield "session"
