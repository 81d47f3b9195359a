"""What readers can tell apart of a signal: `count(S, w) >= k` needs k entries, `since(S) < d` asks
only whether d has passed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from app.rules import ast
from app.rules.ast import Aggregate, Node
from app.rules.functions import row_of


@dataclass(frozen=True, slots=True)
class Compared:
    """What one reader compares an aggregate with, where that is constants only.

    `thresholds`, ascending: every value at which a count or a total begins to compare otherwise.
    `age_ms`: the smallest age.
    """

    thresholds: tuple[float, ...] = ()
    age_ms: int | None = None

    def also(self, other: Compared) -> Compared:
        """What serves two readers that compare with constants only."""
        ages = [age for age in (self.age_ms, other.age_ms) if age is not None]
        return Compared(tuple(sorted({*self.thresholds, *other.thresholds})), min(ages, default=None))


Use = Compared | None
"""What one reader needs of an aggregate; None: its whole value."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What all readers of a signal together need of it.

    `keep`: how many entries of a count tell enough, None for all. `wake_at` (ascending) and
    `age_ms`: between two of these values, below this age, those readers that compare with constants
    have nothing new to hear; None where nobody does so.
    """

    keep: int | None = None
    wake_at: tuple[float, ...] | None = None
    age_ms: int | None = None

    @property
    def counts(self) -> tuple[int, ...] | None:
        """`wake_at` of a count."""
        return None if self.wake_at is None else tuple(int(k) for k in self.wake_at)


def demand(node: Aggregate, uses: Iterable[Use]) -> Demand:
    """The demand of all `uses` of one aggregate."""
    told = list(uses)
    known = [use for use in told if use is not None]
    if not known:
        return Demand()
    compared = known[0]
    for use in known[1:]:
        compared = compared.also(use)
    if row_of(node).compared == "age":
        return Demand(age_ms=compared.age_ms)
    whole = len(known) < len(told) or row_of(node).compared != "counts"
    return Demand(None if whole else int(compared.thresholds[-1]), compared.thresholds)


def uses_of(tree: Node) -> dict[Aggregate, Use]:
    """How `tree` uses each aggregate that can be compared with constants (`Function.compared`)."""
    found: dict[Aggregate, Use] = {}
    _visit(tree, found)
    return found


def combined(a: Use, b: Use) -> Use:
    """What serves two uses of one aggregate."""
    return None if a is None or b is None else a.also(b)


def _visit(node: Node, found: dict[Aggregate, Use]) -> None:
    compared = _compared(node)
    if compared is not None:
        _record(found, *compared)
        return
    if isinstance(node, Aggregate):
        if row_of(node).compared != "whole":
            _record(found, node, None)
        return
    for child in ast.children(node):
        _visit(child, found)


def _record(found: dict[Aggregate, Use], aggregate: Aggregate, use: Use) -> None:
    found[aggregate] = combined(use, found[aggregate]) if aggregate in found else use


def _compared(node: Node) -> tuple[Aggregate, Use] | None:
    """(aggregate, use) when `node` compares an aggregate with constants only."""
    match node:
        case ast.Compare(op, Aggregate() as aggregate, ast.Literal() | ast.Duration() as constant):
            return _use(aggregate, [(op, constant)])
        case ast.Compare(op, ast.Literal() | ast.Duration() as constant, Aggregate() as aggregate):
            return _use(aggregate, [(MIRRORED[op], constant)])
        case ast.Between(Aggregate() as aggregate, low, high) if _constant(low) and _constant(high):
            return _use(aggregate, [(">=", low), ("<=", high)])
        case ast.In(Aggregate() as aggregate, items, _) if row_of(aggregate).compared == "counts":
            return _use(aggregate, [("==", item) for item in items.items])
        case _:
            return None  # anything else is looked into by `_visit`


def _constant(node: Node) -> bool:
    return isinstance(node, ast.Literal | ast.Duration)


def _use(aggregate: Aggregate, tests: list[tuple[ast.CompareOp, Node]]) -> tuple[Aggregate, Use] | None:
    ages = [constant.ms for _, constant in tests if isinstance(constant, ast.Duration)]
    numbers = [
        (op, constant.value)
        for op, constant in tests
        if isinstance(constant, ast.Literal) and constant.kind == "number"
    ]
    match row_of(aggregate).compared:
        case "age":
            return (aggregate, Compared(age_ms=min(ages))) if ages else None
        case "counts":
            thresholds = {k for op, value in numbers for k in crossings(op, value) if k > 0}
            return aggregate, Compared(tuple(sorted(thresholds)) or (1,))
        case "total":
            if any(op in ("==", "!=") for op, _ in numbers):
                return None
            return aggregate, Compared(tuple(sorted({value for _, value in numbers})))
        case "whole":
            return None


def crossings(op: ast.CompareOp, value: float) -> tuple[int, ...]:
    """The counts at which `count op value` begins to give another answer than one less does."""
    reach, above = math.ceil(value), math.floor(value) + 1
    if op in (">=", "<"):
        return (reach,)
    return (above,) if op in (">", "<=") else (reach, above)


MIRRORED: dict[ast.CompareOp, ast.CompareOp] = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
