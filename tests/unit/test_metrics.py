"""Every metric moves: each is asked for by name, moved by the product's own code, and compared with
what it said before."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from app.domain.decode import REASONS, decode_event
from app.domain.options import EngineOptions
from app.domain.streams import DEFAULT_STREAMS
from app.main import load_definitions
from app.observability.metrics import StreamMetrics
from app.streaming.committer import CommitPolicy, Committer
from app.streaming.core import PartitionCore, Start
from app.streaming.messages import Topics, Writer
from app.streaming.outbox import BrokerAddress
from app.streaming.partition import TaskDeps
from app.streaming.process import IoThread
from app.streaming.records import LaneUpdate
from app.streaming.tasks import PartitionTasks
from app.streaming.watermark import Clock
from app.web.application import build_app
from tables.kv import MemoryKv
from tables.meta import Meta
from tables.store import PartitionStore
from tests.support.fake_engine import FakeEngine, FakePlan
from tests.support.metrics import Samples, declared, scraped, total
from tests.web.conftest import served
from tests.web.fakes import FakeCluster, FakeState, change, deps

NOW = 1_760_000_000_000
TOPICS = Topics("changes", "letters", "changelog", "test", 1)
Moved = AbstractAsyncContextManager[None]


class World:
    """What a movement may use: a worker's metrics, and a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = CollectorRegistry()
        self.metrics = StreamMetrics(self.registry)
        self.web = deps(FakeState({"u": {"engaged": NOW}}), FakeCluster(peers=["http://127.0.0.1:1"]))
        self.web.registry = self.registry
        self.app = build_app(self.web)

    def read(self) -> dict[str, Samples]:
        """What a scrape says now."""
        return scraped(generate_latest(self.registry).decode())


# --- a partition --------------------------------------------------------------------------------
@dataclass(frozen=True)
class Record:
    offset: int
    key: bytes | None
    value: bytes | None


class FakeOutbox:
    """A log that takes everything."""

    def __init__(self) -> None:
        self.end = 0

    async def commit(self, messages: Mapping[Any, Any], last: Mapping[Any, Any], offsets: Any, group: str) -> int:
        self.end += sum(map(len, last.values()))
        return self.end


class FakeInput:
    """A consumer group of which this worker is a member, or not."""

    def __init__(self, member: bool) -> None:
        self.member = member

    async def is_member(self) -> bool:
        return self.member

    def has(self, partition: int) -> bool:
        return True

    async def stop(self, partition: int) -> None:
        pass

    def hold(self, topic: str, partition: int, on: bool) -> None:
        pass


def a_core(clock: Clock) -> PartitionCore:
    topics = [stream.topic for stream in DEFAULT_STREAMS]
    start = Start(dict.fromkeys(topics, 0), dict.fromkeys(topics, 0), NOW, 0, FakeEngine().plan.digest)
    return PartitionCore(0, DEFAULT_STREAMS, FakeEngine(), PartitionStore(MemoryKv()), decode_event, clock, start, 100)


def fetched(core: PartitionCore, values: Sequence[bytes], more: int = 0, asof: int = NOW) -> None:
    """A fetch brings these clicks of the user u; `more` are known to be behind them."""
    for lane in core.lanes:
        clicks = lane.topic == "clicks"
        records = [Record(lane.position + n, b"u", value) for n, value in enumerate(values)] if clicks else []
        position = lane.position + len(records)
        core.offer([LaneUpdate(lane.topic, records, position, position + (more if clicks else 0), asof)])


def a_click(number: int) -> bytes:
    return orjson.dumps({"user_id": "u", "event_id": f"e{number}", "ts": NOW + number})


@asynccontextmanager
async def a_commit(world: World) -> AsyncIterator[None]:
    """Three clicks, at which the user enters, and one record that is no JSON, in one commit."""
    core, io = a_core(Clock(wall=False)), IoThread()
    disk, outbox = ThreadPoolExecutor(1), FakeOutbox()
    committer = Committer(
        core, core.store, outbox, Writer(TOPICS, 0, "log"), "group", CommitPolicy(50, 1_000), disk, io, asyncio.Lock(),
        lambda: NOW, world.metrics.partition(0), lambda: None,
    )  # type: ignore[arg-type]  # fmt: skip
    io.start()
    fetched(core, [*map(a_click, range(3)), b"{no json"])
    while core.step(NOW):
        pass
    await committer.everything()
    yield
    io.stop()
    disk.shutdown()


def task_deps(world: World, member: bool) -> TaskDeps:
    return TaskDeps(
        link=BrokerAddress("127.0.0.1:1"), group="group", topics=TOPICS, streams=DEFAULT_STREAMS, engine=FakeEngine(),
        decode=decode_event,
        clock=Clock(), input=FakeInput(member), open_kv=lambda _: MemoryKv(), disk=ThreadPoolExecutor(1),
        turn=asyncio.Lock(),
        io=IoThread(), now=lambda: NOW,
    )  # fmt: skip


@asynccontextmanager
async def a_partition_at_work(world: World) -> AsyncIterator[None]:
    """Of a partition's five known records two were fetched, and processed."""
    tasks = PartitionTasks(task_deps(world, member=False), world.metrics)
    await tasks.assign([3])
    core = tasks[3].core = a_core(Clock())
    fetched(core, [a_click(1), a_click(2)], more=3)
    while core.step(NOW + 10):
        pass
    yield
    await tasks.close()


@asynccontextmanager
async def a_partition_that_cannot_begin(world: World) -> AsyncIterator[None]:
    """Nobody listens where the broker should be: the task tries again and again."""
    shared = task_deps(world, member=True)
    tasks = PartitionTasks(shared, world.metrics)
    shared.io.start()
    await tasks.assign([3])
    async with asyncio.timeout(20):
        while total(world.read()["hyperseg_partition_restarts"]) < 2:
            await asyncio.sleep(0.02)
    yield
    await tasks.close()
    shared.io.stop()


# --- definitions --------------------------------------------------------------------------------
@asynccontextmanager
async def definitions_with_a_mistake(world: World) -> AsyncIterator[None]:
    world.folder.joinpath("a.yaml").write_text(
        "segments:\n"
        "  - {name: good, when: any(click)}\n"
        "  - {name: late, when: 'score(\"m\") > 1 or any(purchase)'}\n"
        "  - {name: bad, when: cuont(click) > 3}\n"
        "groups:\n"
        "  - {name: stage, segments: [good, late]}\n"
    )
    load_definitions(str(world.folder), EngineOptions(), world.metrics)
    yield


# --- the web ------------------------------------------------------------------------------------
@asynccontextmanager
async def a_request(world: World) -> AsyncIterator[None]:
    """The list of segments, for which the other worker is asked; it does not answer."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url="http://127.0.0.1") as client:
        assert (await client.get("/api/segments")).status_code == 200
    yield


@asynccontextmanager
async def a_stream(world: World) -> AsyncIterator[None]:
    """A client that follows the changes and got one."""
    feed = world.web.feed
    feed.begin({0: 0})
    world.registry = world.web.registry = CollectorRegistry()
    async with (
        served(world.web) as base,
        httpx.AsyncClient(base_url=base, timeout=5) as client,
        client.stream("GET", "/api/changes") as answer,
    ):
        lines = answer.aiter_lines()
        assert await anext(lines)
        feed.append(0, 0, change())
        feed.notify()
        async with asyncio.timeout(5):
            while await anext(lines) != "event: change":
                pass
        yield


@asynccontextmanager
async def a_stream_that_is_ended(world: World) -> AsyncIterator[None]:
    async with a_stream(world):
        world.web.feed.close()
        async with asyncio.timeout(5):
            while not total(world.read()["hyperseg_streams_dropped"]):
                await asyncio.sleep(0.02)
        yield


# --- the process --------------------------------------------------------------------------------
@asynccontextmanager
async def a_process_at_work(world: World) -> AsyncIterator[None]:
    """64 MB more, a file open, and as much work as the kernel's clock can see.

    Mapped, not allocated: an allocation may find its place in what the process has freed before.
    """
    before = total(world.read()["process_cpu_seconds"])
    with mmap.mmap(-1, 64 << 20) as held, world.folder.joinpath("open").open("wb"):
        held.write(b"x" * len(held))
        while total(world.read()["process_cpu_seconds"]) < before + 0.05:
            sum(range(100_000))
        yield


CONSTANT = {"process_start_time_seconds", "process_max_fds"}
MOVED_BY: dict[str, Callable[[World], Moved]] = {
    "hyperseg_events": a_commit,
    "hyperseg_changes": a_commit,
    "hyperseg_dead_letters": a_commit,
    "hyperseg_commit_seconds": a_commit,
    "hyperseg_store_seconds": a_commit,
    "hyperseg_lag_records": a_partition_at_work,
    "hyperseg_watermark_seconds": a_partition_at_work,
    "hyperseg_partition_restarts": a_partition_that_cannot_begin,
    "hyperseg_definitions": definitions_with_a_mistake,
    "hyperseg_definitions_refused": definitions_with_a_mistake,
    "hyperseg_http_requests": a_request,
    "hyperseg_http_seconds": a_request,
    "hyperseg_http_forwarded": a_request,
    "hyperseg_streams_open": a_stream,
    "hyperseg_streams_changes": a_stream,
    "hyperseg_streams_dropped": a_stream_that_is_ended,
    "process_cpu_seconds": a_process_at_work,
    "process_resident_memory_bytes": a_process_at_work,
    "process_virtual_memory_bytes": a_process_at_work,
    "process_open_fds": a_process_at_work,
}


@pytest.mark.parametrize("name", sorted(declared() - CONSTANT))
async def test_each_metric_moves(name: str, tmp_path: Path) -> None:
    assert name in MOVED_BY, f"{name} is new: say in MOVED_BY what moves it"
    world = World(tmp_path)
    before = world.read()[name]
    async with MOVED_BY[name](world):
        after = world.read()[name]
    moved = {key for key, value in after.items() if value != before.get(key, 0)}
    assert moved, f"{name}: {after}"


def test_what_the_kernel_says_once_is_there(tmp_path: Path) -> None:
    found = World(tmp_path).read()
    for name in CONSTANT & set(found):
        assert total(found[name]) > 0


async def test_a_commit_is_counted_by_what_was_in_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with a_commit(world):
        found = world.read()
    partition = (("partition", "0"),)
    # What was refused is no event.
    assert found["hyperseg_events"]["hyperseg_events_total", partition] == 3
    assert found["hyperseg_changes"]["hyperseg_changes_total", partition] == 1
    dead_letters = found["hyperseg_dead_letters"]
    assert {labels[0][1]: value for (_, labels), value in dead_letters.items()} == {
        r: float(r == "not_json") for r in REASONS
    }
    assert found["hyperseg_commit_seconds"]["hyperseg_commit_seconds_count", partition] == 1
    assert found["hyperseg_store_seconds"]["hyperseg_store_seconds_count", ()] == 1
    assert (world.metrics.events_total, world.metrics.changes_total, len(world.metrics.recent_commit_s)) == (3, 1, 1)


def test_users_under_new_definitions_or_forgotten_are_work_but_no_events() -> None:
    core = a_core(Clock(wall=False))
    fetched(core, [*map(a_click, range(3)), b"{no json"])
    while core.step(NOW):
        pass
    batch = core.seal()
    assert (batch.events, batch.weight) == (4, 4)
    core.store.apply(batch.writes, Meta(reached=1))
    core.release(batch)
    core.switch(FakeEngine(FakePlan("fake-2")))
    while core.step(NOW):
        pass
    core.forget("u")
    batch = core.seal()
    assert (batch.events, batch.weight) == (0, 2)


async def test_definitions_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    world = World(tmp_path)
    with capture_logs() as logged:
        async with definitions_with_a_mistake(world):
            found = world.read()
    line, warning = logged
    assert (warning["log_level"], "a.yaml:3: segment late uses score" in warning["what"]) == ("warning", True)
    assert (line["log_level"], line["event"]) == ("error", "a definition is refused; the others keep running")
    assert "a.yaml:4" in line["what"]
    assert "did you mean" in line["what"]
    assert total(found["hyperseg_definitions"]) == 3
    assert total(found["hyperseg_definitions_refused"]) == 1


async def test_lag_and_watermark_are_those_of_the_moment_of_the_scrape(tmp_path: Path) -> None:
    world = World(tmp_path)
    tasks = PartitionTasks(task_deps(world, member=False), world.metrics)
    await tasks.assign([3])

    def said() -> list[dict[str, float]]:
        found = world.read()
        return [
            {dict(labels)["partition"]: v for (_, labels), v in found[name].items()}
            for name in ("hyperseg_lag_records", "hyperseg_watermark_seconds")
        ]

    assert said() == [{}, {}]  # nothing is known of a partition that recovers
    core = tasks[3].core = a_core(Clock(grace_ms=500))
    assert said() == [{"3": 0}, {}]  # no event yet: no instant
    fetched(core, [a_click(1), a_click(2)], more=3)
    assert said() == [{"3": 5}, {}]
    core.step(NOW)
    assert said() == [{"3": 3}, {"3": (NOW + 2) / 1000}]
    fetched(core, [a_click(n) for n in (3, 4, 5)])
    core.step(NOW)
    assert said() == [{"3": 0}, {"3": (NOW + 5) / 1000}]
    fetched(core, [], asof=NOW + 60_000)  # a minute later, in silence, nothing is committed
    core.step(NOW + 60_000)
    assert said() == [{"3": 0}, {"3": (NOW + 59_500) / 1000}]
    core.offer([LaneUpdate("clicks", [], 5, 9, NOW + 60_000)])
    core.offer([LaneUpdate("clicks", [], 5, None, NOW + 60_000)])  # the broker is away
    assert said()[0] == {"3": 4}
    await tasks.close()
    assert said() == [{}, {}]  # another worker has it now
