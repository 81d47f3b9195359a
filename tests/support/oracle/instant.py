"""What an expression is worth for one user at one instant, after the events applied so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Any

from app.domain.ids import bucket
from app.domain.options import EngineOptions
from app.rules import ast
from app.rules.functions import AGGREGATES
from tests.support.oracle import calendar, scalars
from tests.support.oracle.moments import Moment, Past, moments
from tests.support.oracle.values import Values

DECAY_DIGITS = 12
DECAY_HALF_LIVES_MAX = 1000


@dataclass
class Instant(Values):
    """One user's membership of one segment at one instant `t`, after the events in `past`."""

    user: str
    t: int
    options: EngineOptions
    past: Past
    attributes: dict[str, Any]
    consents: dict[str, Any]
    member: Callable[[str], bool]
    held_since: dict[int, int | None]

    @property
    def each(self) -> Any:
        return self.past.each

    def leaf(self, node: ast.Node) -> Any:
        match node:
            case ast.Profile(path):
                return scalars.at_path(self.attributes, path)
            case ast.Consent(name):
                return self.consents.get(name) is True
            case ast.SegmentRef(name):
                return self.member(name)
            case ast.Prediction():
                return None
            case ast.Bucket(salt):
                return bucket(salt, self.user)
            case ast.Calendar(fn):
                at = calendar.local(self.t, self.options.timezone)
                return at.hour if fn == "hour" else at.isoweekday() if fn == "weekday" else at.date().isoformat()
            case ast.Held(_, ms):
                start = self.held_since.get(id(node))
                return start is not None and self.t - start >= ms
            case ast.Aggregate():
                return self.aggregate(node)
        return super().leaf(node)

    def aggregate(self, node: ast.Aggregate) -> Any:
        chosen = [
            moment
            for moment in moments(node.selector, self.past)
            if moment.ts <= self.t and self.inside(node.window, moment)
        ]
        if node.fn == "decay":
            return decay(chosen, node, self.t)
        if node.field is not None:
            of_field = OF_FIELD.get(node.fn)
            return defined(chosen, node, node.field, self.t) if of_field is None else of_field(chosen, node.field)
        match node.fn:
            case "any":
                return bool(chosen)
            case "count":
                return len(chosen)
            case "days":
                return len({calendar.period("today", moment.ts, self.options.timezone) for moment in chosen})
            case "since":
                return self.t - max(moment.ts for moment in chosen) if chosen else None
            case "since_first":
                return self.t - min(moment.ts for moment in chosen) if chosen else None
            case "session_count":
                return len({self.run_of(moment) for moment in chosen})
        raise TypeError(f"no function: {node.fn}")

    def inside(self, window: ast.Window, moment: Moment) -> bool:
        zone = self.options.timezone
        match window.kind:
            case "ever":
                return True
            case "last":
                return self.t - window.ms < moment.ts <= self.t
            case "range":
                return calendar.edge(window.start, zone) <= moment.ts < calendar.edge(window.end, zone)
            case "session":
                start, last = self.runs()[-1] if self.runs() else (0, self.t - self.options.session_gap_ms)
                return self.t - last < self.options.session_gap_ms and moment.ts >= start
        return calendar.period(window.kind, moment.ts, zone) == calendar.period(window.kind, self.t, zone)

    def runs(self) -> list[tuple[int, int]]:
        """The sessions so far as (first instant, last instant)."""
        found: list[tuple[int, int]] = []
        for event in self.past.events:
            if event.stream not in self.past.behaviour:
                continue
            if found and event.ts - found[-1][1] < self.options.session_gap_ms:
                found[-1] = (found[-1][0], event.ts)
            else:
                found.append((event.ts, event.ts))
        return found

    def run_of(self, moment: Moment) -> int:
        """Which session the event that the moment stands for belongs to."""
        ts = self.past.events[moment.order].ts
        return next(i for i, (start, end) in enumerate(self.runs()) if start <= ts <= end)


# --- functions of a field -----------------------------------------------------------------------


def _scalars(chosen: list[Moment], path: tuple[str, ...]) -> list[Any]:
    found = [scalars.at_path(moment.fields, path) for moment in chosen]
    return [value for value in found if scalars.key(value)]


def _numbers(chosen: list[Moment], path: tuple[str, ...]) -> list[Any]:
    return [value for value in _scalars(chosen, path) if scalars.kind(value) == "number"]


def total(chosen: list[Moment], path: tuple[str, ...]) -> Any:
    """Exact where all are whole and it fits 64 bits, else rounded once to a double."""
    numbers = _numbers(chosen, path)
    if all(float(number).is_integer() for number in numbers) and abs(whole := sum(map(int, numbers))) < 2**63:
        return whole
    try:
        return scalars.finite(math.fsum(numbers))
    except OverflowError:
        return None


def average(chosen: list[Moment], path: tuple[str, ...]) -> Any:
    numbers = _numbers(chosen, path)
    return float(sum(map(Fraction, numbers)) / len(numbers)) if numbers else None


def top(chosen: list[Moment], path: tuple[str, ...]) -> Any:
    values = _scalars(chosen, path)
    if not values:
        return None
    keys = [scalars.key(value) for value in values]
    best = max(range(len(keys)), key=lambda i: (keys.count(keys[i]), i))
    return values[best]


OF_FIELD: dict[str, Callable[[list[Moment], tuple[str, ...]], Any]] = {
    "sum": total,
    "avg": average,
    "min": lambda chosen, path: min(_numbers(chosen, path), default=None),
    "max": lambda chosen, path: max(_numbers(chosen, path), default=None),
    "distinct": lambda chosen, path: len({scalars.key(value) for value in _scalars(chosen, path)}),
    "top": top,
    "first": lambda chosen, path: next(iter(_scalars(chosen, path)), None),
    "last": lambda chosen, path: next(reversed(_scalars(chosen, path)), None),
}


def defined(chosen: list[Moment], node: ast.Aggregate, path: tuple[str, ...], t: int) -> Any:
    """By the definition in the function's row, which the engine does not read."""
    row = AGGREGATES[node.fn]
    taken = [(moment.ts, scalars.at_path(moment.fields, path)) for moment in chosen]
    return row.definition([(ts, value) for ts, value in taken if scalars.kind(value) == row.takes], t, node.parameter)


def decay(chosen: list[Moment], node: ast.Aggregate, t: int) -> Any:
    """The sum of 2^(-age/half-life), times the field, with fifty digits, then rounded to twelve."""
    half_life_ms = int(node.parameter or 0)
    with localcontext(Context(prec=50)):
        found = Decimal(0)
        for moment in chosen:
            weight = 1 if node.field is None else scalars.at_path(moment.fields, node.field)
            age = t - moment.ts
            if scalars.kind(weight) == "number" and age <= DECAY_HALF_LIVES_MAX * half_life_ms:
                found += Decimal(weight) * _power(age, half_life_ms)
    return scalars.finite(float(Context(prec=DECAY_DIGITS).plus(found)))


@lru_cache(maxsize=100_000)
def _power(age: int, half_life: int) -> Decimal:
    with localcontext(Context(prec=50)):
        return Decimal(2) ** (Decimal(-age) / Decimal(half_life))
