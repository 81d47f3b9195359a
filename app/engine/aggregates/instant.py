"""since and since_first: the instant of the latest and of the first entry, from which an age
counts."""

from __future__ import annotations

from typing import Any

import msgspec

from app.engine.aggregates.contract import NOT_YET, Asked, Overall


class InstantCell(msgspec.Struct, array_like=True, gc=False):
    """The instant, epoch ms."""

    ts: int = NOT_YET


class Instant(Overall[InstantCell]):
    """The instant of the first or latest entry. `age_ms`: the smallest age that it is compared
    with, None where it is used otherwise."""

    cell = InstantCell

    def __init__(self, latest: bool, age_ms: int | None) -> None:
        self._latest = latest
        self._age = age_ms

    def new(self) -> InstantCell:
        return InstantCell()

    def add(self, cell: InstantCell, ts: int, value: Any) -> bool:
        before = cell.ts
        if before == NOT_YET:
            cell.ts = ts
            return True
        if not self._latest:
            return False
        cell.ts = ts
        return self._age is None or ts - before >= self._age

    def read(self, cell: InstantCell, now: int) -> int | None:
        return None if cell.ts == NOT_YET else cell.ts


def overall(asked: Asked) -> Instant:
    """`since` or `since_first`."""
    return Instant(asked.row.name == "since", asked.demand.age_ms)
