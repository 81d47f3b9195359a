"""Why: the conditions that decided a change, with their values at that instant.

A true conjunction is decided by all its parts, a false one by its false parts; a disjunction the other way round. So the facts of an
entry each satisfy their `needs`, those of an exit each fail theirs (or satisfy those of `exit_when`), and nobody needs the history to
check it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.domain.changes import Fact
from app.engine.conditions import Compiler, Condition, Reading
from app.engine.judge import Flip
from app.engine.signals import Signal
from app.engine.state import UserState
from app.engine.units import Unit, member_key
from app.engine.values import key_value
from app.rules import ast
from app.rules.ast import Node
from app.rules.needs import MIRRORED
from app.rules.plan import signal_key
from app.rules.text import duration_text, text
from app.rules.walk import nodes

_CONSTANT = (ast.Literal, ast.Duration)


class FactWriter:
    """Writes facts for the trees of one plan; what it compiles it keeps."""

    def __init__(self, compiler: Compiler, signals: Mapping[int, Signal]) -> None:
        self._compiler = compiler
        self._signals = signals
        self._conditions: dict[tuple[Node, str], Condition] = {}
        self._readings: dict[tuple[Node, str], Reading] = {}
        self._texts: dict[Node, str] = {}
        self._parts: dict[tuple[Node, str], list[tuple[Signal, bool]]] = {}

    def of(self, state: UserState, at: int, flip: Flip, units: Mapping[str, Unit]) -> list[Fact]:
        """The facts behind one flip."""
        if flip.by is not None:
            return [self._pushed_out(flip.unit, flip.each)]
        if flip.change != "moved":
            return self._of_segment(state, at, flip.unit, flip.each, flip.change == "entered")
        facts: list[Fact] = []
        if flip.before is not None and flip.before not in state.ranked:
            facts += [_from(fact) for fact in self._of_segment(state, at, units[flip.before], None, False)]
        if flip.after is not None:
            facts += self._of_segment(state, at, units[flip.after], None, True)
        return facts

    def _of_segment(self, state: UserState, at: int, unit: Unit, each: str | None, entered: bool) -> list[Fact]:
        """Why the user is in (or out) now. A correction, and a move to a segment that had been entered before, tell what keeps it so."""
        assert unit.segment is not None
        if each is not None and not state.values.get(unit.name, {}).get(each):
            return [self._pushed_out(unit, each)]
        own = unit.name if each is None else member_key(unit.name, each)
        when, leave = self._holds_rules(state, at, unit, each)
        if not entered:
            return self._why_out(state, at, unit, each, when, leave, state.exits.get(own, at))
        since = (state.members if unit.grouped is None else state.ranked).get(own, at)
        return self._why_entered(state, at, unit, each) if since == at else self._why_in(state, at, unit, each, leave, since)

    def _holds_rules(self, state: UserState, at: int, unit: Unit, each: str | None) -> tuple[bool, bool]:
        segment = unit.segment
        assert segment is not None
        when = self.holds(state, at, segment.when, unit.owner, each)
        return when, not when if segment.exit_when is None else self.holds(state, at, segment.exit_when, unit.owner, each)

    def standing(self, state: UserState, at: int, unit: Unit, each: str | None) -> list[Fact]:
        """The facts that keep a user in (or out of) a segment at an instant, whether or not they were so when it was entered."""
        assert unit.segment is not None
        truth = self.holds(state, at, unit.segment.when, unit.owner, each)
        return self.decisive(state, at, unit.segment.when, unit.owner, each, truth, "when")

    def _why_entered(self, state: UserState, at: int, unit: Unit, each: str | None) -> list[Fact]:
        segment = unit.segment
        assert segment is not None
        facts = self.decisive(state, at, segment.when, unit.owner, each, True, "when")
        leave = segment.exit_when
        return facts if leave is None else facts + self.decisive(state, at, ast.Not(leave), unit.owner, each, True, "exit_when")

    def _why_in(self, state: UserState, at: int, unit: Unit, each: str | None, leave: bool, since: int) -> list[Fact]:
        segment = unit.segment
        assert segment is not None
        if leave:
            return [Fact("time since the entry", at - since, f"< {duration_text(segment.min_dwell_ms)}", rule="min_dwell")]
        if segment.exit_when is None:
            return self.decisive(state, at, segment.when, unit.owner, each, True, "when")
        return self.decisive(state, at, ast.Not(segment.exit_when), unit.owner, each, True, "exit_when")

    def _why_out(self, state: UserState, at: int, unit: Unit, each: str | None, when: bool, leave: bool, left: int) -> list[Fact]:
        segment = unit.segment
        assert segment is not None
        if leave and segment.exit_when is not None:
            return self.decisive(state, at, segment.exit_when, unit.owner, each, True, "exit_when")
        if not when:
            return self.decisive(state, at, segment.when, unit.owner, each, False, "when")
        return [Fact("time since the exit", at - left, f"< {duration_text(segment.cooldown_ms)}", rule="cooldown")]

    def _pushed_out(self, unit: Unit, each: str | None) -> Fact:
        assert unit.segment is not None
        assert each is not None
        most = unit.segment.max_per_user
        return Fact(f"place of {key_value(each)} among the values by recency", most + 1, f"<= {most}", rule="max_per_user")

    # --- decisive parts ----------------------------------------------------------------------------------------

    def decisive(self, state: UserState, at: int, tree: Node, owner: str, each: str | None, truth: bool, rule: str) -> list[Fact]:
        """The facts that alone make `tree` true (or, with `truth` false, not true)."""
        found: dict[tuple[str, str], Fact] = {}
        self._collect(state, at, tree, owner, each, truth, False, rule, found)
        return list(found.values())

    def _collect(
        self,
        state: UserState,
        at: int,
        node: Node,
        owner: str,
        each: str | None,
        truth: bool,
        negated: bool,
        rule: str,
        found: dict[tuple[str, str], Fact],
    ) -> None:
        if isinstance(node, ast.Not):
            self._collect(state, at, node.operand, owner, each, not truth, not negated, rule, found)
        elif isinstance(node, ast.And | ast.Or):
            for part in node.operands:
                if isinstance(node, ast.And) is truth or self.holds(state, at, part, owner, each) is truth:
                    self._collect(state, at, part, owner, each, truth, negated, rule, found)
        else:
            for fact in self._atom(state, at, node, owner, each, negated, rule):
                found.setdefault((fact.expr, fact.needs), fact)

    def holds(self, state: UserState, at: int, node: Node, owner: str, each: str | None) -> bool:
        """Whether a condition of `owner` holds."""
        compiled = self._conditions.get((node, owner))
        if compiled is None:
            compiled = self._conditions[node, owner] = self._compiler.condition(node, owner)
        return compiled(state, at, each)[0]

    def value(self, state: UserState, at: int, node: Node, owner: str, each: str | None) -> Any:
        """The value of an expression of `owner`."""
        read = self._readings.get((node, owner))
        if read is None:
            read = self._readings[node, owner] = self._compiler.reading(node, owner)
        return read(state, at, each)[0]

    def _atom(self, state: UserState, at: int, node: Node, owner: str, each: str | None, negated: bool, rule: str) -> list[Fact]:
        subject, needs, against = self._split(node, negated)
        if subject is None:
            value = self.holds(state, at, node, owner, each)
            return [self._fact(state, node, node, owner, each, value, "false" if negated else "true", rule)]
        fact = self._fact(state, node, subject, owner, each, self.value(state, at, subject, owner, each), needs, rule)
        if against is not None:
            fact.against = self.value(state, at, against, owner, each)
        return [fact]

    def _split(self, node: Node, negated: bool) -> tuple[Node | None, str, Node | None]:
        """(what is looked at, what it needs to be, the operand that is not constant)."""
        no = "not " if negated else ""
        match node:
            case ast.Compare(op, left, right) if isinstance(left, _CONSTANT) and not isinstance(right, _CONSTANT):
                return right, f"{no}{MIRRORED[op]} {self._text(left)}", None
            case ast.Compare(op, left, right) | ast.TextTest(op, left, right):
                return left, f"{no}{op} {self._text(right)}", None if isinstance(right, _CONSTANT) else right
            case ast.Between(operand, low, high) if isinstance(low, _CONSTANT) and isinstance(high, _CONSTANT):
                return operand, f"{no}between {self._text(low)} and {self._text(high)}", None
            case ast.In(operand, items, isnt):
                listed = f"{'not in' if isnt else 'in'} {self._text(items)}"  # `not in` is false for null, not (in) is true
                return operand, f"not ({listed})" if negated else listed, None
            case ast.Matches(operand, pattern):
                return operand, f"{no}matches {msgspec.json.encode(pattern).decode()}", None
            case ast.IsNull(operand, isnt):
                return operand, "null" if isnt is negated else "not null", None
            case _:
                return None, "", None

    def _fact(self, state: UserState, node: Node, subject: Node, owner: str, each: str | None, value: Any, needs: str, rule: str) -> Fact:
        fact = Fact(self._text(subject), value, needs, rule=rule)
        for signal, whole in self._signals_of(subject, owner):
            if whole and signal.capped(value):
                fact.or_more = True
            fact.approximate = fact.approximate or signal.approximate(state, each if signal.keyed else None)
        return fact

    def _signals_of(self, subject: Node, owner: str) -> list[tuple[Signal, bool]]:
        """The signals that a value is made of, each with whether it is the whole of it."""
        found = self._parts.get((subject, owner))
        if found is None:
            aggregates = [part for part in nodes(subject) if isinstance(part, ast.Aggregate)]
            found = self._parts[subject, owner] = [(self._signals[signal_key(part, owner)], part is subject) for part in aggregates]
        return found

    def _text(self, node: Node) -> str:
        found = self._texts.get(node)
        if found is None:
            found = self._texts[node] = text(node)
        return found


def _from(fact: Fact) -> Fact:
    """A fact about the segment that a group's move leaves."""
    fact.rule = f"from.{fact.rule}"
    return fact
