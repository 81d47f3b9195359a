"""decay: a sum whose parts lose half their weight with every half-life."""

from __future__ import annotations

from typing import Any

import msgspec

from app.engine.aggregates.contract import Asked, Overall
from app.engine.aggregates.exact import added, pack, rounded_sum, unpack


class HalfLife(msgspec.Struct, array_like=True, gc=False):
    """The exact sum of one half-life's entries, numerator/2^exponent, each weighed as at its
    beginning; `index` counts half-lives since 1970."""

    index: int
    numerator: int | str
    exponent: int


class DecayCell(msgspec.Struct, array_like=True, gc=False):
    """The half-lives with an entry, ascending."""

    half_lives: list[HalfLife]


class Decay(Overall[DecayCell]):
    """Σ value·2^(−age/half-life), forward decay (Cormode et al. 2009): each entry's weight grows
    with its time instead of all shrinking.

    With ts = q·h + r an entry adds value·2^(r/h) to the exact sum of its half-life q. At t the sums
    are scaled by 2^(q − q_t), exactly, added, and rounded once. A value below 2^−1000 counts as
    nothing (a double ends near 2^−1074), so entries much older than 1,000 half-lives need not be
    kept.
    """

    KEEP = 1_100
    cell = DecayCell

    def __init__(self, half_life_ms: int) -> None:
        self.half_life_ms = half_life_ms

    def new(self) -> DecayCell:
        return DecayCell([])

    def add(self, cell: DecayCell, ts: int, value: Any) -> bool:
        q, r = divmod(ts, self.half_life_ms)
        weight = 2.0 ** (r / self.half_life_ms)
        top, bottom = weight.as_integer_ratio()
        num, k = added(0, 0, value)
        num, k = num * top, k + bottom.bit_length() - 1
        known = cell.half_lives
        if known and known[-1].index == q:
            last = known[-1]
            num, last.exponent = _plus(num, k, unpack(last.numerator), last.exponent)
            last.numerator = pack(num)
        else:
            while known and known[0].index < q - self.KEEP:
                del known[0]
            known.append(HalfLife(q, pack(num), k))
        return True

    def raw(self, cell: DecayCell, now: int) -> float | None:
        """The value at `now`, to the precision of a double; None beyond its range."""
        q_now, r = divmod(now, self.half_life_ms)
        num, k = 0, 0
        for part in cell.half_lives:
            age = q_now - part.index
            if age <= self.KEEP:
                num, k = _plus(num, k, unpack(part.numerator), part.exponent + age)
        top, bottom = (2.0 ** (-r / self.half_life_ms)).as_integer_ratio()
        value = rounded_sum(num * top, k + bottom.bit_length() - 1)
        return None if value is None else float(value)

    def read(self, cell: DecayCell, now: int) -> float | None:
        value = self.raw(cell, now)
        return None if value is None else rounded(value)


def _plus(num: int, k: int, other: int, k_other: int) -> tuple[int, int]:
    """num/2^k + other/2^k_other, as such a pair."""
    return (num + (other << (k - k_other)), k) if k_other <= k else ((num << (k_other - k)) + other, k_other)


def rounded(value: float) -> float:
    """To 12 significant digits: what is meant to be equal is equal, whatever a power of two lost in
    its last bits. Below FAINT it is nothing."""
    return float(f"{value:.11e}") if abs(value) >= FAINT else 0.0


FAINT = 2.0**-1000


def overall(asked: Asked) -> Decay:
    """`decay` with its half-life (ms)."""
    assert asked.parameter is not None
    return Decay(int(asked.parameter))
