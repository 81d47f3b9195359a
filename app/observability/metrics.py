"""What the streaming path counts, for Prometheus.

A commit is the unit: no method here is called for an event. The children of every label are bound
when a partition (or this object) is made. Lag and watermark are not counted but read, at the moment
of a scrape, so they are right in silence too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.domain.decode import REASONS
from app.domain.errors import RefusalReason

_COMMIT_BUCKETS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 5.0)
_RECENT_COMMITS = 1_024


class PartitionNow(NamedTuple):
    """Where a partition of this worker is: records not processed yet, and its watermark (epoch ms,
    0 before the first event)."""

    partition: int
    lag: int
    watermark_ms: int


class StreamMetrics:
    """The worker's numbers on `registry` (one set for each registry), with those of its process:
    memory, CPU, open files.

    `recent_commit_s`: seconds of the latest commits, the newest last. `events_total` and
    `changes_total` are sums over partitions.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "hyperseg_events", "Events taken and timers fired, committed", ["partition"], registry=registry
        )
        self.changes = Counter("hyperseg_changes", "Changes of membership committed", ["partition"], registry=registry)
        self.commits = Histogram(
            "hyperseg_commit_seconds",
            "Time to a commit in the log",
            ["partition"],
            registry=registry,
            buckets=_COMMIT_BUCKETS,
        )
        self.stores = Histogram(
            "hyperseg_store_seconds", "Time of a commit's store write", registry=registry, buckets=_COMMIT_BUCKETS
        )
        self.sessions = Counter(
            "hyperseg_partition_restarts",
            "Sessions of partition tasks begun, the first included",
            ["partition"],
            registry=registry,
        )
        letters = Counter("hyperseg_dead_letters", "Records refused", ["reason"], registry=registry)
        self.letters = {reason: letters.labels(reason) for reason in REASONS}
        self._definitions = Gauge("hyperseg_definitions", "Segments and groups in force", registry=registry)
        self._refused = Gauge(
            "hyperseg_definitions_refused", "Definitions refused when those in force were loaded", registry=registry
        )
        self._now = _PartitionsNow()
        registry.register(self._now)
        ProcessCollector(registry=registry)
        self.recent_commit_s: deque[float] = deque(maxlen=_RECENT_COMMITS)
        self.events_total = 0
        self.changes_total = 0

    def partition(self, partition: int) -> PartitionMetrics:
        """The bound children of one partition."""
        return PartitionMetrics(self, str(partition))

    def read_partitions(self, read: Callable[[], Iterable[PartitionNow]]) -> None:
        """From here on a scrape asks `read` for the partitions that are here and at work."""
        self._now.read = read

    def loaded(self, in_force: int, refused: int) -> None:
        """Definitions were loaded: so many are in force, so many were refused."""
        self._definitions.set(in_force)
        self._refused.set(refused)


class PartitionMetrics:
    """One partition's numbers."""

    def __init__(self, of: StreamMetrics, label: str) -> None:
        self._of = of
        self._events = of.events.labels(label)
        self._changes = of.changes.labels(label)
        self._commits = of.commits.labels(label)
        self._sessions = of.sessions.labels(label)

    def session_began(self) -> None:
        """The partition's task begins, for the first time or after something went wrong."""
        self._sessions.inc()

    def committed(
        self, events: int, changes: int, refused: Mapping[RefusalReason, int], log_s: float, store_s: float
    ) -> None:
        """One commit: what was in it, the seconds until it was in the log, and those of the store's
        write behind it."""
        of = self._of
        self._events.inc(events)
        self._changes.inc(changes)
        self._commits.observe(log_s)
        of.stores.observe(store_s)
        of.recent_commit_s.append(log_s)
        of.events_total += events
        of.changes_total += changes
        for reason, count in refused.items():
            of.letters[reason].inc(count)


class _PartitionsNow(Collector):
    """Lag and watermark of the partitions that are here when it is asked; one that left, or is not
    at work, has no sample."""

    def __init__(self) -> None:
        self.read: Callable[[], Iterable[PartitionNow]] = tuple

    def describe(self) -> Iterator[Metric]:
        yield from _families()

    def collect(self) -> Iterator[Metric]:
        lag, watermark = _families()
        for now in self.read():
            lag.add_metric([str(now.partition)], now.lag)
            if now.watermark_ms:
                watermark.add_metric([str(now.partition)], now.watermark_ms / 1000)
        yield lag
        yield watermark


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily("hyperseg_lag_records", "Records not processed yet", labels=["partition"]),
        GaugeMetricFamily(
            "hyperseg_watermark_seconds", "The partition's watermark, epoch seconds", labels=["partition"]
        ),
    )
