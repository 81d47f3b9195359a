"""How many entered and left each segment, minute by minute, counted from the changes as they
pass."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Iterator

from app.web import limits


class Rates:
    """Counts of the last hour in buckets of `RATE_BUCKET_MS`, by segment name. A `moved` counts as
    leaving one and entering another.

    Buckets are by the wall clock at emission: they say what the system did when. Flapping is by the
    changes' own instants.
    """

    def __init__(self) -> None:
        self._buckets: deque[tuple[int, dict[str, list[int]]]] = deque(maxlen=limits.RATE_BUCKETS_MAX)
        self._last: OrderedDict[tuple[str, str, object], int] = OrderedDict()

    def add(self, emitted_at: int, at: int, user: str, value: object, entered: str | None, exited: str | None) -> None:
        """One change: the segment entered, the one left, or (a move) both."""
        bucket = self._bucket(emitted_at - emitted_at % limits.RATE_BUCKET_MS)
        if bucket is None:
            return
        for name, index in ((entered, 0), (exited, 1)):
            if name is not None:
                counts = bucket.get(name)
                if counts is None:
                    counts = bucket[name] = [0, 0, 0]
                counts[index] += 1
                counts[2] += self._flapped(at, user, name, value)

    def per_minute(self, segment: str, now: int) -> tuple[int, int]:
        """(entered, exited) in the minute before `now`."""
        entered = exited = 0
        for start, counts in reversed(self._buckets):
            if start <= now - 60_000:
                break
            found = counts.get(segment)
            if found is not None:
                entered += found[0]
                exited += found[1]
        return entered, exited

    def all_per_minute(self, now: int) -> int:
        """Entries and exits of all segments in the minute before `now`."""
        recent = itertools.takewhile(lambda bucket: bucket[0] > now - 60_000, reversed(self._buckets))
        return sum([counts[0] + counts[1] for _, by_segment in recent for counts in by_segment.values()])

    def series(self, segment: str, now: int, points: int) -> list[tuple[int, int, int]]:
        """The newest `points` buckets up to `now`, oldest first: (start, entered, exited), zeros
        where nothing happened.
        """
        last = now - now % limits.RATE_BUCKET_MS
        have = {start: counts.get(segment) for start, counts in self._buckets}
        starts = range(last - (points - 1) * limits.RATE_BUCKET_MS, last + 1, limits.RATE_BUCKET_MS)
        return [(start, *_two(have.get(start))) for start in starts]

    def flap_rate(self, segment: str) -> float | None:
        """Of the last hour's changes of a segment the share that undid a change younger than
        `FLAP_WITHIN_MS`; None without any.
        """
        total = flapped = 0
        for counts in self._of(segment):
            total += counts[0] + counts[1]
            flapped += counts[2]
        return flapped / total if total else None

    def _of(self, segment: str) -> Iterator[list[int]]:
        for _, counts in self._buckets:
            found = counts.get(segment)
            if found is not None:
                yield found

    def _bucket(self, start: int) -> dict[str, list[int]] | None:
        """The bucket of an instant; None for one older than all that are kept.

        Partitions may run a little apart, so it looks back.
        """
        if not self._buckets or start > self._buckets[-1][0]:
            self._buckets.append((start, {}))
        for known, counts in reversed(self._buckets):
            if known == start:
                return counts
            if known < start:
                break
        return None if len(self._buckets) == limits.RATE_BUCKETS_MAX else self._insert(start)

    def _insert(self, start: int) -> dict[str, list[int]]:
        index = sum(1 for known, _ in self._buckets if known < start)
        fresh: dict[str, list[int]] = {}
        self._buckets.insert(index, (start, fresh))
        return fresh

    def _flapped(self, at: int, user: str, segment: str, value: object) -> int:
        key = (user, segment, value)
        before = self._last.pop(key, None)
        self._last[key] = at
        if len(self._last) > limits.FLAP_USERS_MAX:
            self._last.popitem(last=False)
        return int(before is not None and at - before < limits.FLAP_WITHIN_MS)


def _two(counts: list[int] | None) -> tuple[int, int]:
    return (counts[0], counts[1]) if counts else (0, 0)
