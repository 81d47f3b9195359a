"""Text → tree: the grammar's parse, turned into `ast` nodes, with errors that point at the
character.

`parse(text)` is the only way in. What a name means depends on where it stands: inside `[...]` it
is a field of the event, where a selector is expected it is a stream; everything else is checked
by `types`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any, assert_never, cast

from lark import Lark, Token, Tree
from lark.exceptions import LarkError, UnexpectedCharacters, UnexpectedEOF, UnexpectedToken

from app.domain import limits
from app.domain.errors import DefinitionError, half_character, nearest
from app.rules import ast, tokens
from app.rules.ast import Node, Path, Pos
from app.rules.functions import AGGREGATES, FUNCTIONS, OTHERS, Function, Other, Parameter

_NUMBER_CHARS_MAX = 320  # 1e300 written out, with its decimals; Python itself stops at 4,300 digits

_PERIODS: dict[str, ast.WindowKind] = {"today": "today", "session": "session", "ever": "ever"}


@cache
def _lark() -> Lark:
    grammar = resources.files("app.rules").joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", propagate_positions=True, maybe_placeholders=False)


def parse(text: str) -> Node:
    """The tree of one expression. Raises DefinitionError with line and column (from 1) within
    `text`."""
    if len(text) > limits.EXPRESSION_CHARS_MAX:
        raise DefinitionError(
            "the expression is too long",
            line=1,
            column=1,
            found=f"{len(text)} characters",
            expected=f"at most {limits.EXPRESSION_CHARS_MAX} (EXPRESSION_CHARS_MAX): split it with segment(...)",
        )
    try:
        text.encode()
        tree = _lark().parse(text)
    except UnicodeEncodeError as error:
        raise half_character(error) from None
    except UnexpectedToken as error:
        raise tokens.unexpected(error.token, error.expected, text) from None
    except UnexpectedCharacters as error:
        place = int(getattr(error, "pos_in_stream", None) or 0)
        found = repr(text[place : place + 1])
        raise DefinitionError("unexpected character", line=error.line, column=error.column, found=found) from None
    except UnexpectedEOF as error:  # pragma: no cover - LALR reports the end as a token
        raise DefinitionError("the expression ends too early", line=1, column=len(text) + 1) from error
    except LarkError as error:  # pragma: no cover - what the parser has no name for still carries a message
        raise DefinitionError(f"cannot be parsed: {error}", line=1, column=1) from error
    builder = _Builder()
    return builder.condition(tree.children[0], False, 0)


Part = Tree[Token] | Token


class _Builder:
    """Walks the parse tree once; counts nodes and depth so that no later walker needs to."""

    def __init__(self) -> None:
        self._nodes = 0

    # --- conditions and values -------------------------------------------------------------------

    def condition(self, tree: Part, in_filter: bool, depth: int) -> Node:
        """Any expression that is not a selector; a rule `x` of the grammar is built by the
        method `_x`."""
        self._count(tree, depth)
        kind = tree.data if isinstance(tree, Tree) else tree.type
        method: Callable[[Any, bool, int], Node] | None = getattr(self, f"_{kind}", None)
        if method is None:
            raise tokens.wrong(
                tree,
                "an event selector cannot stand here",
                f"{kind}",
                "a condition or a value, such as any(...) or count(...)",
            )
        return method(tree, in_filter, depth)

    def _count(self, tree: Part, depth: int) -> None:
        self._nodes += 1
        if depth > limits.EXPRESSION_DEPTH_MAX:
            raise tokens.wrong(
                tree,
                "the expression is nested too deeply",
                f"depth {depth}",
                f"at most {limits.EXPRESSION_DEPTH_MAX} (EXPRESSION_DEPTH_MAX)",
            )
        if self._nodes > limits.EXPRESSION_NODES_MAX:
            raise tokens.wrong(
                tree,
                "the expression is too large",
                f"{self._nodes} parts",
                f"at most {limits.EXPRESSION_NODES_MAX} (EXPRESSION_NODES_MAX)",
            )

    def _all(self, tree: Any, in_filter: bool, depth: int) -> tuple[Node, ...]:
        return tuple(self.condition(child, in_filter, depth + 1) for child in tree.children)

    def _or_(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return ast.Or(_flat(ast.Or, self._all(tree, in_filter, depth)), pos=tokens.position(tree))

    def _and_(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return ast.And(_flat(ast.And, self._all(tree, in_filter, depth)), pos=tokens.position(tree))

    def _not_(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return ast.Not(self.condition(tree.children[0], in_filter, depth + 1), pos=tokens.position(tree))

    def _compare(self, tree: Any, in_filter: bool, depth: int) -> Node:
        left, op, right = tree.children
        return ast.Compare(
            cast("ast.CompareOp", str(op)),
            self.condition(left, in_filter, depth + 1),
            self.condition(right, in_filter, depth + 1),
            pos=tokens.position(tree),
        )

    def _in_(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return self._membership(tree, in_filter, depth, False)

    def _not_in(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return self._membership(tree, in_filter, depth, True)

    def _membership(self, tree: Any, in_filter: bool, depth: int, negated: bool) -> Node:
        operand, items = tree.children
        if len(items.children) > limits.LIST_ITEMS_MAX:
            raise tokens.wrong(
                tree,
                "the list is too long",
                f"{len(items.children)} items",
                f"at most {limits.LIST_ITEMS_MAX} (LIST_ITEMS_MAX)",
            )
        listed = ast.ListOf(
            tuple(_folded(self.condition(item, in_filter, depth + 1)) for item in items.children),
            pos=tokens.position(items),
        )
        return ast.In(self.condition(operand, in_filter, depth + 1), listed, negated, pos=tokens.position(tree))

    def _between(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return ast.Between(*self._all(tree, in_filter, depth), pos=tokens.position(tree))

    def _text_test(self, tree: Any, in_filter: bool, depth: int) -> Node:
        left, op, right = tree.children
        return ast.TextTest(
            cast("ast.TextOp", str(op)),
            self.condition(left, in_filter, depth + 1),
            self.condition(right, in_filter, depth + 1),
            pos=tokens.position(tree),
        )

    def _matches(self, tree: Any, in_filter: bool, depth: int) -> Node:
        operand, pattern = tree.children
        return ast.Matches(
            self.condition(operand, in_filter, depth + 1), tokens.string(pattern), pos=tokens.position(tree)
        )

    def _is_null(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return ast.IsNull(self.condition(tree.children[0], in_filter, depth + 1), False, pos=tokens.position(tree))

    def _is_not_null(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return ast.IsNull(self.condition(tree.children[0], in_filter, depth + 1), True, pos=tokens.position(tree))

    def _binary(self, op: ast.ArithOp, tree: Any, in_filter: bool, depth: int) -> Node:
        left, right = tree.children[0], tree.children[-1]
        return ast.Arith(
            op,
            self.condition(left, in_filter, depth + 1),
            self.condition(right, in_filter, depth + 1),
            pos=tokens.position(tree),
        )

    def _add(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return self._binary("+", tree, in_filter, depth)

    def _sub(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return self._binary("-", tree, in_filter, depth)

    def _mul(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return self._binary("*", tree, in_filter, depth)

    def _div(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return self._binary("/", tree, in_filter, depth)

    def _negate(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return _folded(ast.Negate(self.condition(tree.children[0], in_filter, depth + 1), pos=tokens.position(tree)))

    def _number(self, tree: Any, in_filter: bool, depth: int) -> Node:
        text = str(tree.children[0])
        if len(text) > _NUMBER_CHARS_MAX:
            raise tokens.wrong(
                tree, "the number is too large", tokens.quoted(text), f"at most {_NUMBER_CHARS_MAX} characters"
            )
        value = float(text) if any(c in text for c in ".eE") else int(text)
        if abs(value) > 1e300:
            raise tokens.wrong(tree, "the number is too large", text, "at most 1e300")
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = int(value)
        return ast.Literal(value, "number", pos=tokens.position(tree))

    def _string(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return ast.Literal(tokens.string(tree.children[0]), "text", pos=tokens.position(tree))

    def _true(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return ast.Literal(True, "bool", pos=tokens.position(tree))

    def _false(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return ast.Literal(False, "bool", pos=tokens.position(tree))

    def _duration(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return ast.Duration(tokens.duration(tree.children[0]), pos=tokens.position(tree))

    # --- names -----------------------------------------------------------------------------------

    def _name(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return self._path(tree, in_filter)

    def _member(self, tree: Any, in_filter: bool, depth: int) -> Node:
        return self._path(tree, in_filter)

    def _path(self, tree: Any, in_filter: bool) -> Node:
        base, path = _split_members(tree)
        if not (isinstance(base, Tree) and base.data == "name"):
            raise tokens.wrong(
                tree,
                "a field of a selector cannot stand here",
                "a field",
                "a function of it, such as last(click.device)",
            )
        names = (tokens.identifier(base.children[0]), *path)
        if names == ("each",):
            return ast.Each(pos=tokens.position(tree))
        if in_filter:
            return ast.Field(names, pos=tokens.position(tree))
        if names[0] == "profile" and len(names) > 1:
            return ast.Profile(names[1:], pos=tokens.position(tree))
        hint = nearest(names[0], FUNCTIONS)
        raise DefinitionError(
            "a name alone says nothing here",
            line=tokens.position(tree)[0],
            column=tokens.position(tree)[1],
            found=tokens.quoted(".".join(names)),
            expected=(
                f'a function of it, such as any({names[0]}), a profile attribute (profile.{names[-1]}) or a "text"'
            ),
            hint=hint,
        )

    # --- functions -------------------------------------------------------------------------------

    def _call(self, tree: Any, in_filter: bool, depth: int) -> Node:
        name, arguments = str(tree.children[0]), tree.children[1:]
        if name not in FUNCTIONS:
            raise DefinitionError(
                "unknown function",
                line=tokens.position(tree)[0],
                column=tokens.position(tree)[1],
                found=tokens.quoted(name),
                expected="a function of the language, such as any, count or sum",
                hint=nearest(name, FUNCTIONS),
            )
        if name == "within_km":
            return self._within_km_filter(tree, arguments, in_filter)
        if in_filter:
            raise tokens.wrong(tree, "a filter sees one event only", f"{name}(...)", "the event's own fields")
        row = AGGREGATES.get(name)
        return (
            self._other(cast("Other", name), tree, arguments, depth)
            if row is None
            else self._aggregate(row, tree, arguments, depth)
        )

    def _aggregate(self, row: Function, tree: Any, arguments: list[Any], depth: int) -> Node:
        name, usage = row.name, row.usage
        most = 3 if row.windowed and row.parameter is not None else 2
        if not 1 <= len(arguments) <= most:
            raise tokens.wrong(tree, f"{name} takes other arguments", f"{len(arguments)} arguments", usage)
        selector, path = self._selected(arguments[0], depth + 1)
        if row.field == "needed" and path is None:
            raise tokens.wrong(arguments[0], f"{name} needs a field", "a selector alone", usage)
        if row.field == "none" and path is not None:
            raise tokens.wrong(arguments[0], f"{name} takes no field", "." + ".".join(path), usage)
        rest, parameter = arguments[1:], None
        if row.parameter is not None:
            parameter, rest = self._parameter(row, row.parameter, tree, rest, depth), rest[1:]
        if rest and not row.windowed:
            raise tokens.wrong(rest[0], f"{name} takes no window", "a second argument", usage)
        window = self._window(rest[0], name) if rest else ast.Window()
        return ast.Aggregate(name, selector, path, window, parameter, pos=tokens.position(tree))

    def _parameter(self, row: Function, parameter: Parameter, tree: Any, arguments: list[Any], depth: int) -> float:
        """The constant behind the selector."""
        if not arguments:
            raise tokens.wrong(tree, f"{row.name} needs a {parameter.name}", "none", row.usage)
        given = arguments[0]
        if parameter.kind == "duration":
            if not tokens.is_kind(given, "duration"):
                raise tokens.wrong(given, f"{row.name} needs a {parameter.name}", "another value", row.usage)
            return tokens.duration(given.children[0])
        number = (
            _folded(self.condition(given, False, depth + 1))
            if tokens.is_kind(given, "number") or tokens.is_kind(given, "negate")
            else None
        )
        if not (isinstance(number, ast.Literal) and number.kind == "number"):
            raise tokens.wrong(given, f"{row.name} needs a {parameter.name}", "another value", row.usage)
        if not parameter.low <= number.value <= parameter.high:
            allowed = f"a number from {parameter.low:g} to {parameter.high:g}"
            raise tokens.wrong(given, f"the {parameter.name} is out of range", str(number.value), allowed)
        return cast("float", number.value)

    def _other(self, name: Other, tree: Any, arguments: list[Any], depth: int) -> Node:
        pos = tokens.position(tree)
        match name:
            case "hour" | "weekday" | "date":
                _arity(name, tree, arguments, 0)
                return ast.Calendar(name, pos=pos)
            case "held":
                _arity(name, tree, arguments, 2)
                if not tokens.is_kind(arguments[1], "duration"):
                    raise tokens.wrong(arguments[1], "held needs a duration", "another value", OTHERS[name])
                return ast.Held(
                    self.condition(arguments[0], False, depth + 1), tokens.duration(arguments[1].children[0]), pos=pos
                )
            case "consent":
                return ast.Consent(_named(name, tree, arguments), pos=pos)
            case "segment":
                return ast.SegmentRef(_named(name, tree, arguments), pos=pos)
            case "bucket":
                return ast.Bucket(_named(name, tree, arguments), pos=pos)
            case "score" | "cluster":
                return ast.Prediction(name, _named(name, tree, arguments), pos=pos)
            case "within_km":
                raise AssertionError("within_km chooses events and was built as a filter")
            case _:
                assert_never(name)

    def _within_km_filter(self, tree: Any, arguments: list[Any], in_filter: bool) -> Node:
        if not in_filter:
            raise tokens.wrong(
                tree,
                "within_km chooses events",
                "within_km as a value",
                "any(within_km(click, 59.91, 10.75, 5)) or click[within_km(59.91, 10.75, 5)]",
            )
        return self._within_km(tree, arguments)

    def _within_km(self, tree: Any, arguments: list[Any]) -> ast.WithinKm:
        _arity("within_km", tree, arguments, 3)
        numbers = [_folded(self.condition(argument, True, 0)) for argument in arguments]
        values = [n.value for n in numbers if isinstance(n, ast.Literal) and n.kind == "number"]
        if len(values) != 3 or not (-90 <= values[0] <= 90 and -180 <= values[1] <= 180 and values[2] >= 0):
            raise tokens.wrong(
                tree,
                "within_km needs a point and a distance",
                "other values",
                "latitude -90 to 90, longitude -180 to 180, kilometres ≥ 0",
            )
        return ast.WithinKm(float(values[0]), float(values[1]), float(values[2]), pos=tokens.position(tree))

    def _window(self, tree: Any, function: str) -> ast.Window:
        pos = tokens.position(tree)
        kind = tree.data if isinstance(tree, Tree) else ""
        if kind == "last_window":
            return ast.Window("last", tokens.duration(tree.children[1]), pos=pos)
        if kind == "this_window":
            unit = str(tree.children[0])
            if unit in ("week", "month"):
                return ast.Window("this week" if unit == "week" else "this month", pos=pos)
            raise tokens.wrong(tree, "unknown window", f"this {unit}", "this week or this month")
        if kind == "range_window":
            return ast.Window("range", 0, tokens.string(tree.children[0]), tokens.string(tree.children[1]), pos=pos)
        if kind == "name" and (named := _PERIODS.get(tokens.identifier(tree.children[0]))) is not None:
            return ast.Window(named, pos=pos)
        raise tokens.wrong(
            tree,
            f"{function} needs a window here",
            "another value",
            'last 7d, today, this week, this month, session, ever or from "…" to "…"',
        )

    # --- selectors -------------------------------------------------------------------------------

    def _selected(self, tree: Any, depth: int) -> tuple[ast.Selector, Path | None]:
        base, path = _split_members(tree)
        return self.selector(base, depth), path or None

    def selector(self, tree: Any, depth: int) -> ast.Selector:
        """A selector: events, a chain or an absence."""
        self._count(tree, depth)
        kind = tree.data if isinstance(tree, Tree) else tree.type
        if kind == "chain":
            return self._steps(tree, depth)
        if kind == "absence":
            first, missing, *rest = tree.children
            on, within = _on_within(rest)
            return ast.Absence(
                self.selector(first, depth + 1),
                self.selector(missing, depth + 1),
                on,
                within,
                pos=tokens.position(tree),
            )
        return self._events(tree, kind, depth)

    def _steps(self, tree: Any, depth: int) -> ast.Chain:
        steps = [child for child in tree.children if not (isinstance(child, Token) or child.data == "on")]
        if len(steps) > limits.CHAIN_STEPS_MAX:
            raise tokens.wrong(
                tree,
                "the chain is too long",
                f"{len(steps)} steps",
                f"at most {limits.CHAIN_STEPS_MAX} (CHAIN_STEPS_MAX)",
            )
        on, within = _on_within([child for child in tree.children if child not in steps])
        built = []
        for step in steps:
            node = self.selector(step, depth + 1)
            if not isinstance(node, ast.Events):
                raise tokens.wrong(
                    step,
                    "a chain cannot stand inside another chain",
                    "a chain or an absence",
                    'events, such as cart[action == "add"]',
                )
            built.append(node)
        return ast.Chain(tuple(built), on, within, pos=tokens.position(tree))

    def _events(self, tree: Any, kind: str, depth: int) -> ast.Events:
        pos = tokens.position(tree)
        if kind == "star":
            return ast.Events("*", pos=pos)
        if kind == "name":
            return ast.Events(tokens.identifier(tree.children[0]), pos=pos)
        if kind == "filtered":
            base = self.selector(tree.children[0], depth + 1)
            if not isinstance(base, ast.Events):
                raise tokens.wrong(
                    tree,
                    "only events can be filtered",
                    "a filter on a chain or an absence",
                    "the filter on one of its steps",
                )
            return _narrowed(base, self.condition(tree.children[1], True, depth + 1), pos)
        if kind == "call" and str(tree.children[0]) == "within_km":
            _arity("within_km", tree, tree.children[1:], 4)
            base = self.selector(tree.children[1], depth + 1)
            if not isinstance(base, ast.Events):
                raise tokens.wrong(
                    tree, "within_km chooses among events", "a chain or an absence", "events, such as click"
                )
            return _narrowed(base, self._within_km(tree, tree.children[2:]), pos)
        raise tokens.wrong(
            tree, "events are expected here", str(kind).strip("_"), 'a stream, such as click or cart[action == "add"]'
        )


def _narrowed(base: ast.Events, where: Node, pos: Pos) -> ast.Events:
    parts = (base.where, where) if base.where is not None else (where,)
    flat = _flat(ast.And, parts)
    return ast.Events(base.stream, flat[0] if len(flat) == 1 else ast.And(flat, pos=pos), pos=pos)


def _flat(kind: Any, operands: tuple[Node, ...]) -> tuple[Node, ...]:
    found: list[Node] = []
    for operand in operands:
        found.extend(operand.operands if isinstance(operand, kind) else (operand,))
    return tuple(found)


def _folded(node: Node) -> Node:
    """A negated number is a number."""
    if isinstance(node, ast.Negate) and isinstance(node.operand, ast.Literal) and node.operand.kind == "number":
        return ast.Literal(-node.operand.value, "number", pos=node.pos)
    return node


def _split_members(tree: Any) -> tuple[Any, Path]:
    path: list[str] = []
    while isinstance(tree, Tree) and tree.data == "member":
        path.append(tokens.identifier(tree.children[1]))
        tree = tree.children[0]
    return tree, tuple(reversed(path))


def _on_within(parts: list[Any]) -> tuple[Path | None, int]:
    on: Path | None = None
    for part in parts:
        if isinstance(part, Tree):
            on = tuple(tokens.identifier(name) for name in part.children)
    return on, tokens.duration(parts[-1])


def _arity(name: Other, tree: Any, arguments: list[Any], wanted: int) -> None:
    if len(arguments) != wanted:
        raise tokens.wrong(tree, f"{name} takes other arguments", f"{len(arguments)} arguments", OTHERS[name])


def _named(name: Other, tree: Any, arguments: list[Any]) -> str:
    """The one text that the function takes."""
    _arity(name, tree, arguments, 1)
    if not tokens.is_kind(arguments[0], "string"):
        raise tokens.wrong(arguments[0], f"{name} needs a text", "another value", OTHERS[name])
    return tokens.string(arguments[0].children[0])
