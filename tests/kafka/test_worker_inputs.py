"""What producers send, right and wrong, on a real broker: refused records keep every byte,
compressed ones are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from app.streaming.process import now_ms
from tests.support.kafka import consume, produce
from tests.support.workers import Cluster, cluster, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def made(kafka: str, tmp_path: Path) -> Iterator[Cluster]:
    with cluster(kafka, tmp_path) as found:
        yield found


def click(user: str, number: int, **more: Any) -> tuple[bytes, bytes]:
    event = {"user_id": user, "event_id": f"{user}-{number}", "ts": now_ms(), "page": "home", **more}
    return user.encode(), orjson.dumps(event)


async def letters(made: Cluster) -> list[Any]:
    return await consume(made.bootstrap, made.topic("dead-letters"))


async def test_everything_that_does_not_fit_is_kept_with_its_reason(made: Cluster) -> None:
    good = {"user_id": "u", "ts": now_ms()}
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    bad: dict[str, tuple[bytes | None, bytes | None]] = {
        "not_json": (b"u", b"{no json"),
        "bad_field": (b"u", orjson.dumps({**good, "event_id": 7})),
        "no_user": (None, orjson.dumps({"ts": now_ms()})),
        "too_large": (b"u", orjson.dumps({**good, "blob": "x" * 1_000_000})),
        "bad_field null byte": (b"u", orjson.dumps({**good, "page": "a\x00b"})),
        "bad_field deep": (b"u", orjson.dumps({**good, "deep": deep})),
        "bad_ts": (b"u", orjson.dumps({**good, "ts": now_ms() // 1000})),
        "in_future": (b"u", orjson.dumps({**good, "ts": now_ms() + 3_600_000})),
        "key_mismatch": (b"v", orjson.dumps(good)),
        "too_late": (b"u", orjson.dumps({**good, "ts": now_ms() - 7_200_000})),
        "not_json null value": (b"u", None),
    }
    await made.create_topics()
    worker = made.start()
    await made.until_ready()
    producer = AIOKafkaProducer(bootstrap_servers=made.bootstrap, max_request_size=1_100_000)
    await producer.start()
    try:
        for key, value in bad.values():
            await producer.send_and_wait(made.topic("clicks"), value, key, partition=1)
        for number in range(6):
            await producer.send_and_wait(made.topic("clicks"), *reversed(click("u", number)), partition=1)
    finally:
        await producer.stop()
    await until(lambda: _as_many(made, len(bad)), 30, worker.log)
    found = await letters(made)
    assert [record.partition for record in found] == [found[0].partition] * len(bad)
    for (reason, (key, value)), record in zip(bad.items(), found, strict=True):
        headers = {name: raw.decode() for name, raw in record.headers}
        assert headers["reason"] == reason.split()[0], headers
        assert (record.key, record.value) == (key, value)
        assert (headers["topic"], headers["partition"]) == (made.topic("clicks"), "1")
        assert headers.keys() == {"reason", "detail", "topic", "partition", "offset", "received_at"}
    assert [int(dict(record.headers)["offset"]) for record in found] == list(range(len(bad)))
    await until(lambda: _entered(made, "u"), 30, worker.log)


async def _as_many(made: Cluster, count: int) -> bool:
    return len(await letters(made)) >= count


async def _entered(made: Cluster, user: str) -> bool:
    return any(change["user_id"] == user for change in await made.changes())


async def test_a_dead_letter_too_large_for_its_topic_is_cut_and_says_so(made: Cluster) -> None:
    await made.create_topics()
    worker = made.start()
    await made.until_ready()
    # Uncompressible and just below what the broker takes: with its headers it is above.
    import os

    value = os.urandom(1_048_450 - 70)
    producer = AIOKafkaProducer(bootstrap_servers=made.bootstrap, max_request_size=1_100_000)
    await producer.start()
    try:
        await producer.send_and_wait(made.topic("clicks"), value, b"u", partition=0)
        await producer.send_and_wait(made.topic("clicks"), *reversed(click("w", 1)), partition=0)
    finally:
        await producer.stop()
    await until(lambda: _as_many(made, 1), 40, worker.log)
    (record,) = await letters(made)
    assert value.startswith(record.value)
    assert len(record.value) >= 500_000
    assert b"cut to" in dict(record.headers)["detail"]
    await until(lambda: _entered(made, "w"), 30, worker.log)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_producers_of_every_codec_are_read(made: Cluster, codec: str) -> None:
    await made.create_topics()
    worker = made.start()
    await made.until_ready()
    producer = Producer(
        {
            "bootstrap.servers": made.bootstrap,
            "compression.type": codec,
            "partitioner": "murmur2_random",
            "linger.ms": 20,
        }
    )
    for number in range(200):
        key, value = click(f"u{number % 20}", number, note="some text that compresses well " * 5)
        producer.produce(made.topic("clicks"), value, key)
    assert producer.flush(20) == 0
    await until(lambda: _users(made, 20), 30, worker.log)
    assert await letters(made) == []


async def _users(made: Cluster, count: int) -> bool:
    return len({change["user_id"] for change in await made.changes()}) >= count


async def test_transactional_producers_are_read_when_they_commit(made: Cluster) -> None:
    await made.create_topics()
    worker = made.start()
    await made.until_ready()
    producer = AIOKafkaProducer(bootstrap_servers=made.bootstrap, transactional_id=made.name)
    await producer.start()
    try:
        for round_, commit in enumerate((True, False, True)):
            await producer.begin_transaction()
            user = f"{'kept' if commit else 'dropped'}{round_}"
            await producer.send_and_wait(made.topic("clicks"), *reversed(click(user, round_)))
            await (producer.commit_transaction() if commit else producer.abort_transaction())
        await until(lambda: _users(made, 2), 30, worker.log)
        await until(made.ready, 10, worker.log)
    finally:
        await producer.stop()
    assert {change["user_id"] for change in await made.changes()} == {"kept0", "kept2"}


async def test_changes_carry_cloudevents_attributes(made: Cluster) -> None:
    await made.create_topics()
    worker = made.start()
    await produce(made.bootstrap, made.topic("clicks"), [click("u", 1)])
    await until(lambda: _entered(made, "u"), 60, worker.log)
    record = (await consume(made.bootstrap, made.topic("segment-changes")))[0]
    change, headers = orjson.loads(record.value), {name: raw.decode() for name, raw in record.headers}
    assert record.key == b"u"
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_id"] == change["change_id"]
    assert headers["ce_subject"] == "u"
    assert headers["ce_source"] == f"hyperseg/{made.name}"
    assert headers["ce_type"] == f"hyperseg.segment.{change['change']}"
    assert headers["content-type"] == "application/json"
    assert headers["ce_time"].endswith("Z")
