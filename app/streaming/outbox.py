"""Writing one commit to Kafka: changes, dead letters, the changelog and the consumed offsets, all
or nothing.

One transactional id for each partition's task, so that a task that lost its partition is fenced by
its successor. (aiokafka sends no group generation with the offsets; one producer for the whole
worker would not be fenced.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerFenced, RecordTooLargeError

from app.streaming.records import Message

BATCH_BYTES_MAX = 768 * 1024  # uncompressed; brokers take 1 MiB unless told otherwise
_RETRY_BACKOFF_MS = 5  # the default 100 ms doubles the 99th percentile of a commit
_CLOSE_S_MAX = 3.0


class Fenced(Exception):
    """Another task took over this partition's transactional id; nothing of this commit is in the
    log."""


class TooLarge(Exception):
    """The broker takes no record of this size; nothing of this commit is in the log."""


@dataclass(frozen=True, slots=True)
class Link:
    """How to reach the broker: `options` are aiokafka's security arguments."""

    bootstrap: str
    options: Mapping[str, Any] = field(default_factory=dict)


class Outbox:
    """The producer of one partition's task. `transactional_id` None: no transactions, each call is
    at least once."""

    def __init__(self, link: Link, transactional_id: str | None, timeout_ms: int) -> None:
        self._link = link
        self._id = transactional_id
        self._timeout_ms = timeout_ms
        self._producer: Any = None

    async def open(self) -> None:
        """Connects, and fences whoever had the transactional id before: what that one left open is
        aborted."""
        extra = (
            {"transactional_id": self._id, "transaction_timeout_ms": self._timeout_ms}
            if self._id
            else {"enable_idempotence": True}
        )
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._link.bootstrap,
            compression_type="lz4",
            max_batch_size=BATCH_BYTES_MAX,
            retry_backoff_ms=_RETRY_BACKOFF_MS,
            **extra,
            **self._link.options,
        )
        await self._producer.start()

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        return len(await self._producer.partitions_for(topic))

    async def commit(
        self,
        messages: Mapping[tuple[str, int], Sequence[Message]],
        last: Mapping[tuple[str, int], Sequence[Message]],
        offsets: Mapping[TopicPartition, int],
        group: str,
    ) -> int:
        """Writes `messages` and `last` by (topic, partition) and the group's offsets.

        With transactions all of it becomes visible at once or not at all; without them `last` is
        written when `messages` are in the log. Gives the offset behind the end of `last`, which is
        for one partition. Raises Fenced, TooLarge or another KafkaError; after any of them the
        outbox must be closed and opened anew.
        """
        try:
            if self._id:
                return await self._in_transaction({**messages, **last}, offsets, group)
            await self._send(messages)
            return await self._send(last)
        except ProducerFenced as error:
            raise Fenced(str(error)) from error
        except (MessageSizeTooLargeError, RecordTooLargeError) as error:
            raise TooLarge(str(error)) from error

    async def _in_transaction(
        self, messages: Mapping[tuple[str, int], Sequence[Message]], offsets: Mapping[TopicPartition, int], group: str
    ) -> int:
        producer = self._producer
        await producer.begin_transaction()
        work = [self._send(messages)]
        if offsets:
            work.append(producer.send_offsets_to_transaction(dict(offsets), group))
        end, *_ = _results(await asyncio.gather(*work, return_exceptions=True))
        await producer.commit_transaction()
        return int(end)

    async def _send(self, messages: Mapping[tuple[str, int], Sequence[Message]]) -> int:
        """Gives the offset behind the last record of the last partition."""
        futures, count = [], 0
        for (topic, partition), records in messages.items():
            for batch in self._batches(records):
                futures.append(await self._producer.send_batch(batch, topic, partition=partition))
                count = batch.record_count()
        *_, last = _results(await asyncio.gather(*futures, return_exceptions=True)) or [None]
        return last.offset + count if last else 0

    def _batches(self, records: Sequence[Message]) -> list[Any]:
        """One record batch, or several where one would be larger than a broker takes."""
        batches = []
        batch = None
        for key, value, headers in records:
            if batch is None or batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                batch = self._producer.create_batch()
                batches.append(batch)
                batch.append(timestamp=None, key=key, value=value, headers=headers)
        for batch in batches:
            batch.close()
        return batches

    async def close(self) -> None:
        """Disconnects; a transaction that is open is left to be aborted by the next `open`. Never
        raises, never waits long."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        # Without the broker a producer's own stop waits for it; what is unsent here is void anyway.
        producer._message_accumulator.fail_all(KafkaError("closed"))
        if self._id and (waiter := producer._txn_manager._transaction_waiter) and waiter.done():
            waiter.exception()  # told already; asyncio would tell it again
        with suppress(Exception):
            async with asyncio.timeout(_CLOSE_S_MAX):
                await producer.stop()


def _results(results: Sequence[Any]) -> Sequence[Any]:
    """The results, or raises the first failure; a fence before all others, which may only be its
    consequences."""
    failures = [result for result in results if isinstance(result, BaseException)]
    for failure in sorted(failures, key=lambda f: not isinstance(f, ProducerFenced)):
        raise failure
    return results
