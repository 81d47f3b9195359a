"""Expressions of the segment language in plain English: `count(cart, last 7d)` → "carts in the last
7 days". Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, assert_never

from app.domain import limits
from app.domain.errors import DefinitionError
from app.domain.time import WRITTEN_UNITS_MS
from app.rules import ast, text
from app.rules.ast import Node
from app.rules.functions import row_of
from app.rules.parser import parse

_OPS = {"==": "=", "!=": "≠", "<": "<", "<=": "≤", ">": ">", ">=": "≥", "*": "×", "+": "+", "-": "−", "/": "÷"}
_UNITS = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
_TEXT_TESTS = {"contains": "containing", "starts_with": "beginning with", "ends_with": "ending with"}
# Stands for the for_each value until somebody knows it: `fill`.
EACH = "\N{OBJECT REPLACEMENT CHARACTER}"


@lru_cache(maxsize=4_096)
def tree(expression: str) -> Node | None:
    """The tree of an expression; None for a text that is none (a fact written by another
    version)."""
    try:
        return parse(expression)
    except (DefinitionError, RecursionError):
        return None


@lru_cache(maxsize=8_192)
def phrase(expression: str) -> str:
    """What an expression's value is, in words; the expression itself where there are none for
    it."""
    node = tree(expression)
    return expression if node is None else value_phrase(node)


def duration_words(ms: float) -> str:
    """A length of time as people say it, in its two largest units: "1 day 3 hours", "24 h" for
    exactly a day."""
    if ms == limits.DAY_MS:
        return "24 h"
    if abs(ms) < limits.SECOND_MS:
        return f"{ms:g} ms"
    parts: list[str] = []
    rest = int(abs(ms))
    for unit, size in WRITTEN_UNITS_MS:
        count, rest = divmod(rest, size)
        if count and unit in _UNITS and len(parts) < 2:
            parts.append(f"{count} {_UNITS[unit]}{'s' if count > 1 else ''}")
        elif parts:
            break
    return ("−" if ms < 0 else "") + " ".join(parts)


def value_phrase(node: Node) -> str:
    """The value of a node in words. Windows that all parts share are said once, at the end."""
    windows = _windows(node)
    if len(windows) == 1 and isinstance(node, ast.Arith):
        return f"{_value(node, False)} {window_words(next(iter(windows)))}".rstrip()
    return _value(node, True)


def window_words(window: ast.Window) -> str:
    """ "in the last 7 days", "today"; empty for ever."""
    match window.kind:
        case "ever":
            return ""
        case "last":
            return f"in the last {duration_words(window.ms).removeprefix('1 ')}"
        case "session":
            return "in this session"
        case "range":
            return f"from {window.start} to {window.end}"
        case "today" | "this week" | "this month":
            return window.kind
        case _:
            assert_never(window.kind)


def selector_words(node: Node, plural: bool = False) -> str:
    """The events a selector chooses: "clicks with category yoga", "a cart followed by a purchase
    within 30 minutes"."""
    match node:
        case ast.Events(stream, where):
            action, rest = _action(where)
            noun = _noun(f"{stream} {action}" if action else stream, plural)
            return f"{noun} {_filter(rest)}" if rest else noun
        case ast.Chain(steps, on, within):
            steps_words = " followed by ".join([with_article(step) for step in steps])
            return f"{steps_words} within {duration_words(within)}{_same(on)}"
        case ast.Absence(first, missing, on, within):
            return f"{duration_words(within)} without {with_article(missing)} after {with_article(first)}{_same(on)}"
        case _:
            return text.text(node)


def with_article(node: Node) -> str:
    """ "a purchase", "an email"; chains and absences already have theirs."""
    words = selector_words(node)
    if not isinstance(node, ast.Events):
        return words
    return f"{'an' if words[0] in 'aeio' else 'a'} {words}"


def without_article(node: Node) -> str:
    """What stands after "no": "purchase", "cart add followed by a click within 10 minutes"."""
    return selector_words(node).removeprefix("a ").removeprefix("an ")


def _windows(node: Node) -> set[ast.Window]:
    if isinstance(node, ast.Aggregate):
        return {node.window}
    return set().union(*[_windows(child) for child in ast.children(node)])


def _value(node: Node, windowed: bool) -> str:
    match node:
        case ast.Aggregate():
            said = _aggregate(node)
            return f"{said} {window_words(node.window)}".rstrip() if windowed else said
        case ast.Arith(op, left, right):
            return f"{_factor(op, left, windowed)} {_OPS[op]} {_factor(op, right, windowed)}"
        case ast.Negate(operand):
            return f"−{_value(operand, windowed)}"
        case ast.Compare(op, left, right):
            return f"{_value(left, True)} {_OPS[op]} {_value(right, True)}"
        case ast.Held(condition, ms):
            return f"{duration_words(ms)} without a break: {value_phrase(condition)}"
        case (
            ast.ListOf() | ast.Not() | ast.And() | ast.Or() | ast.In() | ast.Between() | ast.TextTest()
            | ast.Matches() | ast.IsNull()
            | ast.WithinKm() | ast.Events() | ast.Chain() | ast.Absence()
        ):  # fmt: skip
            return text.text(node)
        case _:
            return _leaf(node)


_Leaf = (
    ast.Literal | ast.Duration | ast.Each | ast.Profile | ast.Consent | ast.SegmentRef | ast.Prediction
    | ast.Bucket | ast.Calendar
    | ast.Field
)  # fmt: skip


def _leaf(node: _Leaf) -> str:
    match node:
        case ast.Literal(value, _):
            return show(value)
        case ast.Duration(ms):
            return duration_words(ms)
        case ast.Each():
            return EACH
        case ast.Profile(path):
            return f"profile {_field(path)}"
        case ast.Consent(name):
            return f"consent to {name}"
        case ast.SegmentRef(name):
            return f"membership of {name}"
        case ast.Prediction(fn, model):
            return f"{fn} of {model}"
        case ast.Bucket(salt):
            return f"bucket of {salt}"
        case ast.Calendar(fn):
            return _CALENDAR[fn]
        case ast.Field(path):
            return _field(path)
        case _:
            assert_never(node)


_CALENDAR: dict[ast.CalendarFn, str] = {"hour": "hour of the day", "weekday": "day of the week", "date": "date"}


def _factor(op: str, node: Node, windowed: bool) -> str:
    said = _value(node, windowed)
    return f"({said})" if op in "*/" and isinstance(node, ast.Arith) and node.op in "+-" else said


def _aggregate(node: ast.Aggregate) -> str:
    return noun(node, row_of(node).noun)


def noun(node: ast.Aggregate, template: str, plural: bool = True) -> str:
    """The words of a row of `app.rules.functions` for one aggregate: `{one}` and `{many}` are its
    events, `{a}` one of them with its article, `{events}` the events themselves or how many times a
    pattern occurred, `{field}`, `{of_field}` and `{name}` what is read of them, `{parameter}` the
    constant, `{s}` the plural."""
    selector, field = node.selector, _field(node.field or ())
    many = selector_words(selector, plural=True)
    times = (
        selector_words(selector, plural)
        if isinstance(selector, ast.Events)
        else f"time{'s' if plural else ''} of {many}"
    )
    parameter = row_of(node).parameter
    return template.format(
        a=with_article(selector),
        one=selector_words(selector),
        many=many,
        events=times,
        field=field,
        name=" ".join(node.field or ()),
        of_field=f"{field} of " if field else "",
        parameter=duration_words(node.parameter or 0)
        if parameter and parameter.kind == "duration"
        else show(node.parameter),
        s="s" if plural else "",
    )


def _action(where: Node | None) -> tuple[str, tuple[Node, ...]]:
    """An `action` of the events makes their noun ("a cart add"); the other conditions stay."""
    conditions = () if where is None else where.operands if isinstance(where, ast.And) else (where,)
    for condition in conditions:
        match condition:
            case ast.Compare("==", ast.Field(("action",)), ast.Literal(str(action), _)):
                return action.replace("_", " "), tuple([other for other in conditions if other is not condition])
    return "", conditions


def _filter(conditions: tuple[Node, ...]) -> str:
    return "with " + " and ".join([_condition(condition) for condition in conditions])


def _condition(node: Node) -> str:
    match node:
        case ast.Compare("==", ast.Field(path), (ast.Literal() | ast.Each()) as right):
            return f"{_field(path)} {_value(right, True)}"
        case ast.Compare(op, left, right):
            return f"{_value(left, True)} {_OPS[op]} {_value(right, True)}"
        case ast.TextTest(op, left, right):
            return f"{_value(left, True)} {_TEXT_TESTS[op]} {_value(right, True)}"
        case ast.Between(operand, low, high):
            return f"{_value(operand, True)} between {_value(low, True)} and {_value(high, True)}"
        case ast.IsNull(operand, negated):
            return f"{'some' if negated else 'no'} {_value(operand, True)}"
        case ast.In(operand, items, negated):
            choices = ", ".join([_value(item, True) for item in items.items])
            return f"{_value(operand, True)} {'none' if negated else 'one'} of {choices}"
        case _:
            return text.text(node)


def _noun(stream: str, plural: bool) -> str:
    noun = "event" if stream == "*" else stream.replace("_", " ")
    return noun + "s" if plural and not noun.endswith("s") else noun


def _field(path: ast.Path) -> str:
    return " ".join(path).replace("_", " ")


def _same(on: ast.Path | None) -> str:
    return f" (same {_field(on)})" if on else ""


def fill(words: str, each: Any) -> str:
    """Words with the `for_each` value put in its place; None leaves "the value"."""
    return words.replace(EACH, "the value" if each is None else show(each))


def show(value: Any) -> str:
    """A value as people read it: 1,234.5 · yoga · yes · nothing."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.2f}".rstrip("0").rstrip(".")
        case list():
            return ", ".join([show(item) for item in value])
        case _:
            return str(value)


def show_value(value: object) -> str:
    """A `for_each` value as people read it and as `name:value` writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
