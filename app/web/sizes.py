"""How large the segments were, as far as it was measured: one number a bucket of time, of the
last hour, in memory.

    slot     0     1     2     3   …    a ring: bucket n has slot n mod length
    bucket   812   813   ·     808 …    the bucket last measured in the slot
    engaged  147   148   ·     139 …    people at the last measure in the bucket
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from app.web import limits

_NEVER = -(2**62)  # no instant has this bucket


class SizeHistory:
    """People by segment over time.

    What was not measured is None, never guessed. Instants are epoch milliseconds.
    """

    def __init__(self, buckets: int = limits.RATE_BUCKETS_MAX) -> None:
        self._buckets = array("q", [_NEVER]) * buckets
        self._by_segment: dict[str, array[int]] = {}

    def record(self, at: int, people: Mapping[str, int]) -> None:
        """What was measured at `at`; a segment that is not in `people` has none.

        A later measure of the same bucket replaces it.
        """
        bucket = at // limits.RATE_BUCKET_MS
        slot = bucket % len(self._buckets)
        self._buckets[slot] = bucket
        for name in people:
            if name not in self._by_segment:
                self._by_segment[name] = array("q", [0]) * len(self._buckets)
        for name, sizes in self._by_segment.items():
            sizes[slot] = people.get(name, 0)

    def series(self, segment: str, now: int, points: int) -> list[int | None]:
        """The sizes of the newest `points` buckets up to that of `now`, oldest first."""
        last, count, sizes = now // limits.RATE_BUCKET_MS, len(self._buckets), self._by_segment.get(segment)
        found: list[int | None] = []
        for bucket in range(last - points + 1, last + 1):
            slot = bucket % count
            measured = self._buckets[slot] == bucket
            found.append((0 if sizes is None else sizes[slot]) if measured else None)
        return found

    def since(self, now: int) -> int | None:
        """The beginning of the oldest bucket that is kept and was measured; None without any."""
        oldest = now // limits.RATE_BUCKET_MS - len(self._buckets)
        kept = [bucket for bucket in self._buckets if bucket > oldest]
        return min(kept) * limits.RATE_BUCKET_MS if kept else None
