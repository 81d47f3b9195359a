"""Expressions of the segment language cut into coloured pieces.

It colours what it can and never fails.
"""

from __future__ import annotations

import re

_WORDS = """and or not in is null between within without matches contains starts_with ends_with on
last today this week month session ever from to each true false"""
_KEYWORDS = frozenset(_WORDS.split())
_PIECES = re.compile(
    r'(?P<text>"(?:\\.|[^"\\])*")'
    r"|(?P<number>\d+(?:\.\d+)?(?:ms|s|m|h|d|w)?\b)"
    r"|(?P<function>[A-Za-z_]\w*(?=\s*\())"
    r"|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<operator>->|[=!<>]=|[-+*/<>])"
    r"|(?P<other>.)",
    re.DOTALL,
)


def highlight(expression: str) -> list[tuple[str, str]]:
    """(kind, text) pieces that joined give `expression`; kinds: keyword · function · stream · field
    · text · number · operator · plain.
    """
    pieces: list[tuple[str, str]] = []
    for match in _PIECES.finditer(expression):
        kind = _kind(match, expression)
        if pieces and pieces[-1][0] == kind == "plain":
            pieces[-1] = ("plain", pieces[-1][1] + match[0])
        else:
            pieces.append((kind, match[0]))
    return pieces


def _kind(match: re.Match[str], expression: str) -> str:
    kind = match.lastgroup or "other"
    if kind == "other":
        return "plain"
    if kind == "function" and match[0] in _KEYWORDS:
        return "keyword"
    if kind != "word":
        return kind
    if match[0] in _KEYWORDS and expression[match.start() - 1 : match.start()] != ".":
        return "keyword"
    return "field" if _inside_filter(expression[: match.start()]) else "stream"


def _inside_filter(before: str) -> bool:
    return before.endswith(".") or before.count("[") > before.count("]")
