"""What definitions cost: the bytes a user's state keeps at most for each signal, and which timers
each segment needs. Pure.

The bound of a signal is entries × bytes of one entry, as its row of `app.rules.functions` says: how
its aggregate keeps them and how MessagePack writes them (`engine.state`). An instant or a number
takes 9 bytes, a value of a field TEXT_BYTES (a field may hold 4 KiB; what is counted and compared
is short). Of `days` and `session_count` there are no more entries than the window has days, or
sessions a gap apart.

A chain keeps the latest start of each step and the events of the last instant, with `on` for each
of at most 1,024 values; an absence keeps each start that nothing has prevented yet, at most 1,024.
A signal that uses `each` is kept once a value, `max_per_user` times. A signal spelled alike in
several segments is kept once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, assert_never, get_args

from app.domain import limits
from app.domain.options import EngineOptions
from app.rules import ast
from app.rules.ast import Selector, uses_each
from app.rules.fields import carried
from app.rules.functions import TEXT_BYTES, WORD, Kept, row_of
from app.rules.model import Segment
from app.rules.plan import Plan, SignalSpec, signal_key

HEAD = 3  # of a list or a map with up to 65,535 entries
HALF_LIVES_MAX = 1_101  # of a decay: what is older is nothing
USER_BYTES = 160  # the fixed part of a state: ids, clocks, empty maps
EVENT_BYTES = 120  # a recent event kept for late ones, with the fields that definitions read
SNAPSHOTS = 3  # of the state, between which late events find their place

_PERIOD_MS: dict[ast.WindowKind, int] = {
    "today": limits.DAY_MS,
    "this week": limits.WEEK_MS,
    "this month": 31 * limits.DAY_MS,
}


@dataclass(frozen=True, slots=True)
class SignalCost:
    """One signal: how many entries and bytes a user's state keeps of it at most, and which segments
    use it."""

    text: str
    entries: int
    bytes: int
    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SegmentCost:
    """One segment: signals of its own and shared ones, their bytes at most (memberships among its
    own), and its kinds of timers."""

    name: str
    own: int
    shared: int
    own_bytes: int
    shared_bytes: int
    timers: tuple[Timer, ...]


@dataclass(frozen=True, slots=True)
class Costs:
    """What one user costs at most, in bytes: `user_bytes` for all signals and memberships; ids and
    recent events come on top."""

    segments: tuple[SegmentCost, ...]
    signals: tuple[SignalCost, ...]
    user_bytes: int
    ids_bytes: int
    recent_bytes: int


def estimate(plan: Plan, options: EngineOptions) -> Costs:
    """The costs of every segment of a plan."""
    users = _users(plan)
    values = {segment.name: segment.max_per_user for segment in plan.segments}
    costs = {
        spec.key: _signal_cost(spec, options, values.get(spec.owner, 1), users.get(spec.key, ()))
        for spec in plan.signals
    }
    segments = tuple(_segment_cost(segment, costs) for segment in plan.segments)
    total = (
        USER_BYTES
        + sum(cost.bytes for cost in costs.values())
        + sum(membership_bytes(segment) for segment in plan.segments)
    )
    recent = 2 * options.reorder_events_max * EVENT_BYTES + SNAPSHOTS * total if options.reorder else 0
    return Costs(segments, tuple(costs.values()), total, options.dedupe_ids_max * (TEXT_BYTES + WORD), recent)


def _keys(segment: Segment) -> set[int]:
    return {signal_key(node, segment.name) for node in segment.find(ast.Aggregate)}


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
    return SegmentCost(
        segment.name, len(own), len(shared), own_bytes, sum(cost.bytes for cost in shared), timers(segment)
    )


def membership_bytes(segment: Segment) -> int:
    """A segment's memberships, timers, cooldowns and `held` conditions."""
    name = len(segment.name) + 2 + (TEXT_BYTES if segment.for_each else 0)
    # Members, dues; exits; a group's ranks and its current one.
    maps = 2 + bool(segment.cooldown_ms) + 2 * bool(segment.group)
    held = len(segment.find(ast.Held)) * 2 * (name + 18 + WORD)
    one = maps * (name + WORD) + held
    return one if segment.for_each is None else segment.max_per_user * (one + TEXT_BYTES + 1)


# --- signals ------------------------------------------------------------------------------------


def _signal_cost(spec: SignalSpec, options: EngineOptions, values: int, segments: tuple[str, ...]) -> SignalCost:
    node, row = spec.node, row_of(spec.node)
    kept, entries = _kept(spec), entries_kept(spec, options)
    cell = HEAD + 2 * WORD + row.cell_bytes + entries * kept.bytes
    if not isinstance(node.selector, ast.Events):
        cell += _pattern_bytes(node.selector, _context_bytes(node))
    if uses_each(node):
        cell = HEAD + (values + 1) * (TEXT_BYTES + cell)
    return SignalCost(spec.text, entries, WORD + cell, segments)


def _kept(spec: SignalSpec) -> Kept:
    row = row_of(spec.node)
    return row.sliding if row.sliding is not None and spec.node.window.kind == "last" else row.overall


def entries_kept(spec: SignalSpec, options: EngineOptions) -> int:
    """How many entries a user's state keeps of a signal at most, for one value; 1 where that is
    only what they come to."""
    kept = _kept(spec).entries
    match kept:
        case "one":
            return 1
        case "half_lives":
            return HALF_LIVES_MAX
        case "points":
            return options.max_points
        case "needed":
            return min(spec.demand.keep or options.max_points, options.max_points, _apart(spec, options))
        case _:
            assert_never(kept)


def _apart(spec: SignalSpec, options: EngineOptions) -> int:
    """How many entries the window has room for at most, where two of them cannot share a day or a
    session."""
    window, apart = spec.node.window, row_of(spec.node).apart
    length = window.ms if window.kind == "last" else _PERIOD_MS.get(window.kind)
    match apart:
        case "":
            return options.max_points
        case "day":
            return options.max_points if length is None else length // limits.DAY_MS + 2
        case "session":
            if window.kind == "session":
                return 1
            return options.max_points if length is None else length // max(1, options.session_gap_ms) + 2
        case _:
            assert_never(apart)


def _context_bytes(node: ast.Aggregate) -> int:
    """What a match carries of its event: its number, its session and the fields that are read of
    it."""
    return 2 * HEAD + 2 * WORD + sum(len(name) + 2 + TEXT_BYTES for name in carried(node))


def _pattern_bytes(selector: Selector, context: int) -> int:
    match selector:
        case ast.Events():
            return 1
        case ast.Chain(steps, on, _):
            chain = 4 * HEAD + len(steps) * WORD + 2 * WORD + context
            return chain if on is None else HEAD + limits.MAX_POINTS * (TEXT_BYTES + chain)
        case ast.Absence(first, missing, _, _):
            latest = HEAD + WORD + 2 * (TEXT_BYTES + WORD)
            pending = limits.MAX_POINTS * (HEAD + WORD + context)
            return HEAD + latest + pending + _pattern_bytes(first, context) + _pattern_bytes(missing, context)
        case _:
            assert_never(selector)


# --- timers -------------------------------------------------------------------------------------

Timer = Literal["window exit", "absence", "dwell", "cooldown", "held", "calendar", "session", "age", "decay"]
TIMERS: tuple[Timer, ...] = get_args(Timer)


def timers(segment: Segment) -> tuple[Timer, ...]:
    """Which kinds of timers can wake the segment with no event: in the order of TIMERS."""
    found = set(_timers(segment))
    return tuple(kind for kind in TIMERS if kind in found)


def _timers(segment: Segment) -> Iterable[Timer]:
    if segment.min_dwell_ms:
        yield "dwell"
    if segment.cooldown_ms:
        yield "cooldown"
    for tree in segment.conditions():
        for node in ast.nodes(tree):
            match node:
                case ast.Held():
                    yield "held"
                case ast.Calendar():
                    yield "calendar"
                case ast.Absence():
                    yield "absence"
                case ast.Aggregate():
                    yield from _aggregate_timers(node)
                case _:
                    pass  # nothing else moves by itself


def _aggregate_timers(node: ast.Aggregate) -> Iterable[Timer]:
    motion, window = row_of(node).motion, node.window.kind
    match motion:
        case "age":
            yield "age"
        case "fading":
            yield "decay"
        case "steps":
            if window == "last":
                yield "window exit"
            elif window in _PERIOD_MS:
                yield "calendar"
            elif window == "session":
                yield "session"
        case _:
            assert_never(motion)
