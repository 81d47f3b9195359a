"""A signal at work: what feeds it, what it keeps for a user, and what it says at an instant.

A *plain* signal aggregates events, a *keyed* one does so for each value of `for_each`, a *pattern* signal aggregates the matches of a chain
or an absence (for each value, where it uses `each`). Under its key a user's state has the cell, or {value's key: cell}; a keyed pattern has
under TEMPLATE the cell that only un-keyed events have fed, from which a new value's cell is copied. Stored cells are decoded when they are
first touched.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, assert_never

import msgspec
from msgspec import Raw

from app.domain.limits import NEVER
from app.domain.members import scalar_key
from app.domain.options import EngineOptions
from app.engine.aggregates.contract import LooksAhead
from app.engine.calendar import Calendar
from app.engine.signals.patterns import Cell, MatchContext, build_pattern
from app.engine.signals.windows import Timed, build_window
from app.engine.state import UserState, cell_decoder
from app.engine.values import getter, is_number
from app.rules import ast
from app.rules.fields import carried
from app.rules.functions import row_of
from app.rules.plan import SignalSpec

TEMPLATE = ""
_MISSING = object()

Fields = Mapping[str, Any]
Take = Callable[[UserState, Fields, int], bool]
Reading = Callable[[UserState, int, str | None], tuple[Any, int]]
Instance = tuple[int, str | None]
"""A unit's index and, where it is evaluated for each value, the value's key. One unit has values or none, so instances sort."""


class Leaf:
    """One `Events` of a signal's selector: the events of `stream` that pass its filter, known to the signal as `bit`."""

    def __init__(self, node: ast.Events, bit: int) -> None:
        self.stream = node.stream
        self.where = node.where
        self.bit = bit


class Dependents:
    """The indices of units that read a signal; `unkeyed`: the same as instances, None if any of them is evaluated for each value."""

    def __init__(self, indices: tuple[int, ...] = (), unkeyed: bool = True) -> None:
        self.indices = indices
        self.unkeyed: tuple[Instance, ...] | None = tuple((index, None) for index in indices) if unkeyed else None


class Signal(ABC):
    """One aggregate of the plan. The units `on_change` are evaluated when an update may change an answer, those `on_update` after every
    update (they use the whole value)."""

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
        """The value at `now` and until when it holds with no further event. That of an age is the *instant* of the entry."""
        cell = self.cell(state, value_key)
        return (self.window.empty, NEVER) if cell is None else self.window.read(cell, now, state)

    def at_least(self, state: UserState, now: int, value_key: str | None, k: int) -> tuple[bool, int]:
        """Whether a counting signal has reached k ≥ 1, and until when that holds with no further event."""
        cell = self.cell(state, value_key)
        return (False, NEVER) if cell is None else self.window.at_least(cell, now, k, state)

    def bind_read(self) -> Reading:
        """`read` as one function."""
        return self.read

    def bind_at_least(self, k: int) -> Reading:
        """`at_least` for one k as one function."""
        return lambda state, now, value_key: self.at_least(state, now, value_key, k)

    def bind_compare(self, test: Callable[[Any], bool], limit: float | None) -> Reading | None:
        """Whether the value passes `test`, looking ahead for the exit from the window that changes it (`limit`: see `LooksAhead.compare`);
        None where there is no such looking ahead."""
        aggregate = self.window.aggregate
        if not isinstance(aggregate, LooksAhead):
            return None
        compare, empty = aggregate.compare, (test(self.window.empty), NEVER)

        def answer(state: UserState, now: int, value_key: str | None) -> tuple[bool, int]:
            cell = self.cell(state, value_key)
            return empty if cell is None else compare(cell, now, test, limit)

        return answer

    def approximate(self, state: UserState, value_key: str | None) -> bool:
        """Whether entries were merged or left out, so that the value is near the true one and not it."""
        cell = self.cell(state, value_key)
        return cell is not None and self.window.approximate(self.kept(cell))

    def capped(self, value: Any) -> bool:
        """Whether a counting signal's value is a lower bound, kept only as far as the definitions need."""
        return self.demand.keep is not None and type(value) is int and value >= self.demand.keep

    def values(self, state: UserState) -> list[str]:
        """The keys of the values for which a keyed signal keeps something."""
        return []


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
        """Feeding an event, as one function: (state, fields, ts) → whether an answer may have changed."""
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
                return value is not _MISSING and add_in(cell_for_write(state), ts, value, state)

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
            if value is _MISSING:
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


class _Cells(Signal):
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


class KeyedSignal(_Cells):
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
        if value is _MISSING:
            return False
        cells = self.cells(state)
        if cells is None:
            cells = state.signals[self.key] = {}
        cell = cells.get(value_key)
        if cell is None:
            cell = cells[value_key] = self.window.new()
        return self.window.add(cell, ts, value, state)


P = TypeVar("P", bound=msgspec.Struct)
K = TypeVar("K", bound=msgspec.Struct)


class PatternCell(msgspec.Struct, Generic[P, K], array_like=True, gc=False):
    """The pattern's cell, and the window's with the matches."""

    pattern: P
    kept: K


class PatternSignal(_Cells):
    """Of the matches of a chain or an absence; for each value of `for_each` where its selector uses `each`."""

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
        """The user's cell, made where there is none: a value's begins as what un-keyed events have made so far."""
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

    # --- feeding -----------------------------------------------------------------------------------------------

    def take(self, state: UserState, fields: Fields, ts: int, mask: int, value_key: str | None) -> bool:
        """Feed an event that satisfies the leaves in `mask`; whether an answer may have changed."""
        cell = self.cell_for_write(state, value_key)
        pattern, due = self._pattern, NEVER
        changed = False
        if self._by_time:
            changed = self._advance(cell, ts, state)
            due = pattern.due(cell.pattern)
        context = MatchContext(state.applied, state.session_start, {name: fields[name] for name in self._fields if name in fields})
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
        return value is not _MISSING and self.window.add(cell.kept, ts, value, state)

    def at_session_start(self, state: UserState) -> list[str | None]:
        """Value keys whose cell holds a match at the very instant the session began (None: of a signal that is not keyed)."""
        if self.keyed:
            return [key for key, cell in (self.cells(state) or {}).items() if cell.kept.start == state.session_start]
        cell = self.cell(state, None)
        return [None] if cell is not None and cell.kept.start == state.session_start else []

    # --- reading -----------------------------------------------------------------------------------------------

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


def build_signal(spec: SignalSpec, options: EngineOptions, calendar: Calendar) -> PlainSignal | KeyedSignal | PatternSignal:
    """The signal of a plan's aggregate."""
    if not isinstance(spec.node.selector, ast.Events):
        return PatternSignal(spec, options, calendar)
    return KeyedSignal(spec, options, calendar) if ast.uses_each(spec.node) else PlainSignal(spec, options, calendar)


def _value_reader(node: ast.Aggregate, calendar: Calendar) -> Callable[[Fields, int, int], Any] | None:
    """What an entry contributes: (fields, ts, start of its session) → value, or _MISSING; None where every entry is alike."""
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
            return lambda fields, ts, session: v if is_number(v := number(fields)) else _MISSING
        case "key":
            assert path is not None
            field = getter(path)
            return lambda fields, ts, session: _MISSING if (key := scalar_key(field(fields))) is None else key
        case _:
            assert_never(takes)
