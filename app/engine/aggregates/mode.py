"""top: the most frequent value; of equally frequent ones the one seen last."""

from __future__ import annotations

from typing import Any

import msgspec

from app.domain.limits import NEVER
from app.domain.members import Value, scalar_value
from app.engine.aggregates.contract import Asked, Overall, Sliding
from app.engine.aggregates.entries import left, newer_of_pairs


class Seen(msgspec.Struct, array_like=True, gc=False):
    """How often a value was seen, and the number of its latest entry."""

    times: int
    number: int


class ModeCell(msgspec.Struct, array_like=True, gc=False):
    """{value's key: …}, how many entries there were, and whether some values were left out."""

    seen: dict[str, Seen]
    entries: int = 0
    thinned: bool = False


class Mode(Overall[ModeCell]):
    """Of all entries; past `bound` different values the rarest, oldest one is forgotten."""

    cell = ModeCell

    def __init__(self, bound: int) -> None:
        self._bound = bound

    def new(self) -> ModeCell:
        return ModeCell({})

    def add(self, cell: ModeCell, ts: int, value: Any) -> bool:
        seen, number = cell.seen, cell.entries
        cell.entries = number + 1
        found = seen.get(value)
        if found is not None:
            found.times += 1
            found.number = number
            return True
        if len(seen) >= self._bound:
            del seen[min(seen, key=lambda key: (seen[key].times, seen[key].number))]
            cell.thinned = True
        seen[value] = Seen(1, number)
        return True

    def read(self, cell: ModeCell, now: int) -> Value | None:
        seen = cell.seen
        return scalar_value(max(seen, key=lambda key: (seen[key].times, seen[key].number))) if seen else None

    def approximate(self, cell: ModeCell) -> bool:
        return cell.thinned


class SlidingModeCell(msgspec.Struct, array_like=True, gc=False):
    """Every entry, oldest first, and whether some were merged."""

    times: list[int]
    keys: list[str]
    merged: bool = False


class SlidingMode(Sliding[SlidingModeCell]):
    """Of the entries inside the window."""

    cell = SlidingModeCell

    def __init__(self, window_ms: int, bound: int) -> None:
        self._w = window_ms
        self._bound = bound

    def new(self) -> SlidingModeCell:
        return SlidingModeCell([], [])

    def add(self, cell: SlidingModeCell, ts: int, value: Any) -> bool:
        self._expire(cell, ts)
        cell.times.append(ts)
        cell.keys.append(value)
        if len(cell.times) > self._bound:
            newer_of_pairs(cell.times)
            newer_of_pairs(cell.keys)
            cell.merged = True
        return True

    def _expire(self, cell: SlidingModeCell, now: int) -> None:
        if cell.times and cell.times[0] <= now - self._w:
            gone = left(cell.times, now - self._w)
            del cell.times[:gone]
            del cell.keys[:gone]
            cell.merged = cell.merged and bool(cell.times)

    def read(self, cell: SlidingModeCell, now: int) -> tuple[Value | None, int]:
        self._expire(cell, now)
        if not cell.times:
            return None, NEVER
        times: dict[str, int] = {}
        number: dict[str, int] = {}
        for i, key in enumerate(cell.keys):
            times[key] = times.get(key, 0) + 1
            number[key] = i
        return scalar_value(max(times, key=lambda key: (times[key], number[key]))), cell.times[0] + self._w

    def approximate(self, cell: SlidingModeCell) -> bool:
        return cell.merged


def overall(asked: Asked) -> Mode:
    """`top` over an accumulating window."""
    return Mode(asked.bound)


def sliding(asked: Asked) -> SlidingMode:
    """`top` over `last W`."""
    return SlidingMode(asked.window_ms, asked.bound)
