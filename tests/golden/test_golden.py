"""Every golden case: as written, resumed from stored state after every step, arriving in another order, and split over partitions."""

from __future__ import annotations

import itertools
import json
import random
import zlib
from collections import defaultdict
from typing import Any

import msgspec
import pytest

from app.domain.events import Event
from app.domain.members import order
from app.engine.engine import Engine
from app.rules.definitions import load_text
from app.rules.plan import compile_plan
from app.testing.notation import DEFAULT_USER, Expected, Fire, spelled
from tests.golden import driver
from tests.golden.case import FILE, Case, all_cases
from tests.golden.driver import Partition, told
from tests.support.oracle import canonical_run

CASES = list(all_cases())
RUNNING = [case for case in CASES if not case.fails]
FAILING = [case for case in CASES if case.fails]
SHUFFLES = 3


def by_name(case: Case) -> str:
    return case.name


def engine_of(case: Case) -> Engine:
    definitions = load_text(case.definitions, case.options, file=FILE)
    assert not definitions.errors, [str(error) for error in definitions.errors]
    return Engine(compile_plan(definitions, case.options), case.options)


def steps_of(case: Case) -> list[driver.Step]:
    return [*case.steps, Fire(case.until)]


def lines(changes: Any, base: int) -> list[str]:
    return [spelled(change, base) for change in changes]


def by_user(changes: Any) -> dict[str, list[Expected]]:
    found: dict[str, list[Expected]] = defaultdict(list)
    for change in changes:
        found[change.user].append(change)
    return found


@pytest.mark.parametrize("case", RUNNING, ids=by_name)
def test_case(case: Case) -> None:
    run = Partition(engine_of(case))
    run.run(steps_of(case))
    for user in {event.user for event in case.events}:
        expected = by_user(case.changes)[user]
        assert lines(told(run.changes, user, user), case.base) == lines(expected, case.base)
        assert [change.seq for change in run.changes if change.user_id == user] == list(range(1, len(expected) + 1))
    if case.facts:
        assert [[fact.expr, fact.value, fact.needs] for fact in run.changes[-1].facts] == list(case.facts)
    if case.members is not None:
        assert {shown(key): since for key, since in run.members()[DEFAULT_USER].items()} == case.members


@pytest.mark.parametrize("case", RUNNING, ids=by_name)
def test_crash_after_every_step(case: Case) -> None:
    whole, resumed = Partition(engine_of(case)), Partition(engine_of(case), driver.resumed)
    whole.run(steps_of(case))
    resumed.run(steps_of(case))
    assert resumed.changes == whole.changes
    assert resumed.members() == whole.members()


@pytest.mark.parametrize("case", RUNNING, ids=by_name)
def test_another_order_of_arrival(case: Case) -> None:
    whole = Partition(engine_of(case))
    whole.run(steps_of(case))
    for seed in range(SHUFFLES):
        other = Partition(engine_of(case))
        other.run([*shuffled(case, random.Random(seed)), Fire(case.until)])
        assert other.members() == whole.members(), f"seed {seed}"


@pytest.mark.parametrize("partitions", [2, 3])
@pytest.mark.parametrize("case", [case for case in RUNNING if case.users > 1], ids=by_name)
def test_split_over_partitions(case: Case, partitions: int) -> None:
    """The same events for several users at once: each gets the case's changes wherever the others live."""
    users = [f"user-{i}" for i in range(5)]
    engine = engine_of(case)
    parts = [Partition(engine) for _ in range(partitions)]
    for step in steps_of(case):
        if isinstance(step, Fire):
            for part in parts:
                part.fire(step.upto)
        else:
            for user in users:
                parts[zlib.crc32(user.encode()) % partitions].apply(msgspec.structs.replace(step, user=user))
    changes = [change for part in parts for change in part.changes]
    for user in users:
        assert lines(told(changes, user, DEFAULT_USER), case.base) == lines(case.changes, case.base)


@pytest.mark.parametrize("case", RUNNING, ids=by_name)
def test_oracle_agrees(case: Case) -> None:
    """The oracle gives the changes of every case that arrives in order, and the members of all."""
    definitions = load_text(case.definitions, case.options, file=FILE)
    for user in {event.user for event in case.events}:
        events = [event for event in case.events if event.user == user]
        run = canonical_run(definitions, case.options, events, case.until)
        if in_order(events) and not any(change.late for change in case.changes):
            expected = [(c.at, c.what, c.name, c.value, c.from_, c.to) for c in by_user(case.changes)[user]]
            assert [(a.at, a.what, a.name, told_value(a.value), a.from_, a.to) for a in run.changes] == expected
        if case.members is not None:
            assert run.members == case.members


@pytest.mark.parametrize("case", FAILING, ids=by_name)
def test_definitions_that_fail(case: Case) -> None:
    definitions = load_text(case.definitions, case.options, file=FILE)
    messages = [str(error) for error in definitions.errors]
    assert any(all(text in message for text in case.fails) for message in messages), messages
    assert sorted(segment.name for segment in definitions.segments) == sorted(case.loads) or not case.loads


def test_enough_cases() -> None:
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)


def shown(key: str) -> str:
    return ":".join(filter(None, order(key)))


def told_value(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def in_order(events: list[Event]) -> bool:
    return all((a.ts, a.rank) <= (b.ts, b.rank) for a, b in itertools.pairwise(events))


def shuffled(case: Case, chance: random.Random) -> list[Event]:
    """Another order of arrival: no event later than the allowed lateness, equal (ts, stream) and equal ids in their order."""
    waiting, arrived, watermark = list(case.events), list[Event](), 0
    while waiting:
        latest = min(event.ts for event in waiting) + case.options.allowed_lateness_ms
        allowed = [i for i, event in enumerate(waiting) if max(watermark, event.ts) <= latest and first_of_its_kind(waiting, i)]
        chosen = waiting.pop(chance.choice(allowed))
        watermark = max(watermark, chosen.ts)
        arrived.append(chosen)
    return arrived


def first_of_its_kind(waiting: list[Event], i: int) -> bool:
    own = waiting[i]
    return not any((other.ts, other.rank, other.user) == (own.ts, own.rank, own.user) for other in waiting[:i])
