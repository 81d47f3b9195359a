"""How much of a signal a definition can ever tell apart: `count(S, w) >= k` needs k entries, `since(S) < d` asks only whether d has
passed."""

from __future__ import annotations

import math

from app.rules import ast
from app.rules.ast import Node

COUNTING = ("count", "distinct", "days", "session_count")
AGES = ("since", "since_first")
TOTALS = ("sum",)

Need = int | tuple[float, ...] | None
"""What an aggregate is compared with: a count's largest, an age's smallest (ms), a total's every value; None where its whole value is
used."""


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
        case ast.Compare(op, ast.Aggregate() as aggregate, ast.Literal(value, "number")) if aggregate.fn in COUNTING:
            return aggregate, need_of(op, value)
        case ast.Compare(op, ast.Literal(value, "number"), ast.Aggregate() as aggregate) if aggregate.fn in COUNTING:
            return aggregate, need_of(MIRRORED[op], value)
        case ast.Between(ast.Aggregate() as aggregate, ast.Literal(_, "number"), ast.Literal(high, "number")) if aggregate.fn in COUNTING:
            return aggregate, need_of("<=", high)
        case ast.In(ast.Aggregate() as aggregate, items, _) if aggregate.fn in COUNTING:
            return aggregate, max((need_of("==", i.value) for i in items.items if isinstance(i, ast.Literal)), default=1)
        case ast.Compare(op, ast.Aggregate() as aggregate, ast.Literal(value, "number")) | ast.Compare(
            op, ast.Literal(value, "number"), ast.Aggregate() as aggregate
        ) if aggregate.fn in TOTALS and op not in ("==", "!="):
            return aggregate, (value,)
        case ast.Between(ast.Aggregate() as aggregate, ast.Literal(low, "number"), ast.Literal(high, "number")) if aggregate.fn in TOTALS:
            return aggregate, tuple(sorted((low, high)))
        case ast.Compare(_, ast.Aggregate() as aggregate, ast.Duration(ms)) | ast.Compare(
            _, ast.Duration(ms), ast.Aggregate() as aggregate
        ) if aggregate.fn in AGES:
            return aggregate, ms
        case ast.Between(ast.Aggregate() as aggregate, ast.Duration(low), ast.Duration(high)) if aggregate.fn in AGES:
            return aggregate, min(low, high)
        case _:
            return None


MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def need_of(op: str, value: float) -> int:
    """The smallest count beyond which `count op value` no longer changes, at least 1."""
    return max(1, math.ceil(value) if op in (">=", "<") else math.floor(value) + 1)
