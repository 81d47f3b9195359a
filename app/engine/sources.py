"""Where a signal's entries come from: events, the moments a chain completes, the moments an absence completes.

A source is fed the user's events in the order of application. `feed` gives the carriers of the moments that exist *because* of this
event, all at its time; `advance(cell, now)` the moments that time alone completed up to `now`, oldest first; `due(cell)` the next of
those (NEVER: none pending). A *carrier* is what a moment knows of its event: [number of the event, start of its session, the fields that
are needed].
`mask` has a bit for each `Events` leaf of the selector that the event satisfies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from app.domain.limits import MAX_POINTS, NEVER
from app.domain.members import scalar_key
from app.engine.values import getter
from app.rules import ast
from app.rules.ast import Node

Cell = list[Any]
Carrier = list[Any]
_NO_CARRIERS: list[Carrier] = []


class Source(Protocol):
    def new(self) -> Cell: ...
    def feed(self, cell: Cell, ts: int, mask: int, carrier: Carrier) -> list[Carrier]: ...
    def advance(self, cell: Cell, now: int) -> list[tuple[int, Carrier]]: ...
    def due(self, cell: Cell) -> int: ...


def build_source(node: Node, bit_of: Callable[[ast.Events], int]) -> Source:
    """The source for a selector; `bit_of` numbers its leaves in the order in which they are met."""
    if isinstance(node, ast.Events):
        return EventSource(bit_of(node))
    if isinstance(node, ast.Chain):
        return ChainSource([bit_of(step) for step in node.steps], node.on, node.within_ms)
    assert isinstance(node, ast.Absence)
    return AbsenceSource(build_source(node.first, bit_of), build_source(node.missing, bit_of), node.on, node.within_ms)


class EventSource:
    """The events of one leaf."""

    def __init__(self, bit: int) -> None:
        self._bit = bit

    def new(self) -> Cell:
        return []

    def feed(self, cell: Cell, ts: int, mask: int, carrier: Carrier) -> list[Carrier]:
        return [carrier] if mask & self._bit else []

    def advance(self, cell: Cell, now: int) -> list[tuple[int, Carrier]]:
        return []

    def due(self, cell: Cell) -> int:
        return NEVER


class ChainSource:
    """A -> B -> … within d.

    For each prefix of the steps only its latest possible start matters: `best[j]` is the latest first event of a chain over steps 0…j
    that ended before the instant being fed (-1: none). Events that share the instant may follow each other in any order, so they are
    collected, by which steps they satisfy, until time goes on; a chain through them exists when distinct ones can be matched to the steps
    that `best` leaves open.
    Cell: [best, instant, {mask: how many}, {mask: [waiting carriers]}]; with `on`, {key: such a cell}.
    """

    def __init__(self, bits: list[int], on: tuple[str, ...] | None, within_ms: int) -> None:
        self._bits = bits
        self._all = sum(set(bits))
        self._within = within_ms
        self._on = getter(on) if on else None

    def new(self) -> Cell:
        return [{}] if self._on else self._chain()

    def _chain(self) -> Cell:
        return [[-1] * (len(self._bits) - 1), -1, {}, {}]

    def feed(self, cell: Cell, ts: int, mask: int, carrier: Carrier) -> list[Carrier]:
        mask &= self._all
        if not mask:
            return []
        if self._on is None:
            return self._feed(cell, ts, mask, carrier)
        key = scalar_key(self._on(carrier[2]))
        if key is None:
            return []
        chains: dict[str, Cell] = cell[0]
        chain = chains.pop(key, None) or self._chain()
        chains[key] = chain
        if len(chains) > MAX_POINTS:
            self._prune(chains, ts)
        return self._feed(chain, ts, mask, carrier)

    def _prune(self, chains: dict[str, Cell], ts: int) -> None:
        """Keys come least recent first: those that can no longer be completed go, and if none can be spared the oldest one."""
        for key in [k for k, c in chains.items() if max(c[1], *c[0]) < ts - self._within]:
            del chains[key]
        if len(chains) > MAX_POINTS:
            del chains[next(iter(chains))]

    def _feed(self, chain: Cell, ts: int, mask: int, carrier: Carrier) -> list[Carrier]:
        if chain[1] != ts:
            self._close(chain)
            chain[1] = ts
        tied, waiting = chain[2], chain[3]
        last = mask & self._bits[-1]
        if not tied:  # nothing else happened at this instant: what was before decides alone
            tied[mask] = 1
            if not last:
                return _NO_CARRIERS
            if chain[0][-1] >= 0 and ts - chain[0][-1] <= self._within:
                return [carrier]
            waiting[mask] = [carrier]
            return _NO_CARRIERS
        tied[mask] = tied.get(mask, 0) + 1
        if last:
            kept = waiting.setdefault(mask, [])
            if len(kept) < MAX_POINTS:  # a thousand last steps in one millisecond are a bot's
                kept.append(carrier)
        done: list[Carrier] = []
        for own in list(waiting):
            if self._completes(chain, ts, own):
                done.extend(waiting.pop(own))
        return sorted(done, key=lambda c: c[0]) if len(done) > 1 else done

    def _completes(self, chain: Cell, ts: int, own: int) -> bool:
        """Whether a last event with the steps `own` has a chain, using what was before the instant and the other events of the instant."""
        best, tied = chain[0], chain[2]
        others = {m: n - (m == own) for m, n in tied.items() if n - (m == own) > 0}
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

    def _close(self, chain: Cell) -> None:
        """Time goes on: the events of the past instant are folded into `best`."""
        best, ts, tied = chain[0], chain[1], chain[2]
        if not tied:
            return
        if len(best) == 1 and len(tied) == 1:
            if next(iter(tied)) & self._bits[0]:
                best[0] = ts
            tied.clear()
            chain[3].clear()
            return
        before = list(best)
        for covered in range(1, len(best) + 1):
            for kept in range(covered):
                start = ts if kept == 0 else before[kept - 1]
                if start > best[covered - 1] and self._matched(kept, covered, tied):
                    best[covered - 1] = start
        chain[2], chain[3] = {}, {}

    def advance(self, cell: Cell, now: int) -> list[tuple[int, Carrier]]:
        return []

    def due(self, cell: Cell) -> int:
        return NEVER


class AbsenceSource:
    """A without B within d.

    `pending` holds every a that nothing has prevented yet: [ts, carrier], oldest first; it completes at ts + d. A b clears those before
    it (and at its own instant).
    Cell: [cell of A, cell of B, pending, [instant, [[key, number of the event], …]] of the latest b's, thinned out?].
    """

    def __init__(self, first: Source, missing: Source, on: tuple[str, ...] | None, within_ms: int) -> None:
        self._first = first
        self._missing = missing
        self._within = within_ms
        self._on = getter(on) if on else None

    def new(self) -> Cell:
        return [self._first.new(), self._missing.new(), [], [-1, []], False]

    def feed(self, cell: Cell, ts: int, mask: int, carrier: Carrier) -> list[Carrier]:
        starts = self._first.feed(cell[0], ts, mask, carrier)
        stops = self._missing.feed(cell[1], ts, mask, carrier)
        self._apply(cell, ts, starts, stops)
        return []

    def _apply(self, cell: Cell, ts: int, starts: list[Carrier], stops: list[Carrier]) -> None:
        pending, latest = cell[2], cell[3]
        for a in starts:
            if not (latest[0] == ts and any(self._prevents(key, number, a) for key, number in latest[1])):
                pending.append([ts, a])
        for b in stops:
            key = self._key(b)
            if self._on is None or key is not None:
                cell[2] = pending = [p for p in pending if not self._prevents(key, b[0], p[1])]
                self._note(latest, ts, key, b[0])
        if len(pending) > MAX_POINTS:
            del pending[1]
            cell[4] = True

    def _note(self, latest: list[Any], ts: int, key: str | None, number: int) -> None:
        """Two different b's of one key are enough: any a differs from one of them."""
        if latest[0] != ts:
            latest[0], latest[1] = ts, []
        if sum(1 for k, _ in latest[1] if k == key) < 2:
            latest[1].append([key, number])

    def _prevents(self, key: str | None, number: int, a: Carrier) -> bool:
        return number != a[0] and (self._on is None or key == self._key(a))

    def _key(self, carrier: Carrier) -> str | None:
        return None if self._on is None else scalar_key(self._on(carrier[2]))

    def advance(self, cell: Cell, now: int) -> list[tuple[int, Carrier]]:
        done: list[tuple[int, Carrier]] = []
        while (instant := self.due(cell)) <= now:
            pending = cell[2]
            while pending and pending[0][0] + self._within <= instant:
                done.append((instant, pending.pop(0)[1]))
            starts = [c for _, c in self._first.advance(cell[0], instant)]
            stops = [c for _, c in self._missing.advance(cell[1], instant)]
            self._apply(cell, instant, starts, stops)
        if not cell[2]:
            cell[4] = False
        return done

    def due(self, cell: Cell) -> int:
        own = cell[2][0][0] + self._within if cell[2] else NEVER
        return min(own, self._first.due(cell[0]), self._missing.due(cell[1]))

    def approximate(self, cell: Cell) -> bool:
        return bool(cell[4])
