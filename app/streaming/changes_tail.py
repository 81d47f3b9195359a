"""Every worker reads all of `segment-changes` again, from its end on, for the people who watch: no
consumer group, no commits.

It never ends and never stops a worker: while the broker is gone it says so once, tries again, and
goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from app.broker.security import Security
from app.domain.errors import Unreachable

START_RECORDS = 500  # a partition's newest, read at start: a new worker's console is not empty
BATCH_RECORDS = 1_000  # one append each, about 3 µs: 3 ms of the event loop at a time
POLL_MS = 250
CHECK_S = 10.0  # how often new partitions and a topic made anew are looked for
RETRY_S_MIN, RETRY_S_MAX = 0.5, 10.0
REQUEST_MS = 10_000
HISTORY_S_MAX = 30.0  # one read of the past; a broker that needs longer is not answering

_log = logging.getLogger(__name__)
_FAULTS = (KafkaError, OSError, TimeoutError)


class Feed(Protocol):
    """What the tail fills: the web's `ChangeFeed`."""

    heads: dict[int, int]
    history: Any

    def begin(self, starts: Mapping[int, int]) -> None: ...
    def append(self, partition: int, offset: int, raw: bytes) -> None: ...
    def notify(self) -> None: ...


class ChangesTail:
    """`await tail.run()` in a task until the worker stops. It is the feed's `history` too: the
    topic read from an older place.

    Only committed changes are shown (on the embedded broker, which isolates nothing, all are).
    """

    def __init__(
        self,
        feed: Feed,
        bootstrap: str,
        topic: str,
        security: Security | None = None,
        start_records: int = START_RECORDS,
    ) -> None:
        self._feed = feed
        self._bootstrap = bootstrap
        self._topic = topic
        self._security = security or Security()
        self._start_records = start_records
        self.trouble: str | None = None
        feed.history = self

    async def run(self) -> None:
        """Follow the topic until cancelled."""
        pause = RETRY_S_MIN
        while True:
            try:
                async with self._consumer() as consumer:
                    await self._follow(consumer)
            except Exception as error:  # whatever it is, the next try may do better, and nobody else would start one
                pause = RETRY_S_MIN if self.trouble is None else min(pause * 2, RETRY_S_MAX)
                self._say(f"live changes: broker {self._bootstrap}: {type(error).__name__}: {error}; trying again")
                await asyncio.sleep(pause)

    # --- live ------------------------------------------------------------------------------------
    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        """Read until the topic's partitions are others than those that were assigned."""
        partitions = await self._partitions(consumer)
        consumer.assign(partitions)
        await self._seek(consumer, partitions)
        self._well()
        loop = asyncio.get_running_loop()
        check_at = loop.time() + CHECK_S
        while True:
            for number, offset, raw in _records(await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_RECORDS)):
                self._feed.append(number, offset, raw)
            self._feed.notify()
            if loop.time() > check_at:
                check_at = loop.time() + CHECK_S
                if not await self._same(consumer, partitions):
                    return

    async def _seek(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Where each partition was left; a new one a bounded distance before its end."""
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
        starts = {tp.partition: self._start(tp.partition, begins[tp], ends[tp]) for tp in partitions}
        self._feed.begin(starts)
        for tp in partitions:
            consumer.seek(tp, starts[tp.partition])

    def _start(self, partition: int, begin: int, end: int) -> int:
        head = self._feed.heads.get(partition)
        wanted = head if head is not None and head <= end else end - self._start_records
        return max(begin, wanted, 0)

    async def _same(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> bool:
        """Whether the topic is still the one that is followed: no partition more, none made anew
        (its end before our place)."""
        if await self._partitions(consumer) != partitions:
            return False
        ends = await consumer.end_offsets(partitions)
        return all(self._feed.heads.get(tp.partition, 0) <= end for tp, end in ends.items())

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        """The topic's partitions, waited for while there are none yet."""
        while True:
            await consumer._client.force_metadata_update()
            numbers = consumer.partitions_for_topic(self._topic)
            if numbers:
                return [TopicPartition(self._topic, number) for number in sorted(numbers)]
            await asyncio.sleep(RETRY_S_MIN)

    # --- the past --------------------------------------------------------------------------------
    async def read(self, start: Mapping[int, int], end: Mapping[int, int]) -> AsyncIterator[tuple[int, int, bytes]]:
        """(partition, offset, value) with start[p] ≤ offset < end[p], in order within a partition;
        what is gone is skipped.

        Raises Unreachable when the broker cannot be asked or needs longer than `HISTORY_S_MAX` for
        the next record.
        """
        try:
            async with self._consumer() as consumer:
                left = await self._place(consumer, start, end)
                while left:
                    async with asyncio.timeout(HISTORY_S_MAX):
                        batch = await consumer.getmany(*left, timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
                    for number, offset, raw in _records(batch):
                        if offset < end[number]:
                            yield number, offset, raw
                    left = [tp for tp in left if await consumer.position(tp) < end[tp.partition]]
        except _FAULTS as error:
            raise Unreachable(
                f"broker {self._bootstrap}: {type(error).__name__} while older changes were read"
            ) from error

    async def _place(
        self, consumer: AIOKafkaConsumer, start: Mapping[int, int], end: Mapping[int, int]
    ) -> list[TopicPartition]:
        partitions = [TopicPartition(self._topic, number) for number in sorted(start)]
        await self._partitions(consumer)
        consumer.assign(partitions)
        begins = await consumer.beginning_offsets(partitions)
        for tp in partitions:
            consumer.seek(tp, max(begins[tp], start[tp.partition]))
        return [tp for tp in partitions if max(begins[tp], start[tp.partition]) < end[tp.partition]]

    async def ends(self) -> Mapping[int, int]:
        """For each partition the offset its next record gets. Raises Unreachable when the broker
        cannot be asked."""
        try:
            async with asyncio.timeout(HISTORY_S_MAX), self._consumer() as consumer:
                found = await consumer.end_offsets(await self._partitions(consumer))
        except _FAULTS as error:
            raise Unreachable(f"broker {self._bootstrap}: {type(error).__name__}") from error
        return {tp.partition: offset for tp, offset in found.items()}

    # --- around ----------------------------------------------------------------------------------
    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=POLL_MS,
            # Brokers check what they take; the embedded one writes transaction markers without a
            # valid checksum.
            check_crcs=False,
            request_timeout_ms=REQUEST_MS,
            **self._security.aiokafka_options(),
        )
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()

    def _say(self, trouble: str) -> None:
        if self.trouble is None:
            _log.warning(trouble)
        self.trouble = trouble

    def _well(self) -> None:
        if self.trouble is not None:
            _log.info("live changes: the broker answers again")
        self.trouble = None


def _records(batch: MutableMapping[TopicPartition, Any]) -> Iterator[tuple[int, int, bytes]]:
    for tp, records in batch.items():
        for record in records:
            if record.value is not None:
                yield tp.partition, record.offset, record.value
