"""What an aggregate promises: a cell of plain values, fed in the order of application, read at
instants that never go back.

Every family of `app.rules.functions` has an *overall* form (of all entries: `ever`, and inside one
period of a calendar, session or range window) and, where its functions take a window, a *sliding*
one (of the entries inside `last W`: t − W < ts ≤ t). A cell is a struct of plain values, so that
state is bytes at any moment. At most `bound` entries are kept: past that a cell says that it is
approximate. Reading may drop what has left the window; that changes no answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from app.domain.limits import MAX_POINTS
from app.rules.demand import Demand
from app.rules.functions import Function

NOTHING_COMPARED = Demand()
C = TypeVar("C", bound=msgspec.Struct)

NOT_YET = -(1 << 60)  # before every instant, and still a signed 64-bit integer less any window


@dataclass(frozen=True, slots=True)
class Asked:
    """What a signal asks of its function's family. `window_ms` is 0 for the overall form; `bound`
    is how many entries may be kept."""

    row: Function
    demand: Demand = NOTHING_COMPARED
    parameter: float | None = None
    window_ms: int = 0
    bound: int = MAX_POINTS


class Aggregate(ABC, Generic[C]):
    """What both forms share."""

    cell: ClassVar[type[msgspec.Struct]]
    """The type of the cells, for decoding."""

    @abstractmethod
    def new(self) -> C:
        """A cell without entries."""

    @abstractmethod
    def add(self, cell: C, ts: int, value: Any) -> bool:
        """Take an entry at `ts` (epoch ms) in; whether an answer may have changed, see `Demand`."""

    def approximate(self, cell: C) -> bool:
        """Whether entries were merged or left out, so that the value is near the true one and not
        it."""
        return False


class Overall(Aggregate[C]):
    """Of all entries."""

    @abstractmethod
    def read(self, cell: C, now: int) -> Any:
        """The value; it changes with entries only (that of an age is the instant it counts
        from)."""


class Sliding(Aggregate[C]):
    """Of the entries inside `last W`."""

    @abstractmethod
    def read(self, cell: C, now: int) -> tuple[Any, int]:
        """The value, and the instant until which it holds (excluded; NEVER: for good) if nothing
        more is added."""

    def at_least(self, cell: C, now: int, k: int) -> tuple[bool, int]:
        """Whether a count has reached k ≥ 1, and until when that is so with no more entries."""
        value, until = self.read(cell, now)
        return value >= k, until


class LooksAhead(Sliding[C]):
    """A sliding aggregate that finds the exit from its window which changes a comparison."""

    @abstractmethod
    def compare(self, cell: C, now: int, test: Callable[[Any], bool], limit: float | None) -> tuple[bool, int]:
        """Whether the value passes `test`, and until when that is so with no more entries; or until
        it must be evaluated again. `limit`: the number that `test` compares with by an order; None
        where it compares otherwise."""
