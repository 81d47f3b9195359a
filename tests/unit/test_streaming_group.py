"""A worker among others: what it may ask the group without disturbing it, and when it says that
it is ready."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import IllegalGenerationError, KafkaError, NoError, RebalanceInProgressError, UnknownMemberIdError
from prometheus_client import CollectorRegistry

from app.domain.options import EngineOptions
from app.engine.engine import Engine
from app.observability.metrics import StreamMetrics
from app.rules.definitions import load_text
from app.rules.plan import compile_plan
from app.streaming import tasks as module
from app.streaming.local_state import LocalUsers
from app.streaming.partition import PartitionTask
from app.streaming.tasks import PartitionTasks
from app.streaming.transport import KafkaInput
from tables.meta import Meta


class Asking(KafkaInput):
    """The product's own, on a consumer's thread that is none."""

    def __init__(self, thread: Any) -> None:
        self._thread = thread

    @property
    def thread(self) -> Any:
        return self._thread


class Broker:
    """A coordinator that answers heartbeats; `joins` says which generation a join brings while
    it is asked."""

    def __init__(self, generation: int, code: int = NoError.errno, joins: int | None = None) -> None:
        self.generation = generation
        self.code = code
        self.joins = joins
        self.member: Any = GroupCoordinator.__new__(GroupCoordinator)
        self.member.__dict__.update(
            group_id="g", generation=generation, member_id="m", coordinator_id=0, _client=self,
            _rejoin_needed_fut=asyncio.get_running_loop().create_future(),
        )  # fmt: skip

    async def send(self, _node: int, request: Any, group: int) -> Any:
        # The broker answers a connection's requests in order: the join first.
        if self.joins is not None:
            self.generation = self.member.generation = self.joins
            self.joins = None
        if request._generation_id != self.generation:
            return SimpleNamespace(error_code=IllegalGenerationError.errno)
        return SimpleNamespace(error_code=self.code)

    async def asked(self) -> bool:
        """What a worker with this membership learns."""
        consumer = SimpleNamespace(_client=self, _coordinator=self.member)
        return await Asking(SimpleNamespace(_ensure_consumer=lambda: consumer, in_thread=_await)).is_member()

    @property
    def untouched(self) -> bool:
        """Whether the membership is still the one of the last join, and none is asked for."""
        return (self.member.generation, self.member.member_id) == (
            self.generation,
            "m",
        ) and not self.member._rejoin_needed_fut.done()


async def _await(work: Any) -> Any:
    return await work


async def test_asking_while_a_join_is_under_way_leaves_the_new_membership_alone() -> None:
    broker = Broker(generation=1, joins=2)
    assert await broker.asked()
    assert broker.untouched


@pytest.mark.parametrize(
    ("error", "member"),
    [(NoError, True), (RebalanceInProgressError, True), (UnknownMemberIdError, False), (IllegalGenerationError, False)],
)
async def test_asking_says_what_the_coordinator_says_and_does_nothing_about_it(
    error: type[KafkaError], member: bool
) -> None:
    broker = Broker(generation=1, code=error.errno)
    assert await broker.asked() is member
    assert broker.untouched


async def test_a_worker_that_has_not_joined_is_no_member_and_asks_nobody() -> None:
    broker = Broker(generation=-1)
    broker.member.member_id = ""
    assert not await broker.asked()
    broker = Broker(generation=1)
    broker.member.coordinator_id = None
    assert not await broker.asked()


class Stopped(PartitionTask):
    """A partition's task that does nothing."""

    def begin(self) -> None: ...


def a_worker(monkeypatch: pytest.MonkeyPatch) -> tuple[PartitionTasks, LocalUsers]:
    """A worker whose partitions do nothing by themselves."""
    monkeypatch.setattr(module, "PartitionTask", Stopped)
    options = EngineOptions()
    engine = Engine(
        compile_plan(load_text('segments:\n  - {name: a, when: "any(click, last 1d)"}\n', options), options), options
    )
    metrics = StreamMetrics(CollectorRegistry())
    tasks = PartitionTasks(SimpleNamespace(engine=engine), metrics)  # type: ignore[arg-type]
    return tasks, LocalUsers(tasks, engine, 4, lambda: 0, True, metrics, {}, list)


async def test_what_waits_is_unknown_while_a_partition_is_not_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, state = a_worker(monkeypatch)
    assert state.status()["lag"] is None  # the group has not said what is here
    await tasks.assign([])
    assert state.status()["lag"] == 0
    await tasks.assign([1, 3])
    for partition, lag in ((1, 7), (3, 5)):
        tasks[partition].core = SimpleNamespace(lag=lag, watermark=9, store=SimpleNamespace(meta=Meta()))  # type: ignore[assignment]
    assert [part["lag"] for part in state.status()["partitions"]] == [7, 5]
    assert state.status()["lag"] == 12
    tasks[3].core = None  # stalled, or recovering
    assert [part["lag"] for part in state.status()["partitions"]] == [7, None]
    assert state.status()["lag"] is None


async def test_a_worker_is_not_ready_while_the_group_assigns_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, state = a_worker(monkeypatch)
    assigning = ["the consumer group is assigning partitions"]
    assert state.unready() == assigning
    await tasks.assign([])
    assert state.unready() == []
    await tasks.revoke()
    assert state.unready() == assigning
    await tasks.assign([])
    assert state.unready() == []
