"""Chance that repeats: everything is derived from `Random.random()`, whose sequence for a seed is
the same in every version of Python."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


class Chance:
    """A seeded source of the few distributions the shop needs."""

    def __init__(self, seed: str) -> None:
        self.roll = Random(seed).random

    def happens(self, probability: float) -> bool:
        return self.roll() < probability

    def between(self, low: float, high: float) -> float:
        """Uniform in low ≤ x < high."""
        return low + (high - low) * self.roll()

    def whole(self, low: int, high: int) -> int:
        """Uniform among low, …, high."""
        return low + int(self.roll() * (high - low + 1))

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.roll() * len(items))]

    def exponential(self, mean: float) -> float:
        return -mean * math.log(1.0 - self.roll())

    def lognormal(self, median: float, sigma: float) -> float:
        """Around `median`, skewed to the right as dwell times and prices are (Box and Muller's
        transform)."""
        normal = math.sqrt(-2.0 * math.log(1.0 - self.roll())) * math.cos(2.0 * math.pi * self.roll())
        return median * math.exp(sigma * normal)


class Weighted(Generic[T]):
    """A choice among items by weight, in the logarithm of their number."""

    def __init__(self, items: Sequence[tuple[T, float]]) -> None:
        self.items = [item for item, _ in items]
        self._bounds = list(accumulate(weight for _, weight in items))

    def pick(self, chance: Chance) -> T:
        return self.items[bisect(self._bounds, chance.roll() * self._bounds[-1], hi=len(self.items) - 1)]


class Zipf:
    """Ranks 0 … n−1 where few come often and most come rarely (Zipf and Mandelbrot's law, by
    inversion)."""

    _EXPONENT = 0.8
    _FLAT_HEAD = 10.0  # without it the first of 1,000 users would make a quarter of all visits

    def __init__(self, n: int) -> None:
        self._n = n
        self._power = 1.0 - self._EXPONENT
        self._low = self._FLAT_HEAD**self._power
        self._span = (n + self._FLAT_HEAD) ** self._power - self._low

    def pick(self, chance: Chance) -> int:
        rank = (chance.roll() * self._span + self._low) ** (1.0 / self._power) - self._FLAT_HEAD
        return min(max(int(rank), 0), self._n - 1)
