"""Where random choices come from: hypothesis, which can shrink a failure, or a seeded generator,
which is faster and spreads wider."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


class Chance(Protocol):
    """Everything random is built of these two."""

    def pick(self, options: Sequence[T]) -> T:
        """One of `options`."""

    def whole(self, low: int, high: int) -> int:
        """low ≤ integer ≤ high."""

    def one_in(self, n: int) -> bool:
        """True once in `n` times."""


class Drawn:
    """Choices that hypothesis makes and shrinks; the first option and the lowest number count as
    simplest."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def pick(self, options: Sequence[T]) -> T:
        return self._draw(st.sampled_from(options))  # type: ignore[no-any-return]

    def whole(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))  # type: ignore[no-any-return]

    def one_in(self, n: int) -> bool:
        return self.whole(1, n) == n


class Seeded:
    """Choices of a seeded generator."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def pick(self, options: Sequence[T]) -> T:
        return self._random.choice(options)

    def whole(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def one_in(self, n: int) -> bool:
        return self._random.randrange(n) == 0
