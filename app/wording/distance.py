"""How far a condition that fails is from holding, in words: "2 more clicks", "120.50 more", "in 3
hours 20 minutes". Pure."""

from __future__ import annotations

import math
from typing import Any

from msgspec import UNSET

from app.domain.changes import Fact
from app.domain.time import duration_ms
from app.rules import ast
from app.rules.ast import Node
from app.rules.functions import row_of
from app.wording.phrases import duration_words, fill, noun, show, tree, without_article

_OPPOSITE = {">=": "<", "<": ">=", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}


def negated(needs: str) -> str:
    """What the opposite of a condition needs: `>= 3` → `< 3`, `true` → `false`, `not in ["a"]` →
    `in ["a"]`."""
    operator, _, operand = needs.partition(" ")
    if needs in ("true", "false"):
        return "false" if needs == "true" else "true"
    if operator in _OPPOSITE:
        return f"{_OPPOSITE[operator]} {operand}"
    return needs.removeprefix("not ") if needs.startswith("not ") else f"not {needs}"


def distance(fact: Fact, each: Any = None) -> str:
    """What is missing for a fact whose `needs` is not met; empty where there is no such thing as
    nearer."""
    node, value, needs = tree(fact.expr), fact.value, fact.needs
    if isinstance(value, bool) or value is None:
        return fill(_missing(node, needs), each) if not value else ""
    gap = (
        _gap(value, needs, None if fact.against is UNSET else fact.against) if isinstance(value, int | float) else None
    )
    return "" if node is None or not gap else fill(_said(node, gap, fact.or_more), each)


def _missing(node: Node | None, needs: str) -> str:
    """Of something that is not there at all."""
    match node:
        case ast.Aggregate(fn, (ast.Events() | ast.Chain()) as selector) if fn != "any" and needs != "null":
            return f"no {without_article(selector)} yet"
        case _:
            return ""


def _gap(value: float, needs: str, against: Any) -> float:
    """How much must be added to `value` (negative: taken away) for it to satisfy `needs`; 0 where
    numbers do not tell.

    Strict bounds of whole numbers are the next whole number.
    """
    operator, _, operand = needs.partition(" ")
    if operator == "between":
        low, high = (_number(side) for side in operand.split(" and ", 1))
        if low is None or high is None:
            return 0
        return low - value if value < low else high - value if value > high else 0
    bound = _number(operand) if against is None else against
    if operator not in ("==", ">=", ">", "<=", "<") or not isinstance(bound, int | float):
        return 0
    if operator in (">", "<") and isinstance(value, int):
        bound = math.floor(bound) + 1 if operator == ">" else math.ceil(bound) - 1
    return bound - value


def _number(text: str) -> float | None:
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        pass
    try:
        return duration_ms(text)
    except ValueError:
        return None


def _said(node: Node, gap: float, at_least: bool) -> str:
    what = ""
    if isinstance(node, ast.Aggregate):
        row = row_of(node)
        if row.motion == "age":
            return f"in {duration_words(gap)}" if gap > 0 else f"{duration_words(-gap)} too long ago"
        what = noun(node, row.missing, plural=abs(gap) != 1)
    amount = f"{'at least ' if at_least else ''}{_amount(abs(gap))}"
    if not what:
        return f"{amount} {'more' if gap > 0 else 'less'}"
    return f"{amount} more {what}" if gap > 0 else f"{amount} fewer {what}"


def _amount(number: float) -> str:
    """Whole numbers as they are, others with two decimals (small ones with four digits)."""
    if isinstance(number, int) or float(number).is_integer():
        return show(int(number))
    return f"{number:,.2f}" if number >= 0.01 else f"{number:.4g}"
