"""A bot costs one user's bound: state stays small however many events come, and what was merged
says so."""

from __future__ import annotations

import random

import pytest

from app.domain.events import Event
from app.domain.options import EngineOptions
from app.engine.engine import Engine
from app.engine.views import describe_user
from app.rules.definitions import load_text
from app.rules.plan import compile_plan
from tests.support.rows import calls

BASE = 1_767_600_000_000
PATTERNS = [
    "any(click without purchase within 24h, last 7d)",
    "any(click without purchase on page within 24h, last 7d)",
    "any(click -> click -> click within 1h, last 7d)",
    "any(click -> purchase on page within 1h, last 7d)",
    "held(any(click, last 5m), 1h)",
]
# Each function, its whole value used: over a window that slides and over all entries.
CONDITIONS = [
    f"({call}) is not null" for call in calls("click", {"number": "price", "key": "page"}, ("last 7d", ""))
] + PATTERNS


def engine_of(conditions: list[str], options: EngineOptions) -> Engine:
    rows = "".join(f"  - {{name: s{i}, when: '{when}'}}\n" for i, when in enumerate(conditions))
    definitions = load_text("segments:\n" + rows, options)
    assert not definitions.errors
    return Engine(compile_plan(definitions, options), options)


def click(i: int, ts: int) -> Event:
    return Event("bot", ts, "click", 1, f"e{i}", True, {"price": float(i % 97), "page": f"p{i}"})


@pytest.mark.parametrize("step_ms", [200, 0], ids=["five a second", "all in one millisecond"])
@pytest.mark.parametrize("when", CONDITIONS)
def test_state_stops_growing(when: str, step_ms: int) -> None:
    options = EngineOptions(max_points=64, dedupe_ids_max=64, reorder_events_max=64)
    engine = engine_of([when], options)
    state = engine.new_state("bot")
    sizes = []
    for i in range(6_000):
        ts = BASE + i * step_ms
        engine.apply(state, click(i, ts), ts)
        if i in (2_999, 5_999):
            sizes.append(len(engine.encode(state)))
    assert sizes[1] < sizes[0] * 1.1 + 200, sizes
    assert sizes[1] < 250_000, sizes


@pytest.mark.parametrize("when", ["2 * count(click, last 7d) > 5", "avg(click.price, last 7d) > 5"])
def test_merged_entries_are_near_and_say_so(when: str) -> None:
    options = EngineOptions(max_points=64)
    engine = engine_of([when], options)
    state = engine.new_state("bot")
    made = random.Random(5)
    prices = []
    for i in range(3_000):
        event = click(i, BASE + i * 1_000)
        event.fields["price"] = made.uniform(5, 15)
        prices.append(event.fields["price"])
        engine.apply(state, event, event.ts)
    row = describe_user(engine, state, state.clock).signals[0]
    true = len(prices) if "count" in when else sum(prices) / len(prices)
    assert row.approximate is True
    assert row.value == pytest.approx(true, rel=1e-9)


def test_a_count_keeps_what_its_definition_can_tell_apart() -> None:
    options = EngineOptions(reorder=False)
    small, whole = (
        engine_of(["count(click, last 7d) >= 3"], options),
        engine_of(["2 * count(click, last 7d) >= 6"], options),
    )
    states = small.new_state("u"), whole.new_state("u")
    for i in range(500):
        for engine, state in zip((small, whole), states, strict=True):
            engine.apply(state, Event("u", BASE + i, "click", 1, str(i), False, {}), BASE + i)
    assert len(small.encode(states[0])) * 10 < len(whole.encode(states[1]))
    assert states[0].members == states[1].members
