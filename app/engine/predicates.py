"""Tests of values, once: what filters ask of an event's fields and conditions of a user's values,
null rules included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, assert_never

from app.engine.values import comparer, text_test
from app.rules import ast
from app.rules.ast import Node, Type
from app.rules.types import compile_regex, type_of

Test = Callable[..., bool]
Tested = ast.Compare | ast.In | ast.TextTest | ast.Matches | ast.IsNull


def predicate(node: Tested) -> tuple[tuple[Node, ...], Test]:
    """(what is tested, the test of its values). A constant is part of the test; null is None and
    passes none but `is null`."""
    match node:
        case ast.Compare(op, left, right):
            test = comparer(op, type_of(left), type_of(right))
            if is_constant(right):
                against = constant(right)
                return (left,), lambda value: test(value, against)
            return (left, right), test
        case ast.In(operand, items, negated):
            return (operand,), _listed(type_of(operand), items.items, negated)
        case ast.TextTest(op, left, right):
            if is_constant(right):
                part = constant(right)
                return (left,), lambda value: text_test(op, value, part)
            return (left, right), lambda value, other: text_test(op, value, other)
        case ast.Matches(operand, pattern):
            search = compile_regex(pattern, node).search
            return (operand,), lambda value: type(value) is str and search(value) is not None
        case ast.IsNull(operand, negated):
            return (operand,), lambda value: (value is None) is not negated
        case _:
            assert_never(node)


def between(node: ast.Between) -> ast.And:
    """`operand between low and high` as the two comparisons that it is short for."""
    return ast.And((ast.Compare(">=", node.operand, node.low), ast.Compare("<=", node.operand, node.high)))


def is_constant(node: Node) -> bool:
    """Whether a node is a literal or a duration."""
    return isinstance(node, ast.Literal | ast.Duration)


def constant(node: Node) -> Any:
    """The value of a literal; a duration's in milliseconds."""
    return node.value if isinstance(node, ast.Literal) else node.ms if isinstance(node, ast.Duration) else None


def _listed(kind: Type, items: Sequence[Node], negated: bool) -> Test:
    """`in` and `not in`: both false for a value of a type that the list has not."""
    if items and all(isinstance(item, ast.Literal) and item.kind == "text" for item in items):
        texts = frozenset(constant(item) for item in items)
        return lambda value: type(value) is str and (value in texts) is not negated
    tests = [(comparer("==", kind, type_of(item)), constant(item)) for item in items]
    kinds = [comparer("==", type_of(item), type_of(item)) for item in items]

    def listed(value: Any) -> bool:
        if any(test(value, item) for test, item in tests):
            return not negated
        return negated and any(same_kind(value, value) for same_kind in kinds)

    return listed
