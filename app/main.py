"""The composition root of a worker: settings → broker and topics → definitions, plan, engine →
partition tasks → Faust app → web."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import faust
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from faust.contrib.asgi import serve_asgi
from prometheus_client import CollectorRegistry

from agents import ingest, rebalance
from app.broker.topics import Topic, TopicDefaults, ensure_topics
from app.domain.decode import decode_event
from app.domain.errors import HypersegError, InputError, Unreachable, UsageError
from app.domain.options import EngineOptions
from app.engine.engine import Engine
from app.observability.logs import get_logger
from app.observability.metrics import StreamMetrics
from app.rules.definitions import Definitions, load_folder, problems_of
from app.rules.plan import compile_plan
from app.settings import Settings
from app.streaming import overrides, process
from app.streaming.changes_tail import ChangesTail
from app.streaming.cluster import WorkerGroup
from app.streaming.faust_app import FaustOptions, create_app
from app.streaming.local_state import LocalUsers
from app.streaming.messages import Topics
from app.streaming.outbox import BrokerAddress
from app.streaming.partition import TaskDeps
from app.streaming.process import IoThread, now_ms
from app.streaming.rates import Rate
from app.streaming.tasks import PartitionTasks
from app.streaming.transport import KafkaInput
from app.streaming.watchdog import CHECK_S, Watchdog
from app.streaming.watermark import Clock
from app.web.application import UVICORN_OPTIONS, build_app
from app.web.deps import WebDeps
from app.web.feed import ChangeFeed
from tables.rocks import RocksKv, shared_cache

log = get_logger(__name__)
_STOP_S_MAX = 20.0

Guarantee = Literal["exactly_once", "at_least_once"]


class WorkerError(HypersegError):
    """The worker cannot go on and must be started again."""


def run_worker(settings: Settings) -> int:
    """Runs a worker until SIGTERM or SIGINT; gives its exit code. Raises HypersegError for what a
    person must fix."""
    if settings.embedded:
        from app.broker.embedded import EmbeddedBroker

        with EmbeddedBroker() as broker:
            return asyncio.run(serve(settings, broker.bootstrap))
    return asyncio.run(serve(settings, settings.bootstrap))


async def serve(settings: Settings, bootstrap: str, stop: asyncio.Event | None = None) -> int:
    """One worker on the broker at `bootstrap`, until a signal or `stop`."""
    stop = stop or _on_signals()
    process.quiet_libraries()
    overrides.install()
    worker = await build_worker(settings, bootstrap)
    try:
        await worker.start()
        await worker.run_until(stop)
    finally:
        await worker.stop()
    return 0


class Worker:
    """Everything that runs in one worker process, in the order it starts; it stops in the
    reverse."""

    def __init__(
        self,
        app: faust.App,
        tasks: PartitionTasks,
        watchdog: Watchdog,
        tail: ChangesTail,
        feed: ChangeFeed,
        io: IoThread,
        url: str,
        definitions: Definitions,
        rates: Sequence[Rate],
    ) -> None:
        self.app = app
        self.tasks = tasks
        self.watchdog = watchdog
        self.feed = feed
        self.url = url
        self._tail = tail
        self._io = io
        self._definitions = definitions
        self._rates = rates
        self._tailing: asyncio.Task[None] | None = None
        self._sweeper = process.Sweeper(lambda: sum(task.core.watermark for task in tasks.tasks.values() if task.core))

    async def start(self) -> None:
        """Joins the group and serves HTTP; partitions begin as they are assigned."""
        self._io.start()
        try:
            await self.app.start()
        except KafkaError as error:
            raise Unreachable(f"broker: went away while the worker started: {error}; start it again") from error
        self._tailing = asyncio.create_task(self._tail.run(), name="changes-tail")
        process.calm_collector()
        in_force, refused = self._definitions, len(self._definitions.errors)
        log.info(
            "worker started",
            url=self.url,
            segments=len(in_force.segments),
            groups=len(in_force.groups),
            refused=refused,
        )

    async def run_until(self, stop: asyncio.Event) -> None:
        """Watches over it; raises WorkerError when it cannot go on."""
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), CHECK_S)
            if self.app.crashed:
                raise WorkerError(f"worker: {self.app.crash_reason or 'a part of it crashed'}; start it again")
            if not stop.is_set():
                await self.watchdog.check()
            if self.watchdog.fatal:
                raise WorkerError(f"worker: {self.watchdog.fatal}; start it again")
            self._sweeper.tick()
            for rate in self._rates:
                rate.sample()

    async def stop(self) -> None:
        """Commits what is done, leaves the group, lets go of everything."""
        log.info("worker stopping")
        await self.tasks.close()
        self.feed.close()
        if self._tailing is not None:
            self._tailing.cancel()
            await asyncio.wait([self._tailing])
        try:
            async with asyncio.timeout(_STOP_S_MAX):
                await self.app.stop()
        except TimeoutError:
            log.warning("leaving the group did not end in time")
        self._io.stop()


async def build_worker(settings: Settings, bootstrap: str) -> Worker:
    """A worker that is ready to `start`. Raises Unreachable without a broker, InputError without a
    usable definition."""
    options = settings.engine_options()
    registry = CollectorRegistry()
    metrics = StreamMetrics(registry)
    definitions = load_definitions(settings.segments_dir, options, metrics)
    engine = Engine(compile_plan(definitions, options), options)
    _make_folder(Path(settings.data_dir))
    port = _port(settings.web_host, settings.web_port)
    url = settings.web_advertise.rstrip("/") or f"http://{settings.web_host}:{port}"
    partitions = await _topics(settings, bootstrap)
    guarantee = await _guarantee(settings, bootstrap)
    topics = [stream.topic for stream in options.streams]
    client_options = settings.security().aiokafka_options()
    app = create_app(
        FaustOptions(
            settings.app_id, bootstrap, client_options, topics, partitions, settings.data_dir, url,
            settings.web_host, port,
            settings.session_timeout_ms, settings.heartbeat_interval_ms, settings.rebalance_timeout_ms,
        )
    )  # fmt: skip
    source = KafkaInput(app, topics)
    io = IoThread()
    tasks = PartitionTasks(
        _task_deps(
            settings, options, engine, source, BrokerAddress(bootstrap, client_options), partitions, io, guarantee
        ),
        metrics,
    )
    watchdog = Watchdog(source, tasks)
    ingest.register(app, ingest.IngestDeps(topics, tasks.offer))
    rebalance.register(app, rebalance.RebalanceDeps(topics[0], tasks.assign, tasks.revoke))
    feed = ChangeFeed()
    tail = ChangesTail(feed, bootstrap, settings.topic("changes"), settings.security())
    identity = {"worker": url, "guarantee": guarantee, "broker": "embedded" if settings.embedded else bootstrap}
    wall = settings.clock == "wall"
    state = LocalUsers(
        tasks, engine, partitions, now_ms, wall, metrics, identity, lambda: watchdog.trouble, problems_of(definitions)
    )
    cluster = WorkerGroup(app.assignor, topics[0], partitions, url)
    web = WebDeps(state, cluster, feed, now_ms, version("hyperseg"), bind=settings.web_host, registry=registry)
    serve_asgi(
        app, build_app(web, hosts=(urlsplit(url).hostname or "",)), host=settings.web_host, port=port, **UVICORN_OPTIONS
    )
    rates = (state.events_rate, state.changes_rate)
    return Worker(app, tasks, watchdog, tail, feed, io, url, definitions, rates)


def load_definitions(folder: str, options: EngineOptions, metrics: StreamMetrics) -> Definitions:
    """The definitions in force; what is refused is logged and counted. Raises InputError when none
    can be used."""
    definitions = load_folder(folder, options)
    for error in definitions.errors:
        log.error("a definition is refused; the others keep running", what=str(error))
    for warning in definitions.warnings:
        log.warning("a definition is not what it seems", what=warning)
    if not definitions.segments:
        first = f": {definitions.errors[0]}" if definitions.errors else ""
        raise InputError(f"segment definitions: none in {folder} can be used{first}")
    metrics.loaded(len(definitions.segments) + len(definitions.groups), len(definitions.errors))
    return definitions


async def _topics(settings: Settings, bootstrap: str) -> int:
    """Creates what is lacking; gives the number of partitions."""
    wanted = [Topic(stream.topic) for stream in settings.input_streams()]
    wanted += [Topic(settings.topic("changes")), Topic(settings.topic("changelog"), compacted=True)]
    wanted.append(Topic(settings.topic("dead_letters"), together=False))
    shape = TopicDefaults(settings.partitions, settings.replication)
    client = logging.getLogger("aiokafka")
    level = client.level
    client.setLevel(logging.CRITICAL)  # that nobody answers is said once, by the error this raises
    try:
        return await ensure_topics(bootstrap, wanted, shape, settings.security())
    finally:
        client.setLevel(level)


async def _guarantee(settings: Settings, bootstrap: str) -> Guarantee:
    """What the settings ask for, where the broker can give it: the embedded one takes transactions,
    isolates nothing and, by mending the batches, breaks their checksums. There every state carries
    its offsets instead, and stays as exact."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, **settings.security().aiokafka_options())
    try:
        await admin.start()
        embedded = str((await admin.describe_cluster())["cluster_id"]).startswith("mockCluster")
    except KafkaError as error:
        raise Unreachable(f"broker {bootstrap}: went away while the worker started: {error}; start it again") from error
    finally:
        await admin.close()
    return "at_least_once" if embedded else settings.guarantee


def _task_deps(
    settings: Settings,
    options: EngineOptions,
    engine: Engine,
    source: KafkaInput,
    link: BrokerAddress,
    partitions: int,
    io: IoThread,
    guarantee: Guarantee,
) -> TaskDeps:
    cache = shared_cache()
    folder = Path(settings.data_dir) / "store" / settings.app_id
    topics = Topics(
        settings.topic("changes"),
        settings.topic("dead_letters"),
        settings.topic("changelog"),
        f"hyperseg/{settings.app_id}",
        partitions,
    )
    return TaskDeps(
        link=link,
        group=settings.app_id,
        topics=topics,
        streams=options.streams,
        engine=engine,
        decode=decode_event,
        clock=Clock(
            settings.clock == "wall", settings.wall_grace_ms, options.allowed_lateness_ms, options.max_future_ms
        ),
        input=source,
        open_kv=lambda partition: RocksKv(folder / str(partition), cache),
        disk=ThreadPoolExecutor(1, "disk"),
        turn=asyncio.Lock(),
        io=io,
        now=now_ms,
        commit_interval_ms=settings.commit_interval_ms,
        commit_events=settings.commit_events,
        cache_entries=max(1_000, settings.cache_entries // partitions),
        buffer_records=settings.fetch_buffer_records,
        transaction_timeout_ms=settings.transaction_timeout_ms,
        retention_ms=settings.retention_ms,
        transactional=guarantee == "exactly_once",
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"data directory {folder}: cannot be made: {error.strerror}; name another with --data-dir"
        ) from error


def _port(host: str, port: int) -> int:
    """The port itself, or a free one for 0. Raises UsageError when somebody else listens there."""
    try:
        with socket.create_server((host, port)) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise UsageError(
            f"web: {host}:{port} cannot be listened on: {error.strerror}; name another with --web-port (0 "
            "takes a free one)"
        ) from error


def _on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
