"""A plan → the machine that runs it: signals, units with their conditions, who is told of what, and
how changes are explained."""

from __future__ import annotations

from collections.abc import Iterator

from app.domain.changes import DefinitionRef
from app.domain.limits import NEVER
from app.domain.options import EngineOptions
from app.engine import state as states
from app.engine.calendar import Calendar
from app.engine.conditions.answers import Condition, conjunction, negation
from app.engine.conditions.compiler import Compiler
from app.engine.explain.facts import FactWriter
from app.engine.explain.reasons import ReasonCompiler
from app.engine.feed import Feeder
from app.engine.signals import Dependents, Instance, KeyedSignal, PatternSignal, PlainSignal, build_signal
from app.engine.state import UserState
from app.engine.units import Unit, is_member, never
from app.rules import ast
from app.rules.ast import Node, uses_each
from app.rules.plan import Plan, UnitSpec, group_digest

_CONSTANTS = (ast.Literal, ast.Duration, ast.ListOf)


class Machine:
    """One plan, compiled. `units` stand in the order of evaluation; `at_first_event` are those that
    a new user's first event evaluates."""

    def __init__(self, plan: Plan, options: EngineOptions) -> None:
        self.plan = plan
        self.options = options
        calendar = Calendar(options.timezone)
        self.signals: dict[int, PlainSignal | KeyedSignal | PatternSignal] = {
            spec.key: build_signal(spec, options, calendar) for spec in plan.signals
        }
        self.units: list[Unit] = []
        self.by_name: dict[str, Unit] = {}
        self._compiler = Compiler(
            self.signals, calendar, lambda name: lambda state: is_member(state, self.by_name[name])
        )
        for index, spec in enumerate(plan.units):
            unit = self._unit(spec, index)
            self.units.append(unit)
            self.by_name[unit.name] = unit
        self._connect()
        self.feeder = Feeder(plan, options, self.signals, self.units)
        self.at_first_event: list[Instance] = [(unit.index, None) for unit in self.units if unit.at_first_event]
        self.facts = FactWriter(ReasonCompiler(self._compiler, self.signals))

    def new_state(self, user: str) -> UserState:
        """A user of whom nothing is known."""
        return states.new_state(user, self.plan.digest)

    def _unit(self, spec: UnitSpec, index: int) -> Unit:
        enter, leave = self._conditions(spec)
        unit = Unit(spec, index, enter, leave, self._ref(spec))
        unit.false_when_unknown = (
            unit.each and unit.kind == "segment" and self._false_when_unknown(spec.trees[0], spec.owner)
        )
        return unit

    def _conditions(self, spec: UnitSpec) -> tuple[Condition, Condition]:
        """(what takes a unit in, what takes it out), each compiled once."""
        trees = [self._compiler.condition(tree, spec.owner) for tree in spec.trees]
        if not trees:
            return never, never
        when, *rest = trees
        if not rest:
            return when, negation(when)
        return conjunction([when, negation(rest[0])]), rest[0]

    def _false_when_unknown(self, when: Node, owner: str) -> bool:
        """Whether a value is out for certain until something is known of it, whatever else is known
        of the user, because a part of the condition that reads only what is kept of the value says
        no. Such a value is not evaluated before something is fed for it."""
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

    def _connect(self) -> None:
        """Tell units and signals who reads them."""
        dependents: dict[str, list[int]] = {}
        on_change: dict[int, list[int]] = {}
        on_update: dict[int, list[int]] = {}
        for unit, spec in zip(self.units, self.plan.units, strict=True):
            for name in spec.units:
                dependents.setdefault(name, []).append(unit.index)
            for key in spec.signals:
                on_change.setdefault(key, []).append(unit.index)
                if key in spec.uses and spec.uses[key] is None:
                    on_update.setdefault(key, []).append(unit.index)
        for unit in self.units:
            unit.dependents = tuple(dependents.get(unit.name, ()))
        for key, indices in on_change.items():
            unkeyed = not any(self.units[index].each for index in indices)
            self.signals[key].on_change = Dependents(tuple(indices), unkeyed)
            self.signals[key].on_update = Dependents(tuple(on_update.get(key, ())), unkeyed)


def _outermost(node: Node) -> Iterator[Node]:
    """What a condition reads: its leaves but for constants, an aggregate being one leaf."""
    below = () if isinstance(node, ast.Aggregate) else ast.children(node)
    if not below and not isinstance(node, _CONSTANTS):
        yield node
    for child in below:
        yield from _outermost(child)
