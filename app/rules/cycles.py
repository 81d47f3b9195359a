"""Cycles in a graph of names: which names reach themselves, and by which path. Time grows with the
graph, not with its square."""

from __future__ import annotations

from collections.abc import Mapping

# Names in one component up to which each has its shortest path looked for; in larger ones they
# share paths.
_OWN_PATH_MAX = 100
_SHOWN = 6  # names of a path that are reported; of a cycle of thousands nobody reads more


def cycles(needs: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """Each name that depends on itself → the path from it to it, shortened in the middle. `needs`
    has every name as a key."""
    found: dict[str, list[str]] = {}
    for component in _components(needs):
        if len(component) == 1 and next(iter(component)) not in needs[next(iter(component))]:
            continue
        inside = {name: needs[name] & component for name in component}
        for start in sorted(component):
            if len(component) <= _OWN_PATH_MAX or start not in found:
                _note(found, _path_back(start, inside), everyone=len(component) > _OWN_PATH_MAX)
    return found


def _note(found: dict[str, list[str]], path: list[str], everyone: bool) -> None:
    """`path` is for its first name; with `everyone` it stands, turned, for each name on it."""
    for i, name in enumerate(path if everyone else path[:1]):
        shown = [path[(i + j) % len(path)] for j in range(min(len(path), _SHOWN))]
        rest = ["…"] if len(path) > _SHOWN else []
        found.setdefault(name, [*shown, *rest, name])


def _path_back(start: str, needs: Mapping[str, set[str]]) -> list[str]:
    """The shortest path from `start` until it is met again, `start` first and not repeated. It
    exists: all names are of one component."""
    before: dict[str, str] = {}
    queue = [start]
    for name in queue:
        for other in sorted(needs[name]):
            if other == start:
                path = [name]
                while path[-1] != start:
                    path.append(before[path[-1]])
                return path[::-1]
            if other not in before:
                before[other] = name
                queue.append(other)
    raise AssertionError(f"no path back to {start}")


def _components(needs: Mapping[str, set[str]]) -> list[set[str]]:
    """The strongly connected parts (Tarjan 1972), without recursion: a chain of 20,000 references
    is no stack overflow."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_: dict[str, None] = {}
    components: list[set[str]] = []
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
                    components.append(_closed(open_, name))
    return components


def _closed(open_: dict[str, None], name: str) -> set[str]:
    component = set()
    while True:
        last, _ = open_.popitem()
        component.add(last)
        if last == name:
            return component
