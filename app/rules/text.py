"""Tree → text: the canonical spelling of an expression. It parses back to an equal tree, so it can
name what it spells."""

from __future__ import annotations

import json
from typing import assert_never

from app.domain.time import duration_text
from app.rules import ast
from app.rules.ast import Node, Path
from app.rules.functions import row_of

KEYWORDS = frozenset(
    (
        *("and", "or", "not", "in", "is", "null", "true", "false", "between", "within", "without", "matches"),
        *("contains", "starts_with", "ends_with", "last", "first", "on", "from", "this", "to", "each"),
    )
)

# How tightly each form binds; an operand that binds less tightly than its place asks for is
# parenthesised.
_OR, _AND, _NOT, _COMPARISON, _SUM, _TERM, _UNARY, _ATOM = range(8)


def text(node: Node) -> str:
    """The canonical spelling of `node`."""
    return _spell(node)[0]


def _spell(node: Node) -> tuple[str, int]:
    """The spelling, and how tightly it binds."""
    match node:
        case ast.Literal(value, kind):
            return _quoted(value), _UNARY if kind == "number" and value < 0 else _ATOM
        case ast.Or(operands):
            return " or ".join(_in(o, _AND) for o in operands), _OR
        case ast.And(operands):
            return " and ".join(_in(o, _NOT) for o in operands), _AND
        case ast.Not(operand):
            return "not " + _in(operand, _NOT), _NOT
        case ast.Negate(operand):
            return "-" + _in(operand, _ATOM), _UNARY
        case ast.Arith(op, left, right):
            level = _SUM if op in "+-" else _TERM
            return f"{_in(left, level)} {op} {_in(right, level + 1)}", level
        case ast.Compare(op, left, right) | ast.TextTest(op, left, right):
            return f"{_in(left, _SUM)} {op} {_in(right, _SUM)}", _COMPARISON
        case ast.In(operand, items, negated):
            return f"{_in(operand, _SUM)} {'not in' if negated else 'in'} {text(items)}", _COMPARISON
        case ast.Between(operand, low, high):
            return f"{_in(operand, _SUM)} between {_in(low, _SUM)} and {_in(high, _SUM)}", _COMPARISON
        case ast.Matches(operand, pattern):
            return f"{_in(operand, _SUM)} matches {_quoted(pattern)}", _COMPARISON
        case ast.IsNull(operand, negated):
            return f"{_in(operand, _SUM)} is {'not null' if negated else 'null'}", _COMPARISON
        case _:
            return _spell_atom(node), _ATOM


_Call = (
    ast.Aggregate | ast.Held | ast.Consent | ast.SegmentRef | ast.Prediction | ast.Bucket | ast.Calendar | ast.WithinKm
)
_Atom = ast.Duration | ast.ListOf | ast.Field | ast.Each | ast.Profile | ast.Events | ast.Chain | ast.Absence | _Call


def _spell_atom(node: _Atom) -> str:
    match node:
        case ast.Duration(ms):
            return duration_text(ms)
        case ast.ListOf(items):
            return "[" + ", ".join(text(item) for item in items) + "]"
        case ast.Field(path):
            return _path(path)
        case ast.Each():
            return "each"
        case ast.Profile(path):
            return "profile." + _path(path)
        case ast.Events(stream, where):
            return stream if where is None else f"{stream}[{text(where)}]"
        case ast.Chain(steps, on, within):
            return f"{' -> '.join(text(s) for s in steps)}{_on(on)} within {duration_text(within)}"
        case ast.Absence(first, missing, on, within):
            return f"{_step(first)} without {_step(missing)}{_on(on)} within {duration_text(within)}"
        case _:
            return _spell_call(node)


def _spell_call(node: _Call) -> str:
    match node:
        case ast.Aggregate():
            return _spell_aggregate(node)
        case ast.Held(condition, ms):
            return f"held({text(condition)}, {duration_text(ms)})"
        case ast.Consent(name):
            return f"consent({_quoted(name)})"
        case ast.SegmentRef(name):
            return f"segment({json.dumps(name)})"
        case ast.Prediction(fn, model):
            return f"{fn}({json.dumps(model)})"
        case ast.Bucket(salt):
            return f"bucket({_quoted(salt)})"
        case ast.Calendar(fn):
            return f"{fn}()"
        case ast.WithinKm(lat, lon, km):
            return f"within_km({lat}, {lon}, {km})"
        case _:
            assert_never(node)


def _quoted(value: str | float | bool) -> str:
    return json.dumps(value, ensure_ascii=False)


def _spell_aggregate(node: ast.Aggregate) -> str:
    base = text(node.selector)
    if node.field is not None:
        base = (base if isinstance(node.selector, ast.Events) else f"({base})") + "." + _path(node.field)
    given = parameter_text(node)
    window = window_text(node.window)
    return f"{node.fn}({', '.join(part for part in (base, given, window) if part)})"


def parameter_text(node: ast.Aggregate) -> str:
    """The spelling of an aggregate's parameter; empty where it has none."""
    parameter = row_of(node).parameter
    if parameter is None or node.parameter is None:
        return ""
    return duration_text(int(node.parameter)) if parameter.kind == "duration" else json.dumps(node.parameter)


def window_text(window: ast.Window) -> str:
    """The window's spelling; empty for `ever`, which is the default."""
    match window.kind:
        case "ever":
            return ""
        case "last":
            return f"last {duration_text(window.ms)}"
        case "range":
            return f"from {json.dumps(window.start)} to {json.dumps(window.end)}"
        case "today" | "this week" | "this month" | "session":
            return window.kind
        case _:
            assert_never(window.kind)


def _in(node: Node, level: int) -> str:
    spelled, own = _spell(node)
    return spelled if own >= level else f"({spelled})"


def _step(node: Node) -> str:
    return text(node) if isinstance(node, ast.Events) else f"({text(node)})"


def _on(on: Path | None) -> str:
    return f" on {_path(on)}" if on else ""


def _path(path: Path) -> str:
    return ".".join(f"`{part}`" if part in KEYWORDS else part for part in path)
