"""Every golden case: as written, resumed from stored state after every step, arriving in another
order, and split over partitions."""

from __future__ import annotations

import itertools
import json
import random
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.domain.changes import Change
from app.domain.events import Event
from app.domain.members import name_of, value_of
from app.domain.options import EngineOptions
from app.rules.definitions import load_text
from app.rules.plan import Plan, compile_plan
from app.testing import CRASH, Driver, notation
from app.testing.cases import OwnCase, check_names, read_own
from app.testing.notation import DEFAULT_USER, Expected, Fire, spelled
from app.testing.running import drive
from tests.support.oracle import canonical_run

FOLDER = Path(__file__).with_name("cases")
FILE = "golden.yaml"  # what error messages call the definitions
SHUFFLES = 3


def cases_of(path: Path) -> list[OwnCase]:
    cases = read_own(path.read_text(encoding="utf-8"), path.name, EngineOptions())
    return [replace(case, name=f"{path.stem}: {case.name}") for case in cases]


CASES = [case for path in sorted(FOLDER.glob("*.yaml")) for case in cases_of(path)]
RUNNING = [case for case in CASES if not case.fails]
FAILING = [case for case in CASES if case.fails]


def by_name(case: OwnCase) -> str:
    return case.name


def plan_of(case: OwnCase) -> Plan:
    definitions = load_text(case.definitions, case.options, file=FILE)
    assert not definitions.errors, [str(error) for error in definitions.errors]
    return compile_plan(definitions, case.options)


def driver_of(case: OwnCase) -> Driver:
    return Driver(plan_of(case), case.options)


def whole_run(case: OwnCase) -> Driver:
    driver = driver_of(case)
    drive(driver, case.steps, case.until)
    return driver


def events_of(case: OwnCase) -> list[Event]:
    return [step for step in case.steps if isinstance(step, Event)]


def users_of(case: OwnCase) -> list[str]:
    return sorted({event.user for event in events_of(case)})


def changes_of(driver: Driver, user: str) -> list[Change]:
    return [change for change in driver.changes if change.user_id == user]


def lines(changes: Iterable[Expected], base: int) -> list[str]:
    return [spelled(change, base) for change in changes]


def expected_of(case: OwnCase, user: str) -> list[Expected]:
    return [change for change in case.changes if change.user == user]


def members_of(driver: Driver) -> dict[tuple[str, str, str | None], int]:
    """(user, name, value as JSON) → since."""
    return {
        (user, name_of(key), as_json(value_of(key))): since
        for user in driver.users()
        for key, since in driver.state(user).members.items()
    }


@pytest.mark.parametrize("case", RUNNING, ids=by_name)
def test_case(case: OwnCase) -> None:
    driver = whole_run(case)
    check_names(case, [s.name for s in driver.plan.segments], [g.name for g in driver.plan.groups])
    for user in users_of(case):
        changes, expected = changes_of(driver, user), expected_of(case, user)
        assert lines(notation.told(changes), case.base) == lines(expected, case.base)
        assert [change.seq for change in changes] == list(range(1, len(expected) + 1))
    if case.facts:
        assert [(fact.expr, fact.value, fact.needs) for fact in driver.changes[-1].facts] == list(case.facts)
    if case.members is not None:
        assert members_of(driver) == case.members
    assert driver.refused == []


@pytest.mark.parametrize("case", RUNNING, ids=by_name)
def test_crash_after_every_step(case: OwnCase) -> None:
    whole, resumed = whole_run(case), driver_of(case)
    drive(resumed, case.steps, case.until, CRASH)
    assert resumed.changes == whole.changes
    assert members_of(resumed) == members_of(whole)


@pytest.mark.parametrize("case", RUNNING, ids=by_name)
def test_another_order_of_arrival(case: OwnCase) -> None:
    whole = whole_run(case)
    for seed in range(SHUFFLES):
        other = driver_of(case)
        drive(other, shuffled(case, random.Random(seed)), case.until)
        assert members_of(other) == members_of(whole), f"seed {seed}"
        assert other.refused == []


@pytest.mark.parametrize("partitions", [2, 3])
@pytest.mark.parametrize("case", [case for case in RUNNING if case.users != 1], ids=by_name)
def test_split_over_partitions(case: OwnCase, partitions: int) -> None:
    """The same events for several users at once: each gets the case's changes wherever the others
    live."""
    users = [f"user-{i}" for i in range(5)]
    drivers = [driver_of(case) for _ in range(partitions)]
    for step in [*case.steps, Fire(case.until)]:
        if isinstance(step, Fire):
            for driver in drivers:
                driver.advance(to=step.upto)
        else:
            for user in users:
                drivers[partition_of(user, partitions)].feed(msgspec.structs.replace(step, user=user))
    for user in users:
        told = notation.told(changes_of(drivers[partition_of(user, partitions)], user))
        assert lines((replace(change, user=DEFAULT_USER) for change in told), case.base) == lines(
            case.changes, case.base
        )


def partition_of(user: str, partitions: int) -> int:
    return zlib.crc32(user.encode()) % partitions


@pytest.mark.parametrize("case", RUNNING, ids=by_name)
def test_oracle_agrees(case: OwnCase) -> None:
    """The oracle gives the changes of every case that arrives in order, and the members of all."""
    definitions = load_text(case.definitions, case.options, file=FILE)
    members: dict[tuple[str, str, str | None], int] = {}
    for user in users_of(case):
        events = [event for event in events_of(case) if event.user == user]
        run = canonical_run(definitions, case.options, events, case.until)
        if in_order(events) and not any(change.late for change in case.changes):
            expected = [(c.at, c.what, c.name, c.value, c.from_, c.to) for c in expected_of(case, user)]
            assert [(a.at, a.what, a.name, as_json(a.value), a.from_, a.to) for a in run.changes] == expected
        for member, since in run.members.items():
            name, _, value = member.partition(":")
            members[user, name, value or None] = since
    assert case.members in (None, members)


@pytest.mark.parametrize("case", FAILING, ids=by_name)
def test_definitions_that_fail(case: OwnCase) -> None:
    definitions = load_text(case.definitions, case.options, file=FILE)
    messages = [str(error) for error in definitions.errors]
    assert any(all(text in message for text in case.fails) for message in messages), messages
    assert sorted(segment.name for segment in definitions.segments) == sorted(case.loads) or not case.loads


def test_enough_cases() -> None:
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)


def as_json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def in_order(events: list[Event]) -> bool:
    return all((a.ts, a.rank) <= (b.ts, b.rank) for a, b in itertools.pairwise(events))


def shuffled(case: OwnCase, chance: random.Random) -> list[Event]:
    """Another order of arrival: no event later than the allowed lateness, equal (ts, stream) and
    equal ids in their order."""
    waiting, arrived, watermark = events_of(case), list[Event](), 0
    while waiting:
        latest = min(event.ts for event in waiting) + case.options.allowed_lateness_ms
        allowed = [
            i for i, event in enumerate(waiting) if max(watermark, event.ts) <= latest and first_of_its_kind(waiting, i)
        ]
        chosen = waiting.pop(chance.choice(allowed))
        watermark = max(watermark, chosen.ts)
        arrived.append(chosen)
    return arrived


def first_of_its_kind(waiting: list[Event], i: int) -> bool:
    own = waiting[i]
    return not any((other.ts, other.rank, other.user) == (own.ts, own.rank, own.user) for other in waiting[:i])
