"""Values as the language sees them: null, numbers, text, booleans; lists and objects only pass
through."""

from __future__ import annotations

import math
from typing import Any

Key = tuple[str, Any]


def kind(value: Any) -> str:
    """number · text · bool · null · other. A boolean is not a number."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "other"


def key(value: Any) -> Key | None:
    """What makes two scalars the same value (1 and 1.0 are, 1 and true are not); None for what is
    no scalar."""
    found = kind(value)
    return (found, value) if found in ("number", "text", "bool") else None


def same(left: Any, right: Any) -> bool:
    return key(left) is not None and key(left) == key(right)


def at_path(value: Any, path: tuple[str, ...]) -> Any:
    """The member that a dotted path reaches, null when there is none."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def finite(value: Any) -> Any:
    """`value`, or null when it does not fit a double."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def arithmetic(op: str, left: Any, right: Any) -> Any:
    """One of + - * / on two numbers; null when either is not a number, when dividing by zero, or on
    overflow."""
    if kind(left) != "number" or kind(right) != "number" or (op == "/" and right == 0):
        return None
    try:
        result = (
            left + right if op == "+" else left - right if op == "-" else left * right if op == "*" else left / right
        )
    except OverflowError:
        return None
    return finite(result)


def compare(op: str, left: Any, right: Any) -> bool:
    """A comparison; false when a side is null or the kinds differ. Booleans have no order."""
    a, b = key(left), key(right)
    if a is None or b is None or a[0] != b[0]:
        return False
    if op in ("==", "!="):
        return (a == b) == (op == "==")
    if a[0] == "bool":
        return False
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[op])
