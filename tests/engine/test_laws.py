"""The laws of every function of the language: one set, over the table. What a row means by brute
force is its `definition`."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.limits import DAY_MS, NEVER
from app.domain.members import scalar_value
from app.engine import aggregates
from app.engine.aggregates.contract import Aggregate, Asked, Overall, Sliding
from app.rules.demand import Compared, demand
from app.rules.functions import ROWS, Function, Kept
from app.rules.parser import parse
from app.rules.text import text
from app.rules.types import Scope, check_condition, type_of
from app.wording.phrases import phrase
from tests.support.rows import parameter_of, parameter_text

WINDOW_MS = 100
BASE = 1_760_000_000_000
SLIDING = [row for row in ROWS if row.windowed]
COUNTING = [row for row in ROWS if row.compared == "counts"]
FORMS = [(row, row.overall, "overall") for row in ROWS] + [
    (row, row.sliding, "sliding") for row in ROWS if row.sliding is not None
]
Entries = list[tuple[int, Any]]

_NUMBERS = st.one_of(st.integers(-3, 9), st.sampled_from([0.1, 0.2, 0.5, -0.1, 12.34, 1e16, 2**53 + 1]))
_TAKEN: dict[str, st.SearchStrategy[Any]] = {
    "one": st.just(1),
    "number": _NUMBERS,
    "key": st.sampled_from(["sa", "sb", "n1", "b1"]),
    "day": st.integers(0, 3).map(lambda day: BASE - BASE % DAY_MS + day * DAY_MS),
    "session": st.integers(0, 3).map(lambda number: BASE + number),
}


def by_name(row: Function) -> str:
    return row.name


def entries_of(row: Function, most: int = 14) -> st.SearchStrategy[Entries]:
    """Entries in the order of time, some at one instant; days and sessions never go back."""
    gaps = st.lists(st.tuples(st.sampled_from([0, 0, 1, 7, 30, WINDOW_MS]), _TAKEN[row.takes]), max_size=most)
    return gaps.map(lambda found: _timed(row, found))


def _timed(row: Function, found: list[tuple[int, Any]]) -> Entries:
    ts, taken = BASE, [value for _, value in found]
    times = [ts := ts + gap for gap, _ in found]
    return list(zip(times, sorted(taken) if row.takes in ("day", "session") else taken, strict=True))


def meant(row: Function, entries: Entries, now: int) -> Any:
    """What the row's function is of these entries, as conditions see it."""
    value = row.definition(entries, now, parameter_of(row))
    return scalar_value(value) if row.takes == "key" and isinstance(value, str) else value


def same(row: Function, value: Any, other: Any) -> bool:
    if row.motion == "fading" and value is not None and other is not None:
        return math.isclose(value, other, rel_tol=1e-9, abs_tol=1e-9)
    return type(value) is type(other) and value == other if isinstance(value, str | bool) else value == other


def overall(row: Function, bound: int = 1_024) -> Overall[Any]:
    return aggregates.overall(Asked(row, parameter=parameter_of(row), bound=bound))


def sliding(row: Function, bound: int = 1_024) -> Sliding[Any]:
    return aggregates.sliding(Asked(row, parameter=parameter_of(row), window_ms=WINDOW_MS, bound=bound))


def stored(aggregate: Aggregate[Any], cell: Any) -> Any:
    """The cell as it is read again from the store."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(cell), type=aggregate.cell)


def fed(aggregate: Aggregate[Any], entries: Entries) -> Any:
    cell = aggregate.new()
    for ts, value in entries:
        aggregate.add(cell, ts, value)
    return cell


# --- both forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_of_nothing_it_is_the_value_of_nothing(row: Function) -> None:
    aggregate = overall(row)
    assert same(row, aggregate.read(aggregate.new(), BASE), meant(row, [], BASE))
    assert same(row, aggregate.read(aggregate.new(), BASE), row.empty)
    if row.windowed:
        window = sliding(row)
        assert window.read(window.new(), BASE) == (row.empty, NEVER)


@pytest.mark.parametrize("row", ROWS, ids=by_name)
@given(data=st.data())
def test_of_all_entries_it_is_what_its_definition_says(row: Function, data: st.DataObject) -> None:
    """After each entry, whether the cell was stored in between or not."""
    aggregate, entries = overall(row), data.draw(entries_of(row))
    kept, again = aggregate.new(), aggregate.new()
    for i, (ts, value) in enumerate(entries):
        again = stored(aggregate, again)
        assert aggregate.add(kept, ts, value) is aggregate.add(again, ts, value)
        expected = meant(row, entries[: i + 1], ts + 3)
        assert same(row, aggregate.read(kept, ts + 3), expected)
        assert same(row, aggregate.read(again, ts + 3), expected)
        assert not aggregate.approximate(kept)


@pytest.mark.parametrize("row", SLIDING, ids=by_name)
@given(data=st.data())
def test_of_a_window_it_is_what_its_definition_says_of_what_is_inside(row: Function, data: st.DataObject) -> None:
    """At each entry, at the edges, and in between; `until` is never too late."""
    aggregate, entries = sliding(row), data.draw(entries_of(row))
    waits = data.draw(
        st.lists(st.sampled_from([0, 1, 50, WINDOW_MS - 1, WINDOW_MS]), min_size=len(entries), max_size=len(entries))
    )
    cell = aggregate.new()
    for i, ((ts, value), wait) in enumerate(zip(entries, waits, strict=True)):
        cell = stored(aggregate, cell)
        aggregate.add(cell, ts, value)
        following = entries[i + 1][0] if i + 1 < len(entries) else ts + 2 * WINDOW_MS
        now = min(ts + wait, following)
        found, until = aggregate.read(stored(aggregate, cell), now)
        assert same(row, found, meant(row, inside(entries[: i + 1], now), now))
        for later in instants(entries[: i + 1], now, until):
            assert same(row, found, meant(row, inside(entries[: i + 1], later), later))


def inside(entries: Entries, now: int) -> Entries:
    return [(ts, value) for ts, value in entries if now - WINDOW_MS < ts <= now]


def instants(entries: Entries, now: int, until: int) -> list[int]:
    """Every instant at which something leaves, and the last one before `until`."""
    exits = {ts + WINDOW_MS for ts, _ in entries}
    return sorted(
        at for at in {now, *exits, *(at - 1 for at in exits), until - 1} if now <= at < min(until, now + 4 * WINDOW_MS)
    )


@pytest.mark.parametrize("row", SLIDING, ids=by_name)
@given(data=st.data())
def test_an_entry_leaves_at_the_exact_edge_and_ties_leave_together(row: Function, data: st.DataObject) -> None:
    value, times = data.draw(_TAKEN[row.takes]), data.draw(st.integers(1, 4))
    entries = [(BASE, value)] * times
    aggregate = sliding(row)
    cell = fed(aggregate, entries)
    last = BASE + WINDOW_MS - 1
    assert same(row, aggregate.read(stored(aggregate, cell), last)[0], meant(row, entries, last))
    assert aggregate.read(cell, last)[1] == BASE + WINDOW_MS
    assert aggregate.read(cell, BASE + WINDOW_MS) == (row.empty, NEVER)


@pytest.mark.parametrize("form", [overall, sliding])
@pytest.mark.parametrize("row", [row for row in ROWS if row.takes == "number"], ids=by_name)
@given(values=st.lists(st.sampled_from([1.7e308, -1.7e308, 5e-324, 2**63 - 1, -(2**63), 0.5]), min_size=1, max_size=8))
def test_no_numbers_make_one_beyond_a_double(row: Function, form: Any, values: list[float]) -> None:
    if form is sliding and not row.windowed:
        return
    aggregate = form(row, 4)
    cell = fed(aggregate, [(BASE, value) for value in values])
    found = aggregate.read(stored(aggregate, cell), BASE + 1)
    value = found[0] if form is sliding else found
    assert value is None or math.isfinite(value)


# --- bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "kept", "form"), FORMS, ids=[f"{row.name} {form}" for row, _, form in FORMS])
def test_a_flood_stays_within_the_cost_of_the_row(row: Function, kept: Kept, form: str) -> None:
    """Entries past the bound cost nothing more, and a cell that merged or left out says so."""
    bound = 16
    aggregate: Aggregate[Any] = sliding(row, bound) if form == "sliding" else overall(row, bound)
    cell, largest = aggregate.new(), 0
    for i in range(40 * bound):
        aggregate.add(cell, BASE + i // 20, flooding(row, i))
        largest = max(largest, len(msgspec.msgpack.encode(cell)))
    most = {"one": 1, "points": bound, "needed": bound, "half_lives": 1_101}[kept.entries]
    assert largest <= 60 + row.cell_bytes + most * kept.bytes
    assert aggregate.approximate(cell) is (kept.entries in ("points", "needed"))


def flooding(row: Function, i: int) -> Any:
    """The i-th entry: a value that was not there before; numbers move so that an extreme keeps all
    of them."""
    if row.takes == "key":
        return f"s{i:05d}"
    return {"one": 1, "number": -i if row.name == "max" else i, "day": BASE + i * DAY_MS, "session": BASE + i}[
        row.takes
    ]


QUANTILES = [row for row in ROWS if row.family == "quantile"]


@pytest.mark.parametrize("form", [overall, sliding])
@pytest.mark.parametrize("row", QUANTILES, ids=by_name)
def test_merged_entries_of_a_quantile_count_as_many_as_they_were(row: Function, form: Any) -> None:
    """However many came, each weighs the same: an old many is not outvoted by a new few."""
    aggregate, now = form(row, 16), BASE + 10
    cell = fed(aggregate, [(now, i % 7) for i in range(900)] + [(now, 1_000 + i) for i in range(60)])
    found = aggregate.read(stored(aggregate, cell), now)
    assert (found[0] if form is sliding else found) < 7
    assert aggregate.approximate(cell)


@pytest.mark.parametrize("row", QUANTILES, ids=by_name)
@given(data=st.data())
def test_merged_neighbours_of_a_quantile_stay_in_order(row: Function, data: st.DataObject) -> None:
    """Whole numbers that lie closer together than doubles do have no mean between them."""
    aggregate = overall(row, 4)
    values = data.draw(st.lists(st.integers(2**60, 2**60 + 1_000), min_size=1, max_size=20))
    cell = fed(aggregate, [(BASE, value) for value in values])
    assert cell.values == sorted(set(cell.values))
    assert min(values) <= cell.values[0] <= cell.values[-1] <= max(values)


# --- what wakes a reader ------------------------------------------------------------------------


@pytest.mark.parametrize("row", COUNTING, ids=by_name)
@given(data=st.data())
def test_a_count_wakes_whom_it_concerns_and_keeps_what_they_can_tell_apart(row: Function, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, 4))
    node = parse(f"{row.name}({'click.c' if row.field == 'needed' else 'click'}, last 100ms) >= {k}").left  # type: ignore[union-attr]
    need = demand(node, [Compared((k,))])
    aggregate = aggregates.sliding(Asked(row, need, window_ms=WINDOW_MS))
    entries, cell = data.draw(entries_of(row)), aggregate.new()
    for i, (ts, value) in enumerate(entries):
        before = aggregate.at_least(cell, ts, k)[0]
        woken = aggregate.add(cell, ts, value)
        truth, until = aggregate.at_least(cell, ts, k)
        assert woken or truth is before
        for at in instants(entries[: i + 1], ts, until):
            assert truth is (row.definition(inside(entries[: i + 1], at), at, None) >= k)


# --- the row itself -----------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_the_example_of_its_usage_is_an_expression_of_the_language(row: Function) -> None:
    example = row.usage.partition(", such as ")[2]
    node = parse(example)
    check_condition(parse(f"{example} is not null"), Scope(("click", "purchase")))
    assert parse(text(node)) == node
    assert type_of(node) is row.value
    assert phrase(example) not in ("", example), "it has words"


@pytest.mark.parametrize("row", ROWS, ids=by_name)
@pytest.mark.parametrize("days", [2, 30])
def test_its_signal_is_named_by_its_text_alone(row: Function, days: int) -> None:
    given_ = f", {parameter_text(row)}" if row.parameter is not None else ""
    window = f", last {days}d" if row.windowed else ""
    source = f"{row.name}(click{'.c' if row.field == 'needed' else ''}{given_}{window})"
    assert text(parse(source)) == source
