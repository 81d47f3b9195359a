"""A selector's filter → a function of one event's fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.engine.predicates import between, predicate
from app.engine.values import calculate, getter, is_number, within_km
from app.rules import ast
from app.rules.ast import Node

Filter = Callable[[Mapping[str, Any]], bool]
_Value = Callable[[Mapping[str, Any]], Any]


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
        case ast.Between():
            return compile_filter(between(node))
        case ast.Compare("==", ast.Field(path), ast.Literal(value, "text")):
            read = getter(path)
            return lambda fields: bool(read(fields) == value)
        case ast.Compare() | ast.In() | ast.TextTest() | ast.Matches() | ast.IsNull():
            return _tested(node)
        case ast.WithinKm(lat, lon, km):
            return lambda fields: within_km(fields.get("lat"), fields.get("lon"), lat, lon, km)
        case _:
            value = _value(node)
            return lambda fields: value(fields) is True


def _tested(node: ast.Compare | ast.In | ast.TextTest | ast.Matches | ast.IsNull) -> Filter:
    operands, test = predicate(node)
    first, *rest = [_value(operand) for operand in operands]
    if not rest:
        return lambda fields: test(first(fields))
    second = rest[0]
    return lambda fields: test(first(fields), second(fields))


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
        case (
            ast.And() | ast.Or() | ast.Not() | ast.Between() | ast.Compare() | ast.In() | ast.TextTest()
            | ast.Matches() | ast.IsNull()
            | ast.WithinKm()
        ):  # fmt: skip
            return compile_filter(node)
        case _:
            # The types of the language see to it.
            raise TypeError(f"{type(node).__name__} does not stand in a filter")
