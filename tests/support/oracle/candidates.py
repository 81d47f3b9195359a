"""The instants at which an answer could change with no further event: derived generously, one too
many does no harm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from app.domain.options import EngineOptions
from app.rules import ast
from tests.support.oracle import calendar, scalars
from tests.support.oracle.instant import DECAY_HALF_LIVES_MAX, Instant

Pair = tuple[ast.Node, ast.Node]
SUBDIVISIONS = 8
_ZERO = ast.Literal(0, "number")


def walk(node: ast.Node) -> Iterator[ast.Node]:
    yield node
    for child in ast.children(node):
        yield from walk(child)


def times(roots: Iterable[ast.Node], events: list[int], options: EngineOptions) -> set[int]:
    """Every instant that some event time and the durations written in `roots` make up; events'
    streams and filters are not looked at."""
    found = set(events) | {ts + options.session_gap_ms for ts in events}
    for root in roots:
        for node in walk(root):
            if isinstance(node, ast.Aggregate):
                for ts in selector_times(node.selector, events):
                    faded = ts + DECAY_HALF_LIVES_MAX * int(node.parameter or 0)
                    found |= {ts, ts + node.window.ms, faded, faded + 1}
    return found


def selector_times(selector: ast.Node, events: list[int]) -> set[int]:
    if isinstance(selector, ast.Absence):
        return {ts + selector.within_ms for ts in selector_times(selector.first, events)}
    return set(events)


def calendar_times(roots: Iterable[ast.Node], after: int, upto: int, zone: str) -> Iterator[int]:
    """Boundaries of the zone's calendar that the expressions may notice."""
    nodes = [node for root in roots for node in walk(root)]
    if any(isinstance(node, ast.Calendar) and node.fn == "hour" for node in nodes):
        yield from calendar.quarters(after, upto)
    if any(
        isinstance(node, ast.Calendar) or (isinstance(node, ast.Aggregate) and _is_calendar(node.window))
        for node in nodes
    ):
        yield from calendar.midnights(after, upto, zone)


def _is_calendar(window: ast.Window) -> bool:
    return window.kind in ("today", "this week", "this month")


def moving_pairs(root: ast.Node) -> Iterator[Pair]:
    """Pairs of numbers of which one moves with time by itself; where their order changes, an answer
    may."""
    for node in walk(root):
        for left, right in _pairs(node):
            if moves(left) or moves(right):
                yield left, right


def _pairs(node: ast.Node) -> list[Pair]:
    match node:
        case ast.Compare(_, left, right):
            return [(left, right)]
        case ast.Between(operand, low, high):
            return [(operand, low), (operand, high)]
        case ast.In(operand, items, _):
            return [(operand, item) for item in items.items]
        case ast.Arith("/", _, right):
            return [(right, _ZERO)]
    return []


def moves(node: ast.Node) -> bool:
    return any(isinstance(part, ast.Aggregate) and part.fn in ("since", "since_first", "decay") for part in walk(node))


def crossings(pairs: list[Pair], at: Any, low: int, high: int) -> set[int]:
    """The instants in (low, high] at which a pair's order differs from that of a millisecond
    before.

    `at(t)` gives the `Instant` to evaluate with. Between two candidate instants a pair's difference
    is monotone but for odd mixtures; some subdivisions are for those.
    """
    if not pairs or high <= low:
        return set()
    found: set[int] = set()
    marks = sorted({low + (high - low) * i // SUBDIVISIONS for i in range(SUBDIVISIONS + 1)})
    for pair in pairs:
        for start, end in pairwise(marks):
            found |= _bisect(pair, at, start, end)
    return found


def _bisect(pair: Pair, at: Any, low: int, high: int) -> set[int]:
    first, last = order(pair, at(low)), order(pair, at(high))
    if first == last:
        return set()
    if high - low == 1:
        return {high}
    middle = (low + high) // 2
    return _bisect(pair, at, low, middle) | _bisect(pair, at, middle, high)


def order(pair: Pair, instant: Instant) -> int | None:
    left, right = instant.value(pair[0]), instant.value(pair[1])
    if scalars.kind(left) != "number" or scalars.kind(right) != "number":
        return None
    return int(left > right) - int(left < right)
