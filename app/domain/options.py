"""What the engine needs to know about a deployment, as one frozen value handed down from the
settings."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain import limits
from app.domain.streams import DEFAULT_STREAMS, Stream


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Everything besides the definitions that the answer depends on. All durations are
    milliseconds.

    `timezone` names an IANA zone for calendar windows; `session_gap_ms` is the silence that ends a
    session. An event older than the partition's watermark by more than `allowed_lateness_ms` is
    refused. `reorder` keeps, for each user, what is needed to let a late event take its place by
    timestamp; an input that is sorted beforehand (replay) does not need it.
    """

    streams: tuple[Stream, ...] = DEFAULT_STREAMS
    timezone: str = "UTC"
    session_gap_ms: int = 30 * limits.MINUTE_MS
    allowed_lateness_ms: int = limits.HOUR_MS
    max_future_ms: int = 5 * limits.MINUTE_MS
    dedupe_window_ms: int = limits.DAY_MS
    dedupe_ids_max: int = limits.DEDUPE_IDS_MAX
    max_points: int = limits.MAX_POINTS
    reorder: bool = True
    reorder_events_max: int = limits.REORDER_EVENTS_MAX
