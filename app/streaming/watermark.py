"""Event time of one partition. Pure: wall-clock instants are arguments.

The watermark is the largest ts processed. With `clock: wall` it is also never behind (the instant
at which the broker was asked and had nothing more) − grace, once everything readable is merged.
That instant, not "now": a worker that was frozen for a minute, or cut off from its broker, must not
let time pass over events it has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.limits import NEVER
from app.streaming.merge import Lane


@dataclass(frozen=True, slots=True)
class Clock:
    """How time passes: `wall` or, when false, with events only. All in milliseconds."""

    wall: bool = True
    grace_ms: int = 500
    allowed_lateness_ms: int = 3_600_000
    max_future_ms: int = 300_000

    def latest(self, now: int) -> int:
        """The largest ts that is taken at the wall-clock instant `now`; beyond it: `in_future`."""
        return now + self.max_future_ms if self.wall else NEVER

    def earliest(self, watermark: int) -> int:
        """The smallest ts that is taken at this watermark; below it: `too_late`."""
        return watermark - self.allowed_lateness_ms

    def in_silence(self, lanes: Sequence[Lane]) -> int:
        """The watermark that silence alone has earned; 0 when something readable is still
        unread."""
        if not self.wall or not all(lane.drained for lane in lanes):
            return 0
        return min(lane.asof for lane in lanes) - self.grace_ms
