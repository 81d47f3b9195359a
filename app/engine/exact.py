"""Exact sums of doubles: the same answer in whatever order values come and go.

Every finite double is n / 2^k with integers n, k. A sum kept as such a pair never rounds, so taking a value out again leaves no residue;
Python's integer division rounds the quotient once, correctly. That gives what `math.fsum` gives, one value at a time (Shewchuk 1997
reaches it with float expansions).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right


def added(num: int, k: int, value: float, sign: int = 1) -> tuple[int, int]:
    """num/2^k + sign·value, as a pair."""
    if type(value) is int:
        return (num + sign * (value << k), k) if k else (num + sign * value, 0)
    n, d = value.as_integer_ratio()
    kd = d.bit_length() - 1
    if sign < 0:
        n = -n
    if kd <= k:
        return num + (n << (k - kd)), k
    return (num << (kd - k)) + n, kd


def place(value: float | None, thresholds: tuple[float, ...]) -> tuple[int, int]:
    """Where a value lies among ascending thresholds: it compares with each of them as any other value of the same place does."""
    return (-1, -1) if value is None else (bisect_left(thresholds, value), bisect_right(thresholds, value))


def quotient(num: int, k: int, divisor: int = 1) -> float | int | None:
    """num/2^k/divisor rounded once to a double; an int when it is whole and was summed from whole numbers; None beyond a double's range."""
    if k == 0 and divisor == 1 and -(2**63) <= num < 2**63:
        return num
    try:
        return num / (divisor << k)
    except OverflowError:
        return None
