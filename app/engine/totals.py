"""sum and avg, exact whatever comes and goes: over all entries (`Total`) and over those inside `last W` (`SlidingTotal`).

`thresholds` (ascending) are all that a sum is compared with; None: its whole value is used, and every entry may change an answer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any

from app.domain.limits import MAX_POINTS, NEVER
from app.engine.exact import added, pack, place, rounded_mean, rounded_sum, scaled_sum, unpack

Cell = list[Any]
_WHOLE = 2**53  # whole numbers below are doubles
_HUGE = 1e300  # two numbers below have a sum, beyond a double's range it is null


class Total:
    """Of all entries: [entries, numerator, binary exponent]."""

    def __init__(self, mean: bool, thresholds: tuple[float, ...] | None = None) -> None:
        self._mean = mean
        self._thresholds = thresholds

    def new(self) -> Cell:
        return [0, pack(0), 0]

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        before = place(self.read(cell, ts), self._thresholds) if self._thresholds is not None else None
        cell[0] += 1
        num, cell[2] = added(unpack(cell[1]), cell[2], value)
        cell[1] = pack(num)
        return self._thresholds is None or before != place(self.read(cell, ts), self._thresholds)

    def read(self, cell: Cell, now: int) -> Any:
        if self._mean:
            return rounded_mean(unpack(cell[1]), cell[2], cell[0]) if cell[0] else None
        return rounded_sum(unpack(cell[1]), cell[2])


class SlidingTotal:
    """Of the entries inside a window: [times, values, entries behind each value or None, numerator, exponent, negative values]."""

    AHEAD = 64  # exits tried exactly for the one that changes an answer; then it is asked again

    def __init__(self, window_ms: int, mean: bool, thresholds: tuple[float, ...] | None = None, bound: int = MAX_POINTS) -> None:
        self._w = window_ms
        self._mean = mean
        self._thresholds = thresholds
        self._bound = bound

    def new(self) -> Cell:
        return [[], [], None, 0, 0, 0]

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        times = cell[0]
        if times and times[0] <= ts - self._w:
            self._expire(cell, ts)
        before, k = unpack(cell[3]), cell[4]
        num, cell[4] = added(before, k, value)
        cell[3] = pack(num)
        times.append(ts)
        cell[1].append(value)
        if cell[2] is not None:
            cell[2].append(1)
        if value < 0:
            cell[5] += 1
        if len(times) > self._bound:
            self._merge(cell)
            return True
        return self._thresholds is None or self._matters(cell, value, rounded_sum(before, k), self._thresholds)

    @staticmethod
    def _matters(cell: Cell, value: float, before: float | None, thresholds: tuple[float, ...]) -> bool:
        """Whether an entry may change a comparison, now or earlier than was foreseen.

        Above a threshold only what makes the sum smaller brings the passing nearer, below it only what makes it larger; and while every
        value is positive, time alone never lifts the sum above anything.
        """
        below, upto = place(before, thresholds)
        above_all, under_all = below == len(thresholds), upto == 0
        if (above_all and value >= 0) or (under_all and value <= 0):
            return before is None or abs(before) > _HUGE or abs(value) > _HUGE
        return bool(cell[5]) or place(rounded_sum(unpack(cell[3]), cell[4]), thresholds) != (below, upto)

    def _merge(self, cell: Cell) -> None:
        times, values, weights = cell[0], cell[1], cell[2] or [1] * len(cell[0])
        half = len(times) // 4 * 2
        cell[2] = [weights[i] + weights[i + 1] for i in range(0, half, 2)] + weights[half:]
        values[:half] = [_plus(values[i], values[i + 1]) for i in range(0, half, 2)]
        times[:half] = times[1:half:2]
        num, k = 0, 0
        for value in values:
            num, k = added(num, k, value)
        cell[3], cell[4], cell[5] = pack(num), k, sum(1 for value in values if value < 0)

    def _expire(self, cell: Cell, now: int) -> None:
        times = cell[0]
        if not times or times[0] > now - self._w:
            return
        gone = bisect_right(times, now - self._w)
        if gone == len(times):
            del times[:], cell[1][:]
            cell[2:] = [None, 0, 0, 0]
            return
        leaving = cell[1][:gone]
        cell[3] = pack(unpack(cell[3]) - scaled_sum(leaving, cell[4]))
        if cell[5]:
            cell[5] -= sum(1 for value in leaving if value < 0)
        del times[:gone]
        del cell[1][:gone]
        if cell[2] is not None:
            del cell[2][:gone]
            if all(w == 1 for w in cell[2]):
                cell[2] = None

    def read(self, cell: Cell, now: int) -> tuple[Any, int]:
        self._expire(cell, now)
        if not cell[0]:
            return None if self._mean else 0, NEVER
        n = len(cell[0]) if cell[2] is None else sum(cell[2])
        return self._value(unpack(cell[3]), cell[4], n, cell[1]), cell[0][0] + self._w

    def _value(self, num: int, k: int, n: int, values: list[float], start: int = 0) -> float | int | None:
        """num/2^k, or its n-th part: what `values` from `start` on come to. Whole numbers sum to one, whatever has left the window."""
        if self._mean:
            return rounded_mean(num, k, n)
        whole = k and abs(num) >> k >= _WHOLE and all(v % 1 == 0 for v in values[start:])
        return rounded_sum(num >> k, 0) if whole else rounded_sum(num, k)

    def approximate(self, cell: Cell) -> bool:
        return cell[2] is not None

    # --- looking ahead -----------------------------------------------------------------------------------------

    def compare(self, cell: Cell, now: int, test: Callable[[float | None], bool], limit: float | None) -> tuple[bool, int]:
        """Whether the value passes `test`, and until when that is so with no more entries (or until it must be asked again, after AHEAD
        exits that might have changed it). `limit`: the number that `test` compares with by an order; None where it does otherwise."""
        value, until = self.read(cell, now)
        truth = test(value)
        if until >= NEVER:
            return truth, NEVER
        times, values, weights = cell[0], cell[1], cell[2]
        num, k, gone = unpack(cell[3]), cell[4], 0
        left = len(times) if weights is None else sum(weights)
        for tried, i in enumerate(self._exits(cell, limit)):
            num -= scaled_sum(values[gone : i + 1], k)
            left -= i + 1 - gone if weights is None else sum(weights[gone : i + 1])
            gone = i + 1
            rest = self._value(num, k, left, values, gone) if left else None if self._mean else 0
            if test(rest) is not truth or tried == self.AHEAD:
                return truth, int(times[i] + self._w)
        return truth, NEVER

    def _exits(self, cell: Cell, limit: float | None) -> Iterable[int]:
        """The entries with whose exit the value may pass `limit`; of entries of one instant the last, for they leave together."""
        times = cell[0]
        last = len(times) - 1
        return (i for i in self._places(cell, limit) if i == last or times[i] != times[i + 1])

    def _places(self, cell: Cell, limit: float | None) -> Iterable[int]:
        """The places at which an estimate in doubles, less its error, cannot say on which side of `limit` the rest stays.

        A sum of n doubles is within (n - 1)·2^-53·Σ|v| of the exact one (Higham, *Accuracy and Stability of Numerical Algorithms*, 4.2).
        The error taken here is four times that: two sums are subtracted, whole numbers are rounded to doubles, and so is the value itself.
        """
        values, weights = cell[1], cell[2]
        n = len(values)
        if limit is None:
            return range(n)
        if self._mean:  # it is above the limit where the distances to it sum to more than nothing
            shares = weights or [1] * n
            sums = list(accumulate(v - limit * share for v, share in zip(values, shares, strict=True)))
            distance, size = sums[-1], abs(limit) * sum(shares)
        else:
            sums = list(accumulate(values))
            distance, size = sums[-1] - limit, abs(limit)
        rising = not self._mean and not cell[5]
        error = (n + 4) * 4 * (size + (sums[-1] if rising else sum(map(abs, values)))) * 2.0**-53 + 1e-300
        if not abs(distance) > error:  # nor where a sum overflowed
            return range(n)
        if rising:
            return range(bisect_left(sums, distance - error), n) if distance > 0 else ()
        near = distance - error if distance > 0 else distance + error
        return (i for i, p in enumerate(sums) if (p >= near if distance > 0 else p <= near))  # and so the last one


def _plus(a: float, b: float) -> float:
    total = a + b
    return total if type(total) is float or -(2**63) <= total < 2**63 else float(total)
