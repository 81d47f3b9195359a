"""The canonical run: a user's events in their order, the timers between them, each step evaluated
in turn."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.events import Event
from app.domain.options import EngineOptions
from app.rules import ast
from tests.support.oracle import calendar, candidates
from tests.support.oracle.instant import Instant
from tests.support.oracle.machine import Machine, Tracked, Values
from tests.support.oracle.moments import Past


@dataclass(frozen=True)
class Answer:
    """One change. `name` is the segment's or the group's; `cause` is timer, bound, or the id of the
    event that made it."""

    at: int
    what: str
    name: str
    value: Any = None
    from_: str | None = None
    to: str | None = None
    cause: str = ""


@dataclass
class Run:
    """What the canonical run gave: the changes and, at its end, the members with the instant they
    are in since."""

    changes: list[Answer]
    members: dict[str, int]


def canonical_run(
    definitions: Any, options: EngineOptions, events: Sequence[Event], until: int, *, dense: bool = False
) -> Run:
    """Runs one user's `events`, given in order of arrival, and the timers up to `until`.

    `dense` evaluates at every millisecond instead of at the candidate instants: for histories of
    less than a second.
    """
    user = User(definitions, options, dense)
    for event in accepted(events, options):
        if event.ts <= until:
            user.run_timers(event.ts)
            user.apply(event)
    user.run_timers(until)
    return Run(user.changes, user.members())


def accepted(events: Sequence[Event], options: EngineOptions) -> list[Event]:
    """The events in order of application, duplicates left out."""
    kept: list[Event] = []
    for event in sorted(events, key=lambda event: (event.ts, event.rank)):
        seen = event.has_id and any(
            other.has_id and other.id == event.id and event.ts - other.ts < options.dedupe_window_ms for other in kept
        )
        if not seen:
            kept.append(event)
    return kept


class User:
    """One user in the course of the canonical run."""

    def __init__(self, definitions: Any, options: EngineOptions, dense: bool) -> None:
        self.options, self.dense = options, dense
        self.segments = {segment.name: segment for segment in definitions.segments if segment.enabled}
        self.groups = {group.name: group for group in definitions.groups}
        self.group_of = {name: group.name for group in definitions.groups for name in group.segments}
        self.roots = [
            root for segment in self.segments.values() for root in (segment.when, segment.exit_when) if root is not None
        ]
        self.applied: list[Event] = []
        self.behaviour = frozenset(stream.name for stream in options.streams if stream.behaviour)
        self.attributes: dict[str, Any] = {}
        self.consents: dict[str, Any] = {}
        self.changes: list[Answer] = []
        self.clock: int | None = None
        # A for_each segment's own machine only watches the held conditions that do not depend on
        # the value.
        self.machines = {name: Machine(s, self.past(None)) for name, s in self.segments.items()}
        self.values = {name: Values(s, self.past) for name, s in self.segments.items() if s.for_each}
        self.current: dict[str, tuple[str | None, int]] = dict.fromkeys(self.groups, (None, 0))
        self.window_edges = self._window_edges()

    def past(self, value: Any) -> Past:
        return Past(self.applied, self.behaviour, value, len(self.applied))

    def listed(self, group: str) -> list[str]:
        return [name for name in self.groups[group].segments if name in self.segments]

    # --- steps -----------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """The step of one event."""
        answers: list[Answer] = []
        for name, values in self.values.items():
            answers += [Answer(event.ts, "exited", name, gone.value, cause="bound") for gone in values.touch(event)]
        self.applied.append(event)
        if event.stream not in self.behaviour:
            _merge(self.attributes, event.fields.get("attributes"))
            _merge(self.consents, event.fields.get("consent"))
        self._step(event.ts, event.id, answers)

    def run_timers(self, upto: int) -> None:
        """Every timer due after the clock and not after `upto`; nobody has a timer before the first
        event."""
        while self.clock is not None and (due := self._next(self.clock, upto)) is not None:
            self._step(due, "timer", [])

    def _step(self, t: int, cause: str, answers: list[Answer]) -> None:
        self.clock = t
        answers += Step(self, t, cause).run()
        self.changes += sorted(answers, key=lambda answer: (answer.name, spelled(answer.value)))

    # --- when next -------------------------------------------------------------------------------

    def _next(self, after: int, upto: int) -> int | None:
        if self.dense or after >= upto:
            return after + 1 if after < upto else None
        due = min((t for t in self._times(after, upto) if after < t <= upto), default=upto + 1)
        crossed = min(self._crossings(after, due - 1), default=upto + 1)
        due = min(due, crossed)
        return due if due <= upto else None

    def _times(self, after: int, upto: int) -> Iterator[int]:
        yield from candidates.times(self.roots, [event.ts for event in self.applied], self.options)
        yield from candidates.calendar_times(self.roots, after, upto, self.options.timezone)
        yield from self.window_edges
        for machine in self._running():
            yield from machine.times()

    def _running(self) -> Iterator[Machine]:
        yield from self.machines.values()
        for values in self.values.values():
            yield from (tracked.machine for tracked in values.tracked.values())

    def _crossings(self, low: int, high: int) -> set[int]:
        found: set[int] = set()
        for machine in self._running():
            pairs = [pair for root in machine.roots for pair in candidates.moving_pairs(root)]
            found |= candidates.crossings(pairs, lambda t, m=machine: self.instant(m, t, lambda name: False), low, high)
        return found

    def _window_edges(self) -> set[int]:
        nodes = [node for root in self.roots for node in candidates.walk(root)]
        windows = [node.window for node in nodes if isinstance(node, ast.Aggregate) and node.window.kind == "range"]
        return {calendar.edge(text, self.options.timezone) for window in windows for text in (window.start, window.end)}

    def instant(self, machine: Machine, t: int, member: Any) -> Instant:
        user, held = self.applied[0].user, self.machines[machine.segment.name].held_since | machine.held_since
        return Instant(user, t, self.options, machine.past, self.attributes, self.consents, member, held)

    def members(self) -> dict[str, int]:
        """Member key → since; of a group the segment that is its current one, since the move."""
        seen = [name for name in self.machines if name not in self.group_of and name not in self.values]
        found = {name: since for name in seen if (since := self.machines[name].since) is not None}
        found |= {current: since for current, since in self.current.values() if current is not None}
        for name, values in self.values.items():
            for tracked in values.tracked.values():
                if tracked.machine.since is not None:
                    found[f"{name}:{spelled(tracked.value)}"] = tracked.machine.since
        return found


class Step:
    """One step: each segment is asked once, those it refers to before it."""

    def __init__(self, user: User, t: int, cause: str) -> None:
        self.user, self.t, self.cause = user, t, cause
        self.answers: list[Answer] = []
        self.done: set[str] = set()

    def run(self) -> list[Answer]:
        for name in self.user.segments:
            self._segment(name)
        for name in self.user.groups:
            self._group(name)
        return self.answers

    def member(self, name: str) -> bool:
        """segment("name") at this step."""
        if name in self.user.group_of:
            return self._group(self.user.group_of[name]) == name
        self._segment(name)
        if name in self.user.values:
            return any(tracked.machine.since is not None for tracked in self.user.values[name].tracked.values())
        return self.user.machines[name].since is not None

    def _segment(self, name: str) -> None:
        if name in self.done:
            return
        self.done.add(name)
        own = self.user.machines[name]
        own.watch(self.user.instant(own, self.t, self.member))
        if name in self.user.values:
            for tracked in list(self.user.values[name].tracked.values()):
                self._value(name, tracked)
        else:
            self._machine(name, own, None)

    def _value(self, name: str, tracked: Tracked) -> None:
        tracked.machine.watch(self.user.instant(tracked.machine, self.t, self.member))
        if tracked.in_domain:
            self._machine(name, tracked.machine, tracked.value)

    def _machine(self, name: str, machine: Machine, value: Any) -> None:
        what = machine.step(self.user.instant(machine, self.t, self.member))
        if what and name not in self.user.group_of:
            self.answers.append(Answer(self.t, what, name, value, cause=self.cause))

    def _group(self, name: str) -> str | None:
        if name not in self.done:
            self.done.add(name)
            for segment in self.user.listed(name):
                self._segment(segment)
            self._move(name)
        return self.user.current[name][0]

    def _move(self, name: str) -> None:
        now = next((s for s in self.user.listed(name) if self.user.machines[s].since is not None), None)
        before = self.user.current[name][0]
        if now != before:
            self.user.current[name] = (now, self.t)
            self.answers.append(Answer(self.t, "moved", name, None, before, now, self.cause))


def spelled(value: Any) -> str:
    """A for_each value as JSON, whole numbers without a fraction; empty for none."""
    return (
        ""
        if value is None
        else json.dumps(
            int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**63 else value,
            ensure_ascii=False,
        )
    )


def _merge(into: dict[str, Any], update: Any) -> None:
    for name, value in (update or {}).items():
        if value is None:
            into.pop(name, None)
        else:
            into[name] = value
