"""An aggregate behind a window: which entries count at an instant, and until when.

Most windows are about instants alone (`Timed`); a session is the user's (`SessionWindow`), so calls
carry the state. Cells are the aggregate's own where the window slides or never ends; those of a
calendar period or a session say which one they belong to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar, assert_never

import msgspec

from app.domain.limits import NEVER
from app.domain.options import EngineOptions
from app.engine import aggregates
from app.engine.aggregates.contract import Aggregate, Asked, Overall, Sliding
from app.engine.calendar import Calendar, Period
from app.engine.state import UserState
from app.rules.functions import row_of
from app.rules.plan import SignalSpec
from app.rules.types import range_bounds

C = TypeVar("C", bound=msgspec.Struct)
Cell = Any  # of the one aggregate that made it

Add = Callable[[Cell, int, Any], bool]
Read = Callable[[Cell, int], tuple[Any, int]]
AtLeast = Callable[[Cell, int, int], tuple[bool, int]]


class PeriodCell(msgspec.Struct, Generic[C], array_like=True, gc=False):
    """The aggregate's cell for the period (or session) that began at `start`, epoch ms."""

    start: int
    cell: C


class Window(ABC):
    """An aggregate behind a window. `empty` is the value of no entries."""

    def __init__(self, aggregate: Aggregate[Any], empty: Any) -> None:
        self.aggregate = aggregate
        self.empty = empty

    @property
    def cell_type(self) -> Any:
        """The type of its cells, for decoding."""
        return self.aggregate.cell

    def new(self) -> Cell:
        """A cell without entries."""
        return self.aggregate.new()

    @abstractmethod
    def add(self, cell: Cell, ts: int, value: Any, state: UserState) -> bool:
        """Take an entry in; whether an answer may have changed."""

    @abstractmethod
    def read(self, cell: Cell, now: int, state: UserState) -> tuple[Any, int]:
        """The value, and the instant until which it holds if nothing comes."""

    def at_least(self, cell: Cell, now: int, k: int, state: UserState) -> tuple[bool, int]:
        """Whether a count has reached k, and until when that holds if nothing comes."""
        value, until = self.read(cell, now, state)
        return value >= k, until

    def approximate(self, cell: Cell) -> bool:
        """See `Aggregate.approximate`."""
        return self.aggregate.approximate(cell)


class Timed(Window):
    """A window about instants alone: `adder`, `reader` and `counter` are its methods without the
    state, and without a layer between."""

    def __init__(
        self, aggregate: Aggregate[Any], empty: Any, adder: Add, reader: Read, counter: AtLeast | None = None
    ) -> None:
        super().__init__(aggregate, empty)
        self.adder = adder
        self.reader = reader
        self.counter = counter or self._counted

    def _counted(self, cell: Cell, now: int, k: int) -> tuple[bool, int]:
        value, until = self.reader(cell, now)
        return value >= k, until

    def add(self, cell: Cell, ts: int, value: Any, state: UserState) -> bool:
        return self.adder(cell, ts, value)

    def read(self, cell: Cell, now: int, state: UserState) -> tuple[Any, int]:
        return self.reader(cell, now)

    def at_least(self, cell: Cell, now: int, k: int, state: UserState) -> tuple[bool, int]:
        return self.counter(cell, now, k)


class SlidingWindow(Timed):
    """`last W`: its aggregate knows which entries are inside."""

    def __init__(self, aggregate: Sliding[Any], empty: Any) -> None:
        super().__init__(aggregate, empty, aggregate.add, aggregate.read, aggregate.at_least)


class EverWindow(Timed):
    """`ever`: nothing leaves."""

    def __init__(self, aggregate: Overall[Any], empty: Any, adder: Add | None = None) -> None:
        value = aggregate.read
        super().__init__(aggregate, empty, adder or aggregate.add, lambda cell, now: (value(cell, now), NEVER))


class RangeWindow(EverWindow):
    """`from A to B`: only entries with start ≤ ts < end count; what they made stays."""

    def __init__(self, aggregate: Overall[Any], empty: Any, start: int, end: int) -> None:
        add = aggregate.add
        super().__init__(aggregate, empty, lambda cell, ts, value: start <= ts < end and add(cell, ts, value))


class PeriodWindow(Timed):
    """`today`, `this week`, `this month`: another period's cell counts as none."""

    def __init__(self, aggregate: Overall[Any], empty: Any, period: Period, calendar: Calendar) -> None:
        super().__init__(aggregate, empty, self._add, self._read)
        self._overall = aggregate
        self._period: Period = period
        self._calendar = calendar

    @property
    def cell_type(self) -> Any:
        return PeriodCell[self.aggregate.cell]  # type: ignore[name-defined]  # a type made at run time

    def new(self) -> PeriodCell[Any]:
        return PeriodCell(-1, self.aggregate.new())

    def _add(self, cell: PeriodCell[Any], ts: int, value: Any) -> bool:
        start = self._calendar.period(self._period, ts)[0]
        if cell.start != start:
            cell.start, cell.cell = start, self.aggregate.new()
        return self._overall.add(cell.cell, ts, value)

    def _read(self, cell: PeriodCell[Any], now: int) -> tuple[Any, int]:
        start, end = self._calendar.period(self._period, now)
        return (self._overall.read(cell.cell, now), end) if cell.start == start else (self.empty, NEVER)

    def approximate(self, cell: PeriodCell[Any]) -> bool:
        return self.aggregate.approximate(cell.cell)


class SessionWindow(Window):
    """`session`: a cell counts while its session is the current one and has not ended.

    An absence may complete when no session is on, at the very instant at which an event then begins
    one: it is inside. So a match between sessions is kept as that of a session which begins with
    it.
    """

    def __init__(self, aggregate: Overall[Any], empty: Any, gap_ms: int) -> None:
        super().__init__(aggregate, empty)
        self._overall = aggregate
        self._gap = gap_ms

    @property
    def cell_type(self) -> Any:
        return PeriodCell[self.aggregate.cell]  # type: ignore[name-defined]  # a type made at run time

    def new(self) -> PeriodCell[Any]:
        return PeriodCell(-1, self.aggregate.new())

    def add(self, cell: PeriodCell[Any], ts: int, value: Any, state: UserState) -> bool:
        if ts < state.session_start:
            return False
        current = ts < state.session_last + self._gap
        start = state.session_start if current else ts
        if cell.start != start:
            cell.start, cell.cell = start, self.aggregate.new()
        return self._overall.add(cell.cell, ts, value) and current

    def read(self, cell: PeriodCell[Any], now: int, state: UserState) -> tuple[Any, int]:
        end = state.session_last + self._gap
        if cell.start != state.session_start or now >= end:
            return self.empty, NEVER
        return self._overall.read(cell.cell, now), end

    def approximate(self, cell: PeriodCell[Any]) -> bool:
        return self.aggregate.approximate(cell.cell)


def build_window(spec: SignalSpec, options: EngineOptions, calendar: Calendar) -> Window:
    """What a signal keeps, in its window."""
    node, window, row = spec.node, spec.node.window, row_of(spec.node)
    if window.kind == "last":
        asked = Asked(row, spec.demand, node.parameter, window.ms, options.max_points)
        return SlidingWindow(aggregates.sliding(asked), row.empty)
    aggregate = aggregates.overall(Asked(row, spec.demand, node.parameter, 0, options.max_points))
    match window.kind:
        case "ever":
            return EverWindow(aggregate, row.empty)
        case "session":
            return SessionWindow(aggregate, row.empty, options.session_gap_ms)
        case "range":
            start, end = range_bounds(window)
            return RangeWindow(aggregate, row.empty, calendar.instant(start), calendar.instant(end))
        case "today" | "this week" | "this month":
            return PeriodWindow(aggregate, row.empty, window.kind, calendar)
        case _:
            assert_never(window.kind)
