"""Tests of definitions on a simulated clock: `Driver` in Python, `*.test.yaml` for `hyperseg
test`."""

from app.testing.driver import Driver
from app.testing.faults import (
    COMMIT,
    CRASH,
    CRASH_BEFORE_STORE,
    DISK_LOST,
    REBALANCE,
    TORN,
    Advance,
    Duplicate,
    Late,
    Raw,
    Switch,
    Unread,
)
from app.testing.partition import WorkerOptions

__all__ = [
    "COMMIT",
    "CRASH",
    "CRASH_BEFORE_STORE",
    "DISK_LOST",
    "REBALANCE",
    "TORN",
    "Advance",
    "Driver",
    "Duplicate",
    "Late",
    "Raw",
    "Switch",
    "Unread",
    "WorkerOptions",
]
