"""The Faust transport that hands over record batches: one message a round, with a chunk for each
partition.

Faust keeps what it is good at: the consumer group, its sticky co-partitioned assignor with the
workers' addresses in it, lifecycle, agents. Overridden, each with a test that fails when Faust's
or aiokafka's own changes:

- `getmany` yields one message a round instead of one a record (a stock event costs four tasks,
about 60 µs);
- offsets: nothing is acknowledged to Faust and it commits nothing, because offsets belong into
the partition tasks' transactions;
- seeking: partition tasks seek, once they know from where; until then every assigned partition
is paused;
- the aiokafka consumer: reads committed records only, waits 100 ms at the most for a fetch
(Faust: 1.5 s, for which a resumed partition would have to wait), and always has Faust's assignor
(Faust: only where there are tables).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import aiokafka
import faust
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, NoError, RebalanceInProgressError, for_code
from aiokafka.protocol.group import HeartbeatRequest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from app.streaming.fetching import EARLIEST, LATEST, QUESTIONS, Fetching
from app.streaming.records import Chunk

T = TypeVar("T")

FETCH_WAIT_MS = 100
FETCH_BYTES = 256 * 1024  # of one topic and partition, compressed; decoded some 5,000 events


class RebalanceListener(driver.ConsumerRebalanceListener):
    """Pauses what is assigned before anything of it can be fetched."""

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        consumer = self._thread._ensure_consumer()
        tps = list(assigned)
        if tps:
            consumer.pause(*tps)
        await super().on_partitions_assigned(tps)


class ChunkConsumerThread(driver.AIOKafkaConsumerThread):
    """The consumer's thread: heartbeats go on whatever the worker's own loop is doing."""

    consumer: ChunkConsumer
    fetching: Fetching | None = None

    async def on_start(self) -> None:
        await super().on_start()
        self.fetching = Fetching(self._consumer, self.consumer.transport.input_topics)

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = self.app.assignor
        return aiokafka.AIOKafkaConsumer(
            bootstrap_servers=transport.bootstrap,
            client_id=conf.broker_client_id,
            group_id=conf.id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=FETCH_BYTES,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            metadata_max_age_ms=60_000,
            **transport.client_options,
        )

    async def in_thread(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` in the consumer's loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.thread_loop))

    async def round(self) -> list[Chunk]:
        """One round; empty while there is no consumer."""
        return await self.in_thread(self.fetching.round()) if self.fetching else []

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Faust's own detector takes a paused topic for a stuck one; `watchdog` knows better."""


class ChunkConsumer(driver.Consumer):
    """Yields rounds; commits nothing."""

    RebalanceListener = RebalanceListener
    transport: ChunkTransport
    _thread: ChunkConsumerThread
    _numbers = itertools.count(1)

    def _new_consumer_thread(self) -> ChunkConsumerThread:
        return ChunkConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109  (Faust's signature)
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        generation = self.app.consumer_generation_id
        try:
            chunks = await self._thread.round()
        except KafkaError as error:
            self.log.warning("fetching failed: %s", error)
            await self.sleep(1.0)
            return
        if chunks and self.flow_active and not self.should_stop and generation == self.app.consumer_generation_id:
            tp = TP(self.transport.input_topics[0], chunks[0].partition)
            if tp in self.assignment():
                yield tp, self._message(tp, chunks)

    def _message(self, tp: TP, chunks: list[Chunk]) -> ConsumerMessage:
        # The offset is a running number: Faust drops a message whose offset is below one it has
        # seen, which a task that begins again from its committed offsets would run into.
        number = next(self._numbers)
        value: Any = chunks
        generation = self.app.consumer_generation_id
        return ConsumerMessage(
            tp.topic, tp.partition, number, 0.0, 0, [], None, value, None, 0, 0, tp, generation_id=generation
        )

    async def perform_seek(self) -> None:
        """Partition tasks seek."""

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Offsets here are no offsets."""

    def _new_offset(self, tp: TP) -> int | None:
        return None


class ChunkTransport(driver.Transport):
    """`bootstrap`, `client_options` and `input_topics` are set by whoever installs it."""

    Consumer = ChunkConsumer
    bootstrap: str
    client_options: Mapping[str, Any]
    input_topics: Sequence[str]


async def _confirmed(client: Any, coordinator: Any) -> bool:
    """Asks the coordinator with a heartbeat, and does nothing about the answer: joining anew is
    aiokafka's own business.

    aiokafka's `_do_heartbeat` takes every refusal for the end of its membership. It is called
    between two joins only; called from outside it waits behind a join that is under way, is
    answered for the generation before, and throws away the membership that this join has just
    brought: the group deals the partitions again, and waits a session timeout for a member that
    is none any more. Hence a connection of our own, and an answer counts only for the generation
    that was asked about.
    """
    while True:
        asked = coordinator.generation, coordinator.member_id
        node = coordinator.coordinator_id
        if node is None or not coordinator.member_id:
            return False
        answer = await client.send(node, HeartbeatRequest(coordinator.group_id, *asked), group=QUESTIONS)
        if (coordinator.generation, coordinator.member_id) == asked:
            return for_code(answer.error_code) in (NoError, RebalanceInProgressError)


class KafkaInput:
    """What partition tasks need of the consumer, from the worker's own event loop."""

    def __init__(self, app: faust.App, topics: Sequence[str]) -> None:
        self._app = app
        self._topics = tuple(topics)

    @property
    def thread(self) -> ChunkConsumerThread:
        """The consumer's thread; raises ConnectionError while there is none."""
        consumer = self._consumer()
        if consumer is None or consumer._thread.fetching is None:
            raise ConnectionError("the consumer is not running")
        return consumer._thread

    def _consumer(self) -> ChunkConsumer | None:
        consumer = self._app._consumer  # its property `consumer` would make one
        assert consumer is None or isinstance(consumer, ChunkConsumer)
        return consumer

    def _tps(self, partition: int) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for topic in self._topics]

    async def is_member(self) -> bool:
        """Whether the group's coordinator takes this worker for a member of the present
        generation, asked now.

        False while it has no generation yet, or no coordinator. Raises KafkaError when the
        coordinator does not answer.
        """
        thread = self.thread
        consumer = thread._ensure_consumer()
        return bool(await thread.in_thread(_confirmed(consumer._client, consumer._coordinator)))

    def has(self, partition: int) -> bool:
        """Whether the partition of every topic is assigned to this worker."""
        return set(self._tps(partition)) <= set(self.thread._ensure_consumer().assignment())

    async def committed(self, partition: int) -> dict[str, int | None]:
        """The group's offsets by topic; None where it has none."""
        thread, tps = self.thread, self._tps(partition)
        found = await thread.in_thread(thread._ensure_consumer()._coordinator.fetch_committed_offsets(tps))
        offsets = {tp: found[tp].offset if tp in found else -1 for tp in tps}
        return {tp.topic: offset if offset >= 0 else None for tp, offset in offsets.items()}

    async def bounds(self, partition: int) -> tuple[dict[str, int], dict[str, int]]:
        """(first, end) offsets that can be read, by topic."""
        thread, tps = self.thread, self._tps(partition)
        assert thread.fetching is not None
        first = await thread.in_thread(thread.fetching.ask(tps, EARLIEST))
        ends = await thread.in_thread(thread.fetching.ask(tps, LATEST))
        return {tp.topic: first[tp] for tp in tps}, {tp.topic: ends[tp] for tp in tps}

    async def start(
        self, partition: int, session: int, offsets: Mapping[str, int], ends: Mapping[str, int], asof: int
    ) -> None:
        """Begins fetching the partition; see `Fetching.start`."""
        thread = self.thread
        assert thread.fetching is not None
        await thread.in_thread(thread.fetching.start(partition, session, offsets, ends, asof))

    async def stop(self, partition: int) -> None:
        """Ends fetching the partition; does nothing when there is no consumer any more."""
        consumer = self._consumer()
        if (
            consumer is not None
            and (thread := consumer._thread).fetching is not None
            and thread.thread_loop.is_running()
        ):
            await thread.in_thread(thread.fetching.stop(partition))

    def hold(self, topic: str, partition: int, on: bool) -> None:
        """Pauses (or resumes) one topic of a partition."""
        thread = self.thread
        assert thread.fetching is not None
        change = thread.fetching.hold if on else thread.fetching.go_on
        thread.thread_loop.call_soon_threadsafe(change, TopicPartition(topic, partition))
