"""Feeding: what an event changes of what is kept of its user (session, profile, signals), and which
units are dirty for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.domain.changes import CauseKind
from app.domain.events import Event
from app.domain.limits import PROFILE_ATTRIBUTES_MAX
from app.domain.options import EngineOptions
from app.engine.evaluate import Transition, dependent_instances
from app.engine.for_each import ForEach
from app.engine.routing import Route, build_routes
from app.engine.signals import TEMPLATE, Dependents, Instance, PatternSignal, Signal
from app.engine.state import UserState
from app.engine.units import Unit
from app.rules.plan import Plan


class Feeder:
    """Feeds events to the signals of one plan. `dirty` collects the instances to evaluate,
    `transitions` those of evicted values."""

    def __init__(self, plan: Plan, options: EngineOptions, signals: Mapping[int, Signal], units: list[Unit]) -> None:
        self._units = units
        self._session_gap_ms = options.session_gap_ms
        self.routes = build_routes(options.streams, signals.values(), plan.segments)
        self._for_each = ForEach(plan, signals.values(), units)
        self._profile_units = [unit for unit in units if unit.profile]
        patterns = [signal for signal in signals.values() if isinstance(signal, PatternSignal)]
        self._before_sessions = [signal for signal in patterns if signal.may_precede_session]

    def feed(self, state: UserState, event: Event, dirty: set[Instance], transitions: list[Transition]) -> CauseKind:
        """Take an event in; what kind of cause it is."""
        route = self.routes.get(event.stream)
        if route is None:
            self._take_profile(state, event, dirty)
            return "profile"
        self._take(state, event, route, dirty, transitions)
        return "event"

    def _take(
        self, state: UserState, event: Event, route: Route, dirty: set[Instance], transitions: list[Transition]
    ) -> None:
        ts, fields = event.ts, event.fields
        if ts - state.session_last >= self._session_gap_ms:
            self._begin_session(state, ts, dirty)
        state.session_last = ts
        masks: dict[PatternSignal, int] | None = None
        for feed in route.feeds(fields):
            if feed.test is not None and not feed.test(fields):
                continue
            if feed.take is not None:
                dependents = feed.signal.on_change if feed.take(state, fields, ts) else feed.signal.on_update
                if dependents.indices:
                    self._mark(state, dependents, dirty)
            elif feed.pattern is not None:
                masks = masks if masks is not None else {}
                masks[feed.pattern] = masks.get(feed.pattern, 0) | feed.bit
        if masks is not None:
            for signal, mask in masks.items():
                changed = signal.take(state, fields, ts, mask, None)
                self._mark(state, signal.on_change if changed else signal.on_update, dirty)
        for each in route.each:
            self._for_each.take(state, event, each, dirty, transitions)

    def _begin_session(self, state: UserState, ts: int, dirty: set[Instance]) -> None:
        state.session_start = ts
        for signal in self._before_sessions:
            for value_key in signal.at_session_start(state):
                if value_key is None:
                    self._mark(state, signal.on_change, dirty)
                elif value_key != TEMPLATE:
                    dirty.update((index, value_key) for index in signal.on_change.indices)

    def _mark(self, state: UserState, dependents: Dependents, dirty: set[Instance]) -> None:
        if dependents.unkeyed is not None:
            dirty.update(dependents.unkeyed)
        else:
            for index in dependents.indices:
                dirty.update(dependent_instances(state, self._units[index], None))

    def _take_profile(self, state: UserState, event: Event, dirty: set[Instance]) -> None:
        changed = _merged(state.attributes, event.fields.get("attributes", {}), event.ts)
        changed = _merged(state.consent, event.fields.get("consent", {}), event.ts) or changed
        if changed:
            for unit in self._profile_units:
                dirty.update(dependent_instances(state, unit, None))


def _merged(known: dict[str, tuple[int, Any]], news: Mapping[str, Any], ts: int) -> bool:
    """Per name the value with the largest ts wins, of equals the later applied; a null is kept as
    one, so that an older value cannot come back. Whether anything changed."""
    changed = False
    for name, value in news.items():
        before = known.get(name)
        if before is not None and before[0] > ts:
            continue
        if before is None and len(known) >= PROFILE_ATTRIBUTES_MAX:
            continue
        known[name] = (ts, value)
        changed = True
    return changed
