"""Fetching whole partitions from aiokafka's fetcher, in the consumer's own thread and event
loop.

A *round* takes everything the fetcher has, for every partition that is started, as one chunk a
partition. A partition is fetched only while its task is started, and each of its topics only
while that topic's buffer is below its high-water mark.

What a chunk says about a topic's end is as fresh as the records beside it: for every topic that
brought nothing and looks caught up, the broker is asked once more after the records came.
Without that, an event could overtake an older one of another topic only because the broker had
been asked about that topic a moment earlier.

`overrides` says where else internals of aiokafka are used.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.offset import OffsetRequest

from app.streaming.process import now_ms
from app.streaming.records import Chunk, LaneUpdate

log = logging.getLogger(__name__)

ROUND_S = 0.1  # longest silence between two rounds, so that time can pass
PACE_S = 0.01  # shortest: under a trickle of events a round each would be all the worker does
# After a round of LOADED_RECORDS or more: then throughput counts, and there is enough to do
# meanwhile.
PACE_LOADED_S = 0.05
LOADED_RECORDS = 500
LATEST, EARLIEST = -1, -2
# A connection of its own: on the fetches' it would wait behind their long polls, on the group's
# behind a join.
QUESTIONS = 2
_ASK_S_MAX = 10.0


class Feed:
    """One started partition: its topics, how many chunks it was given or has missed, and when each
    topic was last asked for."""

    def __init__(self, epoch: int, tps: Sequence[TopicPartition], ends: Mapping[str, int], asof: int) -> None:
        self.epoch = epoch
        self.tps = tps
        self.number = 0
        self.ends: dict[TopicPartition, int | None] = {tp: ends[tp.topic] for tp in tps}
        self.asof = dict.fromkeys(tps, asof)


class Fetching:
    """See the module. All methods belong to the consumer's event loop."""

    def __init__(self, consumer: Any, topics: Sequence[str]) -> None:
        self._consumer = consumer
        self._topics = tuple(topics)
        self._feeds: dict[int, Feed] = {}
        self._last_round = 0.0
        self._pace_s = PACE_S
        self._proc_fetch_request = consumer._fetcher._proc_fetch_request
        consumer._fetcher._proc_fetch_request = self._timed_fetch
        self.failures = 0

    # --- partitions on and off -------------------------------------------------------------------
    async def start(
        self, partition: int, epoch: int, offsets: Mapping[str, int], ends: Mapping[str, int], asof: int
    ) -> None:
        """From here on rounds bring the partition, from `offsets` (by topic) on; `ends` and
        `asof` as in LaneUpdate."""
        tps = [TopicPartition(topic, partition) for topic in self._topics]
        for tp in tps:
            self._consumer.seek(tp, offsets[tp.topic])
        self._feeds[partition] = Feed(epoch, tps, ends, asof)
        self._consumer.resume(*tps)

    async def stop(self, partition: int) -> None:
        """Rounds no longer bring the partition."""
        self._feeds.pop(partition, None)
        with suppress(KafkaError):  # it may have been taken away already
            self._consumer.pause(*[TopicPartition(topic, partition) for topic in self._topics])

    def hold(self, tp: TopicPartition) -> None:
        """Fetches no more of this topic until `go_on`."""
        with suppress(KafkaError):
            self._consumer.pause(tp)

    def go_on(self, tp: TopicPartition) -> None:
        """Ends `hold`."""
        if tp.partition in self._feeds:
            with suppress(KafkaError):
                self._consumer.resume(tp)

    # --- rounds ----------------------------------------------------------------------------------
    async def round(self) -> list[Chunk]:
        """What was fetched since the last round; after `ROUND_S` at the latest, then only what
        is known of the topics' ends."""
        fetcher = self._consumer._fetcher
        with self._consumer._subscription.fetch_context():
            if not fetcher._records:
                waiter = fetcher._create_fetch_waiter()
                await asyncio.wait([waiter], timeout=ROUND_S)
                if not waiter.done():
                    waiter.cancel()
                elif not waiter.cancelled() and waiter.exception():
                    raise waiter.exception()
            if (rest := self._last_round + self._pace_s - time.monotonic()) > 0:
                await asyncio.sleep(rest)
            self._last_round = time.monotonic()
            records = self._drain(fetcher)
            self._pace_s = PACE_LOADED_S if sum(map(len, records.values())) >= LOADED_RECORDS else PACE_S
            try:
                await self._ask_again(records)
            except BaseException:  # most likely cancelled
                self._miss({tp.partition for tp in records})
                raise
        return self._chunks(records)

    def _drain(self, fetcher: Any) -> dict[TopicPartition, list[Any]]:
        found = {}
        results, fetcher_records = dict(fetcher._records), fetcher._records
        for tp, result in results.items():
            del fetcher_records[tp]
            if type(result) is not FetchResult:
                self._failed(tp, result._error)
            elif records := self._records(tp, result):
                found[tp] = records
        if results:
            fetcher._notify(fetcher._wait_consume_future)
        return found

    def _records(self, tp: TopicPartition, result: Any) -> list[Any]:
        """The records of one fetch; none when the partition was stopped or moved meanwhile."""
        feed = self._feeds.get(tp.partition)
        assignment, unread = result._assignment, result._partition_records
        if feed is None or tp not in feed.asof or not assignment.active:
            return []
        state = assignment.state_value(tp)
        if not state.has_valid_position or state.position != unread.next_fetch_offset:
            return []
        unread._consumer_record = _as_it_is
        records: list[Any] = []
        try:
            records.extend(unread)
        except KafkaError as error:
            self._failed(tp, error)
        state.consumed_to(unread.next_fetch_offset)
        return records

    def _failed(self, tp: TopicPartition, error: BaseException) -> None:
        """A fetch that brought no records but an error; the fetcher tries again by itself."""
        self.failures += 1
        if self.failures & (self.failures - 1) == 0:  # the first, second, fourth, eighth, … time
            log.warning("fetching %s-%d failed %d times: %s", tp.topic, tp.partition, self.failures, error)

    def _chunks(self, records: Mapping[TopicPartition, list[Any]]) -> list[Chunk]:
        chunks = []
        for partition, feed in self._feeds.items():
            lanes = [lane for tp in feed.tps if (lane := self._update(tp, records.get(tp, []), feed)) is not None]
            if len(lanes) == len(feed.tps):
                chunks.append(Chunk(partition, feed.epoch, feed.number, lanes))
                feed.number += 1
            elif any(tp in records for tp in feed.tps):
                self._miss([partition])
        return chunks

    def _miss(self, partitions: Iterable[int]) -> None:
        """Records were taken from the fetcher and are not handed over: a number is left out, so
        that the partition's task reads them again."""
        for partition in partitions:
            if (feed := self._feeds.get(partition)) is not None:
                feed.number += 1

    def _update(self, tp: TopicPartition, records: list[Any], feed: Feed) -> LaneUpdate | None:
        state = self._state(tp)
        if state is None or not state.has_valid_position:
            return None
        return LaneUpdate(tp.topic, records, state.position, self._end(tp, state, feed), feed.asof[tp])

    def _state(self, tp: TopicPartition) -> Any:
        subscription = self._consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        return assignment.state_value(tp) if assignment is not None and tp in assignment.tps else None

    def _end(self, tp: TopicPartition, state: Any, feed: Feed) -> int | None:
        known = feed.ends[tp]
        if known is None:
            return None
        last = state.lso if state.lso is not None and state.lso >= 0 else state.highwater
        return known if last is None else max(known, last)

    # --- freshness of ends -----------------------------------------------------------------------
    async def _timed_fetch(self, assignment: Any, node_id: int, request: Any) -> Any:
        asked = now_ms()
        wakeup = await self._proc_fetch_request(assignment, node_id, request)
        for topic, partitions in request.topics:
            for partition, *_ in partitions:
                tp = TopicPartition(topic, partition)
                feed, state = self._feeds.get(partition), self._state(tp)
                if feed is not None and state is not None and tp in feed.asof and (state.timestamp or 0) >= asked:
                    feed.asof[tp] = max(feed.asof[tp], asked)
                    if feed.ends[tp] is None:
                        feed.ends[tp] = 0
        return wakeup

    async def _ask_again(self, records: Mapping[TopicPartition, list[Any]]) -> None:
        silent = []
        for partition in {tp.partition for tp in records}:
            feed = self._feeds.get(partition)
            silent += [tp for tp in feed.tps if tp not in records and self._looks_caught_up(tp, feed)] if feed else []
        if not silent:
            return
        asked = now_ms()
        try:
            ends = await self.ask(silent, LATEST)
        except (KafkaError, TimeoutError) as error:
            log.debug("asking for the ends of %d topics failed: %s", len(silent), error)
            ends = {}
        for tp in silent:
            feed = self._feeds.get(tp.partition)
            if feed is not None:
                feed.ends[tp] = ends.get(tp)
                feed.asof[tp] = asked if tp in ends else feed.asof[tp]

    def _looks_caught_up(self, tp: TopicPartition, feed: Feed) -> bool:
        state = self._state(tp)
        end = None if state is None else self._end(tp, state, feed)
        return end is not None and state.has_valid_position and state.position >= end

    async def ask(self, tps: Sequence[TopicPartition], which: int) -> dict[TopicPartition, int]:
        """The end (LATEST) of what may be read of each, or the beginning (EARLIEST). Raises
        KafkaError or TimeoutError."""
        client = self._consumer._client
        by_node: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        for tp in tps:
            by_node[client.cluster.leader_for_partition(tp)][tp.topic].append((tp.partition, which))
        async with asyncio.timeout(_ASK_S_MAX):
            answers = await asyncio.gather(*(self._ask_node(node, topics) for node, topics in by_node.items()))
        return {tp: offset for answer in answers for tp, offset in answer.items()}

    async def _ask_node(
        self, node: int | None, topics: Mapping[str, list[tuple[int, int]]]
    ) -> dict[TopicPartition, int]:
        client = self._consumer._client
        if node is None or node == -1:
            client.force_metadata_update()
            raise KafkaError("a partition has no leader just now")
        isolation = self._consumer._fetcher._isolation_level
        answer = await client.send(node, OffsetRequest(-1, isolation, list(topics.items())), group=QUESTIONS)
        found = {}
        for topic, partitions in answer.topics:
            for partition, code, _timestamp, offset in partitions:
                if code:
                    client.force_metadata_update()
                    raise for_code(code)(f"{topic}-{partition}")
                found[TopicPartition(topic, partition)] = offset
        return found


def _as_it_is(_tp: TopicPartition, record: Any) -> Any:
    """Instead of aiokafka's copy of each record into one with more fields."""
    return record
