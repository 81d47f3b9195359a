"""One segment's machine: out and in, dwell and cooldown, held conditions; and the values of a
for_each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from app.domain.events import Event
from app.rules import ast
from tests.support.oracle import candidates, scalars
from tests.support.oracle.instant import Instant
from tests.support.oracle.moments import Past, chooses, each_path


def held_nodes(root: ast.Node) -> Iterator[ast.Held]:
    """The held(...) of an expression, those inside another first."""
    for child in ast.children(root):
        yield from held_nodes(child)
    if isinstance(root, ast.Held):
        yield root


def uses_each(node: ast.Node) -> bool:
    return any(isinstance(part, ast.Each) for part in candidates.walk(node))


@dataclass
class Machine:
    """Whether a user (or one value of a for_each) is in, and since when; `past` is what its
    expressions may know."""

    segment: Any
    past: Past
    since: int | None = None
    last_exit: int | None = None
    held_since: dict[int, int | None] = field(default_factory=dict)

    @property
    def roots(self) -> list[ast.Node]:
        return [root for root in (self.segment.when, self.segment.exit_when) if root is not None]

    def held(self) -> list[ast.Held]:
        """The held(...) this machine watches: one that does not use `each` is the user's, not a
        value's."""
        own = self.past.each is not None
        return [
            node
            for root in self.roots
            for node in held_nodes(root)
            if not self.segment.for_each or uses_each(node) == own
        ]

    def watch(self, instant: Instant) -> None:
        """Takes note of which held conditions hold at this step; one around another is asked with
        the other's answer of this step."""
        for node in self.held():
            holds = instant.holds(node.condition)
            started = self.held_since.get(id(node))
            since = (instant.t if started is None else started) if holds else None
            self.held_since[id(node)] = instant.held_since[id(node)] = since

    def step(self, instant: Instant) -> str | None:
        """Evaluates one step: `entered`, `exited` or None."""
        enter = instant.holds(self.segment.when)
        leave = instant.holds(self.segment.exit_when) if self.segment.exit_when is not None else not enter
        return self._enter(instant.t, enter and not leave) if self.since is None else self._leave(instant.t, leave)

    def _enter(self, t: int, wanted: bool) -> str | None:
        if not wanted or (self.last_exit is not None and t < self.last_exit + self.segment.cooldown_ms):
            return None
        self.since = t
        return "entered"

    def _leave(self, t: int, wanted: bool) -> str | None:
        assert self.since is not None
        if not wanted or t < self.since + self.segment.min_dwell_ms:
            return None
        self.since, self.last_exit = None, t
        return "exited"

    def times(self) -> Iterator[int]:
        """When a delay that runs now ends."""
        if self.since is not None:
            yield self.since + self.segment.min_dwell_ms
        if self.last_exit is not None:
            yield self.last_exit + self.segment.cooldown_ms
        for node in self.held():
            started = self.held_since.get(id(node))
            if started is not None:
                yield started + node.ms


@dataclass
class Tracked:
    """One value of a for_each: its machine, when it was last touched, and whether the for_each
    field ever carried it."""

    value: Any
    machine: Machine
    touched: int
    in_domain: bool = False


@dataclass
class Values:
    """The values of one for_each segment that are remembered for the user."""

    segment: Any
    new_past: Callable[[Any], Past]
    tracked: dict[scalars.Key, Tracked] = field(default_factory=dict)
    touches: int = 0

    def touch(self, event: Event) -> Iterator[Tracked]:
        """Takes note of the values an event touches; yields those that had to leave while they were
        in."""
        stream, path = self.segment.for_each
        for value, names in self._touched(event, stream, path):
            found = self.tracked.get(scalars.key(value))  # type: ignore[arg-type]
            if found is None:
                if len(self.tracked) >= self.segment.max_per_user:
                    yield from self._push_out()
                found = Tracked(value, Machine(self.segment, self.new_past(value)), 0)
                self.tracked[scalars.key(value)] = found  # type: ignore[index]
            self.touches += 1
            found.touched = self.touches
            found.in_domain |= names

    def _touched(self, event: Event, stream: str, path: tuple[str, ...]) -> list[tuple[Any, bool]]:
        past, found = self.new_past(None), dict[scalars.Key, tuple[Any, bool]]()
        own = scalars.at_path(event.fields, path) if chooses(ast.Events(stream), event, past) else None
        if key := scalars.key(own):
            found[key] = (own, True)
        for selector in self._selectors():
            value = scalars.at_path(event.fields, each_path(selector) or ())
            key = scalars.key(value)
            if key and key not in found and chooses(selector, event, self.new_past(value)):
                found[key] = (value, False)
        return list(found.values())

    def _selectors(self) -> Iterator[ast.Events]:
        for root in (self.segment.when, self.segment.exit_when):
            for node in candidates.walk(root) if root is not None else ():
                if isinstance(node, ast.Events) and each_path(node):
                    yield node

    def _push_out(self) -> Iterator[Tracked]:
        key = min(self.tracked, key=lambda key: self.tracked[key].touched)
        gone = self.tracked.pop(key)
        if gone.machine.since is not None:
            yield gone
