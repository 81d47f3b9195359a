"""A partition's task without a broker: what it does when a round of its records is lost on the
way to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from app.domain.decode import decode_event
from app.domain.streams import Stream
from app.observability.metrics import StreamMetrics
from app.streaming import partition
from app.streaming.messages import Topics
from app.streaming.outbox import BrokerAddress
from app.streaming.partition import PartitionTask, TaskDeps
from app.streaming.process import IoThread
from app.streaming.records import Chunk, LaneUpdate
from app.streaming.watermark import Clock
from tables.kv import MemoryKv
from tests.support.fake_engine import FakeEngine


class Input:
    """The consumer: says yes, and keeps under which session the partition was started, and from
    where."""

    def __init__(self) -> None:
        self.started: list[tuple[int, dict[str, int]]] = []

    async def is_member(self) -> bool:
        return True

    def has(self, _partition: int) -> bool:
        return True

    async def committed(self, _partition: int) -> dict[str, int | None]:
        return {"click": 7}

    async def bounds(self, _partition: int) -> tuple[dict[str, int], dict[str, int]]:
        return {"click": 0}, {"click": 9}

    async def start(self, _partition: int, session: int, offsets: dict[str, int], _ends: Any, _asof: int) -> None:
        self.started.append((session, offsets))

    async def stop(self, _partition: int) -> None: ...

    def hold(self, *_: Any) -> None: ...


class Outbox:
    """A producer whose commits all succeed."""

    def __init__(self, *_: Any) -> None: ...
    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def partitions(self, _topic: str) -> int:
        return 1

    async def commit(self, *_: Any) -> int:
        return 1


class Restore:
    """A changelog without records."""

    def __init__(self, *_: Any) -> None: ...

    async def run(self) -> int:
        return 0


@pytest.fixture
def io() -> Iterator[IoThread]:
    thread = IoThread()
    thread.start()
    yield thread
    thread.stop()


@pytest.fixture
def source() -> Input:
    return Input()


@pytest.fixture
def task(source: Input, io: IoThread, monkeypatch: pytest.MonkeyPatch) -> PartitionTask:
    monkeypatch.setattr(partition, "Outbox", Outbox)
    monkeypatch.setattr(partition, "Restore", Restore)
    topics = Topics("changes", "letters", "changelog", "test", 1)
    clicks = (Stream("click", "click", 0, behaviour=True),)
    deps = TaskDeps(
        BrokerAddress("nowhere"), "g", topics, clicks, FakeEngine(), decode_event, Clock(), source,
        lambda _: MemoryKv(),
        ThreadPoolExecutor(1), asyncio.Lock(), io, lambda: 1_760_000_000_000,
    )  # fmt: skip
    return PartitionTask(0, deps, StreamMetrics(CollectorRegistry()).partition(0))


async def sessions(source: Input, count: int) -> None:
    async with asyncio.timeout(10):
        while len(source.started) < count:
            await asyncio.sleep(0.01)


def chunk(session: int, number: int, position: int) -> Chunk:
    return Chunk(
        0,
        session,
        number,
        [LaneUpdate("click", [SimpleNamespace(offset=position - 1, key=None, value=None)], position, 20, 0)],
    )


async def test_a_lost_round_makes_the_task_begin_again_from_what_is_committed(
    task: PartitionTask, source: Input
) -> None:
    task.begin()
    await sessions(source, 1)
    first = source.started[0][0]
    task.offer(chunk(first, 0, 8))
    # What had the number 1 was dropped: the record at offset 8 with it.
    task.offer(chunk(first, 2, 10))
    await sessions(source, 2)
    second, offsets = source.started[1]
    assert second != first
    assert offsets == {"click": 7}
    task.offer(chunk(first, 3, 11))  # still on its way from the session before
    task.offer(chunk(second, 0, 8))
    assert task.core is not None
    assert task.core.lag == 20 - 7
    await task.stop()
    assert len(source.started) == 2
