"""What all tests share: hypothesis profiles, the fixtures, what a timeout measures, and which
tests must not run side by side."""

from __future__ import annotations

import os
import signal

import pytest
from _pytest.nodeid import NodeId
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.kafka", "tests.support.logs"]

# Deadlines measure the machine, not the code; seeds are printed so that a failure can be run again.
settings.register_profile("default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# A run that a script starts in the background is told to ignore Ctrl-C, and would pass that on
# to every process it starts: tests that interrupt one would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# One broker, one browser: tests that need them run one after another, in one worker.
_ALONE = ("kafka", "browser")

_KAFKA_S_MAX = 300  # of a test on a broker, on a busy machine


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("kafka"):
            # Of the test alone: the fixtures start and stop brokers, each within a time of its own.
            limit = item.get_closest_marker("timeout")
            item.add_marker(pytest.mark.timeout(limit.args[0] if limit else _KAFKA_S_MAX, func_only=True), append=False)
        for mark in _ALONE:
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.xdist_group(mark))
                break
        if item.config.getoption("loadgroup", False) and (group := item.get_closest_marker("xdist_group")):
            # xdist 3.8 writes the group behind the name that pytest read before 9.2: without this
            # line it groups nothing.
            item._id = NodeId.parse(f"{item.nodeid}@{group.args[0]}")
