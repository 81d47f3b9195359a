"""What a function of *all* entries keeps: for `ever`, and inside one period of a calendar, session or range window.

Each class has `new() → cell`, `add(cell, ts, value) → whether an answer may have changed`, `read(cell, now) → value`.
Entries come in the order of application. Cells are lists and dicts of plain values, so that state is bytes at any moment.
`crossings` are the counts at which an answer may change (None: all), see `app.rules.needs`; `bound` how many distinct values are kept.
"""

from __future__ import annotations

from typing import Any

from app.domain import limits
from app.domain.members import scalar_value
from app.engine.exact import added, pack, rounded_sum, unpack

Cell = list[Any]


class Count:
    """A number, however many entries there were."""

    def __init__(self, crossings: tuple[int, ...] | None) -> None:
        self._crossings = crossings

    def new(self) -> Cell:
        return [0]

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        cell[0] += 1
        return self._crossings is None or cell[0] in self._crossings

    def read(self, cell: Cell, now: int) -> Any:
        return cell[0]


class Extreme:
    """min or max."""

    def __init__(self, largest: bool) -> None:
        self._largest = largest

    def new(self) -> Cell:
        return []

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        if cell and (value <= cell[0] if self._largest else value >= cell[0]):
            return False
        cell[:] = [value]
        return True

    def read(self, cell: Cell, now: int) -> Any:
        return cell[0] if cell else None


class Edge:
    """first or last: the value at the earliest or latest entry, with its place among equals."""

    def __init__(self, latest: bool) -> None:
        self._latest = latest

    def new(self) -> Cell:
        return []

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        if cell and not self._latest:
            return False
        changed = not cell or cell[1] != value
        cell[:] = [ts, value]
        return changed

    def read(self, cell: Cell, now: int) -> Any:
        return scalar_value(cell[1]) if cell else None


class Moment:
    """The instant of the first or the latest entry, for since_first and since. `age`: the smallest that it is compared with (ms), None
    where it is used otherwise."""

    def __init__(self, latest: bool, age: int | None) -> None:
        self._latest = latest
        self._age = age

    def new(self) -> Cell:
        return []

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        if not cell:
            cell.append(ts)
            return True
        if not self._latest:
            return False
        before, cell[0] = cell[0], ts
        return self._age is None or bool(ts - before >= self._age)

    def read(self, cell: Cell, now: int) -> Any:
        return cell[0] if cell else None


class Different:
    """How many different keys there were (values, days, sessions): distinct, days, session_count. Past `bound` the number is a lower
    bound."""

    def __init__(self, most: int | None, crossings: tuple[int, ...] | None, bound: int = limits.MAX_POINTS) -> None:
        self._whole = most is None
        self._keep = bound if most is None else min(most, bound)
        self._crossings = crossings

    def new(self) -> Cell:
        return [{}, False]

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        seen = cell[0]
        if value in seen:
            return False
        if len(seen) >= self._keep:
            cell[1] = True
            return False
        seen[value] = 1
        return self._crossings is None or len(seen) in self._crossings

    def read(self, cell: Cell, now: int) -> Any:
        return len(cell[0])

    def approximate(self, cell: Cell) -> bool:
        return bool(cell[1]) and self._whole


class Top:
    """The most frequent value; of equals the one seen last: {key: [times, place of its latest entry]}, past `bound` the rarest, oldest
    leaves."""

    def __init__(self, bound: int = limits.MAX_POINTS) -> None:
        self._bound = bound

    def new(self) -> Cell:
        return [{}, 0, False]

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        seen, place = cell[0], cell[1]
        cell[1] = place + 1
        found = seen.get(value)
        if found is not None:
            found[0] += 1
            found[1] = place
            return True
        if len(seen) >= self._bound:
            del seen[min(seen, key=lambda key: (seen[key][0], seen[key][1]))]
            cell[2] = True
        seen[value] = [1, place]
        return True

    def read(self, cell: Cell, now: int) -> Any:
        seen = cell[0]
        return scalar_value(max(seen, key=lambda key: (seen[key][0], seen[key][1]))) if seen else None

    def approximate(self, cell: Cell) -> bool:
        return bool(cell[2])


class Decay:
    """Σ value·2^(−age/half-life), forward decay (Cormode et al. 2009): each entry's weight grows with its time instead of all shrinking.

    With ts = q·h + r an entry adds value·2^(r/h) to the exact sum of its half-life q: cell [q, numerator, exponent, q, …], ascending.
    At t the sums are scaled by 2^(q − q_t), exactly, added, and rounded once. A value below 2^−1000 counts as nothing (a double ends near
    2^−1074), so entries much older than 1,000 half-lives need not be kept.
    """

    KEEP = 1_100

    def __init__(self, half_life_ms: int) -> None:
        self.half_life_ms = half_life_ms

    def new(self) -> Cell:
        return []

    def add(self, cell: Cell, ts: int, value: Any) -> bool:
        q, r = divmod(ts, self.half_life_ms)
        weight = 2.0 ** (r / self.half_life_ms)
        top, bottom = weight.as_integer_ratio()
        num, k = added(0, 0, value)
        num, k = num * top, k + bottom.bit_length() - 1
        if cell and cell[-3] == q:
            n, kn = unpack(cell[-2]), cell[-1]
            num, k = (num + (n << (k - kn)), k) if kn <= k else ((num << (kn - k)) + n, kn)
            cell[-2:] = [pack(num), k]
        else:
            while cell and cell[0] < q - self.KEEP:
                del cell[:3]
            cell += [q, pack(num), k]
        return True

    def raw(self, cell: Cell, now: int) -> float | None:
        """The value at `now`, to the precision of a double; None beyond its range."""
        q_now, r = divmod(now, self.half_life_ms)
        num, k = 0, 0
        for i in range(0, len(cell), 3):
            age = q_now - cell[i]
            if age > self.KEEP:
                continue
            n, kn = unpack(cell[i + 1]), cell[i + 2] + age
            num, k = (num + (n << (k - kn)), k) if kn <= k else ((num << (kn - k)) + n, kn)
        top, bottom = (2.0 ** (-r / self.half_life_ms)).as_integer_ratio()
        value = rounded_sum(num * top, k + bottom.bit_length() - 1)
        return None if value is None else float(value)

    def read(self, cell: Cell, now: int) -> Any:
        value = self.raw(cell, now)
        return None if value is None else rounded(value)


def rounded(value: float) -> float:
    """To 12 significant digits: what is meant to be equal is equal, whatever a power of two lost in its last bits. Below FAINT it is
    nothing."""
    return float(f"{value:.11e}") if abs(value) >= FAINT else 0.0


FAINT = 2.0**-1000
