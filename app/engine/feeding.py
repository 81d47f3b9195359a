"""Feeding: what an event changes of what is kept of its user (session, profile, signals, values of `for_each`), and whom to ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.domain.changes import CauseKind
from app.domain.events import Event
from app.domain.limits import PROFILE_ATTRIBUTES_MAX
from app.domain.members import member_key, scalar_key
from app.domain.options import EngineOptions
from app.engine.judge import Flip, Instance, disarm
from app.engine.routing import EachRoute, Route, build_routes, each_touches
from app.engine.signals import TEMPLATE, Readers, Signal
from app.engine.state import UserState
from app.engine.units import Unit
from app.rules.plan import Plan


class Feeder:
    """Feeds events to the signals of one plan. `due` collects the instances to ask; `flips` who leaves because too many values came."""

    def __init__(self, plan: Plan, options: EngineOptions, signals: Mapping[int, Signal], units: list[Unit]) -> None:
        self._signals = signals
        self._units = units
        self._session_gap_ms = options.session_gap_ms
        self._routes = build_routes(options.streams, signals.values(), plan.segments)
        self._profile_units = [unit for unit in units if unit.profile]
        each = [s.name for s in plan.segments if s.for_each is not None]
        self._each_units = {name: [u for u in units if u.each and u.owner == name] for name in each}
        self._each_segments = {unit.name: unit for unit in units if unit.name in self._each_units}
        self._each_signals = {name: [s for s in signals.values() if s.owner == name] for name in each}
        self._max_values = {s.name: s.max_per_user for s in plan.segments}
        self._before_sessions = [s for s in signals.values() if s.may_precede_session]

    def feed(self, state: UserState, event: Event, due: set[Instance], flips: list[Flip]) -> CauseKind:
        """Take an event in; what kind of cause it is."""
        route = self._routes.get(event.stream)
        if route is None:
            self._take_profile(state, event, due)
            return "profile"
        self._take(state, event, route, due, flips)
        return "event"

    def _take(self, state: UserState, event: Event, route: Route, due: set[Instance], flips: list[Flip]) -> None:
        ts, fields = event.ts, event.fields
        if ts - state.session_last >= self._session_gap_ms:
            self._begin_session(state, ts, due)
        state.session_last = ts
        masks: dict[int, int] | None = None
        for feed in route.feeds(fields):
            if feed.test is not None and not feed.test(fields):
                continue
            if feed.take is None:
                masks = masks if masks is not None else {}
                masks[feed.signal.key] = masks.get(feed.signal.key, 0) | feed.bit
            else:
                readers = feed.signal.readers if feed.take(state, fields, ts) else feed.signal.whole_readers
                if readers.places:
                    self._touched(state, readers, due)
        if masks is not None:
            for key, mask in masks.items():
                signal = self._signals[key]
                changed = signal.take_composite(state, fields, ts, mask, None)
                self._touched(state, signal.readers if changed else signal.whole_readers, due)
        for each in route.each:
            self._take_each(state, event, each, due, flips)

    def _begin_session(self, state: UserState, ts: int, due: set[Instance]) -> None:
        state.session_start = ts
        for signal in self._before_sessions:
            for each in signal.at_session_start(state):
                for place in signal.readers.places if each != TEMPLATE else ():
                    self._add(state, place, each, due)

    def _touched(self, state: UserState, readers: Readers, due: set[Instance]) -> None:
        if readers.plain is not None:
            due.update(readers.plain)
        else:
            for place in readers.places:
                self._add(state, place, None, due)

    def _add(self, state: UserState, place: int, each: str | None, due: set[Instance]) -> None:
        unit = self._units[place]
        if not unit.each:
            due.add((place, None))
        elif each is not None:
            due.add((place, each))
        else:
            due.update((place, key) for key in state.values.get(unit.owner, ()))

    def _take_each(self, state: UserState, event: Event, route: EachRoute, due: set[Instance], flips: list[Flip]) -> None:
        if route.direct is not None:
            self._take_direct(state, event, route, scalar_key(route.direct(event.fields)), due, flips)
            return
        touched, for_all, domain = each_touches(route, event.fields)
        if not touched and not for_all:
            return
        for key in touched:
            self._touch(state, route.segment, key, key == domain, due, flips)
        values = state.values.get(route.segment, {})
        masks: dict[tuple[int, str], int] = {}
        for feed in for_all:
            for key in (*values, TEMPLATE):  # the template last: a value's first cell is copied from it as it was before this event
                masks[feed.signal.key, key] = masks.get((feed.signal.key, key), 0) | feed.bit
        for key, feeds in touched.items():
            for feed in feeds if key in values else ():
                masks[feed.signal.key, key] = masks.get((feed.signal.key, key), 0) | feed.bit
        for (signal_key, key), mask in masks.items():
            signal = self._signals[signal_key]
            changed = signal.take_keyed(state, event.fields, event.ts, mask, key)
            for place in (signal.readers if changed else signal.whole_readers).places if key else ():
                self._add(state, place, key, due)

    def _take_direct(
        self, state: UserState, event: Event, route: EachRoute, key: str | None, due: set[Instance], flips: list[Flip]
    ) -> None:
        """`_take_each` where the event's one value is all it concerns."""
        fields = event.fields
        if key is None:
            return
        self._touch(state, route.segment, key, True, due, flips)
        for feed in route.feeds:
            if feed.test is None or feed.test(fields):
                changed = feed.signal.take_keyed(state, fields, event.ts, feed.bit, key)
                due.update((place, key) for place in (feed.signal.readers if changed else feed.signal.whole_readers).places)

    def _touch(self, state: UserState, segment: str, key: str, in_domain: bool, due: set[Instance], flips: list[Flip]) -> None:
        """A value of a `for_each` segment is the most recent now; if it is one too many the least recent leaves, with all that was kept
        of it."""
        values = state.values.setdefault(segment, {})
        before, known = values.pop(key, None), False
        values[key] = now_in = before or in_domain
        if before is None:
            if len(values) > self._max_values[segment]:
                self._push_out(state, segment, next(iter(values)), key, due, flips)
            known = self._own_cells(state, segment, key)
        if now_in is not before:
            ask_all = before is not None or known
            due.update((unit.place, key) for unit in self._each_units[segment] if ask_all or not unit.silent)

    def _own_cells(self, state: UserState, segment: str, key: str) -> bool:
        """A new value's cells start from what un-keyed events left before it; whether there was any."""
        found = [s for s in self._each_signals[segment] if s.composite and TEMPLATE in state.signals.get(s.key, ())]
        for signal in found:
            signal.own_cell(state, key)
        return bool(found)

    def _push_out(self, state: UserState, segment: str, key: str, by: str, due: set[Instance], flips: list[Flip]) -> None:
        del state.values[segment][key]
        for signal in self._each_signals[segment]:
            state.signals.get(signal.key, {}).pop(key, None)
        for unit in self._each_units[segment]:
            disarm(state, member_key(unit.name, key))
            state.held.pop(member_key(unit.name, key), None)
            due.discard((unit.place, key))
        own = member_key(segment, key)
        state.exits.pop(own, None)
        if state.members.pop(own, None) is not None:
            left = self._each_segments[segment]
            flips.append(Flip(left, key, "exited", by=by))
            for place in left.dependents:
                self._add(state, place, None, due)

    def _take_profile(self, state: UserState, event: Event, due: set[Instance]) -> None:
        changed = _merged(state.attributes, event.fields.get("attributes", {}), event.ts)
        changed = _merged(state.consent, event.fields.get("consent", {}), event.ts) or changed
        if changed:
            for unit in self._profile_units:
                self._add(state, unit.place, None, due)


def _merged(known: dict[str, tuple[int, Any]], news: Mapping[str, Any], ts: int) -> bool:
    """Per name the value with the largest ts wins, of equals the later applied; a null is kept as one, so that an older value cannot come
    back."""
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
