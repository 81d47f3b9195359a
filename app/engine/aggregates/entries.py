"""Entries of a sliding window as parallel lists, oldest first: what has left it, and some merged
where there are too many."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
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


def evened(times: list[int], values: list[Any], weights: list[int], most: int) -> list[int]:
    """Merge neighbours until at most `most` are left that stand for about equally many entries; the
    weights after it. Of those merged the newest instant is kept, and the value in their middle."""
    limit = max(2, 2 * sum(weights) // most)
    while len(runs := _runs(weights, limit)) > most:
        limit *= 2
    values[:] = [values[_middle(weights, start, end)] for start, end in runs]
    times[:] = [times[end - 1] for _, end in runs]
    return [sum(weights[start:end]) for start, end in runs]


def _runs(weights: list[int], limit: int) -> list[tuple[int, int]]:
    """Neighbours that come to at most `limit` together, as (first, behind the last)."""
    starts, held = [0], 0
    for i, weight in enumerate(weights):
        if held + weight > limit and i > starts[-1]:
            starts.append(i)
            held = 0
        held += weight
    return list(pairwise([*starts, len(weights)]))


def _middle(weights: list[int], start: int, end: int) -> int:
    upto = list(accumulate(weights[start:end]))
    return start + bisect_right(upto, upto[-1] // 2)


def every_second_but_the_first(values: list[Any]) -> None:
    """Thin the older half out, the oldest entry excepted."""
    half = older_half(len(values))
    values[1:half] = values[2:half:2]
