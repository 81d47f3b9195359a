"""Which moments a selector chooses, by its definition, among the events applied so far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.domain.events import Event
from app.rules import ast
from tests.support.oracle import scalars
from tests.support.oracle.values import Filter


class Moment(NamedTuple):
    """`order` is the place, among the applied events, of the event the moment stands for; that
    event's fields are the moment's."""

    ts: int
    order: int
    fields: dict[str, Any]


@dataclass
class Past:
    """The events applied so far, in order, as one membership sees them.

    `each` is the membership's value of for_each; `known_from` the place from which events count for
    `field == each` selectors.
    """

    events: list[Event]
    behaviour: frozenset[str]
    each: Any = None
    known_from: int = 0
    memo: dict[tuple[int, int], list[Moment]] = field(default_factory=dict)


def moments(selector: ast.Node, past: Past) -> list[Moment]:
    """All moments that the applied events will have made, in time order; those of absences may lie
    in the future."""
    place = (id(selector), len(past.events))
    if place not in past.memo:
        past.memo[place] = sorted(_find(selector, past), key=lambda moment: moment[:2])
    return past.memo[place]


def _find(selector: ast.Node, past: Past) -> Iterator[Moment]:
    match selector:
        case ast.Events():
            return _events(selector, past)
        case ast.Chain():
            return _chain(selector, past)
        case ast.Absence():
            return _absence(selector, past)
    raise TypeError(f"no selector: {selector}")


def _events(selector: ast.Events, past: Past) -> Iterator[Moment]:
    forgotten = past.known_from if has_each(selector) else 0
    for order, event in enumerate(past.events):
        if order >= forgotten and chooses(selector, event, past):
            yield Moment(event.ts, order, event.fields)


def chooses(selector: ast.Events, event: Event, past: Past) -> bool:
    if selector.stream not in (event.stream, "*") or (selector.stream == "*" and event.stream not in past.behaviour):
        return False
    return selector.where is None or Filter(event.fields, past.each).holds(selector.where)


def has_each(selector: ast.Events) -> bool:
    return each_path(selector) is not None


def each_path(selector: ast.Events) -> tuple[str, ...] | None:
    """The field of the conjunct `field == each`, when the filter has one."""
    if selector.where is None:
        return None
    for part in selector.where.operands if isinstance(selector.where, ast.And) else (selector.where,):
        match part:
            case ast.Compare("==", ast.Field(path), ast.Each()) | ast.Compare("==", ast.Each(), ast.Field(path)):
                return path
    return None


def _chain(chain: ast.Chain, past: Past) -> Iterator[Moment]:
    steps = [moments(step, past) for step in chain.steps]
    for last in steps[-1]:
        takes_part = chain.on is None or scalars.key(scalars.at_path(last.fields, chain.on)) is not None
        if takes_part and _completes(chain, steps[:-1], last, last, frozenset([last.order])):
            yield last


def _completes(
    chain: ast.Chain, before: list[list[Moment]], following: Moment, last: Moment, used: frozenset[int]
) -> bool:
    """Can each earlier step have an event of its own, none later than the one that follows it, the
    first near enough to the last?"""
    if not before:
        return True
    for moment in before[-1]:
        if moment.order in used or moment.ts > following.ts or last.ts - moment.ts > chain.within_ms:
            continue
        if chain.on is not None and not _agree(chain.on, moment, last):
            continue
        if _completes(chain, before[:-1], moment, last, used | {moment.order}):
            return True
    return False


def _agree(on: tuple[str, ...], left: Moment, right: Moment) -> bool:
    return scalars.same(scalars.at_path(left.fields, on), scalars.at_path(right.fields, on))


def _absence(absence: ast.Absence, past: Past) -> Iterator[Moment]:
    others = moments(absence.missing, past)
    for own in moments(absence.first, past):
        end = own.ts + absence.within_ms
        between = [other for other in others if other.order != own.order and own.ts <= other.ts < end]
        if not any(absence.on is None or _agree(absence.on, own, other) for other in between):
            yield Moment(end, own.order, own.fields)
