"""Circles in a graph of names: which names reach themselves, and a way round for each. Time grows with the graph, not with its square."""

from __future__ import annotations

from collections.abc import Mapping

_OWN_WAY_MAX = 100  # names in one knot up to which each has its shortest way looked for; in larger ones they share ways
_SHOWN = 6  # names of a way that are told; of a circle of thousands nobody reads more


def circles(needs: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """Each name that depends on itself → the way round, from it to it, shortened in the middle. `needs` has every name as a key."""
    found: dict[str, list[str]] = {}
    for knot in _knots(needs):
        if len(knot) == 1 and next(iter(knot)) not in needs[next(iter(knot))]:
            continue
        inside = {name: needs[name] & knot for name in knot}
        for start in sorted(knot):
            if len(knot) <= _OWN_WAY_MAX or start not in found:
                _note(found, _way_back(start, inside), everyone=len(knot) > _OWN_WAY_MAX)
    return found


def _note(found: dict[str, list[str]], way: list[str], everyone: bool) -> None:
    """`way` is for its first name; with `everyone` it stands, turned, for each name on it."""
    for i, name in enumerate(way if everyone else way[:1]):
        shown = [way[(i + j) % len(way)] for j in range(min(len(way), _SHOWN))]
        rest = ["…"] if len(way) > _SHOWN else []
        found.setdefault(name, [*shown, *rest, name])


def _way_back(start: str, needs: Mapping[str, set[str]]) -> list[str]:
    """The shortest way from `start` until it is met again, `start` first and not repeated. It exists: all names are of one knot."""
    before: dict[str, str] = {}
    queue = [start]
    for name in queue:
        for other in sorted(needs[name]):
            if other == start:
                way = [name]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way[::-1]
            if other not in before:
                before[other] = name
                queue.append(other)
    raise AssertionError(f"no way back to {start}")


def _knots(needs: Mapping[str, set[str]]) -> list[set[str]]:
    """The strongly connected parts (Tarjan 1972), without recursion: a chain of 20,000 references is no stack overflow."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_: dict[str, None] = {}
    knots: list[set[str]] = []
    for root in needs:
        if root in number:
            continue
        number[root] = lowest[root] = len(number)
        open_[root] = None
        stack = [(root, iter(needs[root]))]
        while stack:
            name, others = stack[-1]
            for other in others:
                if other not in number:
                    number[other] = lowest[other] = len(number)
                    open_[other] = None
                    stack.append((other, iter(needs[other])))
                    break
                if other in open_:
                    lowest[name] = min(lowest[name], number[other])
            else:
                stack.pop()
                if stack:
                    lowest[stack[-1][0]] = min(lowest[stack[-1][0]], lowest[name])
                if lowest[name] == number[name]:
                    knots.append(_closed(open_, name))
    return knots


def _closed(open_: dict[str, None], name: str) -> set[str]:
    knot = set()
    while True:
        last, _ = open_.popitem()
        knot.add(last)
        if last == name:
            return knot
