"""How much of a signal a definition can ever tell apart: `count(S, w) >= k` needs k entries, `since(S) < d` asks only whether d has
passed."""

from __future__ import annotations

import math

from app.rules import ast
from app.rules.ast import Node

COUNTING = ("count", "distinct", "days", "session_count")
AGES = ("since", "since_first")


def thresholds(tree: Node) -> dict[ast.Aggregate, int | None]:
    """What `tree` compares each counting or age aggregate with, None where the whole value is used.

    For a count it is the largest value that must be told apart from larger ones; for an age the smallest (ms), below which nothing changes.
    """
    found: dict[ast.Aggregate, int | None] = {}
    _visit(tree, found)
    return found


def _visit(node: Node, found: dict[ast.Aggregate, int | None]) -> None:
    compared = _compared(node)
    if compared is not None:
        aggregate, need = compared
        _record(found, aggregate, need)
        return
    if isinstance(node, ast.Aggregate):
        if node.fn in COUNTING or node.fn in AGES:
            _record(found, node, None)
        return
    for child in ast.children(node):
        _visit(child, found)


def _record(found: dict[ast.Aggregate, int | None], aggregate: ast.Aggregate, need: int | None) -> None:
    found[aggregate] = merged(aggregate.fn, need, found[aggregate]) if aggregate in found else need


def merged(fn: str, a: int | None, b: int | None) -> int | None:
    """What serves two uses of one aggregate."""
    if a is None or b is None:
        return None
    return min(a, b) if fn in AGES else max(a, b)


def _compared(node: Node) -> tuple[ast.Aggregate, int] | None:
    """(aggregate, need) when `node` compares a counting aggregate with constants only."""
    match node:
        case ast.Compare(op, ast.Aggregate() as aggregate, ast.Literal(value, "number")) if aggregate.fn in COUNTING:
            return aggregate, need_of(op, value)
        case ast.Compare(op, ast.Literal(value, "number"), ast.Aggregate() as aggregate) if aggregate.fn in COUNTING:
            return aggregate, need_of(MIRRORED[op], value)
        case ast.Between(ast.Aggregate() as aggregate, ast.Literal(_, "number"), ast.Literal(high, "number")) if aggregate.fn in COUNTING:
            return aggregate, need_of("<=", high)
        case ast.In(ast.Aggregate() as aggregate, items, _) if aggregate.fn in COUNTING:
            return aggregate, max((need_of("==", i.value) for i in items.items if isinstance(i, ast.Literal)), default=1)
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
