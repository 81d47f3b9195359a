"""The embedded broker, and what is said when a broker or its topics are not to be had. Needs no
Java."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from app.broker import topics as topics_module
from app.broker.embedded import PARTITIONS, EmbeddedBroker
from app.broker.probe import answers
from app.broker.topics import Shape, Topic, ensure_topics
from app.domain.errors import Unreachable, UsageError
from tests.support.kafka import consume, fresh, produce

_TOPIC_AUTHORIZATION_FAILED = 29


async def test_topics_come_by_asking_and_records_go_through(embedded: str) -> None:
    topic = fresh("clicks")
    assert await ensure_topics(embedded, [Topic(topic), Topic("carts")]) == PARTITIONS
    await produce(embedded, topic, [(b"u1", b"1"), (b"u1", b"2")])
    assert [(record.key, record.value) for record in await consume(embedded, topic)] == [(b"u1", b"1"), (b"u1", b"2")]


def test_it_is_gone_after_its_block() -> None:
    with EmbeddedBroker() as broker:
        address = broker.bootstrap
        assert answers(address)
    assert not answers(address, 0.5)


def test_two_of_them_do_not_meet() -> None:
    with EmbeddedBroker() as first, EmbeddedBroker() as second:
        assert first.bootstrap != second.bootstrap


async def test_a_broker_that_is_not_there_is_named() -> None:
    with pytest.raises(Unreachable, match="broker 127.0.0.1:1: cannot be reached: .*start it") as caught:
        await ensure_topics("127.0.0.1:1", [Topic("clicks")])
    assert caught.value.exit_code == 3


class _Admin:
    """A broker that lets nobody create: existing topics are described, others refused."""

    def __init__(self, existing: dict[str, int]) -> None:
        self.existing = existing

    async def describe_topics(self, _names: Any) -> list[dict[str, Any]]:
        led = {"leader": 0}
        return [{"topic": name, "error_code": 0, "partitions": [led] * count} for name, count in self.existing.items()]

    async def create_topics(self, new: list[Any]) -> Any:
        return SimpleNamespace(topic_errors=[(topic.name, _TOPIC_AUTHORIZATION_FAILED, None) for topic in new])


async def test_existing_topics_need_no_right_to_create() -> None:
    assert (
        await topics_module._ensure(_Admin({"clicks": 8, "carts": 8}), [Topic("clicks"), Topic("carts")], Shape()) == 8
    )


async def test_topics_that_may_not_be_created_are_named_with_the_partitions_they_need() -> None:
    with pytest.raises(
        UsageError, match="topic carts: does not exist and may not be created by this user; create it with 8 partitions"
    ):
        await topics_module._ensure(_Admin({"clicks": 8}), [Topic("clicks"), Topic("carts")], Shape())
