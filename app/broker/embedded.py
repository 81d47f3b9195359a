"""The embedded broker: librdkafka's mock cluster, a Kafka-protocol broker inside this process, for
trying and testing.

It needs nothing but the confluent-kafka wheel and is reachable by any Kafka client on a loopback
port. What it does not do: it keeps nothing on disk, holds about 5 MiB or 100,000 messages a
partition, shows aborted records, compacts nothing, and has no CreateTopics: a topic comes into
being, with PARTITIONS partitions, when a client first asks for its metadata.
"""

from __future__ import annotations

import logging
from typing import Self

from confluent_kafka import KafkaException, Producer

from app.domain.errors import Unreachable

PARTITIONS = 4  # librdkafka's own default for mock topics; the binding has no property to change it
_READY_S = 10.0


class EmbeddedBroker:
    """`with EmbeddedBroker() as broker:` gives `broker.bootstrap`; the broker lives until the block
    ends (or `stop`)."""

    def __init__(self) -> None:
        self.bootstrap = ""
        self._owner: Producer | None = None

    def start(self) -> Self:
        """Starts it; raises Unreachable when librdkafka cannot."""
        quiet = logging.getLogger("librdkafka.mock")
        # It warns that bootstrap.servers is ignored, which is the point.
        quiet.setLevel(logging.ERROR)
        owner = Producer({"bootstrap.servers": "embedded", "test.mock.num.brokers": "1"}, logger=quiet)
        try:
            brokers = owner.list_topics(timeout=_READY_S).brokers
        except KafkaException as error:
            raise Unreachable(
                f"embedded broker: did not start: {error.args[0]}; use hyperseg broker instead"
            ) from error
        self.bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in brokers.values())
        self._owner = owner
        return self

    def stop(self) -> None:
        """Stops it, and with it everything it held."""
        # The mock cluster is the producer's: it goes when the producer is collected.
        self._owner = None
        self.bootstrap = ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
