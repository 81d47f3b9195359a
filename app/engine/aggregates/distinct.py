"""distinct, days, session_count: how many different keys (values, days, sessions) there are."""

from __future__ import annotations

from typing import Any

import msgspec

from app.domain.limits import NEVER
from app.engine.aggregates.contract import Asked, Overall, Sliding

Key = str | int


class DistinctCell(msgspec.Struct, array_like=True, gc=False):
    """The keys (each → 1, or its latest instant, least recent first), and whether there were more
    than are kept."""

    seen: dict[Key, int]
    beyond: bool = False


class Distinct(Overall[DistinctCell]):
    """How many there were. `keep`: as many as are worth keeping (None: `bound`); past the bound the
    number is a lower bound."""

    cell = DistinctCell

    def __init__(self, keep: int | None, wake_at: tuple[int, ...] | None, bound: int) -> None:
        self._whole = keep is None
        self._keep = bound if keep is None else min(keep, bound)
        self._wake_at = wake_at

    def new(self) -> DistinctCell:
        return DistinctCell({})

    def add(self, cell: DistinctCell, ts: int, value: Any) -> bool:
        seen = cell.seen
        if value in seen:
            return False
        if len(seen) >= self._keep:
            cell.beyond = True
            return False
        seen[value] = 1
        return self._wake_at is None or len(seen) in self._wake_at

    def read(self, cell: DistinctCell, now: int) -> int:
        return len(cell.seen)

    def approximate(self, cell: DistinctCell) -> bool:
        return cell.beyond and self._whole


class SlidingDistinct(Sliding[DistinctCell]):
    """How many have an entry inside the window. `keep` and `wake_at` as for `SlidingCount`."""

    cell = DistinctCell

    def __init__(self, window_ms: int, keep: int | None, wake_at: tuple[int, ...] | None, bound: int) -> None:
        self._w = window_ms
        self._whole = keep is None
        self._keep = bound if keep is None else min(keep, bound)
        self._wake_at = wake_at

    def new(self) -> DistinctCell:
        return DistinctCell({})

    def add(self, cell: DistinctCell, ts: int, value: Any) -> bool:
        seen = cell.seen
        self._expire(cell, ts)
        if seen.pop(value, None) is not None:
            seen[value] = ts
            return False
        seen[value] = ts
        if len(seen) > self._keep:
            del seen[next(iter(seen))]
            cell.beyond = self._whole
            return False
        return self._wake_at is None or len(seen) in self._wake_at

    def _expire(self, cell: DistinctCell, now: int) -> None:
        seen, edge = cell.seen, now - self._w
        while seen:
            oldest = next(iter(seen))
            if seen[oldest] > edge:
                return
            del seen[oldest]
        cell.beyond = False

    def read(self, cell: DistinctCell, now: int) -> tuple[int, int]:
        self._expire(cell, now)
        seen = cell.seen
        return (len(seen), seen[next(iter(seen))] + self._w) if seen else (0, NEVER)

    def at_least(self, cell: DistinctCell, now: int, k: int) -> tuple[bool, int]:
        n, until = self.read(cell, now)
        if n < k:
            return False, NEVER
        if n == k:
            return True, until
        times = list(cell.seen.values())
        return True, times[n - k] + self._w

    def approximate(self, cell: DistinctCell) -> bool:
        return cell.beyond


def overall(asked: Asked) -> Distinct:
    """Different keys over an accumulating window."""
    return Distinct(asked.demand.keep, asked.demand.counts, asked.bound)


def sliding(asked: Asked) -> SlidingDistinct:
    """Different keys over `last W`."""
    return SlidingDistinct(asked.window_ms, asked.demand.keep, asked.demand.counts, asked.bound)
