"""Definitions → plan: what to keep for a user, which events feed it, what each of it can change, in
which order to evaluate.

A *signal* is one aggregate (`count(click[…], last 7d)`), shared by every definition that spells it
alike; signals that use `each` belong to one segment. A *unit* is something evaluated: a segment,
the condition of a `held(…)`, or a group. Units stand in an order in which each comes after what it
refers to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Literal

from app.domain.ids import digest, short_hash
from app.domain.options import EngineOptions
from app.rules import ast
from app.rules.ast import Node, uses_each
from app.rules.demand import Demand, Use, combined, demand, uses_of
from app.rules.fields import named
from app.rules.functions import row_of
from app.rules.model import Definitions, Group, Segment
from app.rules.text import text

UnitKind = Literal["segment", "held", "group"]


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """One aggregate to keep. `owner` is the segment it belongs to when it uses `each` (else "");
    `key` names it in stored state; `demand` is what all its readers together need of it."""

    key: int
    text: str
    node: ast.Aggregate
    owner: str
    demand: Demand


@dataclass(frozen=True, slots=True)
class UnitSpec:
    """One thing evaluated: a segment, the condition of a `held(…)`, or a group.

    `trees` are its conditions, `each` whether it is evaluated for each value of its `segment`.
    `signals`, `profile` and `units` are what it reads; `uses`, by signal, how it compares those
    that can be compared with constants (None: it uses the whole value).
    """

    name: str
    kind: UnitKind
    trees: tuple[Node, ...]
    segment: Segment | None
    group: Group | None
    each: bool
    signals: frozenset[int]
    uses: dict[int, Use]
    profile: bool
    units: frozenset[str]

    @property
    def owner(self) -> str:
        """The segment it belongs to, "" where there is none."""
        return self.segment.name if self.segment is not None else ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the engine needs of the definitions. `digest` changes exactly when an answer
    could."""

    definitions: Definitions
    signals: tuple[SignalSpec, ...]
    units: tuple[UnitSpec, ...]
    fields: dict[str, frozenset[str]]
    digest: str

    @property
    def segments(self) -> tuple[Segment, ...]:
        return self.definitions.segments

    @property
    def groups(self) -> tuple[Group, ...]:
        return self.definitions.groups


def compile_plan(definitions: Definitions, options: EngineOptions) -> Plan:
    """The plan for all enabled definitions."""
    enabled = definitions.enabled()
    units = _ordered(_units(enabled, options))
    meaning = [unit.segment.meaning() for unit in units if unit.segment] + [
        json.dumps([g.name, g.segments]) for g in enabled.groups
    ]
    stamp = digest("\n".join([*sorted(meaning), options.timezone, str(options.session_gap_ms)]))
    return Plan(enabled, tuple(_signals(enabled, units)), tuple(units), _fields(enabled, options), stamp)


def group_digest(group: Group, segments: Iterable[Segment]) -> str:
    """A digest of the group's order and of everything its members' answers depend on."""
    by_name = {s.name: s for s in segments}
    return digest("\n".join([group.name, *(by_name[name].meaning() for name in group.segments)]))


def signal_key(node: ast.Aggregate, owner: str) -> int:
    """The stored name of a signal; it does not depend on other definitions."""
    return short_hash((owner if uses_each(node) else "") + "\n" + text(node))


def held_name(node: ast.Held, owner: str) -> str:
    """The name of the unit that watches the condition of a `held(…)`; the duration is not part of
    it."""
    key = short_hash((owner if uses_each(node) else "") + "\n" + text(node.condition))
    return f"~{key:x}"


def _signals(definitions: Definitions, units: Iterable[UnitSpec]) -> list[SignalSpec]:
    uses: dict[int, list[Use]] = {}
    for unit in units:
        for key, use in unit.uses.items():
            uses.setdefault(key, []).append(use)
    found: dict[int, SignalSpec] = {}
    for segment in definitions.segments:
        for node in segment.find(ast.Aggregate):
            key = signal_key(node, segment.name)
            if key not in found:
                owner = segment.name if uses_each(node) else ""
                found[key] = SignalSpec(key, text(node), node, owner, demand(node, uses.get(key, ())))
    return list(found.values())


def _uses(trees: Iterable[Node], owner: str, max_points: int) -> dict[int, Use]:
    found: dict[int, Use] = {}
    for tree in trees:
        for node, told in uses_of(tree).items():
            key = signal_key(node, owner)
            beyond = told is not None and row_of(node).compared == "counts" and told.thresholds[-1] > max_points
            use = None if beyond else told
            found[key] = combined(use, found[key]) if key in found else use
    return found


def _units(definitions: Definitions, options: EngineOptions) -> list[UnitSpec]:
    grouped = {name: group.name for group in definitions.groups for name in group.segments}
    found: dict[str, UnitSpec] = {}

    def unit(name: str, kind: UnitKind, trees: tuple[Node, ...], segment: Segment | None, each: bool) -> None:
        found[name] = _unit(name, kind, trees, segment, each, grouped, options.max_points)

    for segment in definitions.segments:
        unit(segment.name, "segment", tuple(segment.conditions()), segment, segment.for_each is not None)
        for node in segment.find(ast.Held):
            each = uses_each(node)
            unit(held_name(node, segment.name), "held", (node.condition,), segment if each else None, each)
    for group in definitions.groups:
        found[group.name] = UnitSpec(
            group.name, "group", (), None, group, False, frozenset(), {}, False, frozenset(group.segments)
        )
    return list(found.values())


def _unit(
    name: str,
    kind: UnitKind,
    trees: tuple[Node, ...],
    segment: Segment | None,
    each: bool,
    grouped: dict[str, str],
    max_points: int,
) -> UnitSpec:
    owner = segment.name if segment else ""
    signals: set[int] = set()
    units: set[str] = set()
    profile = False
    for node in _visible(trees):
        match node:
            case ast.Aggregate():
                signals.add(signal_key(node, owner))
            case ast.Held():
                units.add(held_name(node, owner))
            case ast.SegmentRef(ref):
                units.add(grouped.get(ref, ref))
            case ast.Profile() | ast.Consent():
                profile = True
            case _:
                pass  # nothing else reads what is kept of a user
    uses = {key: use for key, use in _uses(trees, owner, max_points).items() if key in signals}
    return UnitSpec(name, kind, trees, segment, None, each, frozenset(signals), uses, profile, frozenset(units))


def _visible(trees: Iterable[Node]) -> Iterable[Node]:
    """Every node of `trees` but what is inside a `held(…)`, which a unit of its own evaluates."""
    stack = list(trees)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, ast.Held):
            stack.extend(ast.children(node))


def _ordered(units: list[UnitSpec]) -> list[UnitSpec]:
    by_name = {unit.name: unit for unit in sorted(units, key=lambda unit: unit.name)}
    order = TopologicalSorter({name: sorted(unit.units) for name, unit in by_name.items()}).static_order()
    return [by_name[name] for name in order]


def _fields(definitions: Definitions, options: EngineOptions) -> dict[str, frozenset[str]]:
    """The top-level fields of each behaviour stream that any definition reads."""
    found: dict[str, set[str]] = {s.name: set() for s in options.streams if s.behaviour}
    for segment in definitions.segments:
        for stream, path in named(segment):
            for name in found if stream == "*" else found.keys() & {stream}:
                found[name].update(path[:1])
    return {stream: frozenset(names) for stream, names in found.items()}
