"""A keyed signal: an aggregate of events for each value of `for_each`."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from app.domain.options import EngineOptions
from app.engine.calendar import Calendar
from app.engine.signals.patterns import Cell
from app.engine.signals.signal import MISSING, Fields, Signal
from app.engine.state import UserState, cell_decoder
from app.rules import ast
from app.rules.plan import SignalSpec

TEMPLATE = ""
"""Where a keyed pattern has the cell that only un-keyed events have fed; no value has this key."""


class Cells(Signal):
    """What keyed signals share: {value's key: cell}."""

    def _keep_values_of(self, cell_type: Any) -> None:
        self._decode_cells = cell_decoder(dict[str, cell_type])

    def cells(self, state: UserState) -> dict[str, Cell] | None:
        """All cells of the user; None where there are none yet."""
        found: Any = state.signals.get(self.key)
        if type(found) is Raw:
            found = state.signals[self.key] = self._decode_cells(found)
        return found  # type: ignore[no-any-return]  # a signal's own entry

    def forget(self, state: UserState, value_key: str) -> None:
        """Drop what is kept of a value."""
        cells = self.cells(state)
        if cells is not None:
            cells.pop(value_key, None)

    def values(self, state: UserState) -> list[str]:
        return [key for key in self.cells(state) or () if key != TEMPLATE]


class KeyedSignal(Cells):
    """Of events, a cell for each value of `for_each`."""

    def __init__(self, spec: SignalSpec, options: EngineOptions, calendar: Calendar) -> None:
        super().__init__(spec, options, calendar)
        assert isinstance(spec.node.selector, ast.Events)
        self._bit_of(spec.node.selector)
        self._keep_values_of(self.window.cell_type)

    def cell(self, state: UserState, value_key: str | None) -> Cell | None:
        cells = self.cells(state)
        return None if cells is None or value_key is None else cells.get(value_key)

    def take(self, state: UserState, fields: Fields, ts: int, value_key: str) -> bool:
        """Feed an event to one value's cell; whether an answer may have changed."""
        value = 1 if self._value is None else self._value(fields, ts, state.session_start)
        if value is MISSING:
            return False
        cells = self.cells(state)
        if cells is None:
            cells = state.signals[self.key] = {}
        cell = cells.get(value_key)
        if cell is None:
            cell = cells[value_key] = self.window.new()
        return self.window.add(cell, ts, value, state)
