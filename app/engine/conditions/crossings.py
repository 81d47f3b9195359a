"""Comparisons of values that change with every millisecond: when do they cross?

`since(…)` grows by one a millisecond and `decay(…)` shrinks by a power of two. An expression of
them is, as far as it is linear, a *form* a + b·Δ + Σ cₕ·2^(−Δ/h) of the time Δ ahead; what is not
linear is kept as a tree of forms. `next_crossing` finds the first later millisecond at which a
comparison of two forms gives another answer: it proves stretches constant by interval arithmetic
(Moore 1966) and halves those it cannot prove, down to the millisecond.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Protocol, assert_never

from app.domain import limits
from app.engine.aggregates.decay import FAINT, rounded
from app.engine.values import calculate
from app.rules.ast import ArithOp, CompareOp

Interval = tuple[float, float]

# Of bounds or points in one search: about 4 ms; what is proven by then is kept and the rest
# searched at its end.
EVALUATIONS_MAX = 4_000
# Least progress of a search that ran out: two sides equal to the last digits for good must not keep
# a worker busy.
RECHECK_MS = limits.SECOND_MS
SLACK = 1e-11  # relative: ten times what rounding to 12 digits can move a value


class Form(Protocol):
    """A value as a function of the time Δ ahead (ms); None where it is null."""

    def at(self, delta: int) -> float | None: ...
    def bounds(self, start: int, end: int) -> Interval | None:
        """Values it stays within for start ≤ Δ ≤ end; None where no bound is known."""


@dataclass(slots=True)
class Linear:
    """a + b·Δ + Σ c·2^(−Δ/h). Where it was folded out of others, `tree` is how the definition
    spells it: a point is worth what that gives, to the last digit."""

    a: float
    b: float = 0
    decays: tuple[tuple[int, float], ...] = ()
    tree: Combined | None = None

    def at(self, delta: int) -> float | None:
        if self.tree is not None:
            return self.tree.at(delta)
        value = self.a + self.b * delta
        for h, c in self.decays:
            value = value + rounded(c * 2.0 ** (-delta / h))
        return value

    def bounds(self, start: int, end: int) -> Interval:
        low, high = (
            (self.a + self.b * start, self.a + self.b * end)
            if self.b >= 0
            else (self.a + self.b * end, self.a + self.b * start)
        )
        slack = self.slack(end)
        for h, c in self.decays:
            first, last = c * 2.0 ** (-start / h), c * 2.0 ** (-end / h)
            if abs(last) <= FAINT:
                last = 0.0  # on the way it becomes nothing
            low, high = low + min(first, last), high + max(first, last)
            slack += SLACK * max(abs(first), abs(last)) if abs(last) > FAINT or abs(first) > 2 * FAINT else FAINT
        return low - slack, high + slack

    def slack(self, end: int) -> float:
        """How far folding may have moved it from what its tree gives, for Δ ≤ end."""
        return (
            0.0
            if self.tree is None
            else SLACK * (abs(self.a) + abs(self.b) * end + sum(abs(c) for _, c in self.decays))
        )

    def plus(self, other: Linear, sign: int) -> Linear:
        decays = dict(self.decays)
        for h, c in other.decays:
            decays[h] = decays.get(h, 0.0) + sign * c
        return Linear(self.a + sign * other.a, self.b + sign * other.b, tuple((h, c) for h, c in decays.items() if c))

    def times(self, factor: float) -> Linear:
        return Linear(self.a * factor, self.b * factor, tuple((h, c * factor) for h, c in self.decays if factor))

    @property
    def constant(self) -> bool:
        return not self.b and not self.decays


@dataclass(slots=True)
class Combined:
    """left op right where no linear form can say it."""

    op: ArithOp
    left: Form
    right: Form

    def at(self, delta: int) -> float | None:
        return calculate(self.op, self.left.at(delta), self.right.at(delta))

    def bounds(self, start: int, end: int) -> Interval | None:
        left, right = self.left.bounds(start, end), self.right.bounds(start, end)
        if left is None or right is None:
            return None
        match self.op:
            case "+":
                return _wider(left[0] + right[0], left[1] + right[1])
            case "-":
                return _wider(left[0] - right[1], left[1] - right[0])
            case "*":
                return _product(left, right)
            case "/":
                return None if right[0] <= 0 <= right[1] else _product(left, (1 / right[1], 1 / right[0]))
            case _:
                assert_never(self.op)


def _product(left: Interval, right: Interval) -> Interval:
    products = [a * b for a in left for b in right]
    return _wider(min(products), max(products))


def _wider(low: float, high: float) -> Interval:
    slack = SLACK * max(abs(low), abs(high))
    return low - slack, high + slack


def combine(op: ArithOp, left: Form, right: Form) -> Form | None:
    """left op right, as a linear form where that is possible; None where it is null for good,
    divided by what stays zero."""
    if op == "/" and isinstance(right, Linear) and right.constant and not right.at(0):
        return None
    tree = Combined(op, left, right)
    folded = _folded(op, left, right) if isinstance(left, Linear) and isinstance(right, Linear) else None
    if folded is None:
        return tree
    folded.tree = tree
    return folded


def _folded(op: ArithOp, left: Linear, right: Linear) -> Linear | None:
    if op in "+-":
        return left.plus(right, 1 if op == "+" else -1)
    if op == "*" and (left.constant or right.constant):
        return right.times(left.a) if left.constant else left.times(right.a)
    if op == "/" and right.constant and right.a:
        return Linear(left.a / right.a, left.b / right.a, tuple((h, c / right.a) for h, c in left.decays))
    return None


def next_crossing(
    op: CompareOp,
    test: Callable[[float | None, float | None], bool],
    left: Form,
    right: Form,
    truth: bool,
    horizon: int,
) -> tuple[int, bool]:
    """(Δ, found): the first Δ in 1 … horizon at which `left op right` is not `truth`; without one,
    how far it is proven to hold.

    `test` compares two values, null included. Δ and horizon are milliseconds.
    """
    search = _Search(op, test, left, right, truth)
    start, width = 1, limits.SECOND_MS
    while start <= horizon:
        end = min(start + width - 1, horizon)
        crossing = search.first(start, end)
        if crossing is not None:
            return crossing, True
        if search.spent:
            return max(search.proven, min(RECHECK_MS, horizon)), False
        start, width = end + 1, width * 2
    return horizon, False


class _Search:
    def __init__(
        self, op: CompareOp, test: Callable[[float | None, float | None], bool], left: Form, right: Form, truth: bool
    ) -> None:
        self._op, self._test, self._left, self._right, self._truth = op, test, left, right, truth
        self._left_over = EVALUATIONS_MAX
        self.proven = 0

    @property
    def spent(self) -> bool:
        return self._left_over <= 0

    def first(self, start: int, end: int) -> int | None:
        """The first crossing in start … end; None when there is none (then `proven` is `end`) or
        when the search is spent."""
        stack = [(start, end)]
        while stack and not self.spent:
            low, high = stack.pop()
            self._left_over -= 1
            if low == high:
                if self._test(self._left.at(low), self._right.at(low)) is not self._truth:
                    return low
                self.proven = low
            elif self._decided(low, high) is self._truth:
                self.proven = high
            else:
                middle = (low + high) // 2
                stack.append((middle + 1, high))
                stack.append((low, middle))
        return None

    def _decided(self, start: int, end: int) -> bool | None:
        """The answer all over start … end, None where the bounds do not tell."""
        if isinstance(self._left, Linear) and isinstance(self._right, Linear):
            line = self._left.plus(self._right, -1)
            difference = line.bounds(start, end)
            if not line.constant or line.a:
                slack = self._left.slack(end) + self._right.slack(end)
                difference = difference[0] - slack, difference[1] + slack
        else:
            left, right = self._left.bounds(start, end), self._right.bounds(start, end)
            if left is None or right is None:
                return None
            difference = (left[0] - right[1], left[1] - right[0])
        low, high = difference
        if not (isfinite(low) and isfinite(high)):
            return None  # beyond a double's range a value is null
        op = self._op
        if op in (">", "<="):
            answer = True if low > 0 else False if high <= 0 else None
            return answer if answer is None or op == ">" else not answer
        if op in (">=", "<"):
            answer = True if low >= 0 else False if high < 0 else None
            return answer if answer is None or op == ">=" else not answer
        apart = low > 0 or high < 0
        same = low == high == 0
        if not apart and not same:
            return None
        return same if op == "==" else apart
