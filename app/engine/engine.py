"""The engine's face: one user's state and an event, or an instant, in; changes out. Pure:
everything it knows comes as an argument."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.changes import Change
from app.domain.events import Event
from app.domain.options import EngineOptions
from app.engine import state as states
from app.engine.build import Machine
from app.engine.explain.facts import FactWriter
from app.engine.late import Rollback
from app.engine.migrate import migrate
from app.engine.signals import KeyedSignal, PatternSignal, PlainSignal
from app.engine.state import UserState
from app.engine.step import Stepper
from app.engine.units import Unit
from app.rules.plan import Plan


class Engine:
    """Evaluates users under one plan. Keeps nothing of any user: all of it is in the `UserState`
    handed in, which is changed in place."""

    def __init__(self, plan: Plan, options: EngineOptions) -> None:
        self.plan = plan
        self.options = options
        self._machine = Machine(plan, options)
        self._stepper = Stepper(self._machine)
        self._rollback = Rollback(self._stepper)
        self._keeps_past = options.reorder

    # --- state -----------------------------------------------------------------------------------

    def new_state(self, user: str) -> UserState:
        """A user of whom nothing is known."""
        return self._machine.new_state(user)

    def encode(self, state: UserState) -> bytes:
        """The state's bytes, for the store and the changelog."""
        return states.encode(state)

    def decode(self, raw: bytes) -> UserState:
        """The state in `raw`. Raises StateLayoutError."""
        return states.decode(raw)

    # --- steps -----------------------------------------------------------------------------------

    def apply(self, state: UserState, event: Event, watermark: int) -> list[Change]:
        """Apply one event (`watermark`: the partition's, epoch ms) and give the changes it and the
        timers due before it made.

        A duplicate id counts once. An event older than the user's clock takes its place by time
        (`late`); raises Refused("too_late") when that is further back than what is kept.
        """
        ts = event.ts
        if ts < state.clock or (ts == state.clock and event.rank < state.rank):
            return self._rollback.late(state, event)
        changes: list[Change] = []
        if event.has_id and state.seen and self._stepper.is_duplicate(state, event):
            return changes
        if self._keeps_past:
            self._rollback.remember(state, event, watermark)
        if state.due <= ts:
            self._stepper.fire(state, ts, changes)
        self._stepper.step(state, event, changes)
        return changes

    def fire(self, state: UserState, upto: int) -> list[Change]:
        """Let time pass: fire every timer of the user due at or before `upto`, each at its own due
        time."""
        changes: list[Change] = []
        if state.due <= upto:
            self._stepper.fire(state, upto, changes)
        return changes

    def migrate(self, state: UserState) -> list[Change]:
        """Bring a state made under other definitions under this plan: what is unknown is dropped,
        everything is evaluated at the user's clock, changes have the cause `definition`."""
        return migrate(self._stepper, state)

    # --- what views ask --------------------------------------------------------------------------

    @property
    def signals(self) -> Mapping[int, PlainSignal | KeyedSignal | PatternSignal]:
        """The signals of the plan, by key."""
        return self._machine.signals

    @property
    def units(self) -> list[Unit]:
        """The units, in the order of evaluation."""
        return self._machine.units

    @property
    def machine(self) -> Machine:
        """The compiled plan."""
        return self._machine

    @property
    def facts(self) -> FactWriter:
        """Writes the facts behind an answer."""
        return self._machine.facts

    def unit(self, name: str) -> Unit | None:
        """The unit of that name."""
        return self._machine.by_name.get(name)

    def plan_signals(self, name: str) -> frozenset[int]:
        """The keys of the signals that a unit reads. Raises KeyError for an unknown name."""
        return self.plan.units[self._machine.by_name[name].index].signals
