"""Changes and their facts in plain English: why somebody entered or left, for a person who did not
write the rule. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from app.domain.changes import Fact
from app.domain.views import Part
from app.rules import ast
from app.rules.functions import row_of
from app.wording.phrases import (
    duration_words,
    fill,
    phrase,
    show,
    show_value,
    tree,
    value_phrase,
    window_words,
    with_article,
    without_article,
)

_OPERATORS = {">=": "≥", "<=": "≤", ">": ">", "<": "<", "==": "=", "!=": "≠"}
_LEAVING = "exit_when"  # its facts are said as such; those of the other rules speak for themselves


def change_words(change: Mapping[str, Any]) -> dict[str, Any]:
    """`headline` ("entered", "left", "moved"), `cause` and `reasons` of a change as it is in the
    topic."""
    return {
        "headline": headline(change),
        "cause": cause_words(change),
        "reasons": [_said(change, fact) for fact in msgspec.convert(change.get("facts") or [], list[Fact])],
    }


def _said(change: Mapping[str, Any], fact: Fact) -> str:
    """One fact; the leaving rule of what was just entered is said as what keeps it."""
    if change["change"] == "entered" and fact.rule == _LEAVING:
        return "stays while: " + fact_words(msgspec.structs.replace(fact, rule="when"), change.get("value"))
    return fact_words(fact, change.get("value"))


def readable(part: Part) -> Part:
    """A part of an explanation with each `not` over a single condition said as one: ✓ not ✗ a
    purchase → ✓ no purchase."""
    if part.parts is UNSET:
        return part
    parts = [readable(below) for below in part.parts]
    if part.op == "not" and parts[0].fact is not UNSET:
        fact = parts[0].fact
        return Part(expr=part.expr, holds=part.holds, fact=msgspec.structs.replace(fact, needs=_negated(fact.needs)))
    return msgspec.structs.replace(part, parts=parts)


def _negated(needs: str) -> str:
    opposite = {"true": "false", "false": "true", "null": "not null", "not null": "null"}.get(needs)
    return opposite or (needs[4:] if needs.startswith("not ") else f"not {needs}")


def headline(change: Mapping[str, Any]) -> str:
    """ "entered engaged", "left interested_in:yoga", "lifecycle: newcomer → active"."""
    if change["change"] == "moved":
        return f"{change.get('group')}: {change.get('from') or 'none'} → {change.get('to') or 'none'}"
    return (
        f"{'entered' if change['change'] == 'entered' else 'left'} "
        f"{member_name(change.get('segment'), change.get('value'))}"
    )


def member_name(segment: str | None, value: object) -> str:
    """A membership as people write it: name, or name:value."""
    return str(segment) if value is None else f"{segment}:{show_value(value)}"


def cause_words(change: Mapping[str, Any]) -> str:
    """What made it happen: "on a click", "as time passed"."""
    cause = change.get("cause") or {}
    late = ", which came late" if change.get("late") else ""
    match cause.get("kind"):
        case "event":
            stream = str(cause.get("stream") or "event").replace("_", " ")
            return f"on {'an' if stream[0] in 'aeio' else 'a'} {stream}{late}"
        case "timer":
            return "as time passed"
        case "profile":
            return f"on a profile update{late}"
        case "bound":
            return f"to make room for {show(cause.get('by'))}"
        case "definition":
            return "as the definition changed"
        case other:  # a change of a later version is said as it stands
            return str(other or "")


def fact_words(fact: Fact, each: Any = None) -> str:
    """One fact as a sentence: "3 × carts + clicks in the last 7 days reached 21 (needs ≥ 20)".
    `each` is the `for_each` value."""
    # `from.` marks the facts behind leaving the one segment of a group when another is entered.
    prefix = "to leave: " if fact.rule.removeprefix("from.") == _LEAVING else ""
    said = _truth(fact.expr, fact.value, fact.needs) if isinstance(fact.value, bool) else _measure(fact)
    return prefix + fill(said, each)


def _truth(expression: str, value: bool, needs: str) -> str:
    """A condition that holds or does not: events that happened, absences that completed,
    memberships, flags."""
    node = tree(expression)
    needed = _needs_words(needs)
    if isinstance(node, ast.Aggregate) and node.fn == "any":
        said = _happened(node, value)
        needed = {"true": "one", "false": "none"}.get(needs, needed)
    elif isinstance(node, ast.Held):
        said = f"{'' if value else 'not '}for {value_phrase(node)}"
    elif isinstance(node, ast.SegmentRef):
        said = f"{'in' if value else 'not in'} {node.name}"
    else:
        said = f"{phrase(expression)}: {show(value)}"
    return said if needs == ("true" if value else "false") else f"{said} (needs {needed})"


def _happened(node: ast.Aggregate, value: bool) -> str:
    window = window_words(node.window)
    if isinstance(node.selector, ast.Absence):
        return _passed(node.selector, value) + (f", {window}" if window else "")
    said = with_article(node.selector) if value else f"no {without_article(node.selector)}"
    return f"{said} {window}".rstrip()


def _passed(absence: ast.Absence, value: bool) -> str:
    passed, missing = duration_words(absence.within_ms), with_article(absence.missing)
    if value:
        return f"{passed} passed without {missing} after {with_article(absence.first)}"
    return f"no {without_article(absence.first)} was left without {missing} for {passed}"


def _measure(fact: Fact) -> str:
    shown = _shown(fact.expr, fact.value)
    if fact.approximate:
        shown = f"about {shown}"
    if fact.or_more:
        shown = f"{shown} or more"
    needed = _needs_words(fact.needs) + ("" if fact.against is UNSET else f", now {_shown(fact.expr, fact.against)}")
    return f"{phrase(fact.expr)} {_verb(fact.needs, fact.value)} {shown} (needs {needed})"


def _verb(needs: str, value: Any) -> str:
    if not isinstance(value, int | float):
        return "is"
    return {">": "reached", "<": "fell to"}.get(needs[:1], "is") if _holds(needs, value) else "is"


def _holds(needs: str, value: float) -> bool:
    """Whether `value` satisfies a bound that is a plain number."""
    operator, _, operand = needs.partition(" ")
    try:
        bound = float(operand)
    except ValueError:
        return False
    return {">=": value >= bound, ">": value > bound, "<=": value <= bound, "<": value < bound}.get(operator, False)


def _shown(expression: str, value: Any) -> str:
    node = tree(expression)
    is_time = (isinstance(node, ast.Aggregate) and row_of(node).motion == "age") or expression.startswith("time since ")
    return (
        duration_words(value)
        if is_time and isinstance(value, int | float) and not isinstance(value, bool)
        else show(value)
    )


def _needs_words(needs: str) -> str:
    """The rule's side of a fact: operators as signs, durations and expressions in words."""
    negated, rest = ("not ", needs[4:]) if needs.startswith("not ") and needs != "not null" else ("", needs)
    operator, _, operand = rest.partition(" ")
    simple = {"true": "yes", "false": "no", "null": "nothing", "not null": "something"}.get(rest)
    if simple is not None:
        return negated + simple
    sign = _OPERATORS.get(operator)
    return negated + (f"{sign} {phrase(operand)}" if sign else rest.replace('"', ""))
