"""The engine against the oracle, on scenarios that hypothesis chooses and shrinks.
`HYPOTHESIS_PROFILE=thorough` runs more of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties import checks
from tests.properties.chance import Drawn
from tests.properties.scenarios import QUARTER_MS, Scenario, arrivals, scenarios

EXAMPLES = 60 if settings.default is None or settings.default.max_examples <= 100 else settings.default.max_examples
pytestmark = pytest.mark.timeout(600)
runs = settings(max_examples=EXAMPLES)


@runs
@given(scenarios())
def test_changes_are_the_oracle_s(scenario: Scenario) -> None:
    checks.check_in_order(scenario)


@runs
@given(scenarios(unit_ms=QUARTER_MS))
def test_changes_over_days_are_the_oracle_s(scenario: Scenario) -> None:
    checks.check_in_order(scenario)


@runs
@given(st.data(), scenarios(most_events=7))
def test_order_of_arrival_changes_no_membership(data: st.DataObject, scenario: Scenario) -> None:
    checks.check_any_order(scenario.arriving(data.draw(arrivals(scenario))))


@runs
@given(scenarios())
def test_a_crash_after_any_step_changes_nothing(scenario: Scenario) -> None:
    checks.check_crashes(scenario)


@runs
@given(st.data(), scenarios())
def test_letting_time_pass_in_pieces_changes_nothing(data: st.DataObject, scenario: Scenario) -> None:
    checks.check_cuts(scenario, Drawn(data.draw))


@runs
@given(scenarios())
def test_facts_alone_tell_why(scenario: Scenario) -> None:
    checks.check_facts(scenario)
