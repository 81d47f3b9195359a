"""Is there a Kafka at an address?"""

from __future__ import annotations

import logging

from confluent_kafka import KafkaException, Producer

_SILENT = logging.getLogger("librdkafka.probe")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False  # "connection refused" is an answer here, not an event to log


def answers(bootstrap: str, timeout_s: float = 2.0) -> bool:
    """Does a broker at `bootstrap` (without TLS or password) answer a metadata request within
    `timeout_s`?"""
    client = Producer({"bootstrap.servers": bootstrap, "socket.timeout.ms": 2_000}, logger=_SILENT)
    try:
        return bool(client.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False
