"""A selector's filter → a function of one event's fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.engine.values import calculate, comparer, getter, is_number, text_test, within_km
from app.rules import ast
from app.rules.ast import Node
from app.rules.types import Scope, Type, compile_regex, infer

Filter = Callable[[Mapping[str, Any]], bool]
_Value = Callable[[Mapping[str, Any]], Any]


class _Anything:
    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


CHECKED = Scope(streams=_Anything(), segments=None, each=True)
"""The scope of trees that were checked when they were loaded."""


def static_type(node: Node, in_filter: bool = False) -> Type:
    """The type of a node of a checked tree."""
    return infer(node, CHECKED, in_filter)


def compile_filter(node: Node) -> Filter:
    """The filter as a function; `field == each` must have been taken out before."""
    match node:
        case ast.And(operands):
            tests = [compile_filter(o) for o in operands]
            return lambda fields: all(test(fields) for test in tests)
        case ast.Or(operands):
            tests = [compile_filter(o) for o in operands]
            return lambda fields: any(test(fields) for test in tests)
        case ast.Not(operand):
            inner = compile_filter(operand)
            return lambda fields: not inner(fields)
        case ast.Compare("==", ast.Field(path), ast.Literal(value, "text")):
            read = getter(path)
            return lambda fields: bool(read(fields) == value)
        case ast.Compare(op, left, right):
            test = comparer(op, static_type(left, True), static_type(right, True))
            a, b = _value(left), _value(right)
            return lambda fields: test(a(fields), b(fields))
        case ast.Between(operand, low, high):
            return compile_filter(ast.And((ast.Compare(">=", operand, low), ast.Compare("<=", operand, high))))
        case ast.In(operand, items, negated):
            return _membership(operand, items, negated)
        case ast.TextTest(op, left, right):
            a, b = _value(left), _value(right)
            return lambda fields: text_test(op, a(fields), b(fields))
        case ast.Matches(operand, pattern):
            a, regex = _value(operand), compile_regex(pattern, node)
            return lambda fields: type(v := a(fields)) is str and regex.search(v) is not None
        case ast.IsNull(operand, negated):
            a = _value(operand)
            return lambda fields: (a(fields) is None) is not negated
        case ast.WithinKm(lat, lon, km):
            return lambda fields: within_km(fields.get("lat"), fields.get("lon"), lat, lon, km)
        case ast.Literal(value, "bool"):
            return lambda fields: bool(value)
        case _:
            a = _value(node)
            return lambda fields: a(fields) is True


def _membership(operand: Node, items: ast.ListOf, negated: bool) -> Filter:
    kind = static_type(operand, True)
    tests = [(comparer("==", kind, static_type(item, True)), item) for item in items.items]
    values = [(test, item.value) for test, item in tests if isinstance(item, ast.Literal)]
    a = _value(operand)
    texts = frozenset(v for _, v in values if type(v) is str)
    if len(texts) == len(values):

        def among_texts(fields: Mapping[str, Any]) -> bool:
            value = a(fields)
            return type(value) is str and (value in texts) is not negated

        return among_texts
    kinds = {type(v) if type(v) is not int else float for _, v in values}

    def among(fields: Mapping[str, Any]) -> bool:
        value = a(fields)
        if (float if type(value) is int else type(value)) not in kinds:
            return False
        return any(test(value, v) for test, v in values) is not negated

    return among


def _value(node: Node) -> _Value:
    match node:
        case ast.Field(path):
            return getter(path)
        case ast.Literal(value, _):
            return lambda fields: value
        case ast.Duration(ms):
            return lambda fields: ms
        case ast.Negate(operand):
            inner = _value(operand)
            return lambda fields: -v if is_number(v := inner(fields)) else None
        case ast.Arith(op, left, right):
            a, b = _value(left), _value(right)
            return lambda fields: calculate(op, a(fields), b(fields))
        case _:
            return compile_filter(node)
