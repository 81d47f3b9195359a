"""The oracle's own parts, checked by hand: what everything else is compared with must not be wrong
in its favour."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from app.domain.changes import Fact
from app.domain.events import Event
from app.domain.options import EngineOptions
from app.rules import ast
from app.rules.definitions import load_text
from app.rules.parser import parse
from tests.support.facts import satisfied
from tests.support.oracle import calendar, canonical_run, scalars
from tests.support.oracle.instant import Instant, decay
from tests.support.oracle.moments import Moment, Past, moments
from tests.support.oracle.run import accepted

RANKS = {"profile": 0, "click": 1, "cart": 2, "purchase": 3}
BEHAVIOUR = frozenset({"click", "cart", "purchase"})
HOUR = 3_600_000


def event(ts: int, stream: str = "click", id_: str = "", **fields: Any) -> Event:
    return Event("u", ts, stream, RANKS[stream], id_ or f"{stream}-{ts}", bool(id_), fields)


def chosen(expression: str, *events: Event) -> list[tuple[int, int]]:
    node = parse(f"any({expression})")
    assert isinstance(node, ast.Aggregate)
    return [(moment.ts, moment.order) for moment in moments(node.selector, Past(list(events), BEHAVIOUR))]


def value(expression: str, t: int, *events: Event, options: EngineOptions | None = None) -> Any:
    instant = Instant("u", t, options or EngineOptions(), Past(list(events), BEHAVIOUR), {}, {}, lambda name: False, {})
    return instant.value(parse(expression))


@pytest.mark.parametrize(
    ("expression", "events", "expected"),
    [
        ("click", [event(1), event(2, "cart")], [(1, 0)]),
        ("*", [event(1), event(1, "profile"), event(2, "cart")], [(1, 0), (2, 2)]),
        ("cart -> click within 5ms", [event(0, "cart"), event(5), event(6)], [(5, 1)]),
        ("click -> click within 5ms", [event(0), event(5), event(11)], [(5, 1)]),
        ("cart -> click within 5ms", [event(3), event(3, "cart")], [(3, 0)]),
        ("cart without click within 5ms", [event(0, "cart"), event(5)], [(5, 0)]),
        ("cart without click within 5ms", [event(0, "cart"), event(4)], []),
        ("click without click within 5ms", [event(0), event(9)], [(5, 0), (14, 1)]),
        ("(cart -> click within 5ms) without click within 3ms", [event(0, "cart"), event(1)], [(4, 1)]),
    ],
)
def test_moments(expression: str, events: list[Event], expected: list[tuple[int, int]]) -> None:
    assert chosen(expression, *events) == expected


@pytest.mark.parametrize(
    ("expression", "t", "expected"),
    [
        ("count(click, last 10ms)", 10, 1),
        ("count(click, last 11ms)", 10, 2),
        ("since(click)", 12, 8),
        ("since_first(click)", 12, 12),
        ("since(cart)", 12, None),
        ("sum(click.n)", 12, 3),
        ("avg(click.n)", 12, 1.5),
        ("max(cart.n)", 12, None),
        ("last(click.n)", 12, 2),
        ("count(click) / count(cart)", 12, None),
        ("decay(click, 4ms)", 8, 0.75),
    ],
)
def test_functions(expression: str, t: int, expected: Any) -> None:
    assert value(expression, t, event(0, n=1), event(4, n=2)) == expected


def test_sessions_join_and_end() -> None:
    options = EngineOptions(session_gap_ms=10)
    events = [event(0), event(9), event(19)]
    assert value("count(click, session)", 20, *events, options=options) == 1
    assert value("session_count(click)", 20, *events, options=options) == 2
    assert value("count(click, session)", 29, *events, options=options) == 0
    assert value("session_count(click)", 20, *sorted([*events, event(14)], key=lambda e: e.ts), options=options) == 1


def test_days_of_summer_time_have_23_and_25_hours() -> None:
    spring = list(calendar.midnights(1_774_652_400_000 - 1, 1_774_652_400_000 + 48 * HOUR, "Europe/Oslo"))
    assert [b - a for a, b in pairwise(spring)] == [24 * HOUR, 23 * HOUR]
    autumn = list(calendar.midnights(1_792_879_200_000 - 1, 1_792_879_200_000 + 26 * HOUR, "Europe/Oslo"))
    assert [b - a for a, b in pairwise(autumn)] == [25 * HOUR]


def test_scalars_that_are_the_same() -> None:
    assert scalars.same(1, 1.0)
    assert not scalars.same(1, True)
    assert not scalars.same("1", 1)
    assert not scalars.same([1], [1])
    assert not scalars.compare("!=", None, "a")
    assert not scalars.compare("<", False, True)


def test_decay_has_twelve_digits() -> None:
    node = parse("decay(click, 3ms) > 0")
    assert isinstance(node, ast.Compare)
    assert isinstance(node.left, ast.Aggregate)
    assert decay([Moment(0, 0, {})], node.left, 1) == 0.793700525984
    assert decay([Moment(0, 0, {})], node.left, 3_001) == 0


def test_duplicates_are_dropped_in_the_order_of_time() -> None:
    options = EngineOptions(dedupe_window_ms=10)
    given = [event(12, id_="a"), event(5, id_="a"), event(15, id_="a")]
    assert [e.ts for e in accepted(given, options)] == [5, 15]


def test_canonical_run_by_hand() -> None:
    definitions = load_text("segments: [{name: s, when: 'any(click, last 10ms)', min_dwell: 15ms}]", EngineOptions())
    for dense in (False, True):
        run = canonical_run(definitions, EngineOptions(), [event(100), event(130)], 200, dense=dense)
        assert [(a.at, a.what) for a in run.changes] == [
            (100, "entered"),
            (115, "exited"),
            (130, "entered"),
            (145, "exited"),
        ]


@pytest.mark.parametrize(
    ("needs", "value", "holds"),
    [
        (">= 20", 20, True),
        ("not >= 20", 20, False),
        ("not >= 20", None, True),
        ("in [1, 2]", 2.0, True),
        ("not in [1, 2]", None, False),
        ("not (in [1, 2])", None, True),
        ('in ["a, b", "c"]', "a, b", True),
        ("between 25 and 34", 34, True),
        ("< 30d", 30 * 24 * HOUR, False),
        ('== "a"', 1, False),
        ("true", True, True),
        ("false", None, True),
        ("not null", 0, True),
        ('contains "a"', ["b", "a"], True),
        ('matches "^a+$"', "aab", False),
    ],
)
def test_facts_are_read(needs: str, value: Any, holds: bool) -> None:
    assert satisfied(Fact("x", value, needs)) is holds


def test_a_fact_with_an_operand_that_is_no_constant() -> None:
    assert satisfied(Fact("since(click)", 5, "< since(cart)", against=6))
    assert not satisfied(Fact("since(click)", 5, "< since(cart)", against=None))
