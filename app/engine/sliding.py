"""What a function of the entries inside `last W` keeps: an entry at ts is inside at t when t − W < ts ≤ t.

Each class has `new() → cell`, `add(cell, ts, value) → whether an answer may have changed`, `read(cell, now) → (value, until)`: the value
holds from `now` until the instant `until` (excluded; NEVER: for good) if nothing more is added. Entries come in the order of application,
reads never go back in time, and reading drops what has left the window. A window keeps at most `bound` entries: past that the older half
is merged in pairs, each pair at its newer time, and the cell says it is approximate.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from app.domain.limits import MAX_POINTS, NEVER
from app.domain.members import scalar_value

Cell = list[Any]


class Whether:
    """Whether there is an entry: its latest time is enough."""

    def __init__(self, window_ms: int) -> None:
        self._w = window_ms

    def new(self) -> Cell:
        return [-(1 << 60)]

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        before, cell[0] = cell[0], ts
        return bool(before + self._w <= ts)

    def read(self, cell: Cell, now: int) -> tuple[Any, int]:
        end = cell[0] + self._w
        return (True, end) if now < end else (False, NEVER)


class Count:
    """The number of entries: [times, weights or None]. `most`: as many as are worth keeping; `crossings`: the counts that matter."""

    def __init__(self, window_ms: int, most: int | None, crossings: tuple[int, ...] | None, bound: int = MAX_POINTS) -> None:
        self._w = window_ms
        self._most = most
        self._crossings = crossings
        self._bound = bound

    def new(self) -> Cell:
        return [[], None]

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        times = cell[0]
        if times and times[0] <= ts - self._w:
            self._expire(cell, ts)
        times.append(ts)
        if self._most is not None and len(times) > self._most:
            del times[0]
            return False
        if cell[1] is not None:
            cell[1].append(1)
        if len(times) > self._bound:
            self._merge(cell)
        return self._crossings is None or cell[1] is not None or len(times) in self._crossings

    def _merge(self, cell: Cell) -> None:
        times, weights = cell[0], cell[1] or [1] * len(cell[0])
        half = len(times) // 4 * 2
        cell[1] = [weights[i] + weights[i + 1] for i in range(0, half, 2)] + weights[half:]
        times[:half] = times[1:half:2]

    def _expire(self, cell: Cell, now: int) -> None:
        gone = bisect_right(cell[0], now - self._w)
        del cell[0][:gone]
        if cell[1] is not None:
            del cell[1][:gone]
            if all(w == 1 for w in cell[1]):
                cell[1] = None

    def read(self, cell: Cell, now: int) -> tuple[Any, int]:
        times = cell[0]
        if times and times[0] <= now - self._w:
            self._expire(cell, now)
        if not times:
            return 0, NEVER
        return len(times) if cell[1] is None else sum(cell[1]), times[0] + self._w

    def at_least(self, cell: Cell, now: int, k: int) -> tuple[bool, int]:
        """Whether there are k entries, and until when that holds with no more of them."""
        n, _ = self.read(cell, now)
        if n < k:
            return False, NEVER
        if cell[1] is None:
            return True, cell[0][len(cell[0]) - k] + self._w
        held = 0
        for i in range(len(cell[1]) - 1, -1, -1):
            held += cell[1][i]
            if held >= k:
                return True, cell[0][i] + self._w
        return False, NEVER

    def approximate(self, cell: Cell) -> bool:
        return cell[1] is not None


class Extreme:
    """min or max: a monotonic queue [times, values] of the entries that may yet be the extreme, plus whether some were merged away."""

    def __init__(self, window_ms: int, largest: bool, bound: int = MAX_POINTS) -> None:
        self._w = window_ms
        self._largest = largest
        self._bound = bound

    def new(self) -> Cell:
        return [[], [], False]

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        self._expire(cell, ts)
        times, values = cell[0], cell[1]
        if self._largest:
            while values and values[-1] <= value:
                values.pop()
                times.pop()
        else:
            while values and values[-1] >= value:
                values.pop()
                times.pop()
        times.append(ts)
        values.append(value)
        if len(times) > self._bound:
            del times[1], values[1]
            cell[2] = True
        return len(times) == 1

    def _expire(self, cell: Cell, now: int) -> None:
        if cell[0] and cell[0][0] <= now - self._w:
            gone = bisect_right(cell[0], now - self._w)
            del cell[0][:gone]
            del cell[1][:gone]
            cell[2] = cell[2] and bool(cell[0])

    def read(self, cell: Cell, now: int) -> tuple[Any, int]:
        self._expire(cell, now)
        return (cell[1][0], cell[0][0] + self._w) if cell[0] else (None, NEVER)

    def approximate(self, cell: Cell) -> bool:
        return bool(cell[2])


class First:
    """The value at the earliest entry still inside: every entry may become it, so all are kept."""

    def __init__(self, window_ms: int, bound: int = MAX_POINTS) -> None:
        self._w = window_ms
        self._bound = bound

    def new(self) -> Cell:
        return [[], [], False]

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        self.read(cell, ts)
        cell[0].append(ts)
        cell[1].append(value)
        if len(cell[0]) > self._bound:
            half = len(cell[0]) // 4 * 2
            cell[0][1:half] = cell[0][2:half:2]
            cell[1][1:half] = cell[1][2:half:2]
            cell[2] = True
        return len(cell[0]) == 1

    def read(self, cell: Cell, now: int) -> tuple[Any, int]:
        times = cell[0]
        if times and times[0] <= now - self._w:
            gone = bisect_right(times, now - self._w)
            del times[:gone]
            del cell[1][:gone]
            cell[2] = cell[2] and bool(times)
        return (scalar_value(cell[1][0]), times[0] + self._w) if times else (None, NEVER)

    def approximate(self, cell: Cell) -> bool:
        return bool(cell[2])


class Last:
    """The value at the latest entry."""

    def __init__(self, window_ms: int) -> None:
        self._w = window_ms

    def new(self) -> Cell:
        return []

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        changed = not cell or cell[1] != value or cell[0] + self._w <= ts
        cell[:] = [ts, value]
        return changed

    def read(self, cell: Cell, now: int) -> tuple[Any, int]:
        return (scalar_value(cell[1]), cell[0] + self._w) if cell and now < cell[0] + self._w else (None, NEVER)


class Different:
    """How many different keys (values, days, sessions): {key: its latest time}, least recent first. `most` and `crossings`
    as for Count."""

    def __init__(self, window_ms: int, most: int | None, crossings: tuple[int, ...] | None, bound: int = MAX_POINTS) -> None:
        self._w = window_ms
        self._whole = most is None
        self._keep = bound if most is None else min(most, bound)
        self._crossings = crossings

    def new(self) -> Cell:
        return [{}, False]

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        seen = cell[0]
        self._expire(cell, ts)
        if seen.pop(value, None) is not None:
            seen[value] = ts
            return False
        seen[value] = ts
        if len(seen) > self._keep:
            del seen[next(iter(seen))]
            cell[1] = self._whole
            return False
        return self._crossings is None or len(seen) in self._crossings

    def _expire(self, cell: Cell, now: int) -> None:
        seen, edge = cell[0], now - self._w
        while seen:
            oldest = next(iter(seen))
            if seen[oldest] > edge:
                return
            del seen[oldest]
        cell[1] = False

    def read(self, cell: Cell, now: int) -> tuple[Any, int]:
        self._expire(cell, now)
        seen = cell[0]
        return (len(seen), seen[next(iter(seen))] + self._w) if seen else (0, NEVER)

    def at_least(self, cell: Cell, now: int, k: int) -> tuple[bool, int]:
        """Whether there are k different keys, and until when that holds with no more entries."""
        n, until = self.read(cell, now)
        if n < k:
            return False, NEVER
        if n == k:
            return True, until
        times = list(cell[0].values())
        return True, times[n - k] + self._w

    def approximate(self, cell: Cell) -> bool:
        return bool(cell[1])


class Top:
    """The most frequent value, of equals the one seen last: [times, keys, merged?]."""

    def __init__(self, window_ms: int, bound: int = MAX_POINTS) -> None:
        self._w = window_ms
        self._bound = bound

    def new(self) -> Cell:
        return [[], [], False]

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        self._expire(cell, ts)
        cell[0].append(ts)
        cell[1].append(value)
        if len(cell[0]) > self._bound:
            half = len(cell[0]) // 4 * 2
            cell[0][:half] = cell[0][1:half:2]
            cell[1][:half] = cell[1][1:half:2]
            cell[2] = True
        return True

    def _expire(self, cell: Cell, now: int) -> None:
        if cell[0] and cell[0][0] <= now - self._w:
            gone = bisect_right(cell[0], now - self._w)
            del cell[0][:gone]
            del cell[1][:gone]
            cell[2] = cell[2] and bool(cell[0])

    def read(self, cell: Cell, now: int) -> tuple[Any, int]:
        self._expire(cell, now)
        if not cell[0]:
            return None, NEVER
        times: dict[str, int] = {}
        place: dict[str, int] = {}
        for i, key in enumerate(cell[1]):
            times[key] = times.get(key, 0) + 1
            place[key] = i
        return scalar_value(max(times, key=lambda key: (times[key], place[key]))), cell[0][0] + self._w

    def approximate(self, cell: Cell) -> bool:
        return bool(cell[2])
