"""What the web counts: once an answer, once a piece written to a stream; label children of routes
are bound once.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class WebMetrics:
    """The web's numbers on `registry` (one set for each registry)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "hyperseg_http_requests", "Answers by route and status", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "hyperseg_http_seconds",
            "Time to the answer's head",
            ["route"],
            registry=registry,
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10),
        )
        self._forwarded = Counter(
            "hyperseg_http_forwarded", "Requests to other workers by outcome", ["outcome"], registry=registry
        )
        self.streams = Gauge("hyperseg_streams_open", "Open streams of changes", registry=registry)
        self.streamed = Counter("hyperseg_streams_changes", "Changes written to streams", registry=registry)
        self._dropped = Counter(
            "hyperseg_streams_dropped", "Streams that were ended by the server", ["reason"], registry=registry
        )
        self._bound: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """One answer of the route (its template, so the labels stay few)."""
        bound = self._bound.get((route, status))
        if bound is None:
            bound = self._bound[route, status] = (
                self._requests.labels(route, str(status)),
                self._seconds.labels(route),
            )
        bound[0].inc()
        bound[1].observe(seconds)

    def forwarded(self, outcome: str) -> None:
        """One request to another worker: ok · timeout · failed · loop."""
        self._forwarded.labels(outcome).inc()

    def dropped(self, reason: str) -> None:
        """One stream ended: behind · stuck · closing."""
        self._dropped.labels(reason).inc()
