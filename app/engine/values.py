"""Values of fields, and how two of them compare: at the type of the definition, null where the
value has another."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, assert_never

from app.domain.members import scalar_key
from app.rules.ast import ArithOp, CompareOp, Path, TextOp, Type

Getter = Callable[[Mapping[str, Any]], Any]

_OPERATORS: dict[CompareOp, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def getter(path: Path) -> Getter:
    """Reads a field by path; None where any part of the path is missing."""
    if len(path) == 1:
        return operator.methodcaller("get", path[0])

    def read(fields: Mapping[str, Any]) -> Any:
        value: Any = fields
        for name in path:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    return read


def is_number(value: Any) -> bool:
    """Booleans are not numbers."""
    return type(value) is int or type(value) is float


def kind_of(value: Any) -> Type | None:
    """The type of a dynamic value; None for null, lists and objects."""
    kind = type(value)
    if kind is str:
        return Type.TEXT
    if kind is int or kind is float:
        return Type.NUMBER
    return Type.BOOL if kind is bool else None


def comparer(op: CompareOp, left: Type, right: Type) -> Callable[[Any, Any], bool]:
    """The comparison of two values (None: null) whose static types are given; false where a value
    is null or of another type."""
    test = _OPERATORS[op]
    known = left if left is not Type.ANY else right
    match known:
        case Type.TEXT:
            return lambda a, b: type(a) is str and type(b) is str and test(a, b)
        case Type.BOOL:
            return lambda a, b: type(a) is bool and type(b) is bool and test(a, b)
        case Type.NUMBER | Type.DURATION:
            return lambda a, b: (
                (type(a) is int or type(a) is float) and (type(b) is int or type(b) is float) and test(a, b)
            )
        case Type.ANY:
            ordered = op not in ("==", "!=")

            def of_one_kind(a: Any, b: Any) -> bool:
                kind = kind_of(a)
                return kind is not None and kind is kind_of(b) and not (ordered and kind is Type.BOOL) and test(a, b)

            return of_one_kind
        case _:
            assert_never(known)


def calculate(op: ArithOp, a: Any, b: Any) -> int | float | None:
    """a op b; None when a side is no number, on division by zero, and beyond a double's range."""
    if not (is_number(a) and is_number(b)):
        return None
    try:
        match op:
            case "+":
                result = a + b
            case "-":
                result = a - b
            case "*":
                result = a * b
            case "/":
                result = a / b if b else None
            case _:
                assert_never(op)
    except OverflowError:
        return None
    if type(result) is int:
        return result if -(2**127) < result < 2**127 else float(result)
    return result if result is not None and math.isfinite(result) else None


def text_test(op: TextOp, a: Any, b: Any) -> bool:
    """contains, starts_with, ends_with; `contains` also looks for an element of a list."""
    if op == "contains" and type(a) is list:
        wanted = scalar_key(b)
        return wanted is not None and any(scalar_key(item) == wanted for item in a)
    if type(a) is not str or type(b) is not str:
        return False
    match op:
        case "contains":
            return b in a
        case "starts_with":
            return a.startswith(b)
        case "ends_with":
            return a.endswith(b)
        case _:
            assert_never(op)


def within_km(lat: Any, lon: Any, lat0: float, lon0: float, km: float) -> bool:
    """Great-circle distance at most `km`, on a sphere of radius 6,371.0088 km (haversine)."""
    if not (is_number(lat) and is_number(lon) and -90 <= lat <= 90 and -180 <= lon <= 180):
        return False
    p0, p1 = math.radians(lat0), math.radians(lat)
    half = math.sin((p1 - p0) / 2) ** 2 + math.cos(p0) * math.cos(p1) * math.sin(math.radians(lon - lon0) / 2) ** 2
    return 2 * 6371.0088 * math.asin(min(1.0, math.sqrt(half))) <= km
