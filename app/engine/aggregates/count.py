"""count: how many entries there are."""

from __future__ import annotations

from typing import Any

import msgspec

from app.domain.limits import NEVER
from app.engine.aggregates.contract import Asked, Overall, Sliding
from app.engine.aggregates.entries import left, merged_pairs, newer_of_pairs, spread


class CountCell(msgspec.Struct, array_like=True, gc=False):
    """A number, however many entries there were."""

    n: int = 0


class Count(Overall[CountCell]):
    """How many there were. `wake_at`: the counts at which an answer may change (None: all)."""

    cell = CountCell

    def __init__(self, wake_at: tuple[int, ...] | None) -> None:
        self._wake_at = wake_at

    def new(self) -> CountCell:
        return CountCell()

    def add(self, cell: CountCell, ts: int, value: Any) -> bool:
        cell.n += 1
        return self._wake_at is None or cell.n in self._wake_at

    def read(self, cell: CountCell, now: int) -> int:
        return cell.n


class SlidingCountCell(msgspec.Struct, array_like=True, gc=False):
    """The entries' instants, ascending, and how many each stands for (None: one)."""

    times: list[int]
    weights: list[int] | None = None


class SlidingCount(Sliding[SlidingCountCell]):
    """How many are inside the window. `keep`: as many as are worth keeping; `wake_at`: the counts
    at which an answer may change."""

    cell = SlidingCountCell

    def __init__(self, window_ms: int, keep: int | None, wake_at: tuple[int, ...] | None, bound: int) -> None:
        self._w = window_ms
        self._keep = keep
        self._wake_at = wake_at
        self._bound = bound

    def new(self) -> SlidingCountCell:
        return SlidingCountCell([])

    def add(self, cell: SlidingCountCell, ts: int, value: Any) -> bool:
        times = cell.times
        if times and times[0] <= ts - self._w:
            self._expire(cell, ts)
        times.append(ts)
        if self._keep is not None and len(times) > self._keep:
            del times[0]
            return False
        if cell.weights is not None:
            cell.weights.append(1)
        if len(times) > self._bound:
            self._merge(cell)
        return self._wake_at is None or cell.weights is not None or len(times) in self._wake_at

    def _merge(self, cell: SlidingCountCell) -> None:
        cell.weights = merged_pairs(spread(cell.weights, cell.times), len(cell.times))
        newer_of_pairs(cell.times)

    def _expire(self, cell: SlidingCountCell, now: int) -> None:
        gone = left(cell.times, now - self._w)
        del cell.times[:gone]
        if cell.weights is not None:
            del cell.weights[:gone]
            if all(w == 1 for w in cell.weights):
                cell.weights = None

    def read(self, cell: SlidingCountCell, now: int) -> tuple[int, int]:
        times = cell.times
        if times and times[0] <= now - self._w:
            self._expire(cell, now)
        if not times:
            return 0, NEVER
        return len(times) if cell.weights is None else sum(cell.weights), times[0] + self._w

    def at_least(self, cell: SlidingCountCell, now: int, k: int) -> tuple[bool, int]:
        n, _ = self.read(cell, now)
        if n < k:
            return False, NEVER
        if cell.weights is None:
            return True, cell.times[len(cell.times) - k] + self._w
        held = 0
        for i in range(len(cell.weights) - 1, -1, -1):
            held += cell.weights[i]
            if held >= k:
                return True, cell.times[i] + self._w
        return False, NEVER

    def approximate(self, cell: SlidingCountCell) -> bool:
        return cell.weights is not None


def overall(asked: Asked) -> Count:
    """`count` over an accumulating window."""
    return Count(asked.demand.counts)


def sliding(asked: Asked) -> SlidingCount:
    """`count` over `last W`."""
    return SlidingCount(asked.window_ms, asked.demand.keep, asked.demand.counts, asked.bound)
