"""Testing definitions on a simulated clock: `Driver` for tests in Python, `*.test.yaml` for `hyperseg test`."""

from app.testing.driver import CRASH, REBALANCE, Driver, Duplicate

__all__ = ["CRASH", "REBALANCE", "Driver", "Duplicate"]
