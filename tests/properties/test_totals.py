"""Sums and means in a sliding window against fractions, above all where they nearly equal what they
are compared with."""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.limits import NEVER
from app.engine.aggregates.total import SlidingTotal

WINDOW_MS = 100
ORDERS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<": operator.lt,
    "<=": operator.le,
}
Entries = list[tuple[int, float]]

_values = st.one_of(
    st.integers(-5, 20),
    st.sampled_from([0.1, 0.2, 0.3, 12.34, 99.99, -0.1, -12.34, 1e16, -1e16, 1e-300, 2**53 + 1, 1e308]),
    st.floats(allow_nan=False, allow_infinity=False),
)
_entries = st.lists(st.tuples(st.integers(0, 8), _values), min_size=1, max_size=12)


def rounded(entries: Entries, mean: bool) -> float | None:
    """What the window's value is, by definition: null where nothing is averaged, and beyond a
    double's range."""
    total = sum((Fraction(value) for _, value in entries), Fraction(0))
    if (
        not mean
        and total.denominator == 1
        and all(Fraction(v).denominator == 1 for _, v in entries)
        and abs(total) < 2**63
    ):
        return int(total)
    if mean and not entries:
        return None
    try:
        return float(total / len(entries) if mean else total)
    except OverflowError:
        return None


def first_flip(entries: Entries, now: int, mean: bool, test: Callable[[float | None], bool]) -> tuple[bool, int]:
    """The answer, and the first instant of another one."""
    truth = test(rounded(entries, mean))
    for end in sorted({ts + WINDOW_MS for ts, _ in entries}):
        if test(rounded([(ts, v) for ts, v in entries if ts + WINDOW_MS > end], mean)) is not truth:
            return truth, end
    return truth, NEVER


@given(_entries, st.booleans(), st.sampled_from(sorted(ORDERS)), st.sampled_from([2, 5, 64]), st.data())
def test_the_look_ahead_finds_the_exit_that_flips(
    steps: Entries, mean: bool, order: str, ahead: int, data: st.DataObject
) -> None:
    total = SlidingTotal(WINDOW_MS, mean)
    total.AHEAD = ahead
    cell, ts, entries = total.new(), 0, []
    for gap, value in steps:
        ts += gap
        entries.append((ts, value))
        total.add(cell, ts, value)
    inside = [(at, value) for at, value in entries if at > ts - WINDOW_MS]
    # limits that some remainder equals, or nearly does
    rests = [rest for i in range(len(inside) + 1) if (rest := rounded(inside[i:], mean)) is not None]
    limit = data.draw(st.one_of(st.sampled_from(rests), st.integers(-5, 50)) if rests else st.integers(-5, 50))

    def test(value: float | None) -> bool:
        return value is not None and ORDERS[order](value, limit)

    truth, until = total.compare(cell, ts, test, limit)
    flipped, flip = first_flip(inside, ts, mean, test)
    assert truth is flipped
    assert until == flip or (len(inside) > ahead and until == inside[ahead - 1][0] + WINDOW_MS < flip)


@given(_entries, st.booleans(), st.sampled_from(sorted(ORDERS)), st.integers(-5, 50))
def test_an_entry_that_is_said_not_to_matter_brings_no_flip_nearer(
    steps: Entries, mean: bool, order: str, limit: int
) -> None:
    total = SlidingTotal(WINDOW_MS, mean, (limit,))
    cell, ts, entries = total.new(), 0, []

    def test(value: float | None) -> bool:
        return value is not None and ORDERS[order](value, limit)

    for gap, value in steps:
        ts += gap
        entries = [(at, v) for at, v in entries if at > ts - WINDOW_MS]
        assume(mean or rounded(entries, False) is not None)
        truth, until = first_flip(entries, ts, mean, test)
        entries.append((ts, value))
        if not total.add(cell, ts, value):
            again, later = first_flip(entries, ts, mean, test)
            assert again is truth
            assert later >= until
