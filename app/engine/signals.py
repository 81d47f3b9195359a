"""A signal at work: what feeds it, what it keeps for a user, and what it says at an instant.

Three kinds share one interface: `take` (feed an event), `read` (value and until when it holds). A *plain* signal counts events directly;
a *composite* one counts the moments of a chain or an absence. Both may be *keyed* by the value of `for_each`: then a user's cell is
{value key: cell}, with under "" the cell that only un-keyed events have fed, from which a new value's cell is copied.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from app.domain.limits import NEVER
from app.domain.members import scalar_key
from app.domain.options import EngineOptions
from app.engine.calendar import Calendar
from app.engine.sources import EventSource, build_source
from app.engine.state import UserState
from app.engine.values import getter, is_number
from app.engine.windows import Store, build_store
from app.rules import ast
from app.rules.needs import COUNTING
from app.rules.plan import SignalSpec
from app.rules.types import uses_each
from app.rules.walk import nodes

TEMPLATE = ""
_MISSING = object()
_NOTHING: dict[Any, Any] = {}

Take = Callable[[UserState, Mapping[str, Any], int], bool]
Reading = Callable[[UserState, int, str | None], tuple[Any, int]]


class Leaf:
    """One `Events` of a signal's selector: the events of `stream` that pass its filter, known to the signal as `bit`. `each` is the path
    compared with `each`."""

    def __init__(self, node: ast.Events, bit: int) -> None:
        self.stream = node.stream
        self.where = node.where
        self.bit = bit


class Readers:
    """The places of units that read a signal; `plain` are they as instances where none is judged for each value."""

    def __init__(self, places: tuple[int, ...], plain: bool = True) -> None:
        self.places = places
        self.plain = tuple((place, None) for place in places) if plain else None


class Signal:
    """One aggregate of the plan. `readers` are to be asked when feeding it says that an answer may have changed, `whole_readers` (those of
    them who use its whole value) whenever it was fed."""

    def __init__(self, spec: SignalSpec, options: EngineOptions, calendar: Calendar) -> None:
        node = spec.node
        self.key = spec.key
        self.text = spec.text
        self.fn = node.fn
        self.node = node
        self.need = spec.need
        self.keyed = uses_each(node)
        self.owner = spec.owner
        self.readers = Readers(())
        self.whole_readers = Readers(())
        self.leaves: list[Leaf] = []
        self._source = build_source(node.selector, self._bit_of)
        self.composite = not isinstance(self._source, EventSource)
        self._timed = any(isinstance(part, ast.Absence) for part in nodes(node.selector))
        self.may_precede_session = self._timed and node.window.kind == "session"
        self._store = build_store(spec, options, calendar)
        self._keep_add: Callable[[list[Any], int, Any], bool] = self._store.keep.add
        self._value = _value_reader(node, calendar)
        self._fields = frozenset(_carried(node))

    def _bit_of(self, node: ast.Events) -> int:
        bit = 1 << len(self.leaves)
        self.leaves.append(Leaf(node, bit))
        return bit

    # --- cells -------------------------------------------------------------------------------------------------

    def new(self) -> list[Any]:
        return [self._source.new(), self._store.new()] if self.composite else self._store.new()

    def cell(self, state: UserState, each: str | None) -> list[Any] | None:
        """The user's cell, or None where nothing was kept yet."""
        found: Any = state.signals.get(self.key)
        if found is not None and self.keyed:
            found = found.get(each, found.get(TEMPLATE))
        return cast("list[Any] | None", found)

    def own_cell(self, state: UserState, each: str | None) -> list[Any]:
        """The user's cell to write to, made where there is none."""
        cell: list[Any] | None
        if not self.keyed:
            cell = state.signals.get(self.key)
            if cell is None:
                cell = state.signals[self.key] = self.new()
            return cell
        cells = state.signals.setdefault(self.key, {})
        cell = cells.get(each)
        if cell is None:
            cell = cells[each] = copy.deepcopy(cells[TEMPLATE]) if TEMPLATE in cells else self.new()
        return cell

    # --- feeding -----------------------------------------------------------------------------------------------

    def bind_take(self) -> Take:
        """Feeding an event to a plain, un-keyed signal, as one function: (state, fields, ts) → whether an answer may have changed."""
        key, new, add, keep_add, value_of = self.key, self._store.new, self._store.add, self._keep_add, self._value

        def take_value(state: UserState, fields: Mapping[str, Any], ts: int) -> bool:
            value = value_of(fields, ts, state.session_start) if value_of is not None else 1
            if value is _MISSING:
                return False
            cell = state.signals.get(key)
            if cell is None:
                cell = state.signals[key] = new()
            return add(cell, ts, value, state)

        def take_one(state: UserState, fields: Mapping[str, Any], ts: int) -> bool:
            cell = state.signals.get(key)
            if cell is None:
                cell = state.signals[key] = new()
            return keep_add(cell, ts, 1)

        if not self._store.direct:
            return take_value
        if value_of is None:
            return take_one
        read_value = value_of

        def take_direct(state: UserState, fields: Mapping[str, Any], ts: int) -> bool:
            value = read_value(fields, ts, state.session_start)
            if value is _MISSING:
                return False
            cell = state.signals.get(key)
            if cell is None:
                cell = state.signals[key] = new()
            return keep_add(cell, ts, value)

        return take_direct

    def take_keyed(self, state: UserState, fields: Mapping[str, Any], ts: int, mask: int, each: str) -> bool:
        """Feed an event to one value's cell of a keyed signal."""
        if self.composite:
            return self.take_composite(state, fields, ts, mask, each)
        value = self._value(fields, ts, state.session_start) if self._value is not None else 1
        if value is _MISSING:
            return False
        cells = state.signals.get(self.key)
        if cells is None:
            cells = state.signals[self.key] = {}
        cell = cells.get(each)
        if cell is None:
            cell = cells[each] = self._store.new()
        if self._store.direct:
            return self._keep_add(cell, ts, value)
        return self._store.add(cell, ts, value, state)

    def take_composite(self, state: UserState, fields: Mapping[str, Any], ts: int, mask: int, each: str | None) -> bool:
        """Feed an event that satisfies the leaves in `mask` to a chain's or an absence's signal."""
        cell = self.own_cell(state, each)
        source, before = self._source, NEVER
        changed = False
        if self._timed:
            changed = self._advance(cell, ts, state)
            before = source.due(cell[0])
        carried = {name: fields[name] for name in self._fields if name in fields} if self._fields else _NOTHING
        for carrier in source.feed(cell[0], ts, mask, [state.applied, state.session_start, carried]):
            changed = self._add_moment(cell[1], ts, carrier, state) or changed
        return changed or (self._timed and source.due(cell[0]) != before)

    def _advance(self, cell: list[Any], now: int, state: UserState) -> bool:
        changed = False
        if self._source.due(cell[0]) <= now:
            for ts, carrier in self._source.advance(cell[0], now):
                changed = self._add_moment(cell[1], ts, carrier, state) or changed
        return changed

    def _add_moment(self, cell: list[Any], ts: int, carrier: list[Any], state: UserState) -> bool:
        value = self._value(carrier[2], ts, carrier[1]) if self._value is not None else 1
        return value is not _MISSING and self._store.add(cell, ts, value, state)

    def at_session_start(self, state: UserState) -> Iterable[str | None]:
        """Whose cells hold a moment of the instant at which the current session began, from just before it did."""
        found: Any = state.signals.get(self.key, _NOTHING)
        cells = found if self.keyed else {None: found} if found else _NOTHING
        return [each for each, cell in cells.items() if cell[1][0] == state.session_start]

    # --- reading -----------------------------------------------------------------------------------------------

    def read(self, state: UserState, now: int, each: str | None) -> tuple[Any, int]:
        """The value at `now` and until when it holds with no further event. For since and since_first the value is the *instant* of the
        entry, for decay the unrounded value."""
        cell = self.cell(state, each)
        if cell is None:
            return self._store.empty, NEVER
        if not self.composite:
            return self._store.read(cell, now, state)
        if self._timed:
            self._advance(cell, now, state)
        value, until = self._store.read(cell[1], now, state)
        due = self._source.due(cell[0])
        return value, min(due, until)

    def at_least(self, state: UserState, now: int, each: str | None, k: int) -> tuple[bool, int]:
        """Whether a counting signal has reached k (k ≥ 1), and until when that holds with no further event."""
        cell = self.cell(state, each)
        if cell is None:
            return False, NEVER
        if not self.composite:
            return self._store.at_least(cell, now, state, k)
        self._advance(cell, now, state)
        value, until = self._store.at_least(cell[1], now, state, k)
        due = self._source.due(cell[0])
        return value, min(due, until)

    def bind_read(self) -> Reading:
        """`read` as one function, without the layers where the signal is plain, un-keyed and its window slides or never ends."""
        if self.composite or self.keyed or not self._store.direct:
            return self.read
        key, empty, read = self.key, (self._store.empty, NEVER), self._store.direct_read()

        def answer(state: UserState, now: int, each: str | None) -> tuple[Any, int]:
            cell = state.signals.get(key)
            return empty if cell is None else read(cell, now)

        return answer

    def bind_compare(self, test: Callable[[Any], bool], limit: float | None) -> Reading | None:
        """Whether a total passes `test`, looking ahead for the exit that changes it (`limit`: see `SlidingTotal.compare`); None where
        there is no such looking ahead."""
        compare = getattr(self._store.keep, "compare", None)
        if self.composite or compare is None:
            return None
        empty = (test(self._store.empty), NEVER)

        def answer(state: UserState, now: int, each: str | None) -> tuple[bool, int]:
            cell = self.cell(state, each)
            return empty if cell is None else compare(cell, now, test, limit)

        return answer

    def bind_at_least(self, k: int) -> Reading:
        """`at_least` for one k as one function."""
        if self.composite or not hasattr(self._store.keep, "at_least"):
            return lambda state, now, each: self.at_least(state, now, each, k)
        key, test, never = self.key, self._store.keep.at_least, (False, NEVER)

        def answer_each(state: UserState, now: int, each: str | None) -> tuple[bool, int]:
            cell = state.signals.get(key, _NOTHING).get(each)
            return never if cell is None else test(cell, now, k)

        if self.keyed:
            return answer_each

        def answer(state: UserState, now: int, each: str | None) -> tuple[bool, int]:
            cell = state.signals.get(key)
            return never if cell is None else test(cell, now, k)

        return answer

    def approximate(self, state: UserState, each: str | None) -> bool:
        """Whether entries were merged, so that the value is near the true one and not it."""
        cell = self.cell(state, each)
        if cell is None:
            return False
        if self.composite:
            thinned = getattr(self._source, "approximate", None)
            return bool(thinned is not None and thinned(cell[0])) or self._store.approximate(cell[1])
        return self._store.approximate(cell)

    def capped(self, value: Any) -> bool:
        """Whether a counting signal's value is a lower bound, kept only as far as the definitions need."""
        return self.fn in COUNTING and isinstance(self.need, tuple) and type(value) is int and value >= self.need[-1]

    @property
    def store(self) -> Store:
        return self._store


def _value_reader(node: ast.Aggregate, calendar: Calendar) -> Callable[[Mapping[str, Any], int, int], Any] | None:
    """What an entry contributes: (fields, ts, start of its session) → value, or _MISSING; None where every entry is alike."""
    if node.fn == "days":
        return lambda fields, ts, session: calendar.period("today", ts)[0]
    if node.fn == "session_count":
        return lambda fields, ts, session: session
    if node.field is None:
        return None
    read = getter(node.field)
    if node.fn in ("sum", "avg", "min", "max", "decay"):
        return lambda fields, ts, session: v if is_number(v := read(fields)) else _MISSING

    def key(fields: Mapping[str, Any], ts: int, session: int) -> Any:
        found = scalar_key(read(fields))
        return _MISSING if found is None else found

    return key


def _carried(node: ast.Aggregate) -> Iterable[str]:
    """The top-level fields that moments must carry: the aggregate's own and those that chains and absences are matched on."""
    if node.field is not None:
        yield node.field[0]
    stack = [node.selector]
    while stack:
        selector = stack.pop()
        if isinstance(selector, (ast.Chain, ast.Absence)) and selector.on is not None:
            yield selector.on[0]
        if not isinstance(selector, ast.Events):
            stack.extend(ast.children(selector))
