"""Reading a partition's changelog into its store: the tail after a restart, all of it onto an empty
disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from app.observability.logs import get_logger
from app.streaming.outbox import Link
from app.streaming.recovery import ForeignLog, LogRecord, Rebuilder

log = get_logger(__name__)

_READ_RECORDS_MAX = 2_000  # applied in one write; about 50 ms of work in the thread
_FETCH_BYTES = 4 * 1024 * 1024
_REPORT_S = 5.0

Progress = Callable[[int, int], None]


class Restore:
    """Brings `rebuilder`'s store up to the end that the changelog partition has when `run` begins.

    `progress` is called with (records read, records left).
    """

    def __init__(self, link: Link, tp: TopicPartition, rebuilder: Rebuilder, progress: Progress) -> None:
        self._link = link
        self._tp = tp
        self._rebuilder = rebuilder
        self._store = rebuilder.store
        self._progress = progress
        self._read = 0

    async def run(self) -> int:
        """Gives the number of records read. Raises KafkaError when the broker cannot be read."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._link.bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=100,
            # Brokers check what they take; the embedded one writes transaction markers without a
            # valid checksum.
            check_crcs=False,
            **self._link.options,
        )
        await consumer.start()
        try:
            consumer.assign([self._tp])
            await self._with(consumer)
        finally:
            with suppress(Exception):
                await consumer.stop()
        return self._read

    async def _with(self, consumer: AIOKafkaConsumer) -> None:
        end = (await consumer.end_offsets([self._tp]))[self._tp]
        first = (await consumer.beginning_offsets([self._tp]))[self._tp]
        if not first <= self._store.meta.reached <= end and self._store.meta.reached:
            await self._begin_anew(
                f"it reaches from {first} to {end}, this store had reached {self._store.meta.reached}"
            )
        try:
            await self._read_to(consumer, max(first, self._store.meta.reached), end)
        except (ForeignLog, OffsetOutOfRangeError) as error:
            await self._begin_anew(str(error))
            await self._read_to(consumer, first, end)

    async def _begin_anew(self, why: str) -> None:
        log.warning(
            "the changelog is not this store's; the store is dropped and restored in full",
            partition=self._tp.partition,
            why=why,
        )
        await asyncio.to_thread(self._store.wipe)

    async def _read_to(self, consumer: AIOKafkaConsumer, start: int, end: int) -> None:
        consumer.seek(self._tp, start)
        began = reported = time.monotonic()
        position = start
        while position < end:
            fetched = await consumer.getmany(self._tp, timeout_ms=500, max_records=_READ_RECORDS_MAX)
            position = await consumer.position(self._tp)
            records = [LogRecord(r.offset, r.key, r.value) for batch in fetched.values() for r in batch]
            if records or position >= end:
                await asyncio.to_thread(self._rebuilder.apply, records, position)
            self._read += len(records)
            self._progress(self._read, end - position)
            if time.monotonic() - reported > _REPORT_S:
                reported = time.monotonic()
                self._report(reported - began, position - start, end - position)

    def _report(self, seconds: float, done: int, left: int) -> None:
        rate = done / seconds
        eta = round(left / rate) if rate else None
        log.info("restoring", partition=self._tp.partition, records_per_s=round(rate), left=left, eta_s=eta)
