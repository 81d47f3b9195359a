"""The tail of the changes topic on a real wire: start, follow, the past, a broker that goes
away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiokafka import AIOKafkaProducer

from app.broker.embedded import EmbeddedBroker
from app.domain.errors import Unreachable
from app.streaming.changes_tail import ChangesTail
from app.web.feed import ChangeFeed
from tests.support.kafka import fresh, make_topics, produce
from tests.web.fakes import change

TOPIC = "segment-changes"


@asynccontextmanager
async def following(tail: ChangesTail) -> AsyncIterator[None]:
    running = asyncio.create_task(tail.run())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def until(condition: object, seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.02)


def records(numbers: range) -> list[tuple[bytes | None, bytes | None]]:
    return [(f"u{number}".encode(), change(f"u{number}", number)) for number in numbers]


async def test_it_starts_a_bounded_distance_before_the_end_and_follows(embedded: str) -> None:
    await produce(embedded, TOPIC, records(range(100)), partition=1)
    feed = ChangeFeed()
    tail = ChangesTail(feed, embedded, TOPIC, start_records=10)
    async with following(tail):
        await until(lambda: feed.end == 10)
        assert [entry.user for entry in feed.recent(1)] == ["u99"]
        await produce(embedded, TOPIC, records(range(100, 103)), partition=2)
        await until(lambda: feed.end == 13)
    assert (feed.floors[1], feed.heads[1], feed.heads[2], tail.trouble) == (90, 100, 3, None)


async def test_the_past_is_read_again_exactly(embedded: str) -> None:
    await produce(embedded, TOPIC, records(range(50)), partition=0)
    await produce(embedded, TOPIC, records(range(50, 60)), partition=3)
    tail = ChangesTail(ChangeFeed(), embedded, TOPIC)
    found = [(partition, offset) async for partition, offset, _ in tail.read({0: 40, 3: 2, 1: 0}, {0: 45, 3: 10, 1: 0})]
    assert sorted(found) == [(0, offset) for offset in range(40, 45)] + [(3, offset) for offset in range(2, 10)]
    assert await tail.ends() == {0: 50, 1: 0, 2: 0, 3: 10}


async def test_a_broker_that_is_gone_is_said_once_and_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedBroker() as broker:
        await produce(broker.bootstrap, TOPIC, records(range(1)))
        bootstrap = broker.bootstrap
    feed = ChangeFeed()
    tail = ChangesTail(feed, "127.0.0.1:9", TOPIC)
    async with following(tail):
        await until(lambda: tail.trouble is not None)
        await asyncio.sleep(1.2)
        with pytest.raises(Unreachable):
            await tail.ends()
        with pytest.raises(Unreachable):
            [record async for record in tail.read({0: 0}, {0: 1})]
        with EmbeddedBroker() as again:
            await produce(again.bootstrap, TOPIC, records(range(3)))
            tail._bootstrap = again.bootstrap
            await until(lambda: feed.end == 3)
            assert tail.trouble is None
    assert bootstrap
    assert len([record for record in caplog.records if "trying again" in record.message]) == 1


async def test_a_topic_made_anew_is_followed_from_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.streaming.changes_tail.CHECK_S", 0.2)
    feed = ChangeFeed()
    with EmbeddedBroker() as first, EmbeddedBroker() as second:
        await produce(first.bootstrap, TOPIC, records(range(20)), partition=0)
        await produce(second.bootstrap, TOPIC, records(range(2)), partition=0)
        tail = ChangesTail(feed, first.bootstrap, TOPIC)
        async with following(tail):
            await until(lambda: feed.heads.get(0) == 20)
        tail._bootstrap = second.bootstrap
        async with following(tail):
            await until(lambda: feed.heads.get(0) == 2 and feed.end - feed.first == 2)


@pytest.mark.kafka
async def test_only_what_was_committed_is_shown(kafka: str) -> None:
    topic = fresh("segment-changes")
    await make_topics(kafka, [topic], partitions=2)
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=fresh("tail"))
    await producer.start()
    feed = ChangeFeed()
    tail = ChangesTail(feed, kafka, topic)
    try:
        async with following(tail):
            for user, keep in (("kept1", True), ("void", False), ("kept2", True)):
                await producer.begin_transaction()
                await producer.send_and_wait(topic, change(user), partition=0)
                await (producer.commit_transaction() if keep else producer.abort_transaction())
            await until(lambda: feed.end == 2)
            assert [entry.user for entry in feed.recent(9)] == ["kept2", "kept1"]
        again = [raw async for _, _, raw in tail.read({0: 0, 1: 0}, {0: feed.heads[0], 1: 0})]
        assert [b"kept1" in again[0], b"kept2" in again[1], len(again)] == [True, True, 2]
    finally:
        await producer.stop()
