"""The engine: one user's state and an event, or an instant, in; changes out. Pure: everything it knows comes as an argument.

`apply` takes one event: the user's timers due at or before it fire first, each at its own due time; then the event feeds the signals it
concerns, and what they touch is judged.
`fire` lets time pass. An event older than the user's clock goes through `reorder`, which gives the state that the right order would have
given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.domain.changes import Cause, Change, DefinitionRef, make_change
from app.domain.events import Event
from app.domain.limits import NEVER, TIMER_STEPS_MAX
from app.domain.members import scalar_value, split
from app.domain.options import EngineOptions
from app.engine import state as states
from app.engine.answers import Condition
from app.engine.calendar import Calendar
from app.engine.conditions import Compiler
from app.engine.facts import FactWriter
from app.engine.feeding import Feeder
from app.engine.judge import Flip, Instance, disarm, judge
from app.engine.past import Reorder
from app.engine.reasons import ReasonCompiler
from app.engine.settle import settle
from app.engine.signals import Readers, Signal
from app.engine.state import UserState
from app.engine.units import Unit, is_member
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
        self._feeder = Feeder(plan, options, self.signals, self.units)
        self._newborn = [(unit.place, None) for unit in self.units if unit.newborn]
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
            name, each = split(key)
            unit = self._by_name.get(name)
            if unit is None:
                disarm(state, key)
            else:
                instances.add((unit.place, each))
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
        flips: list[Flip] = []
        kind = self._feeder.feed(state, event, due, flips)
        if due:
            flips += judge(state, ts, self.units, due)
            if len(flips) > 1:
                flips.sort(key=lambda flip: flip.order)
        if flips:
            self._emit(state, ts, flips, Cause(kind, event.id, event.stream, ts), False, changes)

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
            why = cause if flip.by is None else Cause("bound", cause.event_id, cause.stream, cause.ts, by=scalar_value(flip.by))
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
        value = None if flip.each is None else scalar_value(flip.each)
        return make_change(state.user, state.seq, at, late, unit.ref, cause, facts, segment=unit.name, value=value, change=flip.change)

    def difference(self, before: UserState, after: UserState) -> list[Flip]:
        """The flips that lead from one state's published memberships to another's, in the order of emission."""
        flips: list[Flip] = []
        for key in before.members.keys() ^ after.members.keys():
            name, each = split(key)
            unit = self._by_name.get(name)
            if unit is not None and unit.kind == "segment" and unit.grouped is None:
                flips.append(Flip(unit, each, "entered" if key in after.members else "exited"))
        moves = [(self._by_name[g.name], before.groups.get(g.name), after.groups.get(g.name)) for g in self.plan.groups]
        flips += [Flip(unit, None, "moved", old, new) for unit, old, new in moves if old != new]
        return sorted(flips, key=lambda flip: flip.order)

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


def _outermost(node: Node) -> Iterator[Node]:
    """What a condition reads: its leaves but for constants, an aggregate being one leaf."""
    below = () if isinstance(node, ast.Aggregate) else ast.children(node)
    if not below and not isinstance(node, _CONSTANTS):
        yield node
    for child in below:
        yield from _outermost(child)
