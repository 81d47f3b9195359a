"""A pattern signal: an aggregate of the matches of a chain or an absence."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw

from app.domain.limits import NEVER
from app.domain.options import EngineOptions
from app.engine.calendar import Calendar
from app.engine.signals.keyed import TEMPLATE, Cells
from app.engine.signals.patterns import Cell, MatchContext, build_pattern
from app.engine.signals.signal import MISSING, Fields, Reading
from app.engine.state import UserState, cell_decoder
from app.rules import ast
from app.rules.fields import carried
from app.rules.plan import SignalSpec

P = TypeVar("P", bound=msgspec.Struct)
K = TypeVar("K", bound=msgspec.Struct)


class PatternCell(msgspec.Struct, Generic[P, K], array_like=True, gc=False):
    """The pattern's cell, and the window's with the matches."""

    pattern: P
    kept: K


class PatternSignal(Cells):
    """Of the matches of a chain or an absence; for each value of `for_each` where its selector uses
    `each`."""

    def __init__(self, spec: SignalSpec, options: EngineOptions, calendar: Calendar) -> None:
        super().__init__(spec, options, calendar)
        self._pattern = build_pattern(spec.node.selector, self._bit_of)
        self._by_time = any(isinstance(part, ast.Absence) for part in ast.nodes(spec.node.selector))
        self.may_precede_session = self._by_time and spec.node.window.kind == "session"
        self._fields = carried(spec.node)
        cell_type = PatternCell[self._pattern.cell_type, self.window.cell_type]  # type: ignore[name-defined]  # made at run time
        self._decode = cell_decoder(cell_type)
        self._keep_values_of(cell_type)

    def kept(self, cell: Cell) -> Cell:
        return cell.kept

    def cell(self, state: UserState, value_key: str | None) -> Cell | None:
        if self.keyed:
            cells = self.cells(state) or {}
            return cells.get(value_key or TEMPLATE, cells.get(TEMPLATE))
        found = state.signals.get(self.key)
        if type(found) is Raw:
            found = state.signals[self.key] = self._decode(found)
        return found

    def cell_for_write(self, state: UserState, value_key: str | None) -> Cell:
        """The user's cell, made where there is none: a value's begins as what un-keyed events have
        made so far."""
        if not self.keyed:
            cell = self.cell(state, None)
            if cell is None:
                cell = state.signals[self.key] = self._new()
            return cell
        cells = self.cells(state)
        if cells is None:
            cells = state.signals[self.key] = {}
        own = value_key or TEMPLATE
        cell = cells.get(own)
        if cell is None:
            cell = cells[own] = copy.deepcopy(cells[TEMPLATE]) if TEMPLATE in cells else self._new()
        return cell

    def has_template(self, state: UserState) -> bool:
        """Whether un-keyed events have fed a keyed one."""
        return TEMPLATE in (self.cells(state) or ())

    def _new(self) -> PatternCell[Any, Any]:
        return PatternCell(self._pattern.new(), self.window.new())

    # --- feeding ---------------------------------------------------------------------------------

    def take(self, state: UserState, fields: Fields, ts: int, mask: int, value_key: str | None) -> bool:
        """Feed an event that satisfies the leaves in `mask`; whether an answer may have changed."""
        cell = self.cell_for_write(state, value_key)
        pattern, due = self._pattern, NEVER
        changed = False
        if self._by_time:
            changed = self._advance(cell, ts, state)
            due = pattern.due(cell.pattern)
        context = MatchContext(
            state.applied, state.session_start, {name: fields[name] for name in self._fields if name in fields}
        )
        for match in pattern.feed(cell.pattern, ts, mask, context):
            changed = self._add(cell, ts, match, state) or changed
        return changed or (self._by_time and pattern.due(cell.pattern) != due)

    def _advance(self, cell: Cell, now: int, state: UserState) -> bool:
        changed = False
        if self._pattern.due(cell.pattern) <= now:
            for ts, match in self._pattern.advance(cell.pattern, now):
                changed = self._add(cell, ts, match, state) or changed
        return changed

    def _add(self, cell: Cell, ts: int, match: MatchContext, state: UserState) -> bool:
        value = 1 if self._value is None else self._value(match.fields, ts, match.session_start)
        return value is not MISSING and self.window.add(cell.kept, ts, value, state)

    def at_session_start(self, state: UserState) -> list[str | None]:
        """Value keys whose cell holds a match at the very instant the session began (None: of a
        signal that is not keyed)."""
        if self.keyed:
            return [key for key, cell in (self.cells(state) or {}).items() if cell.kept.start == state.session_start]
        cell = self.cell(state, None)
        return [None] if cell is not None and cell.kept.start == state.session_start else []

    # --- reading ---------------------------------------------------------------------------------

    def read(self, state: UserState, now: int, value_key: str | None) -> tuple[Any, int]:
        cell = self.cell(state, value_key)
        if cell is None:
            return self.window.empty, NEVER
        if self._by_time:
            self._advance(cell, now, state)
        value, until = self.window.read(cell.kept, now, state)
        return value, min(self._pattern.due(cell.pattern), until)

    def at_least(self, state: UserState, now: int, value_key: str | None, k: int) -> tuple[bool, int]:
        cell = self.cell(state, value_key)
        if cell is None:
            return False, NEVER
        self._advance(cell, now, state)
        value, until = self.window.at_least(cell.kept, now, k, state)
        return value, min(self._pattern.due(cell.pattern), until)

    def bind_compare(self, test: Callable[[Any], bool], limit: float | None) -> Reading | None:
        return None  # a match may complete before the next exit

    def approximate(self, state: UserState, value_key: str | None) -> bool:
        cell = self.cell(state, value_key)
        return cell is not None and (self._pattern.approximate(cell.pattern) or super().approximate(state, value_key))
