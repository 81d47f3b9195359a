"""One step of one user: due timers fire, the event feeds, what is dirty is evaluated, changes are
written. Knows no disorder."""

from __future__ import annotations

from app.domain.changes import Cause, Change, make_change
from app.domain.events import Event
from app.domain.limits import NEVER, TIMER_STEPS_MAX
from app.domain.members import scalar_value, split
from app.engine import dedupe
from app.engine.build import Machine
from app.engine.evaluate import Transition, disarm, evaluate
from app.engine.signals import Instance
from app.engine.state import UserState

TIMER_RANK = -1  # before every stream: a timer's instant comes before events of that instant


class Stepper:
    """Steps users under one plan."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._units = machine.units
        self._by_name = machine.by_name
        self._feed = machine.feeder.feed
        self._at_first_event = machine.at_first_event
        self._dedupe = dedupe.Window(machine.options)
        self.is_duplicate = self._dedupe.has

    def step(self, state: UserState, event: Event, changes: list[Change]) -> None:
        """Apply an event that is in order and no duplicate; timers due before it have fired."""
        ts = event.ts
        first = state.applied == 0
        state.core = None
        state.applied += 1
        state.clock, state.rank = ts, event.rank
        if event.has_id:
            self._dedupe.remember(state, event)
        dirty: set[Instance] = set(self._at_first_event) if first else set()
        transitions: list[Transition] = []
        kind = self._feed(state, event, dirty, transitions)
        if dirty:
            transitions += evaluate(state, ts, self._units, dirty)
            if len(transitions) > 1:
                transitions.sort(key=lambda transition: transition.order)
        if transitions:
            self._emit(state, ts, transitions, Cause(kind, event.id, event.stream, ts), changes)

    def fire(self, state: UserState, upto: int, changes: list[Change]) -> None:
        """Fire every timer due at or before `upto`, each at its own due time; after TIMER_STEPS_MAX
        instants the rest waits for the next call."""
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
        dirty: set[Instance] = set()
        for key in keys:
            name, value_key = split(key)
            unit = self._by_name.get(name)
            if unit is None:
                disarm(state, key)
            else:
                dirty.add((unit.index, value_key))
        transitions = evaluate(state, due, self._units, dirty)
        if state.due <= due:
            for key in keys:
                if state.dues.get(key, NEVER) <= due:
                    disarm(state, key)
        if transitions:
            self._emit(state, due, transitions, Cause("timer", due=due), changes)

    def _emit(
        self, state: UserState, at: int, transitions: list[Transition], cause: Cause, changes: list[Change]
    ) -> None:
        for transition in transitions:
            why = cause
            if transition.by is not None:
                why = Cause("bound", cause.event_id, cause.stream, cause.ts, by=scalar_value(transition.by))
            changes.append(self.change(state, at, transition, why, False))

    def change(self, state: UserState, at: int, transition: Transition, cause: Cause, late: bool) -> Change:
        """The change for a transition; takes the user's next sequence number."""
        state.seq += 1
        state.core = None
        unit, value_key = transition.unit, transition.value_key
        facts = self.machine.facts.of(state, at, transition, self._by_name)
        head = (state.user, state.seq, at, late, unit.ref, cause, facts)
        if unit.kind == "group":
            return make_change(*head, group=unit.name, change="moved", from_=transition.before, to=transition.after)
        value = None if value_key is None else scalar_value(value_key)
        return make_change(*head, segment=unit.name, value=value, change=transition.change)
