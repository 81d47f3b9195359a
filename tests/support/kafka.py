"""Fixtures and helpers for tests that talk to a broker.

    kafka          the address of a real Apache Kafka, one for the whole session
    kafka_server   the same broker as an object
    own_kafka      a fresh one for a test that stops or kills it
    embedded       the address of a fresh embedded broker

Mark tests that use one of the first three `kafka`: they then run one after another in
one xdist worker, and Kafka's jars are there before the first test begins: on a fresh machine
Maven fetches them once, before anybody's time is taken.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from app.broker import jars
from app.broker.embedded import EmbeddedBroker
from app.broker.local import LocalKafka
from app.broker.topics import Topic, TopicDefaults, ensure_topics
from app.domain.errors import Unreachable
from tests.support.absent import absent

CACHE = Path("~/.cache/hyperseg").expanduser()
_numbers = itertools.count(1)


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.option.collectonly and any(item.get_closest_marker("kafka") for item in session.items):
        _lacking()


@cache
def _lacking() -> str:
    """What this machine lacks to run Kafka, a sentence, or "". Fetches the jars if need be: one
    process, while the others wait for it."""
    try:
        jars.java()
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "fetching.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            jars.fetch(CACHE)
    except Unreachable as error:
        return str(error)
    return ""


def _started(folder: Path) -> LocalKafka:
    if lacking := _lacking():
        absent(lacking)
    return LocalKafka(folder, CACHE).start()


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    server = _started(tmp_path_factory.mktemp("kafka"))
    yield server
    server.stop()


@pytest.fixture
def kafka(kafka_server: LocalKafka) -> str:
    return kafka_server.bootstrap


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[LocalKafka]:
    server = _started(tmp_path / "kafka")
    yield server
    server.stop()


@pytest.fixture
def embedded() -> Iterator[str]:
    with EmbeddedBroker() as broker:
        yield broker.bootstrap


def fresh(name: str) -> str:
    """A name (of a topic, a prefix, a group, an application) that no other test of this run has."""
    return f"{name}-{os.getpid()}-{next(_numbers)}"


async def make_topics(bootstrap: str, names: Iterable[str], partitions: int = 4, compacted: bool = False) -> None:
    await ensure_topics(bootstrap, [Topic(name, compacted=compacted) for name in names], TopicDefaults(partitions))


async def produce(
    bootstrap: str, topic: str, records: Sequence[tuple[bytes | None, bytes | None]], partition: int | None = None
) -> None:
    """Writes (key, value) pairs and waits for them all; murmur2 by key unless a partition is
    named."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        await asyncio.gather(*[await producer.send(topic, value, key, partition) for key, value in records])
    finally:
        await producer.stop()


async def consume(
    bootstrap: str, topic: str, isolation: str = "read_committed", timeout_s: float = 30.0
) -> list[ConsumerRecord[Any, Any]]:
    """Every record the topic holds now, partition by partition, in offset order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level=isolation, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(timeout_s):
            return await _read_to_end(consumer, topic)
    finally:
        await consumer.stop()


async def _read_to_end(consumer: AIOKafkaConsumer, topic: str) -> list[ConsumerRecord[Any, Any]]:
    numbers = await _partitions(consumer, topic)
    partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    found: dict[TopicPartition, list[ConsumerRecord[Any, Any]]] = {partition: [] for partition in partitions}
    while [partition for partition in partitions if await consumer.position(partition) < ends[partition]]:
        for partition, records in (await consumer.getmany(timeout_ms=200)).items():
            found[partition] += records
    return [record for partition in partitions for record in found[partition]]


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    while not (numbers := consumer.partitions_for_topic(topic)):
        await consumer._client.force_metadata_update()  # a topic made a moment ago
        await asyncio.sleep(0.1)
    return set(numbers)
