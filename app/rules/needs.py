"""How much of a signal a definition can ever tell apart: `count(S, w) >= k` needs k entries, `since(S) < d` asks only whether d has
passed."""

from __future__ import annotations

import math

from app.rules import ast
from app.rules.ast import Node

COUNTING = ("count", "distinct", "days", "session_count")
AGES = ("since", "since_first")
TOTALS = ("sum", "avg")

Need = int | tuple[float, ...] | None
"""What an aggregate is compared with: every value at which a count or a total begins to compare otherwise, ascending; of an age the
smallest (ms). None where the whole value is used."""


def thresholds(tree: Node) -> dict[ast.Aggregate, Need]:
    """What `tree` compares each aggregate with, for those of COUNTING, AGES and TOTALS."""
    found: dict[ast.Aggregate, Need] = {}
    _visit(tree, found)
    return found


def _visit(node: Node, found: dict[ast.Aggregate, Need]) -> None:
    compared = _compared(node)
    if compared is not None:
        aggregate, need = compared
        _record(found, aggregate, need)
        return
    if isinstance(node, ast.Aggregate):
        if node.fn in (*COUNTING, *AGES, *TOTALS):
            _record(found, node, None)
        return
    for child in ast.children(node):
        _visit(child, found)


def _record(found: dict[ast.Aggregate, Need], aggregate: ast.Aggregate, need: Need) -> None:
    found[aggregate] = merged(aggregate.fn, need, found[aggregate]) if aggregate in found else need


def merged(fn: str, a: Need, b: Need) -> Need:
    """What serves two uses of one aggregate."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return tuple(sorted({*a, *b}))
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b) if fn in AGES else max(a, b)
    return None


def _compared(node: Node) -> tuple[ast.Aggregate, Need] | None:
    """(aggregate, need) when `node` compares an aggregate with constants only."""
    match node:
        case ast.Compare(op, ast.Aggregate() as aggregate, ast.Literal() | ast.Duration() as constant):
            return _need(aggregate, [(op, constant)])
        case ast.Compare(op, ast.Literal() | ast.Duration() as constant, ast.Aggregate() as aggregate):
            return _need(aggregate, [(MIRRORED[op], constant)])
        case ast.Between(ast.Aggregate() as aggregate, low, high) if _constant(low) and _constant(high):
            return _need(aggregate, [(">=", low), ("<=", high)])
        case ast.In(ast.Aggregate() as aggregate, items, _) if aggregate.fn in COUNTING:
            return _need(aggregate, [("==", item) for item in items.items])
        case _:
            return None


def _constant(node: Node) -> bool:
    return isinstance(node, ast.Literal | ast.Duration)


def _need(aggregate: ast.Aggregate, tests: list[tuple[str, Node]]) -> tuple[ast.Aggregate, Need] | None:
    if aggregate.fn in AGES:
        ages = [constant.ms for _, constant in tests if isinstance(constant, ast.Duration)]
        return (aggregate, min(ages)) if ages else None
    numbers = [(op, constant.value) for op, constant in tests if isinstance(constant, ast.Literal) and constant.kind == "number"]
    if aggregate.fn in COUNTING:
        return aggregate, tuple(sorted({k for op, value in numbers for k in crossings(op, value) if k > 0})) or (1,)
    if aggregate.fn in TOTALS and all(op not in ("==", "!=") for op, _ in numbers):
        return aggregate, tuple(sorted({value for _, value in numbers}))
    return None


def crossings(op: str, value: float) -> tuple[int, ...]:
    """The counts at which `count op value` begins to give another answer than one less does."""
    reach, above = math.ceil(value), math.floor(value) + 1
    if op in (">=", "<"):
        return (reach,)
    return (above,) if op in (">", "<=") else (reach, above)


MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
