"""From appending an event to reading the change it made, at a steady rate well below the limit."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import islice

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.partitioner import murmur2

from tests.benchmarks.load import TOPICS, Load, events

_PARTITIONS = 4
_TICK_S = 0.01


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds over `count` changes."""

    p50_ms: float
    p99_ms: float
    count: int


async def measure(bootstrap: str, prefix: str, changes: str, rate: int, seconds: int) -> Latency:
    """Sends `rate` events a second for `seconds`, stamped with the wall clock, and reads the
    committed changes they made."""
    consumer = AIOKafkaConsumer(
        changes, bootstrap_servers=bootstrap, isolation_level="read_committed", fetch_max_wait_ms=20
    )
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=1)
    await consumer.start()
    await producer.start()
    found: list[float] = []
    reading = asyncio.create_task(_read(consumer, found))
    try:
        await _send(producer, prefix, rate, seconds)
        await asyncio.sleep(2)
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        await producer.stop()
        await consumer.stop()
    found.sort()
    return Latency(found[len(found) // 2], found[int(len(found) * 0.99)], len(found))


async def _send(producer: AIOKafkaProducer, prefix: str, rate: int, seconds: int) -> None:
    # Few users, so that most events make a change or end one.
    source = events(Load(rate * seconds, users=max(200, rate // 2), seed=5))
    began = time.monotonic()
    sent = 0
    while sent < rate * seconds:
        want = int((time.monotonic() - began) * rate) - sent
        for event in islice(source, max(0, min(want, rate * seconds - sent))):
            event["ts"] = int(time.time() * 1000)
            event["event_id"] = f"l{event['event_id']}-{event['ts']}"
            key = event["user_id"].encode()
            topic, partition = prefix + TOPICS[event["type"]], (murmur2(key) & 0x7FFFFFFF) % _PARTITIONS
            await producer.send(topic, orjson.dumps(event), key=key, partition=partition)
            sent += 1
        await asyncio.sleep(_TICK_S)


async def _read(consumer: AIOKafkaConsumer, found: list[float]) -> None:
    async for record in consumer:
        change = orjson.loads(record.value)
        if change["cause"]["kind"] == "event":
            found.append(time.time() * 1000 - change["cause"]["ts"])
