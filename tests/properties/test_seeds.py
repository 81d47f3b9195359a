"""Every check on scenarios of a seeded generator: the same ones on every run, then new ones whose
seed is printed and may be given again.

SCENARIO_SEED=123456 pytest tests/properties/test_seeds.py        that block of scenarios
SCENARIOS=5000 pytest tests/properties/test_seeds.py              more of them
"""

from __future__ import annotations

import os
import secrets

import pytest

from tests.properties import checks
from tests.properties.chance import Seeded
from tests.properties.scenarios import QUARTER_MS, Scenario, arrival, make_scenario

FIXED = 20_261_122
SCENARIOS = int(os.environ.get("SCENARIOS", "240"))
MOST_EVENTS = 12
PARTS = 4
pytestmark = pytest.mark.timeout(1_800)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_same_scenarios(part: int) -> None:
    run_block(FIXED + part * (SCENARIOS // PARTS))


@pytest.mark.parametrize("part", range(PARTS))
def test_new_scenarios(part: int) -> None:
    given = int(os.environ.get("SCENARIO_SEED", "0"))
    run_block(given + part * (SCENARIOS // PARTS) if given else secrets.randbelow(10**9))


def run_block(seed: int) -> None:
    print(f"SCENARIO_SEED={seed}")
    for number in range(seed, seed + SCENARIOS // PARTS):
        scenario = make_scenario(Seeded(number), QUARTER_MS if number % 2 else 1, MOST_EVENTS)
        if not scenario.definitions.errors:
            check_all(scenario, number)


def check_all(scenario: Scenario, number: int) -> None:
    try:
        checks.check_in_order(scenario)
        checks.check_crashes(scenario)
        checks.check_cuts(scenario, Seeded(number))
        checks.check_facts(scenario)
        if number % 3 == 0:
            checks.check_any_order(scenario.arriving(arrival(Seeded(number), scenario)))
    except Exception as error:
        error.add_note(f"scenario {number}: {scenario}")
        raise
