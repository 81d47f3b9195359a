"""first and last: the value at the earliest and at the latest entry."""

from __future__ import annotations

from typing import Any

import msgspec

from app.domain.limits import NEVER
from app.domain.members import Value, scalar_value
from app.engine.aggregates.contract import NOT_YET, Asked, Overall, Sliding
from app.engine.aggregates.entries import every_second_but_the_first, left


class EdgeCell(msgspec.Struct, array_like=True, gc=False):
    """The entry at one end: its instant and its value's key, "" where there is none yet."""

    ts: int = NOT_YET
    key: str = ""


class FirstLast(Overall[EdgeCell]):
    """The value at the earliest or latest entry of all; of entries of one instant, in the order of
    application."""

    cell = EdgeCell

    def __init__(self, latest: bool) -> None:
        self._latest = latest

    def new(self) -> EdgeCell:
        return EdgeCell()

    def add(self, cell: EdgeCell, ts: int, value: Any) -> bool:
        if cell.key and not self._latest:
            return False
        changed = bool(cell.key != value)
        cell.ts, cell.key = ts, value
        return changed

    def read(self, cell: EdgeCell, now: int) -> Value | None:
        return scalar_value(cell.key) if cell.key else None


class SlidingFirstCell(msgspec.Struct, array_like=True, gc=False):
    """Every entry, oldest first, and whether some were left out."""

    times: list[int]
    keys: list[str]
    thinned: bool = False


class SlidingFirst(Sliding[SlidingFirstCell]):
    """The value at the earliest entry still inside: every entry may become it, so all are kept."""

    cell = SlidingFirstCell

    def __init__(self, window_ms: int, bound: int) -> None:
        self._w = window_ms
        self._bound = bound

    def new(self) -> SlidingFirstCell:
        return SlidingFirstCell([], [])

    def add(self, cell: SlidingFirstCell, ts: int, value: Any) -> bool:
        self._expire(cell, ts)
        cell.times.append(ts)
        cell.keys.append(value)
        if len(cell.times) > self._bound:
            every_second_but_the_first(cell.times)
            every_second_but_the_first(cell.keys)
            cell.thinned = True
        return len(cell.times) == 1

    def _expire(self, cell: SlidingFirstCell, now: int) -> None:
        if cell.times and cell.times[0] <= now - self._w:
            gone = left(cell.times, now - self._w)
            del cell.times[:gone]
            del cell.keys[:gone]
            cell.thinned = cell.thinned and bool(cell.times)

    def read(self, cell: SlidingFirstCell, now: int) -> tuple[Value | None, int]:
        self._expire(cell, now)
        return (scalar_value(cell.keys[0]), cell.times[0] + self._w) if cell.times else (None, NEVER)

    def approximate(self, cell: SlidingFirstCell) -> bool:
        return cell.thinned


class SlidingLast(Sliding[EdgeCell]):
    """The value at the latest entry, while that is inside the window."""

    cell = EdgeCell

    def __init__(self, window_ms: int) -> None:
        self._w = window_ms

    def new(self) -> EdgeCell:
        return EdgeCell()

    def add(self, cell: EdgeCell, ts: int, value: Any) -> bool:
        changed = bool(cell.key != value) or cell.ts + self._w <= ts
        cell.ts, cell.key = ts, value
        return changed

    def read(self, cell: EdgeCell, now: int) -> tuple[Value | None, int]:
        return (scalar_value(cell.key), cell.ts + self._w) if cell.key and now < cell.ts + self._w else (None, NEVER)


def overall(asked: Asked) -> FirstLast:
    """`first` or `last` over an accumulating window."""
    return FirstLast(asked.row.name == "last")


def sliding(asked: Asked) -> SlidingFirst | SlidingLast:
    """`first` or `last` over `last W`."""
    return SlidingLast(asked.window_ms) if asked.row.name == "last" else SlidingFirst(asked.window_ms, asked.bound)
