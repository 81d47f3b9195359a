"""any: whether there is an entry."""

from __future__ import annotations

from typing import Any

import msgspec

from app.domain.limits import NEVER
from app.engine.aggregates.contract import NOT_YET, Asked, Overall, Sliding


class ExistsCell(msgspec.Struct, array_like=True, gc=False):
    """Whether one was seen."""

    found: bool = False


class Exists(Overall[ExistsCell]):
    """Whether there was one."""

    cell = ExistsCell

    def new(self) -> ExistsCell:
        return ExistsCell()

    def add(self, cell: ExistsCell, ts: int, value: Any) -> bool:
        before, cell.found = cell.found, True
        return not before

    def read(self, cell: ExistsCell, now: int) -> bool:
        return cell.found


class LatestCell(msgspec.Struct, array_like=True, gc=False):
    """The instant of the latest entry."""

    latest: int = NOT_YET


class SlidingExists(Sliding[LatestCell]):
    """Whether one is inside the window: its latest instant is enough."""

    cell = LatestCell

    def __init__(self, window_ms: int) -> None:
        self._w = window_ms

    def new(self) -> LatestCell:
        return LatestCell()

    def add(self, cell: LatestCell, ts: int, value: Any) -> bool:
        before, cell.latest = cell.latest, ts
        return before + self._w <= ts

    def read(self, cell: LatestCell, now: int) -> tuple[bool, int]:
        end = cell.latest + self._w
        return (True, end) if now < end else (False, NEVER)


def overall(_asked: Asked) -> Exists:
    """`any` over an accumulating window."""
    return Exists()


def sliding(asked: Asked) -> SlidingExists:
    """`any` over `last W`."""
    return SlidingExists(asked.window_ms)
