"""What the streaming path counts. Label children are bound once, and nothing here is called per event: a commit is the unit."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from app.streaming.records import Batch

_COMMIT_BUCKETS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 5.0)
_RECENT_COMMITS = 1_024


class StreamMetrics:
    """The worker's numbers on `registry` (one set for each registry)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter("hyperseg_events", "Events and fired timers committed", ["partition"], registry=registry)
        self._changes = Counter("hyperseg_changes", "Changes of membership committed", ["partition"], registry=registry)
        self._letters = Counter("hyperseg_dead_letters", "Records refused", ["reason"], registry=registry)
        self._commits = Histogram(
            "hyperseg_commit_seconds", "Time to a commit in the log", ["partition"], registry=registry, buckets=_COMMIT_BUCKETS
        )
        self._stores = Histogram("hyperseg_store_seconds", "Time of a commit's store write", registry=registry, buckets=_COMMIT_BUCKETS)
        self._watermark = Gauge("hyperseg_watermark_seconds", "The partition's watermark, epoch seconds", ["partition"], registry=registry)
        self.lag = Gauge("hyperseg_lag_records", "Records not processed yet", ["partition"], registry=registry)
        self.restarts = Counter("hyperseg_partition_restarts", "Sessions of partition tasks begun", ["partition"], registry=registry)
        self.recent_commit_s: deque[float] = deque(maxlen=_RECENT_COMMITS)
        self.events_total = 0
        self.changes_total = 0

    def partition(self, partition: int) -> PartitionMetrics:
        """The bound children of one partition."""
        return PartitionMetrics(self, str(partition))

    def refused(self, reason: str, count: int) -> None:
        """`count` records went to the dead letters."""
        self._letters.labels(reason).inc(count)


class PartitionMetrics:
    """One partition's numbers."""

    def __init__(self, of: StreamMetrics, label: str) -> None:
        self._of = of
        self._events = of._events.labels(label)
        self._changes = of._changes.labels(label)
        self._commits = of._commits.labels(label)
        self._watermark = of._watermark.labels(label)
        self.session = of.restarts.labels(label)

    def committed(self, batch: Batch, log_s: float, store_s: float) -> None:
        """One commit: the time until it was in the log, and the time of the store's write behind it."""
        of = self._of
        self._events.inc(batch.weight)
        self._changes.inc(len(batch.changes))
        self._commits.observe(log_s)
        self._watermark.set(batch.watermark / 1000)
        of._stores.observe(store_s)
        of.recent_commit_s.append(log_s)
        of.events_total += batch.weight
        of.changes_total += len(batch.changes)
        for letter in batch.letters:
            of.refused(letter.reason, 1)
