"""What a token of the parse says (its name, text, duration, position), and errors that point at
it."""

from __future__ import annotations

import json
from typing import Any

from lark import Token, Tree

from app.domain import limits
from app.domain.errors import DefinitionError, nearest
from app.domain.time import duration_ms
from app.rules.ast import Pos

_HUMAN = {
    "LPAR": '"("',
    "RPAR": '")"',
    "LSQB": '"["',
    "RSQB": '"]"',
    "COMMA": '","',
    "NAME": "a name",
    "WORD": "a name",
    "QUOTED": "a name",
    "FIRST": "a function",
    "LAST": "a function",
    "STRING": 'a "text"',
    "NUMBER": "a number",
    "DURATION": "a duration such as 7d",
    "COMPARE": "a comparison",
    "TEXT_OP": "contains, starts_with or ends_with",
    "STAR": '"*"',
    "MINUS": '"-"',
    "PLUS": '"+"',
    "SLASH": '"/"',
    "DOT": '"."',
    "$END": "the end",
    "__ANON_0": '"->"',
}


def unexpected(token: Token, expected: Any, text: str) -> DefinitionError:
    """The error for a token that cannot stand where it does."""
    names = sorted({_HUMAN.get(name, f'"{name.lower()}"') for name in expected})
    wanted = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    if token.type == "$END":
        lines = text.split("\n")
        return DefinitionError(
            "the expression ends too early",
            line=len(lines),
            column=len(lines[-1]) + 1,
            found="the end",
            expected=wanted,
        )
    hint = nearest(
        str(token),
        ("and", "or", "not", "in", "between", "within", "without", "contains", "starts_with", "matches", "is"),
    )
    return DefinitionError(
        "unexpected text",
        line=token.line or 1,
        column=token.column or 1,
        found=quoted(str(token)),
        expected=wanted,
        hint=hint if token.type == "NAME" else "",
    )


def quoted(text: str) -> str:
    """A text as errors show it, shortened."""
    text = text if len(text) <= 40 else text[:37] + "…"
    return text if text.startswith('"') else f'"{text}"'


def identifier(token: Any) -> str:
    """The name that a token spells."""
    return str(token).strip("`")


def string(token: Any) -> str:
    """The text in a token, its escapes resolved. Raises DefinitionError."""
    try:
        found = str(json.loads(str(token), strict=False))
        found.encode()  # an escape may stand for half a character
        return found
    except ValueError:
        raise DefinitionError(
            "the text has an unknown escape",
            line=token.line,
            column=token.column,
            found=quoted(str(token)),
            expected='JSON escapes of whole characters, such as \\" \\\\ \\n \\u00e9',
        ) from None


def duration(token: Any) -> int:
    """The duration that a token spells, in milliseconds. Raises DefinitionError."""
    try:
        ms = duration_ms(str(token))
    except ValueError as error:
        raise DefinitionError(str(error), line=token.line, column=token.column) from None
    if not limits.WINDOW_MS_MIN <= ms <= limits.WINDOW_MS_MAX:
        raise DefinitionError(
            "the duration is out of range",
            line=token.line,
            column=token.column,
            found=str(token),
            expected="1ms to 732d (two years, WINDOW_MS_MAX)",
        )
    return ms


def is_kind(tree: Any, kind: str) -> bool:
    """Whether a part of the parse is the rule `kind`."""
    return isinstance(tree, Tree) and tree.data == kind


def position(tree: Any) -> Pos:
    """(line, column), from 1."""
    if isinstance(tree, Token):
        return (tree.line or 1, tree.column or 1)
    return (getattr(tree.meta, "line", 1), getattr(tree.meta, "column", 1))


def wrong(tree: Any, message: str, found: str, expected: str) -> DefinitionError:
    """The error for a part of the parse, at its place."""
    line, column = position(tree)
    return DefinitionError(message, line=line, column=column, found=found, expected=expected)
