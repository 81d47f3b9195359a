"""sum and avg, exact whatever comes and goes: over all entries (`Total`) and over those inside `last W` (`SlidingTotal`).

`thresholds` (ascending) are all that a sum is compared with; None: its whole value is used, and every entry may change an answer.
"""

from __future__ import annotations

from bisect import bisect_right
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

    AHEAD = 64  # exits looked at for the one that changes an answer; then it is asked again

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
        return self._thresholds is None or self._matters(cell, value, self._before(cell, before, k), self._thresholds)

    def _before(self, cell: Cell, num: int, k: int) -> float | None:
        """The value before the latest entry."""
        if not self._mean:
            return rounded_sum(num, k)
        n = _entries(cell)
        return rounded_mean(num, k, n - 1) if n > 1 else None

    def _matters(self, cell: Cell, value: float, before: float | None, thresholds: tuple[float, ...]) -> bool:
        """Whether an entry may change a comparison, now or earlier than was foreseen.

        Above a limit only what makes the sum smaller (what is below the mean's limit) brings the passing nearer, below it only the
        contrary; and while every value is positive, time alone never lifts a sum above anything.
        """
        below, upto = place(before, thresholds)
        rises, falls = (value > thresholds[-1], value < thresholds[0]) if self._mean else (value >= 0, value <= 0)
        above_all, under_all = below == len(thresholds), upto == 0
        if (above_all and rises) or (under_all and falls):
            return before is None or abs(before) > _HUGE or abs(value) > _HUGE
        return self._mean or bool(cell[5]) or place(rounded_sum(unpack(cell[3]), cell[4]), thresholds) != (below, upto)

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
        return self._value(unpack(cell[3]), cell[4], _entries(cell), cell[1]), cell[0][0] + self._w

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
        """Whether the value passes `test`, and until when that is so with no more entries; where none of the next AHEAD exits changes it,
        until it must be asked again. `limit`: the number that `test` compares with by an order; None where it does otherwise."""
        value, until = self.read(cell, now)
        truth = test(value)
        if until >= NEVER or self._settled(cell, value, limit):
            return truth, NEVER
        times, values, weights = cell[0], cell[1], cell[2]
        num, k, gone, left = unpack(cell[3]), cell[4], 0, _entries(cell)
        for i in self._exits(cell, value, limit):
            num -= scaled_sum(values[gone : i + 1], k)
            left -= i + 1 - gone if weights is None else sum(weights[gone : i + 1])
            gone = i + 1
            rest = self._value(num, k, left, values, gone) if left else None if self._mean else 0
            if test(rest) is not truth:
                return truth, times[i] + self._w
        return truth, times[self.AHEAD - 1] + self._w if len(times) > self.AHEAD else NEVER

    def _settled(self, cell: Cell, value: float | None, limit: float | None) -> bool:
        """Whether the value is below the limit and time alone never lifts it: a sum whose entries are all positive."""
        return not self._mean and not cell[5] and value is not None and limit is not None and value < limit

    def _exits(self, cell: Cell, value: float | None, limit: float | None) -> Iterable[int]:
        """Of the next AHEAD entries those with whose exit the value may pass `limit`; of entries of one instant the last, for they leave
        together."""
        times = cell[0]
        last = len(times) - 1
        return (i for i in self._places(cell, value, limit) if i == last or times[i] != times[i + 1])

    def _places(self, cell: Cell, value: float | None, limit: float | None) -> Iterable[int]:
        """The places at which an estimate in doubles, less its error, cannot say on which side of `limit` the rest stays.

        A sum of n doubles is within (n - 1)·2^-53·Σ|v| of the exact one (Higham, *Accuracy and Stability of Numerical Algorithms*, 4.2).
        The error taken here is four times that, for whole numbers are rounded to doubles too, and so is the value itself.
        """
        near = cell[1][: self.AHEAD]
        if limit is None or value is None:
            return range(len(near))
        if self._mean:  # it is above the limit where the distances to it sum to more than nothing
            weights: list[int] = cell[2] or [1] * len(near)
            count = _entries(cell)
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


def _entries(cell: Cell) -> int:
    return len(cell[0]) if cell[2] is None else sum(cell[2])


def _plus(a: float, b: float) -> float:
    total = a + b
    return total if type(total) is float or -(2**63) <= total < 2**63 else float(total)
