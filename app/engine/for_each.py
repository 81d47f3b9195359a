"""The values of `for_each` segments: which of them a user has, least recently touched first, what
is fed for each, and eviction."""

from __future__ import annotations

from collections.abc import Iterable

from app.domain.events import Event
from app.domain.members import member_key, scalar_key
from app.engine.evaluate import Transition, dependent_instances, disarm
from app.engine.routing import EachRoute, each_touches
from app.engine.signals import TEMPLATE, Instance, KeyedSignal, PatternSignal, Signal
from app.engine.state import UserState
from app.engine.units import Unit
from app.rules.plan import Plan


class ForEach:
    """The `for_each` segments of one plan. `dirty` collects the instances to evaluate,
    `transitions` those of evicted values."""

    def __init__(self, plan: Plan, signals: Iterable[Signal], units: list[Unit]) -> None:
        names = [segment.name for segment in plan.segments if segment.for_each is not None]
        keyed = [s for s in signals if isinstance(s, KeyedSignal) or (isinstance(s, PatternSignal) and s.keyed)]
        self._units = units
        self._max_values = {segment.name: segment.max_per_user for segment in plan.segments}
        self._segments = {unit.name: unit for unit in units if unit.name in names}
        self._units_of = {name: [unit for unit in units if unit.each and unit.owner == name] for name in names}
        self._signals_of = {name: [signal for signal in keyed if signal.owner == name] for name in names}

    def take(
        self, state: UserState, event: Event, route: EachRoute, dirty: set[Instance], transitions: list[Transition]
    ) -> None:
        """Take an event in for one segment."""
        if route.direct is not None:
            value_key = scalar_key(route.direct(event.fields))
            if value_key is not None:
                self._take_direct(state, event, route, value_key, dirty, transitions)
            return
        touched, for_all, domain = each_touches(route, event.fields)
        if not touched and not for_all:
            return
        for key in touched:
            self._touch(state, route.segment, key, key == domain, dirty, transitions)
        values = state.values.get(route.segment, {})
        masks: dict[tuple[KeyedSignal | PatternSignal, str], int] = {}
        for feed in for_all:
            # The template last: a value's first cell is copied from it as it was before this event.
            for key in (*values, TEMPLATE):
                masks[feed.signal, key] = masks.get((feed.signal, key), 0) | feed.bit
        for key, feeds in touched.items():
            for feed in feeds if key in values else ():
                masks[feed.signal, key] = masks.get((feed.signal, key), 0) | feed.bit
        for (signal, key), mask in masks.items():
            if isinstance(signal, PatternSignal):
                changed = signal.take(state, event.fields, event.ts, mask, key)
            else:
                changed = signal.take(state, event.fields, event.ts, key)
            if key != TEMPLATE:
                dirty.update((index, key) for index in (signal.on_change if changed else signal.on_update).indices)

    def _take_direct(
        self,
        state: UserState,
        event: Event,
        route: EachRoute,
        key: str,
        dirty: set[Instance],
        transitions: list[Transition],
    ) -> None:
        """`take` where the event's one value is all it concerns."""
        fields = event.fields
        self._touch(state, route.segment, key, True, dirty, transitions)
        for test, signal in route.direct_feeds:
            if test is None or test(fields):
                changed = signal.take(state, fields, event.ts, key)
                dirty.update((index, key) for index in (signal.on_change if changed else signal.on_update).indices)

    def _touch(
        self,
        state: UserState,
        segment: str,
        key: str,
        in_domain: bool,
        dirty: set[Instance],
        transitions: list[Transition],
    ) -> None:
        """A value is the most recent now; if it is one too many the least recent is evicted, with
        all that was kept of it."""
        values = state.values.setdefault(segment, {})
        before, known = values.pop(key, None), False
        now_in = before or in_domain
        values[key] = now_in
        if before is None:
            if len(values) > self._max_values[segment]:
                self._evict(state, segment, next(iter(values)), key, dirty, transitions)
            known = self._begin_cells(state, segment, key)
        if now_in is not before:
            # Else something is fed for it first where it can be in at all.
            all_units = before is not None or known
            dirty.update(
                (unit.index, key) for unit in self._units_of[segment] if all_units or not unit.false_when_unknown
            )

    def _begin_cells(self, state: UserState, segment: str, key: str) -> bool:
        """A new value's cells start from what un-keyed events left before it; whether there was
        any."""
        begun = [s for s in self._signals_of[segment] if isinstance(s, PatternSignal) and s.has_template(state)]
        for signal in begun:
            signal.cell_for_write(state, key)
        return bool(begun)

    def _evict(
        self, state: UserState, segment: str, key: str, by: str, dirty: set[Instance], transitions: list[Transition]
    ) -> None:
        del state.values[segment][key]
        for signal in self._signals_of[segment]:
            signal.forget(state, key)
        for unit in self._units_of[segment]:
            disarm(state, member_key(unit.name, key))
            state.held.pop(member_key(unit.name, key), None)
            dirty.discard((unit.index, key))
        member = member_key(segment, key)
        state.exits.pop(member, None)
        if state.members.pop(member, None) is not None:
            left = self._segments[segment]
            transitions.append(Transition(left, key, "exited", by=by))
            for index in left.dependents:
                dirty.update(dependent_instances(state, self._units[index], None))
