"""median and quantile: the value below which a share q of the entries lies, interpolated linearly
between neighbouring order statistics.

Of n values in order, the quantile q is at position q·(n − 1), counted from 0; between two positions
it lies on the line between their values (Hyndman and Fan 1996, definition 7). It is exact, and
rounded once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import accumulate
from operator import sub
from typing import Any

import msgspec

from app.domain.limits import NEVER
from app.engine.aggregates.contract import Asked, Overall, Sliding
from app.engine.aggregates.entries import evened, left, spread

Number = int | float
_HALF = 0.5


class QuantileCell(msgspec.Struct, array_like=True, gc=False):
    """The different values, ascending; how many entries each stands for; whether neighbours were
    merged."""

    values: list[Number]
    counts: list[int]
    merged: bool = False


class Quantile(Overall[QuantileCell]):
    """Of all entries; past `bound` different values the two nearest neighbours are merged at their
    mean."""

    cell = QuantileCell

    def __init__(self, share: float, bound: int) -> None:
        self._share = Fraction(str(share))
        self._bound = bound

    def new(self) -> QuantileCell:
        return QuantileCell([], [])

    def add(self, cell: QuantileCell, ts: int, value: Any) -> bool:
        values, counts = cell.values, cell.counts
        at = bisect_left(values, value)
        if at < len(values) and values[at] == value:
            counts[at] += 1
            return True
        values.insert(at, value)
        counts.insert(at, 1)
        if len(values) > self._bound:
            self._merge(cell)
        return True

    @staticmethod
    def _merge(cell: QuantileCell) -> None:
        values, counts = cell.values, cell.counts
        gaps = list(map(sub, values[1:], values))
        at = gaps.index(min(gaps))
        low, high, n, m = values[at], values[at + 1], counts[at], counts[at + 1]
        mean = float((Fraction(low) * n + Fraction(high) * m) / (n + m))
        # Whole numbers may lie closer than doubles do, and order is what a quantile is about.
        values[at : at + 2] = [min(max(mean, low), high)]
        counts[at : at + 2] = [n + m]
        cell.merged = True

    def read(self, cell: QuantileCell, now: int) -> Number | None:
        return _of_counted(cell.values, cell.counts, self._share) if cell.values else None

    def approximate(self, cell: QuantileCell) -> bool:
        return cell.merged


class SlidingQuantileCell(msgspec.Struct, array_like=True, gc=False):
    """The entries' instants and values, oldest first, and how many each stands for (None: one)."""

    times: list[int]
    values: list[Number]
    weights: list[int] | None = None


class SlidingQuantile(Sliding[SlidingQuantileCell]):
    """Of the entries inside the window; past `bound` of them neighbours in time are kept as one
    that counts for all."""

    cell = SlidingQuantileCell

    def __init__(self, window_ms: int, share: float, bound: int) -> None:
        self._w = window_ms
        self._share = Fraction(str(share))
        self._bound = bound

    def new(self) -> SlidingQuantileCell:
        return SlidingQuantileCell([], [])

    def add(self, cell: SlidingQuantileCell, ts: int, value: Any) -> bool:
        self._expire(cell, ts)
        cell.times.append(ts)
        cell.values.append(value)
        if cell.weights is not None:
            cell.weights.append(1)
        if len(cell.times) > self._bound:
            weights = spread(cell.weights, cell.times)
            cell.weights = evened(cell.times, cell.values, weights, max(1, self._bound * 3 // 4))
        return True

    def _expire(self, cell: SlidingQuantileCell, now: int) -> None:
        if cell.times and cell.times[0] <= now - self._w:
            gone = left(cell.times, now - self._w)
            del cell.times[:gone]
            del cell.values[:gone]
            if cell.weights is not None:
                del cell.weights[:gone]
                if all(w == 1 for w in cell.weights):
                    cell.weights = None

    def read(self, cell: SlidingQuantileCell, now: int) -> tuple[Number | None, int]:
        self._expire(cell, now)
        if not cell.times:
            return None, NEVER
        until = cell.times[0] + self._w
        if cell.weights is None:
            return _of_sorted(sorted(cell.values), self._share), until
        ascending = sorted(zip(cell.values, cell.weights, strict=True))
        return _of_counted([v for v, _ in ascending], [w for _, w in ascending], self._share), until

    def approximate(self, cell: SlidingQuantileCell) -> bool:
        return cell.weights is not None


def _of_sorted(values: Sequence[Number], share: Fraction) -> Number:
    position, rest = _position(share, len(values))
    return values[position] if not rest else _between(values[position], values[position + 1], rest)


def _of_counted(values: Sequence[Number], counts: Iterable[int], share: Fraction) -> Number:
    """Of ascending values that stand for as many entries as `counts` says."""
    upto = list(accumulate(counts))
    position, rest = _position(share, upto[-1])
    low = values[bisect_left(upto, position + 1)]
    return low if not rest else _between(low, values[bisect_left(upto, position + 2)], rest)


def _position(share: Fraction, n: int) -> tuple[int, Fraction]:
    """(position, how far it is to the next) of the quantile among n values."""
    position, rest = divmod(share.numerator * (n - 1), share.denominator)
    return position, Fraction(rest, share.denominator)


def _between(low: Number, high: Number, rest: Fraction) -> Number:
    return low if low == high else float(Fraction(low) + (Fraction(high) - Fraction(low)) * rest)


def overall(asked: Asked) -> Quantile:
    """`median` or `quantile` over an accumulating window."""
    return Quantile(_share(asked), asked.bound)


def sliding(asked: Asked) -> SlidingQuantile:
    """`median` or `quantile` over `last W`."""
    return SlidingQuantile(asked.window_ms, _share(asked), asked.bound)


def _share(asked: Asked) -> float:
    return _HALF if asked.parameter is None else asked.parameter
