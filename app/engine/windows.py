"""A function in a window: which entries count at an instant, and until when.

A `Store` is an aggregate (of `sliding`, `accumulators` or `totals`) behind one kind of window. Its cells are the aggregate's own where the
window slides or never ends; of a calendar period or a session they say which one they belong to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.domain.limits import NEVER
from app.domain.options import EngineOptions
from app.engine import accumulators, sliding, totals
from app.engine.calendar import Calendar
from app.engine.state import UserState
from app.rules.needs import COUNTING
from app.rules.plan import SignalSpec
from app.rules.types import range_bounds


class Store:
    """The aggregate behind one window. `session` is read from the state, so every call carries it."""

    direct = False
    """Whether a cell is `keep`'s own and needs nothing of the state."""

    def __init__(self, keep: Any, empty: Any) -> None:
        self.keep = keep
        self.empty = empty

    def direct_read(self) -> Callable[[list[Any], int], tuple[Any, int]]:
        """Reading a cell where `direct`."""
        return self.keep.read  # type: ignore[no-any-return]

    def new(self) -> list[Any]:
        return self.keep.new()  # type: ignore[no-any-return]

    def add(self, cell: list[Any], ts: int, value: Any, state: UserState) -> bool:
        raise NotImplementedError

    def read(self, cell: list[Any], now: int, state: UserState) -> tuple[Any, int]:
        raise NotImplementedError

    def at_least(self, cell: list[Any], now: int, state: UserState, k: int) -> tuple[bool, int]:
        value, until = self.read(cell, now, state)
        return value >= k, until

    def approximate(self, cell: list[Any]) -> bool:
        test = getattr(self.keep, "approximate", None)
        return bool(test is not None and test(cell))


class SlidingStore(Store):
    """`last W`."""

    direct = True

    def add(self, cell: list[Any], ts: int, value: Any, state: UserState) -> bool:
        return bool(self.keep.add(cell, ts, value))

    def read(self, cell: list[Any], now: int, state: UserState) -> tuple[Any, int]:
        return self.keep.read(cell, now)  # type: ignore[no-any-return]

    def at_least(self, cell: list[Any], now: int, state: UserState, k: int) -> tuple[bool, int]:
        return self.keep.at_least(cell, now, k)  # type: ignore[no-any-return]


class EverStore(Store):
    """`ever`: nothing leaves."""

    direct = True

    def direct_read(self) -> Callable[[list[Any], int], tuple[Any, int]]:
        read = self.keep.read
        return lambda cell, now: (read(cell, now), NEVER)

    def add(self, cell: list[Any], ts: int, value: Any, state: UserState) -> bool:
        return bool(self.keep.add(cell, ts, value))

    def read(self, cell: list[Any], now: int, state: UserState) -> tuple[Any, int]:
        return self.keep.read(cell, now), NEVER


class RangeStore(EverStore):
    """`from A to B`: only entries inside count; what they said stays."""

    direct = False

    def __init__(self, keep: Any, empty: Any, start: int, end: int) -> None:
        super().__init__(keep, empty)
        self._start, self._end = start, end

    def add(self, cell: list[Any], ts: int, value: Any, state: UserState) -> bool:
        return self._start <= ts < self._end and bool(self.keep.add(cell, ts, value))


class PeriodStore(Store):
    """`today`, `this week`, `this month`: [start of the period, cell]; another period's cell counts as none."""

    def __init__(self, keep: Any, empty: Any, kind: str, calendar: Calendar) -> None:
        super().__init__(keep, empty)
        self._kind = kind
        self._calendar = calendar

    def new(self) -> list[Any]:
        return [-1, self.keep.new()]

    def add(self, cell: list[Any], ts: int, value: Any, state: UserState) -> bool:
        start = self._calendar.period(self._kind, ts)[0]
        if cell[0] != start:
            cell[:] = [start, self.keep.new()]
        return bool(self.keep.add(cell[1], ts, value))

    def read(self, cell: list[Any], now: int, state: UserState) -> tuple[Any, int]:
        start, end = self._calendar.period(self._kind, now)
        return (self.keep.read(cell[1], now), end) if cell[0] == start else (self.empty, NEVER)

    def approximate(self, cell: list[Any]) -> bool:
        return super().approximate(cell[1])


class SessionStore(Store):
    """`session`: [start of the session, cell]; it counts while that session is the current one and has not ended.

    An absence may complete when no session is on, at the very instant at which an event then begins one: it is inside. So a moment between
    sessions is kept as that of a session which begins with it.
    """

    def __init__(self, keep: Any, empty: Any, gap_ms: int) -> None:
        super().__init__(keep, empty)
        self._gap = gap_ms

    def new(self) -> list[Any]:
        return [-1, self.keep.new()]

    def add(self, cell: list[Any], ts: int, value: Any, state: UserState) -> bool:
        if ts < state.session_start:
            return False
        current = ts < state.session_last + self._gap
        start = state.session_start if current else ts
        if cell[0] != start:
            cell[:] = [start, self.keep.new()]
        return bool(self.keep.add(cell[1], ts, value)) and current

    def read(self, cell: list[Any], now: int, state: UserState) -> tuple[Any, int]:
        end = state.session_last + self._gap
        if cell[0] != state.session_start or now >= end:
            return self.empty, NEVER
        return self.keep.read(cell[1], now), end

    def approximate(self, cell: list[Any]) -> bool:
        return super().approximate(cell[1])


def build_store(spec: SignalSpec, options: EngineOptions, calendar: Calendar) -> Store:
    """What a signal keeps, in its window."""
    node, window = spec.node, spec.node.window
    empty = 0 if node.fn in (*COUNTING, "sum", "decay") else False if node.fn == "any" else None
    if window.kind == "last":
        return SlidingStore(_sliding(spec, window.ms, options.max_points), empty)
    keep = _accumulator(spec, options.max_points)
    if window.kind == "ever":
        return EverStore(keep, empty)
    if window.kind == "session":
        return SessionStore(keep, empty, options.session_gap_ms)
    if window.kind == "range":
        start, end = range_bounds(window)
        return RangeStore(keep, empty, calendar.instant(start), calendar.instant(end))
    return PeriodStore(keep, empty, window.kind, calendar)


def _sliding(spec: SignalSpec, window_ms: int, bound: int) -> Any:
    match spec.node.fn:
        case "any":
            return sliding.Whether(window_ms)
        case "count":
            return sliding.Count(window_ms, *_counts(spec), bound)
        case "sum" | "avg":
            return totals.SlidingTotal(window_ms, spec.node.fn == "avg", _thresholds(spec), bound)
        case "min" | "max":
            return sliding.Extreme(window_ms, spec.node.fn == "max", bound)
        case "distinct" | "days" | "session_count":
            return sliding.Different(window_ms, *_counts(spec), bound)
        case "first":
            return sliding.First(window_ms, bound)
        case "last":
            return sliding.Last(window_ms)
        case _:
            return sliding.Top(window_ms, bound)


def _counts(spec: SignalSpec) -> tuple[int | None, tuple[int, ...] | None]:
    """(how many entries tell enough, the counts that matter)."""
    crossings = tuple(int(k) for k in spec.crossings) if isinstance(spec.crossings, tuple) else None
    return (int(spec.need[-1]) if isinstance(spec.need, tuple) else None), crossings


def _age(spec: SignalSpec) -> int | None:
    return spec.crossings if isinstance(spec.crossings, int) else None


def _thresholds(spec: SignalSpec) -> tuple[float, ...] | None:
    return spec.crossings if isinstance(spec.crossings, tuple) else None


class _Whether:
    """`any` over an accumulating window."""

    def new(self) -> list[Any]:
        return [False]

    def add(self, cell: list[Any], ts: int, value: Any) -> bool:
        before, cell[0] = cell[0], True
        return not before

    def read(self, cell: list[Any], now: int) -> Any:
        return cell[0]


def _accumulator(spec: SignalSpec, bound: int) -> Any:
    match spec.node.fn:
        case "any":
            return _Whether()
        case "count":
            return accumulators.Count(_counts(spec)[1])
        case "sum" | "avg":
            return totals.Total(spec.node.fn == "avg", _thresholds(spec))
        case "min" | "max":
            return accumulators.Extreme(spec.node.fn == "max")
        case "distinct" | "days" | "session_count":
            return accumulators.Different(*_counts(spec), bound)
        case "first" | "last":
            return accumulators.Edge(spec.node.fn == "last")
        case "since" | "since_first":
            return accumulators.Moment(spec.node.fn == "since", _age(spec))
        case "decay":
            return accumulators.Decay(spec.node.half_life_ms)
        case _:
            return accumulators.Top(bound)
