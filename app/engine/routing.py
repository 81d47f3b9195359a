"""Which signals an event feeds: an index from stream and equality-filter value to them, so that an
event pays for what it touches.

Per stream there is a `Route`. Of a selector's filter, one conjunct `field == "text"` (or `in
[texts]`) becomes the key of an index and the rest a residual test; a conjunct `field == each` names
the value a keyed signal is fed for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.members import scalar_key
from app.domain.streams import Stream
from app.engine.filters import Filter, compile_filter
from app.engine.signals import KeyedSignal, Leaf, PatternSignal, PlainSignal, Signal, Take
from app.engine.values import Getter, getter
from app.rules import ast
from app.rules.ast import Node, Path
from app.rules.model import Segment
from app.rules.types import each_path


@dataclass(slots=True)
class Feed:
    """One leaf of one signal behind a residual test. `take` feeds a plain signal; a pattern is fed
    with all its leaves at once, by `bit`."""

    test: Filter | None
    signal: Signal
    pattern: PatternSignal | None
    bit: int
    take: Take | None


@dataclass(slots=True)
class KeyedFeed:
    """A leaf of a keyed signal: `read` gives the value it is fed for, None where the leaf does not
    name one (then it is fed for all)."""

    test: Filter | None
    signal: KeyedSignal | PatternSignal
    bit: int
    read: Getter | None
    path: Path | None


@dataclass(slots=True)
class EachRoute:
    """What one `for_each` segment takes from a stream: its domain's field, and its keyed signals'
    leaves."""

    segment: str
    domain: Getter | None
    path: Path | None = None
    feeds: list[KeyedFeed] = field(default_factory=list)
    direct: Getter | None = None
    """`domain` where every feed aggregates events and is keyed by that same field: then an event
    concerns one value."""
    direct_feeds: list[tuple[Filter | None, KeyedSignal]] = field(default_factory=list)


@dataclass(slots=True)
class Route:
    """Everything one stream's events may feed."""

    always: list[Feed] = field(default_factory=list)
    indexed: list[tuple[Getter, dict[str, list[Feed]]]] = field(default_factory=list)
    indexed_by: list[Path] = field(default_factory=list)
    """The fields that `indexed` reads."""
    each: list[EachRoute] = field(default_factory=list)

    def feeds(self, fields: Mapping[str, Any]) -> Iterable[Feed]:
        """The feeds whose indexed conjunct holds; their residual tests are still to be asked."""
        if not self.indexed:
            return self.always
        found = self.always
        for read, by_value in self.indexed:
            more = by_value.get(value) if type(value := read(fields)) is str else None
            if more is not None:
                found = found + more
        return found


def build_routes(streams: Iterable[Stream], signals: Iterable[Signal], segments: Iterable[Segment]) -> dict[str, Route]:
    """The route of every behaviour stream."""
    routes = {s.name: Route() for s in streams if s.behaviour}
    indexes: dict[str, dict[Path, dict[str, list[Feed]]]] = {name: {} for name in routes}
    each: dict[tuple[str, str], EachRoute] = {}
    for segment in segments:
        if segment.for_each is not None:
            for name in _streams(segment.for_each[0], routes):
                each[name, segment.name] = EachRoute(segment.name, getter(segment.for_each[1]), segment.for_each[1])
    for signal in signals:
        for leaf in signal.leaves:
            for name in _streams(leaf.stream, routes):
                if isinstance(signal, KeyedSignal) or (isinstance(signal, PatternSignal) and signal.keyed):
                    route = each.setdefault((name, signal.owner), EachRoute(signal.owner, None))
                    route.feeds.append(_keyed_feed(signal, leaf))
                else:
                    _add(routes[name], indexes[name], signal, leaf)
    for name, by_path in indexes.items():
        routes[name].indexed = [(getter(path), by_value) for path, by_value in by_path.items()]
        routes[name].indexed_by = list(by_path)
    for (name, _), route in each.items():
        plain = [
            (feed.test, feed.signal)
            for feed in route.feeds
            if feed.path == route.path and isinstance(feed.signal, KeyedSignal)
        ]
        if len(plain) == len(route.feeds):
            route.direct, route.direct_feeds = route.domain, plain
        routes[name].each.append(route)
    return routes


def _streams(stream: str, routes: Iterable[str]) -> list[str]:
    return list(routes) if stream == "*" else [stream]


def _add(route: Route, index: dict[Path, dict[str, list[Feed]]], signal: Signal, leaf: Leaf) -> None:
    key, rest = _split_index(leaf.where)
    test = compile_filter(rest) if rest is not None else None
    pattern = signal if isinstance(signal, PatternSignal) else None
    feed = Feed(test, signal, pattern, leaf.bit, signal.bind_take() if isinstance(signal, PlainSignal) else None)
    if key is None:
        route.always.append(feed)
        return
    path, values = key
    for value in values:
        index.setdefault(path, {}).setdefault(value, []).append(feed)


def _conjuncts(where: Node | None) -> list[Node]:
    if where is None:
        return []
    return list(where.operands) if isinstance(where, ast.And) else [where]


def _joined(parts: list[Node]) -> Node | None:
    return None if not parts else parts[0] if len(parts) == 1 else ast.And(tuple(parts))


def _split_index(where: Node | None) -> tuple[tuple[Path, list[str]] | None, Node | None]:
    """((path, texts), the rest) for a filter one of whose conjuncts compares a field with texts;
    (None, the filter) otherwise."""
    parts = _conjuncts(where)
    for i, part in enumerate(parts):
        found = _indexable(part)
        if found is not None:
            return found, _joined(parts[:i] + parts[i + 1 :])
    return None, where


def _indexable(part: Node) -> tuple[Path, list[str]] | None:
    match part:
        case ast.Compare("==", ast.Field(path), ast.Literal(value, "text")) | ast.Compare(
            "==", ast.Literal(value, "text"), ast.Field(path)
        ):
            return path, [value]
        case ast.In(ast.Field(path), items, False) if all(
            isinstance(i, ast.Literal) and i.kind == "text" for i in items.items
        ):
            return path, sorted({i.value for i in items.items if isinstance(i, ast.Literal)})
        case _:
            return None  # asked of every event


def _keyed_feed(signal: KeyedSignal | PatternSignal, leaf: Leaf) -> KeyedFeed:
    parts = _conjuncts(leaf.where)
    paths = [(i, path) for i, part in enumerate(parts) if (path := each_path(part)) is not None]
    if not paths:
        return KeyedFeed(compile_filter(leaf.where) if leaf.where is not None else None, signal, leaf.bit, None, None)
    i, path = paths[0]
    rest = _joined(parts[:i] + parts[i + 1 :])
    return KeyedFeed(compile_filter(rest) if rest is not None else None, signal, leaf.bit, getter(path), path)


def each_touches(
    route: EachRoute, fields: Mapping[str, Any]
) -> tuple[dict[str, list[KeyedFeed]], list[KeyedFeed], str | None]:
    """What one event does to one `for_each` segment: ({value key: its feeds}, feeds for every
    value, the value it puts into the domain)."""
    touched: dict[str, list[KeyedFeed]] = {}
    for_all: list[KeyedFeed] = []
    domain = scalar_key(route.domain(fields)) if route.domain is not None else None
    if domain is not None:
        touched[domain] = []
    for feed in route.feeds:
        if feed.read is None:
            if feed.test is None or feed.test(fields):
                for_all.append(feed)
            continue
        key = scalar_key(feed.read(fields))
        if key is not None and (feed.test is None or feed.test(fields)):
            touched.setdefault(key, []).append(feed)
    return touched, for_all, domain
