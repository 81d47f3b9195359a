"""What an expression is worth: what filters and conditions share, and filters themselves."""

from __future__ import annotations

import math
import re
from typing import Any

from app.rules import ast
from tests.support.oracle import scalars

EARTH_KM = 6371.0088


class Values:
    """The part of the language that filters and conditions share."""

    each: Any

    def holds(self, node: ast.Node) -> bool:
        """A condition: null and everything that is not true do not hold."""
        return self.value(node) is True

    def value(self, node: ast.Node) -> Any:
        match node:
            case ast.Literal(value, _):
                return value
            case ast.Duration(ms):
                return ms
            case ast.Each():
                return self.each
            case ast.Not(operand):
                return not self.holds(operand)
            case ast.And(operands):
                return all(self.holds(operand) for operand in operands)
            case ast.Or(operands):
                return any(self.holds(operand) for operand in operands)
            case ast.Arith(op, left, right):
                return scalars.arithmetic(op, self.value(left), self.value(right))
            case ast.Negate(operand):
                return scalars.arithmetic("-", 0, self.value(operand))
            case ast.Compare() | ast.Between() | ast.In() | ast.IsNull() | ast.TextTest() | ast.Matches():
                return self.test(node)
        return self.leaf(node)

    def test(self, node: ast.Node) -> bool:
        match node:
            case ast.Compare(op, left, right):
                return scalars.compare(op, self.value(left), self.value(right))
            case ast.Between(operand, low, high):
                value = self.value(operand)
                return scalars.compare(">=", value, self.value(low)) and scalars.compare("<=", value, self.value(high))
            case ast.In(operand, items, negated):
                return self.listed(self.value(operand), [self.value(item) for item in items.items], negated)
            case ast.IsNull(operand, negated):
                return (self.value(operand) is None) != negated
            case ast.TextTest(op, left, right):
                return text_test(op, self.value(left), self.value(right))
            case ast.Matches(operand, pattern):
                value = self.value(operand)
                return isinstance(value, str) and re.search(pattern, value) is not None
        raise TypeError(f"no test: {node}")

    @staticmethod
    def listed(value: Any, items: list[Any], negated: bool) -> bool:
        """`in` and `not in`; both false for a value of a type that the list has not."""
        if scalars.kind(value) not in {scalars.kind(item) for item in items}:
            return False
        return any(scalars.same(value, item) for item in items) != negated

    def leaf(self, node: ast.Node) -> Any:
        raise TypeError(f"no value: {node}")


def text_test(op: str, left: Any, right: Any) -> bool:
    if op == "contains" and isinstance(left, list):
        return any(scalars.same(item, right) for item in left)
    if not isinstance(left, str) or not isinstance(right, str):
        return False
    return (
        right in left if op == "contains" else left.startswith(right) if op == "starts_with" else left.endswith(right)
    )


class Filter(Values):
    """A filter on one event: its own fields and nothing else."""

    def __init__(self, fields: dict[str, Any], each: Any) -> None:
        self.fields, self.each = fields, each

    def leaf(self, node: ast.Node) -> Any:
        match node:
            case ast.Field(path):
                return scalars.at_path(self.fields, path)
            case ast.WithinKm(lat, lon, km):
                return distance_km(self.fields.get("lat"), self.fields.get("lon"), lat, lon) <= km
        return super().leaf(node)


def distance_km(lat: Any, lon: Any, lat2: float, lon2: float) -> float:
    """Great circle; infinite where the event says no place."""
    if scalars.kind(lat) != "number" or scalars.kind(lon) != "number":
        return math.inf
    a, b = math.radians(lat), math.radians(lat2)
    half = math.sin((a - b) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(math.radians(lon - lon2) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, half)))
