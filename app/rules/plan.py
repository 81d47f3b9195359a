"""Definitions → plan: what to keep for a user, which events feed it, what each of it can change, in which order to judge.

A *signal* is one aggregate (`count(click[…], last 7d)`), shared by every definition that spells it alike; signals that use `each` belong
to one segment. A *unit* is something judged: a segment, the condition of a `held(…)`, or a group. Units stand in an order in which each
comes after what it refers to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import TopologicalSorter

from app.domain.ids import digest, short_hash
from app.domain.options import EngineOptions
from app.rules import ast
from app.rules.ast import Node
from app.rules.model import Definitions, Group, Segment
from app.rules.needs import COUNTING, Need, merged, thresholds
from app.rules.text import text
from app.rules.types import uses_each
from app.rules.walk import conditions, nodes


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """One aggregate to keep. `owner` is the segment it belongs to when it uses `each` (else ""); `key` names it in stored state.

    `need` is what all its readers together must be able to tell (None: its whole value). `crossings` is what those compare it with that
    compare it with constants only: between two of these values such a reader has nothing new to hear. Both see `rules.needs`.
    """

    key: int
    text: str
    node: ast.Aggregate
    owner: str
    need: Need
    crossings: Need


@dataclass(frozen=True, slots=True)
class UnitSpec:
    """One thing judged. `kind`: segment · held · group. `trees` are its conditions; `signals`, `profile` and `units` what it reads;
    `needs` says, by signal, what it compares with constants only, None where it uses the whole value."""

    name: str
    kind: str
    trees: tuple[Node, ...]
    segment: Segment | None
    group: Group | None
    each: bool
    signals: frozenset[int]
    needs: dict[int, Need]
    profile: bool
    units: frozenset[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the engine needs of the definitions. `digest` changes exactly when an answer could."""

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
    meaning = [unit.segment.meaning() for unit in units if unit.segment] + [json.dumps([g.name, g.segments]) for g in enabled.groups]
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
    """The name of the unit that watches the condition of a `held(…)`; the duration is not part of it."""
    key = short_hash((owner if uses_each(node) else "") + "\n" + text(node.condition))
    return f"~{key:x}"


def _signals(definitions: Definitions, units: Iterable[UnitSpec]) -> list[SignalSpec]:
    readers: dict[int, list[Need]] = {}
    for unit in units:
        for key, need in unit.needs.items():
            readers.setdefault(key, []).append(need)
    found: dict[int, SignalSpec] = {}
    for segment in definitions.segments:
        for tree in conditions(segment):
            for node in nodes(tree):
                if isinstance(node, ast.Aggregate) and (key := signal_key(node, segment.name)) not in found:
                    owner, needs = segment.name if uses_each(node) else "", readers.get(key, [None])
                    known = [need for need in needs if need is not None]
                    crossings: Need = None
                    for i, need in enumerate(known):
                        crossings = merged(node.fn, need, crossings) if i else need
                    found[key] = SignalSpec(key, text(node), node, owner, crossings if len(known) == len(needs) else None, crossings)
    return list(found.values())


def _needs(trees: Iterable[Node], owner: str, max_points: int) -> dict[int, Need]:
    found: dict[int, Need] = {}
    for tree in trees:
        for node, exact in thresholds(tree).items():
            key = signal_key(node, owner)
            beyond = isinstance(exact, tuple) and node.fn in COUNTING and exact[-1] > max_points
            need = None if beyond else exact
            found[key] = merged(node.fn, need, found[key]) if key in found else need
    return found


def _units(definitions: Definitions, options: EngineOptions) -> list[UnitSpec]:
    grouped = {name: group.name for group in definitions.groups for name in group.segments}
    found: dict[str, UnitSpec] = {}

    def unit(name: str, kind: str, trees: tuple[Node, ...], segment: Segment | None, each: bool) -> None:
        found[name] = _unit(name, kind, trees, segment, each, grouped, options.max_points)

    for segment in definitions.segments:
        trees = tuple(conditions(segment))
        unit(segment.name, "segment", trees, segment, segment.for_each is not None)
        for tree in trees:
            for node in nodes(tree):
                if isinstance(node, ast.Held):
                    each = uses_each(node)
                    unit(held_name(node, segment.name), "held", (node.condition,), segment if each else None, each)
    for group in definitions.groups:
        found[group.name] = UnitSpec(group.name, "group", (), None, group, False, frozenset(), {}, False, frozenset(group.segments))
    return list(found.values())


def _unit(
    name: str, kind: str, trees: tuple[Node, ...], segment: Segment | None, each: bool, grouped: dict[str, str], max_points: int
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
    needs = {key: need for key, need in _needs(trees, owner, max_points).items() if key in signals}
    return UnitSpec(name, kind, trees, segment, None, each, frozenset(signals), needs, profile, frozenset(units))


def _visible(trees: Iterable[Node]) -> Iterable[Node]:
    """Every node of `trees` but what is inside a `held(…)`, which a unit of its own judges."""
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
        if segment.for_each is not None:
            _note(found, segment.for_each[0], segment.for_each[1])
        for tree in conditions(segment):
            for node in nodes(tree):
                if isinstance(node, ast.Aggregate):
                    _note_selector(found, node.selector, [node.field] if node.field else [])
    return {stream: frozenset(names) for stream, names in found.items()}


def _note_selector(found: dict[str, set[str]], selector: Node, paths: list[tuple[str, ...]]) -> None:
    if isinstance(selector, ast.Events):
        for path in paths:
            _note(found, selector.stream, path)
        for node in nodes(selector):
            if isinstance(node, ast.Field):
                _note(found, selector.stream, node.path)
            elif isinstance(node, ast.WithinKm):
                _note(found, selector.stream, ("lat",))
                _note(found, selector.stream, ("lon",))
        return
    if isinstance(selector, (ast.Chain, ast.Absence)) and selector.on is not None:
        paths = [*paths, selector.on]
    for child in ast.children(selector):
        _note_selector(found, child, paths)


def _note(found: dict[str, set[str]], stream: str, path: tuple[str, ...]) -> None:
    for name in found if stream == "*" else (stream,):
        found[name].add(path[0])
