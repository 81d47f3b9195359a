"""Writes keyed records to topics as fast as a broker takes them: for loading logs and for the
simulated shop, not for the workers."""

from __future__ import annotations

import logging
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from app.broker.security import Security
from app.domain.errors import InputError, Unreachable

_GIVE_UP_MS = 60_000
_POLL_S = 0.5
_log = logging.getLogger("librdkafka.publisher")
_log.setLevel(logging.ERROR)


class Publisher:
    """A producer that keeps order and writes each record once. As a context manager it flushes at
    the end.

    Every method raises Unreachable once a record could not be delivered: what was written before it
    stays written.
    """

    def __init__(self, bootstrap: str, security: Security | None = None) -> None:
        self.delivered = 0
        self._bootstrap = bootstrap
        self._failed: KafkaError | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                # What Java's clients use, and so what keeps a user in one partition for all.
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 5,
                "message.timeout.ms": _GIVE_UP_MS,
                **(security or Security()).librdkafka_options(),
            },
            logger=_log,
        )

    def put(self, topic: str, key: bytes | None, value: bytes) -> None:
        """Hands one record over; waits while too many are under way."""
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=self._on_delivery)
                break
            except KafkaException as error:  # what the client refuses by itself: a record too large for any broker
                raise InputError(
                    f"topic {topic}: a record of {len(value)} bytes: {error.args[0].str()}; leave it out"
                ) from error
            except BufferError:
                self._producer.poll(_POLL_S)
                self._check()
        self._producer.poll(0)
        self._check()

    def flush(self) -> None:
        """Waits until everything handed over is written."""
        while self._producer.flush(_POLL_S):
            self._check()
        self._check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is None:
            self.flush()
        else:
            self._producer.purge()
            self._producer.flush(_POLL_S)

    def _on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.delivered += 1
        elif self._failed is None:
            self._failed = error

    def _check(self) -> None:
        if self._failed is not None:
            why = self._failed.str()
            raise Unreachable(
                f"broker {self._bootstrap}: a record was not written: {why}; {self.delivered} were; mend "
                "the broker or --broker"
            )
