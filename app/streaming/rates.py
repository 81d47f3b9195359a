"""A rate from a counter that only grows: read now and then, over about the last minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 60.0
_SAMPLE_S = 1.0


class Rate:
    """`count` is read when somebody asks, at most once a second; before the second reading the rate
    is that since the start. Whoever owns it must `sample` every few seconds, asked or not: else the
    oldest reading is as old as the last question."""

    def __init__(self, count: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._clock = clock
        self._samples = deque([(clock(), count())])

    def sample(self) -> None:
        """Takes a reading."""
        now = self._clock()
        if now - self._samples[-1][0] >= _SAMPLE_S:
            self._samples.append((now, self._count()))
        while len(self._samples) > 2 and now - self._samples[1][0] > WINDOW_S:
            self._samples.popleft()

    def per_second(self) -> float:
        """Events a second since the oldest reading that is kept."""
        self.sample()
        then, before = self._samples[0]
        elapsed = self._clock() - then
        return round((self._count() - before) / elapsed, 1) if elapsed > 0 else 0.0
