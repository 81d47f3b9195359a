"""What all tests share: hypothesis profiles, the broker fixtures, and which tests must not run side by side."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.kafka", "tests.support.logs"]

# Deadlines measure the machine, not the code; seeds are printed so that a failure can be run again.
settings.register_profile("default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_ALONE = ("kafka", "browser")  # one broker, one browser: tests that need them run one after another, in one worker

_KAFKA_S_MAX = 300  # a busy machine may take a minute to start a broker


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("kafka") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_KAFKA_S_MAX))
        for mark in _ALONE:
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.xdist_group(mark))
                break
