"""sum and avg, exact whatever comes and goes: over all entries (`Total`) and over those inside
`last W` (`SlidingTotal`).

`thresholds` (ascending) are all that a sum is compared with; None: its whole value is used, and
every entry may change an answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any

import msgspec

from app.domain.limits import MAX_POINTS, NEVER
from app.engine.aggregates.contract import Asked, LooksAhead, Overall
from app.engine.aggregates.entries import left, merged_pairs, newer_of_pairs, older_half, spread
from app.engine.aggregates.exact import added, interval_of, pack, rounded_mean, rounded_sum, scaled_sum, unpack

Number = int | float
_WHOLE = 2**53  # whole numbers below are doubles
_LARGEST = sys.float_info.max
_HUGE = 1e300  # two numbers below have a sum, beyond a double's range it is null


class TotalCell(msgspec.Struct, array_like=True, gc=False):
    """How many entries there were, and their exact sum, numerator/2^exponent."""

    n: int
    numerator: int | str
    exponent: int


class Total(Overall[TotalCell]):
    """Of all entries."""

    cell = TotalCell

    def __init__(self, mean: bool, thresholds: tuple[float, ...] | None = None) -> None:
        self._mean = mean
        self._thresholds = thresholds

    def new(self) -> TotalCell:
        return TotalCell(0, 0, 0)

    def add(self, cell: TotalCell, ts: int, value: Any) -> bool:
        before = interval_of(self.read(cell, ts), self._thresholds) if self._thresholds is not None else None
        cell.n += 1
        num, cell.exponent = added(unpack(cell.numerator), cell.exponent, value)
        cell.numerator = pack(num)
        return self._thresholds is None or before != interval_of(self.read(cell, ts), self._thresholds)

    def read(self, cell: TotalCell, now: int) -> Number | None:
        if self._mean:
            return rounded_mean(unpack(cell.numerator), cell.exponent, cell.n) if cell.n else None
        return rounded_sum(unpack(cell.numerator), cell.exponent)


class SlidingTotalCell(msgspec.Struct, array_like=True, gc=False):
    """The entries' instants and values, oldest first, and how many entries each value stands for
    (None: one); the exact sum of the values, numerator/2^exponent; and how many values are
    negative."""

    times: list[int]
    values: list[Number]
    weights: list[int] | None = None
    numerator: int | str = 0
    exponent: int = 0
    negatives: int = 0

    @property
    def entries(self) -> int:
        """How many entries there are."""
        return len(self.times) if self.weights is None else sum(self.weights)


class SlidingTotal(LooksAhead[SlidingTotalCell]):
    """Of the entries inside the window."""

    cell = SlidingTotalCell
    AHEAD = 64  # exits looked at for the one that changes an answer; then it is evaluated again

    def __init__(
        self, window_ms: int, mean: bool, thresholds: tuple[float, ...] | None = None, bound: int = MAX_POINTS
    ) -> None:
        self._w = window_ms
        self._mean = mean
        self._thresholds = thresholds
        self._bound = bound

    def new(self) -> SlidingTotalCell:
        return SlidingTotalCell([], [])

    def add(self, cell: SlidingTotalCell, ts: int, value: Any) -> bool:
        times = cell.times
        if times and times[0] <= ts - self._w:
            self._expire(cell, ts)
        before, k = unpack(cell.numerator), cell.exponent
        num, cell.exponent = added(before, k, value)
        cell.numerator = pack(num)
        times.append(ts)
        cell.values.append(value)
        if cell.weights is not None:
            cell.weights.append(1)
        if value < 0:
            cell.negatives += 1
        if len(times) > self._bound:
            self._merge(cell)
            return True
        return self._thresholds is None or self._matters(cell, value, self._before(cell, before, k), self._thresholds)

    def _before(self, cell: SlidingTotalCell, num: int, k: int) -> float | None:
        """The value before the latest entry."""
        if not self._mean:
            return rounded_sum(num, k)
        n = cell.entries
        return rounded_mean(num, k, n - 1) if n > 1 else None

    def _matters(
        self, cell: SlidingTotalCell, value: float, before: float | None, thresholds: tuple[float, ...]
    ) -> bool:
        """Whether an entry may change a comparison, now or earlier than was foreseen.

        Above a limit only what makes the sum smaller (what is below the mean's limit) brings the
        passing nearer, below it only the contrary; and while every value is positive, time alone
        never lifts a sum above anything.
        """
        below, upto = interval_of(before, thresholds)
        rises, falls = (value > thresholds[-1], value < thresholds[0]) if self._mean else (value >= 0, value <= 0)
        above_all, under_all = below == len(thresholds), upto == 0
        if (above_all and rises) or (under_all and falls):
            return before is None or abs(before) > _HUGE or abs(value) > _HUGE
        return (
            self._mean
            or bool(cell.negatives)
            or interval_of(rounded_sum(unpack(cell.numerator), cell.exponent), thresholds) != (below, upto)
        )

    def _merge(self, cell: SlidingTotalCell) -> None:
        values, half = cell.values, older_half(len(cell.values))
        cell.weights = merged_pairs(spread(cell.weights, cell.times), len(cell.times))
        values[:half] = [_plus(values[i], values[i + 1]) for i in range(0, half, 2)]
        newer_of_pairs(cell.times)
        num, k = 0, 0
        for value in values:
            num, k = added(num, k, value)
        cell.numerator, cell.exponent, cell.negatives = pack(num), k, sum(1 for value in values if value < 0)

    def _expire(self, cell: SlidingTotalCell, now: int) -> None:
        times = cell.times
        if not times or times[0] > now - self._w:
            return
        gone = left(times, now - self._w)
        if gone == len(times):
            del times[:], cell.values[:]
            cell.weights, cell.numerator, cell.exponent, cell.negatives = None, 0, 0, 0
            return
        leaving = cell.values[:gone]
        cell.numerator = pack(unpack(cell.numerator) - scaled_sum(leaving, cell.exponent))
        if cell.negatives:
            cell.negatives -= sum(1 for value in leaving if value < 0)
        del times[:gone]
        del cell.values[:gone]
        if cell.weights is not None:
            del cell.weights[:gone]
            if all(w == 1 for w in cell.weights):
                cell.weights = None

    def read(self, cell: SlidingTotalCell, now: int) -> tuple[Any, int]:
        self._expire(cell, now)
        if not cell.times:
            return None if self._mean else 0, NEVER
        return self._value(unpack(cell.numerator), cell.exponent, cell.entries, cell.values), cell.times[0] + self._w

    def _value(self, num: int, k: int, n: int, values: list[float], start: int = 0) -> float | int | None:
        """num/2^k, or its n-th part: what `values` from `start` on come to. Whole numbers sum to
        one, whatever has left the window."""
        if self._mean:
            return rounded_mean(num, k, n)
        whole = k and abs(num) >> k >= _WHOLE and all(v % 1 == 0 for v in values[start:])
        return rounded_sum(num >> k, 0) if whole else rounded_sum(num, k)

    def approximate(self, cell: SlidingTotalCell) -> bool:
        return cell.weights is not None

    # --- looking ahead ---------------------------------------------------------------------------

    def compare(
        self, cell: SlidingTotalCell, now: int, test: Callable[[float | None], bool], limit: float | None
    ) -> tuple[bool, int]:
        """Whether the value passes `test`, and until when that is so with no more entries; where
        none of the next AHEAD exits changes it, until it must be evaluated again. `limit`: the
        number that `test` compares with by an order; None where it does otherwise."""
        value, until = self.read(cell, now)
        truth = test(value)
        if until >= NEVER or self._stays_below(cell, value, limit):
            return truth, NEVER
        times, values, weights = cell.times, cell.values, cell.weights
        num, k, gone, rest = unpack(cell.numerator), cell.exponent, 0, cell.entries
        for i in self._exits(cell, value, limit):
            num -= scaled_sum(values[gone : i + 1], k)
            rest -= i + 1 - gone if weights is None else sum(weights[gone : i + 1])
            gone = i + 1
            remains = self._value(num, k, rest, values, gone) if rest else None if self._mean else 0
            if test(remains) is not truth:
                return truth, times[i] + self._w
        return truth, times[self.AHEAD - 1] + self._w if len(times) > self.AHEAD else NEVER

    def _stays_below(self, cell: SlidingTotalCell, value: float | None, limit: float | None) -> bool:
        """Whether the value is below the limit and time alone never lifts it: a sum whose entries
        are all positive."""
        return not self._mean and not cell.negatives and value is not None and limit is not None and value < limit

    def _exits(self, cell: SlidingTotalCell, value: float | None, limit: float | None) -> Iterable[int]:
        """Of the next AHEAD entries those with whose exit the value may pass `limit`; of entries of
        one instant the last, for they leave together."""
        times = cell.times
        last = len(times) - 1
        return (i for i in self._candidates(cell, value, limit) if i == last or times[i] != times[i + 1])

    def _candidates(self, cell: SlidingTotalCell, value: float | None, limit: float | None) -> Iterable[int]:
        """The entries at which an estimate in doubles, less its error, cannot say on which side of
        `limit` the rest stays.

        A sum of n doubles is within (n - 1)·2^-53·Σ|v| of the exact one (Higham, *Accuracy and
        Stability of Numerical Algorithms*, 4.2). The error taken here is four times that, for whole
        numbers are rounded to doubles too, and so is the value itself.
        """
        near = cell.values[: self.AHEAD]
        if limit is None or value is None:
            return range(len(near))
        if self._mean:  # it is above the limit where the distances to it sum to more than nothing
            weights = spread(cell.weights, near)
            count = cell.entries
            sums = list(accumulate([v - limit * w for v, w in zip(near, weights, strict=False)]))
            distance, size = (value - limit) * count, (abs(limit) + abs(value)) * count
        else:
            sums = list(accumulate(near))
            distance, size = value - limit, abs(limit) + abs(value)
        error = (len(near) + 4) * 4 * (size + sum(map(abs, near))) * 2.0**-53 + 1e-300
        if not abs(distance) > error:  # nor where something overflowed
            return range(len(near))
        if distance > 0:
            return [i for i, p in enumerate(sums) if p >= distance - error]
        return [i for i, p in enumerate(sums) if p <= distance + error]


def _plus(a: float, b: float) -> float:
    """Their sum as stored state can hold it: beyond a double's range the last one in it."""
    total = a + b
    if type(total) is int and -(2**63) <= total < 2**63:
        return total
    return max(-_LARGEST, min(float(total), _LARGEST))


def overall(asked: Asked) -> Total:
    """`sum` or `avg` over an accumulating window."""
    return Total(asked.row.name == "avg", asked.demand.wake_at)


def sliding(asked: Asked) -> SlidingTotal:
    """`sum` or `avg` over `last W`."""
    return SlidingTotal(asked.window_ms, asked.row.name == "avg", asked.demand.wake_at, asked.bound)
