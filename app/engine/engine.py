"""The engine: one user's state and an event, or an instant, in; changes out. Pure: everything it knows comes as an argument.

`apply` takes one event: the user's timers due at or before it fire first, each at its own due time; then the event feeds the signals it
concerns, and what they touch is judged.
`fire` lets time pass. An event older than the user's clock goes through `reorder`, which gives the state that the right order would have
given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.domain.changes import Cause, Change, DefinitionRef, make_change
from app.domain.events import Event
from app.domain.limits import FOR_EACH_VALUES_DEFAULT, NEVER, PROFILE_ATTRIBUTES_MAX, TIMER_STEPS_MAX
from app.domain.options import EngineOptions
from app.engine import state as states
from app.engine.answers import Condition
from app.engine.calendar import Calendar
from app.engine.conditions import Compiler
from app.engine.facts import FactWriter
from app.engine.judge import Flip, Instance, disarm, judge
from app.engine.past import Reorder
from app.engine.reasons import ReasonCompiler
from app.engine.routing import EachRoute, Route, build_routes, each_touches
from app.engine.settle import settle
from app.engine.signals import TEMPLATE, Readers, Signal
from app.engine.state import UserState
from app.engine.units import SEPARATOR, Unit, instance_key, is_member, member_key, split_member_key
from app.engine.values import key_value, scalar_key
from app.rules import ast
from app.rules.ast import Node
from app.rules.plan import Plan, UnitSpec, group_digest
from app.rules.types import uses_each

TIMER_RANK = -1
_CONSTANTS = (ast.Literal, ast.Duration, ast.ListOf)


class Engine:
    """Judges users under one plan. Keeps nothing of any user: all of it is in the `UserState` handed in, which is changed in place."""

    def __init__(self, plan: Plan, options: EngineOptions) -> None:
        self.plan = plan
        self.options = options
        self.calendar = Calendar(options.timezone)
        self.signals = {spec.key: Signal(spec, options, self.calendar) for spec in plan.signals}
        self.units: list[Unit] = []
        self._by_name: dict[str, Unit] = {}
        self._compiler = Compiler(self.signals, self.calendar, self._membership)
        for place, spec in enumerate(plan.units):
            self._add_unit(spec, place)
        self._connect(plan.units)
        self._routes = build_routes(options.streams, self.signals.values(), plan.segments)
        self._newborn = [(unit.place, None) for unit in self.units if unit.newborn]
        self._profile_units = [unit for unit in self.units if unit.profile]
        each = [s.name for s in plan.segments if s.for_each is not None]
        self._each_units = {name: [u for u in self.units if u.each and u.owner == name] for name in each}
        self._each_signals = {name: [s for s in self.signals.values() if s.owner == name] for name in each}
        self._max_values = {s.name: s.max_per_user for s in plan.segments}
        self._before_sessions = [s for s in self.signals.values() if s.may_precede_session]
        self._facts = FactWriter(ReasonCompiler(self._compiler, self.signals))
        self._dedupe_window_ms, self._dedupe_ids_max = options.dedupe_window_ms, max(1, options.dedupe_ids_max)
        self._reorders = options.reorder
        self._reorder = Reorder(self, options)

    # --- building ----------------------------------------------------------------------------------------------

    def _add_unit(self, spec: UnitSpec, place: int) -> None:
        owner = spec.segment.name if spec.segment else ""
        trees = [self._compiler.condition(tree, owner) for tree in spec.trees]
        when: Condition | None = trees[0] if trees else None
        leave = trees[1] if len(trees) > 1 else None
        unit = Unit(spec, place, when, leave, self._ref(spec))
        unit.silent = unit.each and unit.kind == "segment" and self._silent(spec.trees[0], owner)
        self.units.append(unit)
        self._by_name[unit.name] = unit

    def _silent(self, when: Node, owner: str) -> bool:
        """Whether a value of which nothing is known cannot be in, whatever else is known of the user, because a part of the condition that
        reads only what is kept of the value says no. Such a value is not asked about before something is fed for it."""
        nothing = states.new_state("", "")
        for part in when.operands if isinstance(when, ast.And) else (when,):
            reads = list(_outermost(part))
            alone = bool(reads) and all(isinstance(node, ast.Aggregate) and uses_each(node) for node in reads)
            if alone and self._compiler.condition(part, owner)(nothing, 0, "s") == (False, NEVER):
                return True
        return False

    def _ref(self, spec: UnitSpec) -> DefinitionRef:
        if spec.group is not None:
            return DefinitionRef(spec.group.name, spec.group.version, group_digest(spec.group, self.plan.segments))
        return spec.segment.ref() if spec.segment is not None else DefinitionRef(spec.name, 1, "")

    def _membership(self, name: str) -> Any:
        return lambda state: is_member(state, self._by_name[name])

    def _connect(self, specs: tuple[UnitSpec, ...]) -> None:
        dependents: dict[str, list[int]] = {}
        readers: dict[int, list[int]] = {}
        whole: dict[int, list[int]] = {}
        for unit, spec in zip(self.units, specs, strict=True):
            for name in spec.units:
                dependents.setdefault(name, []).append(unit.place)
            for key in spec.signals:
                readers.setdefault(key, []).append(unit.place)
                if spec.needs.get(key, 0) is None:
                    whole.setdefault(key, []).append(unit.place)
        for unit in self.units:
            unit.dependents = tuple(dependents.get(unit.name, ()))
        for key, places in readers.items():
            plain = not any(self.units[place].each for place in places)
            self.signals[key].readers = Readers(tuple(places), plain)
            self.signals[key].whole_readers = Readers(tuple(whole.get(key, ())), plain)

    # --- state -------------------------------------------------------------------------------------------------

    def new_state(self, user: str) -> UserState:
        """A user of whom nothing is known."""
        return states.new_state(user, self.plan.digest)

    def encode(self, state: UserState) -> bytes:
        """The state's bytes, for the store and the changelog."""
        return states.encode(state)

    def decode(self, raw: bytes) -> UserState:
        """The state in `raw`. Raises StateLayoutError."""
        return states.decode(raw)

    # --- steps -------------------------------------------------------------------------------------------------

    def apply(self, state: UserState, event: Event, watermark: int) -> list[Change]:
        """Apply one event (`watermark`: the partition's, epoch ms) and give the changes it and the timers due before it made.

        A duplicate id counts once. Raises Refused("too_late") when a late event's place is further back than what is kept.
        """
        ts = event.ts
        if ts < state.clock or (ts == state.clock and event.rank < state.rank):
            return self._reorder.late(state, event)
        changes: list[Change] = []
        if event.has_id and state.seen and self.is_duplicate(state, event):
            return changes
        if self._reorders:
            self._reorder.remember(state, event, watermark)
        if state.due <= ts:
            self.fire_into(state, ts, changes)
        self.step(state, event, changes)
        return changes

    def fire(self, state: UserState, upto: int) -> list[Change]:
        """Fire every timer of the user due at or before `upto`, each at its own due time."""
        changes: list[Change] = []
        if state.due <= upto:
            self.fire_into(state, upto, changes)
        return changes

    def fire_into(self, state: UserState, upto: int, changes: list[Change]) -> None:
        """`fire`, adding to `changes`; after TIMER_STEPS_MAX instants the rest waits for the next call."""
        for _ in range(TIMER_STEPS_MAX):
            due = state.due
            if due > upto:
                return
            self._fire_at(state, due, changes)

    def _fire_at(self, state: UserState, due: int, changes: list[Change]) -> None:
        """One step: all timers due at one instant."""
        state.core = None
        if due > state.clock:
            state.clock, state.rank = due, TIMER_RANK
        keys = [key for key, at in state.dues.items() if at <= due]
        instances: set[Instance] = set()
        for key in keys:
            name, found, each = key.partition(SEPARATOR)
            unit = self._by_name.get(name)
            if unit is None:
                disarm(state, key)
            else:
                instances.add((unit.place, each if found else None))
        flips = judge(state, due, self.units, instances)
        if state.due <= due:
            for key in keys:
                if state.dues.get(key, NEVER) <= due:
                    disarm(state, key)
        if flips:
            self._emit(state, due, flips, Cause("timer", due=due), False, changes)

    def step(self, state: UserState, event: Event, changes: list[Change]) -> None:
        """Apply an event that is in order and no duplicate; timers due before it have fired."""
        ts = event.ts
        born = state.applied == 0
        state.core = None
        state.applied += 1
        state.clock, state.rank = ts, event.rank
        if event.has_id:
            self._remember_id(state, event)
        due: set[Instance] = set(self._newborn) if born else set()
        route = self._routes.get(event.stream)
        flips: list[Flip] = []
        if route is None:
            self._take_profile(state, event, due)
            kind = "profile"
        else:
            self._take(state, event, route, due, flips)
            kind = "event"
        if due:
            flips += judge(state, ts, self.units, due)
            if len(flips) > 1:
                flips.sort(key=lambda flip: flip.order)
        if flips:
            self._emit(state, ts, flips, Cause(kind, event.id, event.stream, ts), False, changes)

    # --- feeding -----------------------------------------------------------------------------------------------

    def _take(self, state: UserState, event: Event, route: Route, due: set[Instance], flips: list[Flip]) -> None:
        ts, fields = event.ts, event.fields
        if ts - state.session_last >= self.options.session_gap_ms:
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
                signal = self.signals[key]
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
        unit = self.units[place]
        if not unit.each:
            due.add((place, None))
        elif each is not None:
            due.add((place, each))
        else:
            due.update((place, key) for key in state.values.get(unit.owner, ()))

    def _take_each(self, state: UserState, event: Event, route: EachRoute, due: set[Instance], flips: list[Flip]) -> None:
        if route.direct:
            self._take_direct(state, event, route, due, flips)
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
            signal = self.signals[signal_key]
            changed = signal.take_keyed(state, event.fields, event.ts, mask, key)
            for place in (signal.readers if changed else signal.whole_readers).places if key else ():
                self._add(state, place, key, due)

    def _take_direct(self, state: UserState, event: Event, route: EachRoute, due: set[Instance], flips: list[Flip]) -> None:
        """`_take_each` where the event's one value is all it concerns."""
        fields = event.fields
        key = scalar_key(route.domain(fields))  # type: ignore[misc]
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
            if len(values) > self._max_values.get(segment, FOR_EACH_VALUES_DEFAULT):
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
            disarm(state, instance_key(unit.name, key))
            state.held.pop(instance_key(unit.name, key), None)
            due.discard((unit.place, key))
        own = member_key(segment, key)
        state.exits.pop(own, None)
        if state.members.pop(own, None) is not None:
            left = self._by_name[segment]
            flips.append(Flip(left, key, "exited", by=by))
            for place in left.dependents:
                self._add(state, place, None, due)

    def _take_profile(self, state: UserState, event: Event, due: set[Instance]) -> None:
        changed = _merged(state.attributes, event.fields.get("attributes", {}), event.ts)
        changed = _merged(state.consent, event.fields.get("consent", {}), event.ts) or changed
        if changed:
            for unit in self._profile_units:
                self._add(state, unit.place, None, due)

    # --- duplicates --------------------------------------------------------------------------------------------

    def is_duplicate(self, state: UserState, event: Event) -> bool:
        """Whether an event of the same id was applied less than `dedupe_window` before."""
        if not event.has_id:
            return False
        before = state.seen.get(states.remembered_id(event.id))
        return before is not None and event.ts - before < self.options.dedupe_window_ms

    def _remember_id(self, state: UserState, event: Event) -> None:
        seen, ts = state.seen, event.ts
        name = event.id if len(event.id) <= states.SHORT_ID_CHARS else states.remembered_id(event.id)
        if seen:
            seen.pop(name, None)
            edge, most = ts - self._dedupe_window_ms, self._dedupe_ids_max
            while seen:
                oldest = next(iter(seen))
                if seen[oldest] > edge and len(seen) < most:
                    break
                del seen[oldest]
        seen[name] = ts

    # --- changes -----------------------------------------------------------------------------------------------

    def _emit(self, state: UserState, at: int, flips: list[Flip], cause: Cause, late: bool, changes: list[Change]) -> None:
        for flip in flips:
            why = cause if flip.by is None else Cause("bound", cause.event_id, cause.stream, cause.ts, by=key_value(flip.by))
            changes.append(self.change(state, at, flip, why, late))

    def change(self, state: UserState, at: int, flip: Flip, cause: Cause, late: bool) -> Change:
        """The change for a flip; takes the user's next sequence number."""
        state.seq += 1
        state.core = None
        unit = flip.unit
        facts = self._facts.of(state, at, flip, self._by_name)
        if unit.kind == "group":
            return make_change(
                state.user, state.seq, at, late, unit.ref, cause, facts, group=unit.name, change="moved", from_=flip.before, to=flip.after
            )
        value = None if flip.each is None else key_value(flip.each)
        return make_change(state.user, state.seq, at, late, unit.ref, cause, facts, segment=unit.name, value=value, change=flip.change)

    def difference(self, before: UserState, after: UserState) -> list[Flip]:
        """The flips that lead from one state's published memberships to another's, in the order of emission."""
        flips: list[Flip] = []
        for key in before.members.keys() ^ after.members.keys():
            name, found, _ = key.partition(SEPARATOR)
            unit = self._by_name.get(name)
            if unit is not None and unit.kind == "segment" and unit.grouped is None:
                flips.append(Flip(unit, self._each_of(key) if found else None, "entered" if key in after.members else "exited"))
        moves = [(self._by_name[g.name], before.groups.get(g.name), after.groups.get(g.name)) for g in self.plan.groups]
        flips += [Flip(unit, None, "moved", old, new) for unit, old, new in moves if old != new]
        return sorted(flips, key=lambda flip: flip.order)

    @staticmethod
    def _each_of(key: str) -> str:
        found = scalar_key(split_member_key(key)[1])
        assert found is not None
        return found

    # --- other definitions -------------------------------------------------------------------------------------

    def settle(self, state: UserState) -> list[Change]:
        """Bring a state made under other definitions under this plan: what is unknown is dropped, everything is judged at the user's
        clock, changes have the cause `definition`."""
        return settle(self, state)

    def unit(self, name: str) -> Unit | None:
        """The unit of that name."""
        return self._by_name.get(name)

    def plan_signals(self, name: str) -> frozenset[int]:
        """The keys of the signals that a unit reads. Raises KeyError for an unknown name."""
        return self.plan.units[self._by_name[name].place].signals

    @property
    def facts(self) -> FactWriter:
        """Writes the facts behind an answer."""
        return self._facts


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


def _outermost(node: Node) -> Iterator[Node]:
    """What a condition reads: its leaves but for constants, an aggregate being one leaf."""
    below = () if isinstance(node, ast.Aggregate) else ast.children(node)
    if not below and not isinstance(node, _CONSTANTS):
        yield node
    for child in below:
        yield from _outermost(child)
