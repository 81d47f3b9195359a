"""Where a signal's entries come from: events, the instants at which a chain completes, those at
which an absence completes.

A *pattern* is fed the user's events in the order of application; what it finds are *matches*.
`feed` gives the contexts of the matches that exist *because* of this event, all at its time;
`advance(cell, now)` those that time alone completed up to `now`, oldest first; `due(cell)` the next
instant of those (NEVER: none pending). `mask` has a bit for each `Events` leaf of the selector that
the event satisfies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar, assert_never

import msgspec

from app.domain.limits import MAX_POINTS, NEVER
from app.domain.members import scalar_key
from app.engine.values import getter
from app.rules import ast
from app.rules.ast import Path, Selector

Cell = Any  # of the one pattern that made it


class MatchContext(msgspec.Struct, array_like=True, gc=False):
    """What a match knows of its event: its number among the user's events, the start of its session
    (epoch ms), the fields that are read."""

    number: int
    session_start: int
    fields: dict[str, Any]


_NONE: list[MatchContext] = []


class Pattern(ABC):
    """What all kinds share; those that time cannot complete need `feed` alone."""

    cell_type: Any
    """The type of its cells, for decoding."""

    @abstractmethod
    def new(self) -> Cell:
        """A cell of which nothing was seen."""

    @abstractmethod
    def feed(self, cell: Cell, ts: int, mask: int, context: MatchContext) -> list[MatchContext]:
        """Take an event in; the contexts of the matches at its instant."""

    def advance(self, cell: Cell, now: int) -> list[tuple[int, MatchContext]]:
        """Let time pass; (instant, context) of the matches that it completed, oldest first."""
        return []

    def due(self, cell: Cell) -> int:
        """The instant of the next match that time alone completes."""
        return NEVER

    def approximate(self, cell: Cell) -> bool:
        """Whether some beginnings were left out."""
        return False


def build_pattern(node: Selector, bit_of: Callable[[ast.Events], int]) -> Pattern:
    """The pattern of a selector; `bit_of` numbers its leaves in the order in which they are met."""
    match node:
        case ast.Events():
            return EventPattern(bit_of(node))
        case ast.Chain(steps, on, within_ms):
            bits = [bit_of(step) for step in steps]
            return ChainPattern(bits, within_ms) if on is None else KeyedChainPattern(bits, on, within_ms)
        case ast.Absence(first, missing, on, within_ms):
            return AbsencePattern(build_pattern(first, bit_of), build_pattern(missing, bit_of), on, within_ms)
        case _:
            assert_never(node)


class NoCell(msgspec.Struct, array_like=True, gc=False):
    """Nothing to remember."""


class EventPattern(Pattern):
    """The events of one leaf."""

    cell_type = NoCell

    def __init__(self, bit: int) -> None:
        self._bit = bit

    def new(self) -> NoCell:
        return NoCell()

    def feed(self, cell: NoCell, ts: int, mask: int, context: MatchContext) -> list[MatchContext]:
        return [context] if mask & self._bit else _NONE


class ChainCell(msgspec.Struct, array_like=True, gc=False):
    """`best[j]`: the latest first event of a chain over steps 0…j that ended before `instant` (−1:
    none).

    Events that share the instant may follow each other in any order, so they are collected until
    time goes on: `tied` counts them by the steps they satisfy (a mask), `waiting` has the contexts
    of last steps that no chain reached yet.
    """

    best: list[int]
    instant: int
    tied: dict[int, int]
    waiting: dict[int, list[MatchContext]]


class ChainPattern(Pattern):
    """A -> B -> … within d.

    For each prefix of the steps only its latest possible start matters. A chain through the events
    of one instant exists when distinct ones can be matched to the steps that `best` leaves open.
    """

    cell_type = ChainCell

    def __init__(self, bits: list[int], within_ms: int) -> None:
        self._bits = bits
        self._all = sum(set(bits))
        self._within = within_ms

    def new(self) -> ChainCell:
        return ChainCell([-1] * (len(self._bits) - 1), -1, {}, {})

    def feed(self, cell: ChainCell, ts: int, mask: int, context: MatchContext) -> list[MatchContext]:
        mask &= self._all
        if not mask:
            return _NONE
        if cell.instant != ts:
            self._close(cell)
            cell.instant = ts
        tied, waiting = cell.tied, cell.waiting
        last = mask & self._bits[-1]
        if not tied:  # nothing else happened at this instant: what was before decides alone
            tied[mask] = 1
            if not last:
                return _NONE
            if cell.best[-1] >= 0 and ts - cell.best[-1] <= self._within:
                return [context]
            waiting[mask] = [context]
            return _NONE
        tied[mask] = tied.get(mask, 0) + 1
        if last:
            kept = waiting.setdefault(mask, [])
            if len(kept) < MAX_POINTS:  # a thousand last steps in one millisecond are a bot's
                kept.append(context)
        done: list[MatchContext] = []
        for own in list(waiting):
            if self._completes(cell, ts, own):
                done.extend(waiting.pop(own))
        return sorted(done, key=lambda found: found.number) if len(done) > 1 else done

    def _completes(self, cell: ChainCell, ts: int, own: int) -> bool:
        """Whether a last event with the steps `own` has a chain, using what was before the instant
        and the other events of the instant."""
        best = cell.best
        others = {mask: left for mask, n in cell.tied.items() if (left := n - (mask == own)) > 0}
        last = len(self._bits) - 1
        for covered in range(last, -1, -1):
            start = ts if covered == 0 else best[covered - 1]
            if start >= 0 and ts - start <= self._within and self._matched(covered, last, others):
                return True
        return False

    def _matched(self, first: int, end: int, events: dict[int, int]) -> bool:
        """Whether distinct events can be matched to the steps first … end−1."""
        if first == end:
            return True
        fitting = [(mask, n) for mask, n in events.items() if n and mask & self._bits[first]]
        return any(self._matched(first + 1, end, {**events, mask: n - 1}) for mask, n in fitting)

    def _close(self, cell: ChainCell) -> None:
        """Time goes on: the events of the past instant are folded into `best`."""
        best, ts, tied = cell.best, cell.instant, cell.tied
        if not tied:
            return
        if len(best) == 1 and len(tied) == 1:
            if next(iter(tied)) & self._bits[0]:
                best[0] = ts
            tied.clear()
            cell.waiting.clear()
            return
        before = list(best)
        for covered in range(1, len(best) + 1):
            for kept in range(covered):
                start = ts if kept == 0 else before[kept - 1]
                if start > best[covered - 1] and self._matched(kept, covered, tied):
                    best[covered - 1] = start
        cell.tied, cell.waiting = {}, {}


class KeyedChainCell(msgspec.Struct, array_like=True, gc=False):
    """{value's key: its chain}, least recent first."""

    chains: dict[str, ChainCell]


class KeyedChainPattern(Pattern):
    """A -> B -> … on field within d: a chain of its own for each value of the field."""

    cell_type = KeyedChainCell

    def __init__(self, bits: list[int], on: Path, within_ms: int) -> None:
        self._chain = ChainPattern(bits, within_ms)
        self._all = sum(set(bits))
        self._within = within_ms
        self._on = getter(on)

    def new(self) -> KeyedChainCell:
        return KeyedChainCell({})

    def feed(self, cell: KeyedChainCell, ts: int, mask: int, context: MatchContext) -> list[MatchContext]:
        key = scalar_key(self._on(context.fields)) if mask & self._all else None
        if key is None:
            return _NONE
        chains = cell.chains
        chain = chains.pop(key, None) or self._chain.new()
        chains[key] = chain
        if len(chains) > MAX_POINTS:
            self._prune(chains, ts)
        return self._chain.feed(chain, ts, mask, context)

    def _prune(self, chains: dict[str, ChainCell], ts: int) -> None:
        """Those that can no longer be completed go, and if none can be spared the least recent
        one."""
        for key in [k for k, c in chains.items() if max(c.instant, *c.best) < ts - self._within]:
            del chains[key]
        if len(chains) > MAX_POINTS:
            del chains[next(iter(chains))]


class Pending(msgspec.Struct, array_like=True, gc=False):
    """A beginning at `ts` that nothing has prevented yet."""

    ts: int
    context: MatchContext


class Latest(msgspec.Struct, array_like=True, gc=False):
    """What prevented at the latest instant that had any: (key, number of the event)."""

    instant: int
    preventing: list[tuple[str | None, int]]


A = TypeVar("A", bound=msgspec.Struct)
B = TypeVar("B", bound=msgspec.Struct)


class AbsenceCell(msgspec.Struct, Generic[A, B], array_like=True, gc=False):
    """The cells of A and of B; the beginnings pending, oldest first; the latest b's; whether some
    beginnings were left out."""

    first: A
    missing: B
    pending: list[Pending]
    latest: Latest
    thinned: bool = False


class AbsencePattern(Pattern):
    """A without B within d: an a completes at ts + d, unless a b comes at its instant or later, and
    before that."""

    def __init__(self, first: Pattern, missing: Pattern, on: Path | None, within_ms: int) -> None:
        self._first = first
        self._missing = missing
        self._within = within_ms
        self._on = getter(on) if on else None
        self.cell_type = AbsenceCell[first.cell_type, missing.cell_type]  # type: ignore[name-defined]  # a type made at run time

    def new(self) -> AbsenceCell[Any, Any]:
        return AbsenceCell(self._first.new(), self._missing.new(), [], Latest(-1, []))

    def feed(self, cell: AbsenceCell[Any, Any], ts: int, mask: int, context: MatchContext) -> list[MatchContext]:
        starts = self._first.feed(cell.first, ts, mask, context)
        stops = self._missing.feed(cell.missing, ts, mask, context)
        self._apply(cell, ts, starts, stops)
        return _NONE

    def _apply(
        self, cell: AbsenceCell[Any, Any], ts: int, starts: list[MatchContext], stops: list[MatchContext]
    ) -> None:
        pending, latest = cell.pending, cell.latest
        for a in starts:
            if not (latest.instant == ts and any(self._prevents(key, number, a) for key, number in latest.preventing)):
                pending.append(Pending(ts, a))
        for b in stops:
            key = self._key(b)
            if self._on is None or key is not None:
                cell.pending = pending = [p for p in pending if not self._prevents(key, b.number, p.context)]
                self._note(latest, ts, key, b.number)
        if len(pending) > MAX_POINTS:
            del pending[1]
            cell.thinned = True

    def _note(self, latest: Latest, ts: int, key: str | None, number: int) -> None:
        """Two different b's of one key are enough: any a differs from one of them."""
        if latest.instant != ts:
            latest.instant, latest.preventing = ts, []
        if sum(1 for k, _ in latest.preventing if k == key) < 2:
            latest.preventing.append((key, number))

    def _prevents(self, key: str | None, number: int, a: MatchContext) -> bool:
        return number != a.number and (self._on is None or key == self._key(a))

    def _key(self, context: MatchContext) -> str | None:
        return None if self._on is None else scalar_key(self._on(context.fields))

    def advance(self, cell: AbsenceCell[Any, Any], now: int) -> list[tuple[int, MatchContext]]:
        done: list[tuple[int, MatchContext]] = []
        while (instant := self.due(cell)) <= now:
            pending = cell.pending
            while pending and pending[0].ts + self._within <= instant:
                done.append((instant, pending.pop(0).context))
            starts = [context for _, context in self._first.advance(cell.first, instant)]
            stops = [context for _, context in self._missing.advance(cell.missing, instant)]
            self._apply(cell, instant, starts, stops)
        if not cell.pending:
            cell.thinned = False
        return done

    def due(self, cell: AbsenceCell[Any, Any]) -> int:
        own = cell.pending[0].ts + self._within if cell.pending else NEVER
        return min(own, self._first.due(cell.first), self._missing.due(cell.missing))

    def approximate(self, cell: AbsenceCell[Any, Any]) -> bool:
        return cell.thinned
