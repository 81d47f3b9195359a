"""Types of expressions, checked when a definition is loaded, so that nothing can be of a wrong type
at run time.

A field, a profile attribute or a model's answer has the type ANY: its value is used at the type of
the other side, and is null where it has another.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, assert_never

import re2

from app.domain import limits
from app.domain.errors import DefinitionError, nearest
from app.domain.time import aware, day, epoch_ms
from app.rules import ast
from app.rules.ast import Node, Path, Type, uses_each
from app.rules.functions import row_of


@dataclass(frozen=True, slots=True)
class Scope:
    """The names a definition may use. `segments` is None where references are checked later;
    `each`: inside a `for_each` segment."""

    streams: Collection[str]
    segments: Collection[str] | None = None
    each: bool = False


def check_condition(node: Node, scope: Scope) -> None:
    """Raises DefinitionError unless `node` is a condition whose every part has a fitting type."""
    _condition(node, scope, in_filter=False)


def _condition(node: Node, scope: Scope, in_filter: bool) -> None:
    found = infer(node, scope, in_filter)
    if found not in (Type.BOOL, Type.ANY):
        raise _error(
            node, "a condition is needed here", found.value, "a comparison, such as count(click, last 7d) >= 3"
        )


def infer(node: Node, scope: Scope, in_filter: bool = False) -> Type:
    """The type of `node`; checks everything below it. Raises DefinitionError."""
    match node:
        case ast.Not(operand) | ast.Held(operand, _):
            _condition(operand, scope, in_filter)
        case ast.And(operands) | ast.Or(operands):
            for operand in operands:
                _condition(operand, scope, in_filter)
        case ast.Arith() | ast.Negate():
            _calculable(node, scope, in_filter)
        case ast.Aggregate():
            _selector(node.selector, scope)
            if node.window.kind == "range":
                range_bounds(node.window)
        case ast.Each():
            if not scope.each:
                raise _error(
                    node,
                    "each has a meaning only in a segment with for_each",
                    "each",
                    "for_each: click.category beside when",
                )
        case ast.SegmentRef(name):
            if scope.segments is not None and name not in scope.segments:
                hint = nearest(name, scope.segments)
                raise _error(node, "unknown segment", f'"{name}"', "the name of a segment that is defined", hint)
        case ast.Compare() | ast.Between() | ast.In() | ast.TextTest() | ast.Matches() | ast.IsNull():
            _comparison(node, scope, in_filter)
        case (
            ast.Literal() | ast.Duration() | ast.Field() | ast.Profile() | ast.Prediction() | ast.Consent()
            | ast.Bucket()
            | ast.Calendar() | ast.WithinKm()
        ):  # fmt: skip
            pass
        case ast.Events() | ast.Chain() | ast.Absence() | ast.ListOf():
            raise _error(
                node, "a selector has no value", type(node).__name__.lower(), "a function of it, such as any(...)"
            )
        case _:
            assert_never(node)
    return type_of(node)


def type_of(node: Node) -> Type:
    """The type of a node of a tree that was checked; it depends on the tree alone."""
    match node:
        case ast.Literal(_, kind):
            return _LITERALS[kind]
        case ast.Duration():
            return Type.DURATION
        case ast.Field() | ast.Profile() | ast.Prediction() | ast.Each():
            return Type.ANY
        case ast.Bucket():
            return Type.NUMBER
        case ast.Calendar(fn):
            return Type.TEXT if fn == "date" else Type.NUMBER
        case ast.Aggregate():
            return row_of(node).value
        case ast.Negate(operand):
            return Type.DURATION if type_of(operand) is Type.DURATION else Type.NUMBER
        case ast.Arith(op, left, right):
            return _RESULT[op, type_of(left) is Type.DURATION, type_of(right) is Type.DURATION]
        case (
            ast.Not() | ast.And() | ast.Or() | ast.Held() | ast.SegmentRef() | ast.Consent() | ast.Compare()
            | ast.Between()
            | ast.In() | ast.TextTest() | ast.Matches() | ast.IsNull() | ast.WithinKm()
        ):  # fmt: skip
            return Type.BOOL
        case ast.Events() | ast.Chain() | ast.Absence() | ast.ListOf():
            raise TypeError(f"{type(node).__name__} has no value")
        case _:
            assert_never(node)


_LITERALS: dict[ast.LiteralKind, Type] = {"number": Type.NUMBER, "text": Type.TEXT, "bool": Type.BOOL}

_RESULT: dict[tuple[ast.ArithOp, bool, bool], Type] = {
    ("+", True, True): Type.DURATION,
    ("-", True, True): Type.DURATION,
    ("*", True, False): Type.DURATION,
    ("*", False, True): Type.DURATION,
    ("/", True, False): Type.DURATION,
    ("/", True, True): Type.NUMBER,
    ("+", False, False): Type.NUMBER,
    ("-", False, False): Type.NUMBER,
    ("*", False, False): Type.NUMBER,
    ("/", False, False): Type.NUMBER,
}
"""The type of (operator, is the left a duration, is the right); what is not here cannot be
calculated."""


_Test = ast.Compare | ast.Between | ast.In | ast.TextTest | ast.Matches | ast.IsNull


def _comparison(node: _Test, scope: Scope, in_filter: bool) -> None:
    match node:
        case ast.Compare(op, left, right):
            _comparable(node, op, infer(left, scope, in_filter), infer(right, scope, in_filter))
        case ast.Between(operand, low, high):
            for bound in (low, high):
                _comparable(node, "between", infer(operand, scope, in_filter), infer(bound, scope, in_filter))
        case ast.In(operand, items, _):
            kind = infer(operand, scope, in_filter)
            for item in items.items:
                _comparable(item, "in", kind, infer(item, scope, in_filter))
        case ast.TextTest(op, left, right):
            _text_like(left, op, infer(left, scope, in_filter))
            right_type = infer(right, scope, in_filter)
            if op != "contains":
                _text_like(right, op, right_type)
        case ast.Matches(operand, pattern):
            _text_like(operand, "matches", infer(operand, scope, in_filter))
            compile_regex(pattern, node)
        case ast.IsNull(operand, _):
            infer(operand, scope, in_filter)
        case _:
            assert_never(node)


def _text_like(node: Node, op: str, found: Type) -> None:
    if found not in (Type.TEXT, Type.ANY):
        raise _error(node, f"{op} looks into texts", found.value, "a text or a field")


def _comparable(node: Node, op: str, left: Type, right: Type) -> None:
    pair = {left, right}
    if Type.DURATION in pair and pair != {Type.DURATION}:
        other = next(t for t in (left, right) if t is not Type.DURATION)
        raise _error(
            node,
            "the two sides have different types",
            f"a duration {op} {other.value}",
            "two durations (since(purchase) > 3d), or a number: since(purchase) / 1d > 3",
        )
    if Type.ANY not in pair and len(pair) > 1:
        raise _error(
            node, "the two sides have different types", f"{left.value} {op} {right.value}", "two sides of one type"
        )
    if Type.BOOL in pair and op not in ("==", "!=", "in"):
        raise _error(node, f"true and false have no order for {op}", "a condition", "== or !=")


def _calculable(node: ast.Arith | ast.Negate, scope: Scope, in_filter: bool) -> None:
    if isinstance(node, ast.Negate):
        found = infer(node.operand, scope, in_filter)
        if found not in (Type.NUMBER, Type.DURATION, Type.ANY):
            raise _error(node, "only numbers and durations can be negated", found.value, "a number")
        return
    left, right = infer(node.left, scope, in_filter), infer(node.right, scope, in_filter)
    for side, found in ((node.left, left), (node.right, right)):
        if found in (Type.TEXT, Type.BOOL):
            raise _error(side, f"{found.value} cannot be calculated with", found.value, "a number or a duration")
    if (node.op, left is Type.DURATION, right is Type.DURATION) not in _RESULT:
        raise _error(
            node,
            f"these two do not go with {node.op}",
            f"{left.value} {node.op} {right.value}",
            "durations added to durations, or multiplied and divided by numbers",
        )


def range_bounds(window: ast.Window) -> tuple[datetime | date, datetime | date]:
    """Start (included) and end (excluded) of a `from … to …` window: dates, or instants with a
    zone. Raises DefinitionError."""
    bounds: list[datetime | date] = []
    for text in (window.start, window.end):
        bound = day(text) or aware(text)
        if bound is None:
            raise _error(window, "unknown date", f'"{text}"', 'a date such as "2026-11-01", or an instant with a zone')
        bounds.append(bound)
    start, end = [epoch_ms(bound) if isinstance(bound, datetime) else bound.toordinal() for bound in bounds]
    if start >= end and type(bounds[0]) is type(bounds[1]):
        raise _error(
            window, "the window is empty", f'from "{window.start}" to "{window.end}"', "an end after the start"
        )
    return bounds[0], bounds[1]


def _selector(node: Node, scope: Scope) -> None:
    if isinstance(node, ast.Events):
        if node.stream != "*" and node.stream not in scope.streams:
            raise _error(
                node,
                "unknown stream",
                f'"{node.stream}"',
                "one of " + ", ".join(sorted(scope.streams)) + " or *",
                nearest(node.stream, scope.streams),
            )
        if node.where is not None:
            _filter(node.where, scope)
        return
    for child in ast.children(node):
        _selector(child, scope)


def _filter(where: Node, scope: Scope) -> None:
    _condition(where, scope, in_filter=True)
    keyed = 0
    for part in where.operands if isinstance(where, ast.And) else (where,):
        if each_path(part) is not None:
            keyed += 1
        elif uses_each(part):
            raise _error(
                part,
                "each can only be compared with == in a filter",
                "each",
                "a condition of its own, such as click[category == each and price > 5]",
            )
    if keyed > 1:
        raise _error(where, "each can stand for one field of an event", "two comparisons with each", "one")


def each_path(part: Node) -> Path | None:
    """The field path of a conjunct `field == each` (either way round), else None."""
    match part:
        case ast.Compare("==", ast.Field(path), ast.Each()) | ast.Compare("==", ast.Each(), ast.Field(path)):
            return path
        case _:
            return None


def compile_regex(pattern: str, node: ast.Base) -> Any:
    """RE2's compiled pattern: its time is linear in the text, so a definition cannot hang a worker.
    Raises DefinitionError."""
    if len(pattern) > limits.REGEX_CHARS_MAX:
        raise _error(
            node,
            "the pattern is too long",
            f"{len(pattern)} characters",
            f"at most {limits.REGEX_CHARS_MAX} (REGEX_CHARS_MAX)",
        )
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        detail = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise _error(
            node,
            f"the pattern cannot be used: {detail}",
            f'"{pattern}"',
            "RE2 syntax (no look-around, no back-references)",
        ) from None


def _error(node: ast.Base, message: str, found: str, expected: str, hint: str = "") -> DefinitionError:
    return DefinitionError(message, line=node.pos[0], column=node.pos[1], found=found, expected=expected, hint=hint)
