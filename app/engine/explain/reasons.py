"""A condition's tree, compiled to tell why: which of its parts decide an answer, and the facts that
these give.

A true conjunction is decided by all its parts, a false one by its false parts; a disjunction the
other way round.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from app.domain.changes import Fact
from app.engine.conditions.answers import Condition
from app.engine.conditions.compiler import Compiler
from app.engine.signals import Reading, Signal
from app.engine.state import UserState
from app.rules import ast
from app.rules.ast import Node, nodes
from app.rules.demand import MIRRORED
from app.rules.plan import signal_key
from app.rules.text import text

_CONSTANT = (ast.Literal, ast.Duration)

Found = dict[tuple[str, str], Fact]


@dataclass(slots=True)
class Reason(ABC):
    """A part of a condition: its text, and whether it holds."""

    expr: str
    condition: Condition

    def holds(self, state: UserState, at: int, value_key: str | None) -> bool:
        """Whether the part holds at an instant."""
        return self.condition(state, at, value_key)[0]

    def facts(self, state: UserState, at: int, value_key: str | None, truth: bool, rule: str) -> list[Fact]:
        """The facts that alone make the part true (or, with `truth` false, not true)."""
        found: Found = {}
        self.collect(state, at, value_key, truth, rule, found)
        return list(found.values())

    @abstractmethod
    def collect(self, state: UserState, at: int, value_key: str | None, truth: bool, rule: str, found: Found) -> None:
        """`facts`, into `found`; a fact that is there already is not told twice."""


@dataclass(slots=True)
class Junction(Reason):
    """`and` or `or`."""

    op: Literal["and", "or"]
    parts: list[Reason]

    def collect(self, state: UserState, at: int, value_key: str | None, truth: bool, rule: str, found: Found) -> None:
        everyone = (self.op == "and") is truth
        for part in self.parts:
            if everyone or part.holds(state, at, value_key) is truth:
                part.collect(state, at, value_key, truth, rule, found)


@dataclass(slots=True)
class Negation(Reason):
    """`not`."""

    part: Reason

    def collect(self, state: UserState, at: int, value_key: str | None, truth: bool, rule: str, found: Found) -> None:
        self.part.collect(state, at, value_key, not truth, rule, found)


@dataclass(slots=True)
class Atom(Reason):
    """A part without parts. `subject` is what the fact names; `read` its value, `against` that of
    an operand that is not constant."""

    subject: str
    needs: str
    read: Reading
    against: Reading | None
    signals: list[Signal]
    whole: Signal | None
    """The signal that is all of the subject."""

    def collect(self, state: UserState, at: int, value_key: str | None, truth: bool, rule: str, found: Found) -> None:
        key = (self.subject, self.needs)
        if key in found:
            return
        value = self.read(state, at, value_key)[0]
        fact = found[key] = Fact(self.subject, value, self.needs, rule=rule)
        if self.whole is not None and self.whole.capped(value):
            fact.or_more = True
        for signal in self.signals:
            if signal.approximate(state, value_key if signal.keyed else None):
                fact.approximate = True
        if self.against is not None:
            fact.against = self.against(state, at, value_key)[0]


class ReasonCompiler:
    """Compiles trees of one plan."""

    def __init__(self, compiler: Compiler, signals: Mapping[int, Signal]) -> None:
        self._compiler = compiler
        self._signals = signals

    def reason(self, node: Node, owner: str, negated: bool = False, alone: bool = False) -> Reason:
        """The tree of a condition of the segment `owner`. A fact below an odd number of `not`
        (`negated`) needs the contrary of what it says, unless each part is to be told `alone`."""

        def below(part: Node, turned: bool = False) -> Reason:
            return self.reason(part, owner, negated is not turned and not alone, alone)

        condition = self._compiler.condition(node, owner)
        match node:
            case ast.Not(operand):
                return Negation(text(node), condition, below(operand, True))
            case ast.And(operands):
                return Junction(text(node), condition, "and", [below(part) for part in operands])
            case ast.Or(operands):
                return Junction(text(node), condition, "or", [below(part) for part in operands])
            case _:
                return self._atom(node, owner, negated, condition)

    def _atom(self, node: Node, owner: str, negated: bool, condition: Condition) -> Atom:
        subject, needs, against = _split(node, negated)
        if subject is None:
            subject, needs, read = node, "false" if negated else "true", condition
        else:
            read = self._compiler.reading(subject, owner)
        signals = [self._signals[signal_key(part, owner)] for part in nodes(subject) if isinstance(part, ast.Aggregate)]
        return Atom(
            text(node),
            condition,
            text(subject),
            needs,
            read,
            self._compiler.reading(against, owner) if against is not None else None,
            signals,
            signals[0] if isinstance(subject, ast.Aggregate) else None,
        )


def _split(node: Node, negated: bool) -> tuple[Node | None, str, Node | None]:
    """(what is looked at, what it needs to be, the operand that is not constant)."""
    no = "not " if negated else ""
    match node:
        case ast.Compare(op, left, right) if isinstance(left, _CONSTANT) and not isinstance(right, _CONSTANT):
            return right, f"{no}{MIRRORED[op]} {text(left)}", None
        case ast.Compare(op, left, right) | ast.TextTest(op, left, right):
            return left, f"{no}{op} {text(right)}", None if isinstance(right, _CONSTANT) else right
        case ast.Between(operand, low, high) if isinstance(low, _CONSTANT) and isinstance(high, _CONSTANT):
            return operand, f"{no}between {text(low)} and {text(high)}", None
        case ast.In(operand, items, isnt):
            # `not in` is false for null, not (in) is true.
            listed = f"{'not in' if isnt else 'in'} {text(items)}"
            return operand, f"not ({listed})" if negated else listed, None
        case ast.Matches(operand, pattern):
            return operand, f"{no}matches {msgspec.json.encode(pattern).decode()}", None
        case ast.IsNull(operand, isnt):
            return operand, "null" if isnt is negated else "not null", None
        case _:
            return None, "", None  # it is true or false as a whole
