"""min and max."""

from __future__ import annotations

from typing import Any

import msgspec

from app.domain.limits import NEVER
from app.engine.aggregates.contract import Asked, Overall, Sliding
from app.engine.aggregates.entries import left

Number = int | float


class ExtremeCell(msgspec.Struct, array_like=True, gc=False):
    """The extreme so far."""

    value: Number | None = None


class Extreme(Overall[ExtremeCell]):
    """The smallest or largest of all."""

    cell = ExtremeCell

    def __init__(self, largest: bool) -> None:
        self._largest = largest

    def new(self) -> ExtremeCell:
        return ExtremeCell()

    def add(self, cell: ExtremeCell, ts: int, value: Any) -> bool:
        if cell.value is not None and (value <= cell.value if self._largest else value >= cell.value):
            return False
        cell.value = value
        return True

    def read(self, cell: ExtremeCell, now: int) -> Number | None:
        return cell.value


class SlidingExtremeCell(msgspec.Struct, array_like=True, gc=False):
    """A monotonic queue: the entries that may yet be the extreme, oldest first, and whether some
    were left out."""

    times: list[int]
    values: list[Number]
    thinned: bool = False


class SlidingExtreme(Sliding[SlidingExtremeCell]):
    """The smallest or largest inside the window."""

    cell = SlidingExtremeCell

    def __init__(self, window_ms: int, largest: bool, bound: int) -> None:
        self._w = window_ms
        self._largest = largest
        self._bound = bound

    def new(self) -> SlidingExtremeCell:
        return SlidingExtremeCell([], [])

    def add(self, cell: SlidingExtremeCell, ts: int, value: Any) -> bool:
        self._expire(cell, ts)
        times, values = cell.times, cell.values
        if self._largest:
            while values and values[-1] <= value:
                values.pop()
                times.pop()
        else:
            while values and values[-1] >= value:
                values.pop()
                times.pop()
        times.append(ts)
        values.append(value)
        if len(times) > self._bound:
            del times[1], values[1]
            cell.thinned = True
        return len(times) == 1

    def _expire(self, cell: SlidingExtremeCell, now: int) -> None:
        if cell.times and cell.times[0] <= now - self._w:
            gone = left(cell.times, now - self._w)
            del cell.times[:gone]
            del cell.values[:gone]
            cell.thinned = cell.thinned and bool(cell.times)

    def read(self, cell: SlidingExtremeCell, now: int) -> tuple[Number | None, int]:
        self._expire(cell, now)
        return (cell.values[0], cell.times[0] + self._w) if cell.times else (None, NEVER)

    def approximate(self, cell: SlidingExtremeCell) -> bool:
        return cell.thinned


def overall(asked: Asked) -> Extreme:
    """`min` or `max` over an accumulating window."""
    return Extreme(asked.row.name == "max")


def sliding(asked: Asked) -> SlidingExtreme:
    """`min` or `max` over `last W`."""
    return SlidingExtreme(asked.window_ms, asked.row.name == "max", asked.bound)
