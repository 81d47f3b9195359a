"""Entries of a sliding window as parallel lists, oldest first: what has left it, and the older half
merged where there are too many."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any


def left(times: list[int], edge: int) -> int:
    """How many of the ascending `times` are at or before `edge`: they have left the window."""
    return bisect_right(times, edge)


def older_half(count: int) -> int:
    """How many of `count` entries, the oldest ones, are merged in pairs; an even number."""
    return count // 4 * 2


def spread(weights: list[int] | None, times: Sequence[Any]) -> list[int]:
    """How many entries each of `times` stands for."""
    return weights or [1] * len(times)


def merged_pairs(weights: list[int], count: int) -> list[int]:
    """The weights of `count` entries after the older half was merged in pairs."""
    half = older_half(count)
    return [weights[i] + weights[i + 1] for i in range(0, half, 2)] + weights[half:]


def newer_of_pairs(values: list[Any]) -> None:
    """Merge the older half in pairs, each at its newer one."""
    half = older_half(len(values))
    values[:half] = values[1:half:2]


def every_second_but_the_first(values: list[Any]) -> None:
    """Thin the older half out, the oldest entry excepted."""
    half = older_half(len(values))
    values[1:half] = values[2:half:2]
