"""A plain signal: an aggregate of events, one cell a user."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from app.domain.limits import NEVER
from app.domain.options import EngineOptions
from app.engine.calendar import Calendar
from app.engine.signals.patterns import Cell
from app.engine.signals.signal import MISSING, Fields, Reading, Signal, Take
from app.engine.signals.windows import Timed
from app.engine.state import UserState, cell_decoder
from app.rules import ast
from app.rules.plan import SignalSpec


class PlainSignal(Signal):
    """Of events, one cell a user."""

    def __init__(self, spec: SignalSpec, options: EngineOptions, calendar: Calendar) -> None:
        super().__init__(spec, options, calendar)
        assert isinstance(spec.node.selector, ast.Events)
        self._bit_of(spec.node.selector)
        self._decode = cell_decoder(self.window.cell_type)

    def cell(self, state: UserState, value_key: str | None) -> Cell | None:
        found = state.signals.get(self.key)
        if type(found) is Raw:
            found = state.signals[self.key] = self._decode(found)
        return found

    def bind_take(self) -> Take:
        """Feeding an event, as one function: (state, fields, ts) → whether an answer may have
        changed."""
        key, new, decode, value_of = self.key, self.window.new, self._decode, self._value

        def cell_for_write(state: UserState) -> Cell:
            cell = state.signals.get(key)
            if cell is None:
                cell = state.signals[key] = new()
            elif type(cell) is Raw:
                cell = state.signals[key] = decode(cell)
            return cell

        if not isinstance(self.window, Timed):
            add_in = self.window.add

            def take_in_session(state: UserState, fields: Fields, ts: int) -> bool:
                value = 1 if value_of is None else value_of(fields, ts, state.session_start)
                return value is not MISSING and add_in(cell_for_write(state), ts, value, state)

            return take_in_session
        add = self.window.adder
        if value_of is None:

            def take_one(state: UserState, fields: Fields, ts: int) -> bool:
                cell = state.signals.get(key)
                if cell is None or type(cell) is Raw:
                    cell = cell_for_write(state)
                return add(cell, ts, 1)

            return take_one
        read_value = value_of

        def take_value(state: UserState, fields: Fields, ts: int) -> bool:
            value = read_value(fields, ts, state.session_start)
            if value is MISSING:
                return False
            cell = state.signals.get(key)
            if cell is None or type(cell) is Raw:
                cell = cell_for_write(state)
            return add(cell, ts, value)

        return take_value

    def bind_read(self) -> Reading:
        if not isinstance(self.window, Timed):
            return self.read
        key, empty, read, decode = self.key, (self.window.empty, NEVER), self.window.reader, self._decode

        def answer(state: UserState, now: int, value_key: str | None) -> tuple[Any, int]:
            cell = state.signals.get(key)
            if cell is None:
                return empty
            if type(cell) is Raw:
                cell = state.signals[key] = decode(cell)
            return read(cell, now)

        return answer

    def bind_at_least(self, k: int) -> Reading:
        if not isinstance(self.window, Timed):
            return super().bind_at_least(k)
        key, reached, decode, never = self.key, self.window.counter, self._decode, (False, NEVER)

        def answer(state: UserState, now: int, value_key: str | None) -> tuple[bool, int]:
            cell = state.signals.get(key)
            if cell is None:
                return never
            if type(cell) is Raw:
                cell = state.signals[key] = decode(cell)
            return reached(cell, now, k)

        return answer
