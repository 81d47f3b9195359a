"""Exact sums of doubles: the same answer in whatever order values come and go.

Every finite double is n / 2^k with integers n, k. A sum kept as such a pair never rounds, so taking
a value out again leaves no residue; Python's integer division rounds the quotient once, correctly.
That gives what `math.fsum` gives, one value at a time (Shewchuk 1997 reaches it with float
expansions).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable


def added(num: int, k: int, value: float) -> tuple[int, int]:
    """num/2^k + value, as a pair."""
    if type(value) is int:
        return (num + (value << k), k) if k else (num + value, 0)
    n, d = value.as_integer_ratio()
    kd = d.bit_length() - 1
    if kd <= k:
        return num + (n << (k - kd)), k
    return (num << (kd - k)) + n, kd


def scaled_sum(values: Iterable[float], k: int) -> int:
    """Σ value·2^k, which must be whole for every value. A power of two changes no digit of a
    double, so this is exact."""
    scale = 2.0 ** min(k, 1_023)
    try:
        if k <= 1_023:
            return sum([v << k if type(v) is int else int(v * scale) for v in values])
    except OverflowError:
        pass  # some value times the scale is beyond a double
    total = 0
    for value in values:
        n, d = value.as_integer_ratio()
        total += (n << k) // d
    return total


def interval_of(value: float | None, thresholds: tuple[float, ...]) -> tuple[int, int]:
    """Where a value lies among ascending thresholds: it compares with each of them as any other
    value of the same interval does."""
    return (-1, -1) if value is None else (bisect_left(thresholds, value), bisect_right(thresholds, value))


def rounded_sum(num: int, k: int) -> float | int | None:
    """num/2^k rounded once to a double; an int when it was summed from whole numbers; None beyond a
    double's range."""
    return num if k == 0 and -(2**63) <= num < 2**63 else rounded_mean(num, k, 1)


def rounded_mean(num: int, k: int, n: int) -> float | None:
    """num/2^k/n rounded once to a double; None beyond a double's range."""
    try:
        return num / (n << k)
    except OverflowError:
        return None


def pack(num: int) -> int | str:
    """A whole number as stored state can hold it: beyond 64 bits as hexadecimal text."""
    return num if -(1 << 63) <= num < (1 << 63) else hex(num)


def unpack(stored: int | str) -> int:
    """The whole number that `pack` stored."""
    return int(stored, 16) if isinstance(stored, str) else stored
