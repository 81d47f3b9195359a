"""What a worker does every few seconds while nobody asks it anything."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from app import main
from app.main import Worker
from app.streaming.rates import WINDOW_S, Rate


class Clock:
    """Passes `CHECK_S` at each look of the watchdog; `stop` is set at `end`."""

    trouble: tuple[str, ...] = ()
    fatal = ""

    def __init__(self, end: float) -> None:
        self.now = 0.0
        self.events = 0
        self.end = end
        self.stop = asyncio.Event()

    async def check(self) -> None:
        self.now += main.CHECK_S
        if self.now <= self.end - 2 * WINDOW_S:
            self.events += 1_000
        if self.now >= self.end:
            self.stop.set()


async def test_a_rate_is_of_the_last_minute_though_nobody_looked_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "CHECK_S", 10.0)
    monkeypatch.setattr(main.asyncio, "wait_for", _at_once)
    clock = Clock(end=3_600)
    rate = Rate(lambda: clock.events, lambda: clock.now)
    nothing: Any = SimpleNamespace(crashed=False, tasks={})
    worker = Worker(nothing, nothing, clock, nothing, nothing, nothing, "", nothing, [rate])  # type: ignore[arg-type]
    await worker.run_until(clock.stop)
    assert clock.events > 300_000
    assert rate.per_second() == 0.0


async def _at_once(waiting: Any, _seconds: float) -> None:
    waiting.close()
    raise TimeoutError
