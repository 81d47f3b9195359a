"""An independent reader of a fact's `needs`: does the value do what the rule needs, judging by
the fact alone?

    needs := "true" | "false" | "null" | "not null" | test | "not " test | "not (" test ")"
    test  := op operand
    op    := == != < <= > >= in [..] not in [..] between a and b matches
             contains starts_with ends_with
Operands are JSON values or durations (compared as milliseconds); anything else is an expression,
whose value is the fact's `against`.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from app.domain.changes import Fact

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_OPERATORS = (
    "==",
    "!=",
    "<=",
    ">=",
    "<",
    ">",
    "not in",
    "in",
    "between",
    "contains",
    "starts_with",
    "ends_with",
    "matches",
)


def satisfied(fact: Fact) -> bool:
    """Whether the fact's value is what its rule needs."""
    needs = fact.needs
    if needs in ("true", "false"):
        return (fact.value is True) == (needs == "true")
    if needs in ("null", "not null"):
        return (fact.value is None) == (needs == "null")
    if needs.startswith("not ("):
        return not _holds(fact, needs.removeprefix("not (").removesuffix(")"))
    if needs.startswith("not ") and not needs.startswith("not in "):
        return not _holds(fact, needs.removeprefix("not "))
    return _holds(fact, needs)


def _holds(fact: Fact, needs: str) -> bool:
    op = next(op for op in _OPERATORS if needs.startswith(op + " "))
    rest = needs.removeprefix(op + " ")
    if op == "between":
        low, high = rest.split(" and ")
        return _compare(">=", fact.value, _operand(low, fact)) and _compare("<=", fact.value, _operand(high, fact))
    if op in ("in", "not in"):
        items = _items(rest)
        if _kind(fact.value) not in {_kind(item) for item in items}:
            return False
        return any(_compare("==", fact.value, item) for item in items) == (op == "in")
    if op == "matches":
        return isinstance(fact.value, str) and re.search(json.loads(rest), fact.value) is not None
    if op in ("contains", "starts_with", "ends_with"):
        return _text_test(op, fact.value, _operand(rest, fact))
    return _compare(op, fact.value, _operand(rest, fact))


def _operand(text: str, fact: Fact) -> Any:
    if fact.against is not msgspec.UNSET:
        return fact.against
    return _constant(text)


def _constant(text: str) -> Any:
    if found := re.fullmatch(r"(-?\d+)(ms|s|m|h|d)", text):
        return int(found[1]) * _UNITS_MS[found[2]]
    return json.loads(text)


def _items(text: str) -> list[Any]:
    inner = text.removeprefix("[").removesuffix("]")
    return [_constant(item) for item in re.findall(r'"(?:[^"\\]|\\.)*"|[^,\s]+', inner)]


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else "none"


def _compare(op: str, left: Any, right: Any) -> bool:
    kind = _kind(left)
    if kind == "none" or kind != _kind(right):
        return False
    if op in ("==", "!="):
        return bool(left == right) == (op == "==")
    if kind == "bool":
        return False
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[op])


def _text_test(op: str, left: Any, right: Any) -> bool:
    if op == "contains" and isinstance(left, list):
        return any(_compare("==", item, right) for item in left)
    if not isinstance(left, str) or not isinstance(right, str):
        return False
    return (
        right in left if op == "contains" else left.startswith(right) if op == "starts_with" else left.endswith(right)
    )
