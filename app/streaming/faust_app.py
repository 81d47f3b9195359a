"""The Faust application: its settings, and the transport of record batches installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import faust
from yarl import URL

from app.streaming.transport import ChunkTransport

_FOREVER_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class FaustOptions:
    """What the Faust app is told. Durations are milliseconds; `advertised` is the URL other workers
    reach this one by."""

    app_id: str
    bootstrap: str
    client_options: Mapping[str, Any]
    topics: Sequence[str]
    partitions: int
    data_dir: str
    advertised: str
    web_host: str
    web_port: int
    session_timeout_ms: int
    heartbeat_interval_ms: int
    rebalance_timeout_ms: int


def create_app(options: FaustOptions) -> faust.App:
    """A Faust app without tables, without its own web server's pages, committing nothing. Call with
    the event loop running."""
    session_s = options.session_timeout_ms / 1000
    app = faust.App(
        options.app_id,
        broker=[URL(f"kafka://{host}") for host in options.bootstrap.split(",")],
        store="memory://",
        datadir=options.data_dir,
        topic_partitions=options.partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        reply_create_topic=False,
        autodiscover=False,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        stream_processing_timeout=_FOREVER_S,
        broker_commit_livelock_soft_timeout=_FOREVER_S,
        broker_commit_interval=60.0,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=options.heartbeat_interval_ms / 1000,
        broker_rebalance_timeout=options.rebalance_timeout_ms / 1000,
        broker_request_timeout=max(40.0, session_s + 10.0),
        broker_max_poll_interval=_FOREVER_S,
        consumer_auto_offset_reset="earliest",
        canonical_url=options.advertised,
        web_bind=options.web_host,
        web_port=options.web_port,
        worker_redirect_stdouts=False,
    )
    transport = ChunkTransport(app.conf.broker_consumer, app)
    transport.bootstrap = options.bootstrap
    transport.client_options = options.client_options
    transport.input_topics = tuple(options.topics)
    app.transport = transport
    return app
