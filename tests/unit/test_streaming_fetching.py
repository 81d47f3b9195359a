"""Rounds of fetched records without a broker: what was taken from the fetcher and is not handed
over leaves a gap in the numbers, from which the partition's task sees that it must read again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.consumer.subscription_state import TopicPartitionState

from app.streaming.fetching import EARLIEST, Fetching

CLICK, CART = TopicPartition("click", 0), TopicPartition("cart", 0)


class Unread:
    """Records of one fetch; to be read once, as aiokafka's are."""

    def __init__(self, offsets: Sequence[int]) -> None:
        self.next_fetch_offset = offsets[0]
        self._offsets = offsets

    def __iter__(self) -> Iterator[int]:
        for offset in self._offsets:
            self.next_fetch_offset = offset + 1
            yield offset


class Consumer:
    """aiokafka's, of two topics with one partition each, and what its fetcher brought."""

    def __init__(self) -> None:
        self.states = {tp: TopicPartitionState(None) for tp in (CLICK, CART)}
        self.assignment = SimpleNamespace(tps=set(self.states), active=True, state_value=self.states.get)
        self._subscription = SimpleNamespace(
            fetch_context=nullcontext, subscription=SimpleNamespace(assignment=self.assignment)
        )
        self._fetcher: Any = SimpleNamespace(
            _records={}, _notify=lambda _: None, _wait_consume_future=None, _proc_fetch_request=None
        )
        self._client = None

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.states[tp].seek(offset)

    def resume(self, *_: TopicPartition) -> None: ...

    def bring(self, tp: TopicPartition, offsets: Sequence[int]) -> None:
        """The fetcher has these records."""
        self._fetcher._records[tp] = FetchResult(
            tp, assignment=self.assignment, partition_records=Unread(offsets), backoff=0
        )


@pytest.fixture
async def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
async def fetching(consumer: Consumer) -> Fetching:
    fetching = Fetching(consumer, ("click", "cart"))
    await fetching.start(0, 1, {"click": 7, "cart": 3}, {"click": 20, "cart": 50}, 0)
    return fetching


async def taken(fetching: Fetching) -> list[tuple[int, list[int]]]:
    """Of one round the number of each chunk, and the clicks in it."""
    return [(chunk.number, chunk.lanes[0].records) for chunk in await fetching.round()]


async def test_rounds_are_numbered_one_after_another(fetching: Fetching, consumer: Consumer) -> None:
    consumer.bring(CLICK, [7])
    assert await taken(fetching) == [(0, [7])]
    consumer.bring(CLICK, [8, 9])
    assert await taken(fetching) == [(1, [8, 9])]


async def test_records_beside_a_topic_that_has_no_place_are_missed(fetching: Fetching, consumer: Consumer) -> None:
    # The topic's retention deleted what comes next: aiokafka looks for its beginning.
    consumer.states[CART].await_reset(EARLIEST)
    consumer.bring(CLICK, [7, 8])
    assert await taken(fetching) == []
    consumer.states[CART].reset_to(40)
    consumer.bring(CLICK, [9])
    assert await taken(fetching) == [(1, [9])]


async def test_records_of_a_round_that_is_cancelled_are_missed(
    fetching: Fetching, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(*_: Any) -> dict[TopicPartition, int]:
        asked.set()
        await asyncio.Event().wait()
        return {}

    consumer.states[CART].seek(50)  # its end: whether it is still that is asked before the clicks go on
    monkeypatch.setattr(fetching, "ask", never)
    consumer.bring(CLICK, [7, 8])
    under_way = asyncio.create_task(fetching.round())
    await asked.wait()
    under_way.cancel()
    with suppress(asyncio.CancelledError):
        await under_way
    assert under_way.cancelled()
    consumer.states[CART].seek(49)
    consumer.bring(CLICK, [9])
    assert await taken(fetching) == [(1, [9])]
