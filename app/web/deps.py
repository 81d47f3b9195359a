"""What a worker hands to its web application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from app.web.feed import ChangeFeed
from app.web.ports import Cluster, LocalState


@dataclass(slots=True)
class WebDeps:
    """Everything `build_app` is handed.

    `clock` is the wall clock in epoch milliseconds; `registry` is what `/metrics` shows.
    """

    state: LocalState
    cluster: Cluster
    feed: ChangeFeed
    clock: Callable[[], int]
    version: str
    title: str = "hyperseg"
    bind: str = "127.0.0.1"
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
