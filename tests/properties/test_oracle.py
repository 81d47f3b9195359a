"""The oracle against itself: its candidate instants miss nothing that an evaluation at every
millisecond sees."""

from __future__ import annotations

from hypothesis import given, settings

from tests.properties.scenarios import Scenario, scenarios
from tests.support.oracle import canonical_run


@settings(max_examples=60)
@given(scenarios())
def test_candidate_instants_are_enough(scenario: Scenario) -> None:
    every_ms = canonical_run(scenario.definitions, scenario.options, scenario.events, scenario.until, dense=True)
    candidates = canonical_run(scenario.definitions, scenario.options, scenario.events, scenario.until)
    assert candidates == every_ms
