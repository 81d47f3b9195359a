"""What all signals share: how a signal is named, who is told of it, and what it says at an
instant."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, assert_never

from app.domain.limits import NEVER
from app.domain.members import scalar_key
from app.domain.options import EngineOptions
from app.engine.aggregates.contract import LooksAhead
from app.engine.calendar import Calendar
from app.engine.signals.patterns import Cell
from app.engine.signals.windows import build_window
from app.engine.state import UserState
from app.engine.values import getter, is_number
from app.rules import ast
from app.rules.functions import row_of
from app.rules.plan import SignalSpec

MISSING = object()
"""What an entry contributes that has nothing to contribute: it is none."""

Fields = Mapping[str, Any]
Take = Callable[[UserState, Fields, int], bool]
Reading = Callable[[UserState, int, str | None], tuple[Any, int]]
Instance = tuple[int, str | None]
"""A unit's index and, where it is evaluated for each value, the value's key. One unit has values or
none, so instances sort."""


class Leaf:
    """One `Events` of a signal's selector: the events of `stream` that pass its filter, known to
    the signal as `bit`."""

    def __init__(self, node: ast.Events, bit: int) -> None:
        self.stream = node.stream
        self.where = node.where
        self.bit = bit


class Dependents:
    """The indices of units that read a signal; `unkeyed`: the same as instances, None if any of
    them is evaluated for each value."""

    def __init__(self, indices: tuple[int, ...] = (), unkeyed: bool = True) -> None:
        self.indices = indices
        self.unkeyed: tuple[Instance, ...] | None = tuple((index, None) for index in indices) if unkeyed else None


class Signal(ABC):
    """One aggregate of the plan. The units `on_change` are evaluated when an update may change an
    answer, those `on_update` after every update (they use the whole value)."""

    def __init__(self, spec: SignalSpec, options: EngineOptions, calendar: Calendar) -> None:
        self.key = spec.key
        self.text = spec.text
        self.node = spec.node
        self.row = row_of(spec.node)
        self.owner = spec.owner
        self.demand = spec.demand
        self.keyed = ast.uses_each(spec.node)
        self.window = build_window(spec, options, calendar)
        self.on_change = Dependents()
        self.on_update = Dependents()
        self.leaves: list[Leaf] = []
        self._value = _value_reader(spec.node, calendar)

    def _bit_of(self, node: ast.Events) -> int:
        bit = 1 << len(self.leaves)
        self.leaves.append(Leaf(node, bit))
        return bit

    @abstractmethod
    def cell(self, state: UserState, value_key: str | None) -> Cell | None:
        """The user's cell, or None where nothing was kept yet."""

    def kept(self, cell: Cell) -> Cell:
        """The window's cell in a cell."""
        return cell

    def read(self, state: UserState, now: int, value_key: str | None) -> tuple[Any, int]:
        """The value at `now` and until when it holds with no further event. That of an age is the
        *instant* of the entry."""
        cell = self.cell(state, value_key)
        return (self.window.empty, NEVER) if cell is None else self.window.read(cell, now, state)

    def at_least(self, state: UserState, now: int, value_key: str | None, k: int) -> tuple[bool, int]:
        """Whether a counting signal has reached k ≥ 1, and until when that holds with no further
        event."""
        cell = self.cell(state, value_key)
        return (False, NEVER) if cell is None else self.window.at_least(cell, now, k, state)

    def bind_read(self) -> Reading:
        """`read` as one function."""
        return self.read

    def bind_at_least(self, k: int) -> Reading:
        """`at_least` for one k as one function."""
        return lambda state, now, value_key: self.at_least(state, now, value_key, k)

    def bind_compare(self, test: Callable[[Any], bool], limit: float | None) -> Reading | None:
        """Whether the value passes `test`, looking ahead for the exit from the window that changes
        it (`limit`: see `LooksAhead.compare`); None where there is no such looking ahead."""
        aggregate = self.window.aggregate
        if not isinstance(aggregate, LooksAhead):
            return None
        compare, empty = aggregate.compare, (test(self.window.empty), NEVER)

        def answer(state: UserState, now: int, value_key: str | None) -> tuple[bool, int]:
            cell = self.cell(state, value_key)
            return empty if cell is None else compare(cell, now, test, limit)

        return answer

    def approximate(self, state: UserState, value_key: str | None) -> bool:
        """Whether entries were merged or left out, so that the value is near the true one and not
        it."""
        cell = self.cell(state, value_key)
        return cell is not None and self.window.approximate(self.kept(cell))

    def capped(self, value: Any) -> bool:
        """Whether a counting signal's value is a lower bound, kept only as far as the definitions
        need."""
        return self.demand.keep is not None and type(value) is int and value >= self.demand.keep

    def values(self, state: UserState) -> list[str]:
        """The keys of the values for which a keyed signal keeps something."""
        return []


def _value_reader(node: ast.Aggregate, calendar: Calendar) -> Callable[[Fields, int, int], Any] | None:
    """What an entry contributes: (fields, ts, start of its session) → value, or MISSING; None
    where every entry is alike."""
    takes, path = row_of(node).takes, node.field
    match takes:
        case "day":
            return lambda fields, ts, session: calendar.period("today", ts)[0]
        case "session":
            return lambda fields, ts, session: session
        case "one":
            return None
        case "number":
            if path is None:
                return None
            number = getter(path)
            return lambda fields, ts, session: v if is_number(v := number(fields)) else MISSING
        case "key":
            assert path is not None
            field = getter(path)
            return lambda fields, ts, session: MISSING if (key := scalar_key(field(fields))) is None else key
        case _:
            assert_never(takes)
