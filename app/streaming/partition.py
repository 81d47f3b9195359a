"""The partition task: it owns one partition of all input topics, its users, its timers and its
transactional producer.

An *epoch* is one uninterrupted run of it:

    fence the predecessor → bring the store up to the changelog → read the committed offsets
    → fetch → step, commit, step, commit …

Whatever goes wrong ends the epoch; what was not committed is forgotten, and the next epoch
begins from what the log says. There is one way to recover, and it is the same after a crash, an
aborted transaction, a full disk and a broker that was away.
"""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import uuid4

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.domain.errors import HypersegError
from app.domain.limits import WINDOW_MS_MAX
from app.domain.streams import Stream
from app.observability.logs import get_logger
from app.observability.metrics import PartitionMetrics
from app.streaming.beginning import Input, where_to_begin
from app.streaming.committer import CommitPolicy, Committer
from app.streaming.core import Decode, PartitionCore, Poison, Poisoned
from app.streaming.messages import Topics, Writer
from app.streaming.outbox import BrokerAddress, Fenced, Outbox, TooLarge
from app.streaming.ports import StepEngine
from app.streaming.process import IoThread
from app.streaming.records import Chunk
from app.streaming.recovery import Rebuilder
from app.streaming.restore import Restore
from app.streaming.watermark import Clock
from tables.kv import Kv
from tables.store import PartitionStore

log = get_logger(__name__)

_IDLE_S = 1.0
_EXPIRE_EVERY_S = 1.0
_BACKOFF_S_MAX = 5.0
_STOP_S_MAX = 10.0
_DEAD_LETTER_BYTES_SAFE = 512 * 1024

TaskState = Literal["recovering", "running", "stalled"]


@dataclass(frozen=True, slots=True)
class TaskDeps:
    """What all partition tasks of a worker share. Durations are milliseconds, `now` the wall clock
    in epoch milliseconds.

    `turn` lets one task compute a slice for each pass of the event loop, so that whoever else
    waits, waits for one slice and not for one of every partition. `disk` has one thread: a store's
    writes and its closing stay in order. `io` is where producers live.
    """

    link: BrokerAddress
    group: str
    topics: Topics
    streams: tuple[Stream, ...]
    engine: StepEngine
    decode: Decode
    clock: Clock
    input: Input
    open_kv: Callable[[int], Kv]
    disk: Executor
    turn: asyncio.Lock
    io: IoThread
    now: Callable[[], int]
    commit_interval_ms: int = 50
    commit_events: int = 5_000
    cache_entries: int = 50_000
    buffer_records: int = 20_000
    transaction_timeout_ms: int = 60_000
    retention_ms: int = WINDOW_MS_MAX
    transactional: bool = True


class RoundLost(Exception):
    """A chunk did not arrive, and the consumer will not bring its records again: whoever carried
    it took it for one of an old epoch."""


class PartitionTask:
    """One partition. `run` it; `offer` it chunks; `stop` it.

    `reason`: why it is not running, a plain sentence, or "".
    """

    def __init__(self, partition: int, deps: TaskDeps, metrics: PartitionMetrics) -> None:
        self.partition = partition
        self.state: TaskState = "recovering"
        self.reason = f"partition {partition} is starting"
        self.core: PartitionCore | None = None
        self._deps = deps
        self._engine = deps.engine
        self._metrics = metrics
        self._poison = Poison()
        self._dead_letter_bytes_max: int | None = None
        self._epoch = random.getrandbits(62)
        self._number = 0
        self._lost = False
        self._wake = asyncio.Event()
        self._stopping = False
        self._held: set[str] = set()
        self._committer: Committer | None = None
        self._task: asyncio.Task[None] | None = None

    # --- from the outside ------------------------------------------------------------------------
    def begin(self) -> None:
        """Starts the task."""
        self._task = asyncio.create_task(self._run(), name=f"partition-{self.partition}")

    def offer(self, chunk: Chunk) -> None:
        """A chunk of this partition; one of an earlier epoch is dropped, since that epoch's
        successor reads it again.

        A chunk that is not the next one of this epoch ends the epoch: without those before it
        the partition would stand still.
        """
        core = self.core
        if core is None or chunk.epoch != self._epoch:
            return
        if chunk.number != self._number:
            self._lost = True
            self._wake.set()
            return
        self._number += 1
        core.offer(chunk.lanes)
        self._flow(core)
        self._wake.set()

    async def stop(self) -> None:
        """Commits what is done, lets go of the producer and the store. Gives up waiting after ten
        seconds: the log is right anyway."""
        self._stopping = True
        self._wake.set()
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=_STOP_S_MAX)
        if not self._task.done():
            log.warning("the last commit did not end in time and is left to be aborted", partition=self.partition)
            self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    @property
    def last_commit_at(self) -> float:
        """Monotonic seconds of the last commit; of now while there is nothing to commit."""
        return self._committer.last_at if self._committer is not None else time.monotonic()

    @property
    def done(self) -> bool:
        """Whether the task has ended (stopped, or its partition has another owner)."""
        return self._task is not None and self._task.done()

    def switch(self, engine: StepEngine) -> None:
        """The definitions of `engine` hold from the next batch on."""
        self._engine = engine
        self._wake.set()

    # --- epochs ---------------------------------------------------------------------------------
    async def _run(self) -> None:
        failures = 0
        while not self._stopping:
            began = time.monotonic()
            try:
                await self._one_epoch()
                return
            except Fenced:
                if not await self._still_ours():
                    log.info("another worker has this partition now; its task ends here", partition=self.partition)
                    return
                log.warning("the transaction was ended by the broker; beginning again", partition=self.partition)
            except Poisoned as poisoned:
                self._set_aside(poisoned)
            except RoundLost:
                log.warning(
                    "records were lost on their way from the consumer; reading them again", partition=self.partition
                )
            except TooLarge:
                self._dead_letter_bytes_max = _DEAD_LETTER_BYTES_SAFE
            except (KafkaError, OSError, TimeoutError, HypersegError, ValueError) as error:
                self._say_stalled(error)
            except Exception as error:
                log.error("unforeseen failure", partition=self.partition, cause=repr(error), where=_where(error))
                self._say_stalled(error)
            failures = 0 if time.monotonic() - began > 30 else failures + 1
            await self._pause(min(_BACKOFF_S_MAX, 0.05 * 2**failures))

    def _say_stalled(self, error: BaseException) -> None:
        said = str(error) or type(error).__name__
        self.state = "stalled"
        if said not in self.reason:
            log.warning("stalled; will go on by itself", partition=self.partition, cause=said)
        self.reason = f"partition {self.partition} is stalled: {said}"

    def _set_aside(self, poisoned: Poisoned) -> None:
        self._poison.add(poisoned)
        log.error(
            "the engine failed; the record is set aside",
            partition=self.partition, topic=poisoned.topic, offset=poisoned.offset, user=poisoned.user,
            cause=repr(poisoned.__cause__),
        )  # fmt: skip

    async def _pause(self, seconds: float) -> None:
        self._wake.clear()
        if not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)

    async def _still_ours(self) -> bool:
        """Whether the group's coordinator confirms that the partition is this worker's: only then
        may it fence whoever fenced it."""
        try:
            return not self._stopping and await self._deps.input.is_member() and self._deps.input.has(self.partition)
        except (KafkaError, ConnectionError):
            return False

    async def _one_epoch(self) -> None:
        deps = self._deps
        self.state = "recovering"
        while not await self._still_ours():
            if self._stopping:
                return
            await self._pause(0.2)
        self._metrics.session_began()
        outbox = Outbox(
            deps.link, f"{deps.group}-{self.partition}" if deps.transactional else None, deps.transaction_timeout_ms
        )
        store: PartitionStore | None = None
        try:
            kv = await asyncio.get_running_loop().run_in_executor(deps.disk, deps.open_kv, self.partition)
            store = PartitionStore(kv)
            await deps.io.run(outbox.open())
            core = await self._prepare(store)
            await self._work(core, store, outbox)
        finally:
            self.core = None
            if self._committer is not None:
                await self._committer.abandon()
                self._committer = None
            with suppress(KafkaError, ConnectionError, RuntimeError):
                await deps.input.stop(self.partition)
            await deps.io.run(outbox.close())
            if store is not None:
                await asyncio.get_running_loop().run_in_executor(deps.disk, store.close)

    async def _prepare(self, store: PartitionStore) -> PartitionCore:
        deps = self._deps
        rebuilder = Rebuilder(store, self._engine)
        restore = Restore(deps.link, TopicPartition(deps.topics.changelog, self.partition), rebuilder, self._restoring)
        began = time.monotonic()
        read = await restore.run()
        log.info(
            "recovered",
            partition=self.partition,
            records=read,
            users=store.meta.users,
            seconds=round(time.monotonic() - began, 2),
        )
        start = await where_to_begin(
            deps.input, deps.streams, self.partition, store.meta, deps.transactional, self._engine.plan.digest
        )
        core = PartitionCore(
            self.partition, deps.streams, self._engine, store, deps.decode, deps.clock, start,
            deps.cache_entries, deps.transactional, self._poison,
        )  # fmt: skip
        self._epoch += 1
        self._number = 0
        self._lost = False
        self._held.clear()
        self.core = core
        await deps.input.start(self.partition, self._epoch, start.offsets, start.ends, start.asof)
        return core

    def _restoring(self, _read: int, left: int) -> None:
        self.reason = f"partition {self.partition} is recovering: {left} records left"

    # --- work ------------------------------------------------------------------------------------
    async def _work(self, core: PartitionCore, store: PartitionStore, outbox: Outbox) -> None:
        deps = self._deps
        topics = replace(
            deps.topics, dead_letters_partitions=await deps.io.run(outbox.partitions(deps.topics.dead_letters))
        )
        writer = Writer(topics, self.partition, store.meta.log or uuid4().hex, self._dead_letter_bytes_max)
        pace = CommitPolicy(deps.commit_interval_ms, deps.commit_events)
        self._committer = committer = Committer(
            core,
            store,
            outbox,
            writer,
            deps.group,
            pace,
            deps.disk,
            deps.io,
            deps.turn,
            deps.now,
            self._metrics,
            self._wake.set,
        )
        self.state, self.reason = "running", ""
        expired_at = time.monotonic()
        while not self._stopping:
            self._wake.clear()
            if self._lost:
                raise RoundLost
            async with deps.turn:
                busy = core.step(deps.now())
            self._flow(core)
            await committer.maybe(busy)
            if self._engine is not core.engine:
                await committer.everything()
                core.switch(self._engine)
                continue
            if time.monotonic() - expired_at > _EXPIRE_EVERY_S and not core.migrating:
                expired_at = time.monotonic()
                core.expire_slice(deps.retention_ms)
            if busy:
                await asyncio.sleep(0)
            else:
                due_s = committer.due_in_s()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _IDLE_S if due_s is None else due_s)
        await committer.everything()

    def _flow(self, core: PartitionCore) -> None:
        """Back pressure: a topic whose buffer is full is not fetched until half of it is gone."""
        high = max(1_000, self._deps.buffer_records // len(core.lanes))
        for lane in core.lanes:
            held = lane.topic in self._held
            if lane.buffered > high and not held:
                self._held.add(lane.topic)
                self._deps.input.hold(lane.topic, self.partition, True)
            elif held and lane.buffered < high // 2:
                self._held.discard(lane.topic)
                self._deps.input.hold(lane.topic, self.partition, False)


def _where(error: BaseException) -> str:
    """file:line of the innermost frames, for a log line."""
    return " < ".join(
        f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)[:-4:-1]
    )


def describe(task: PartitionTask) -> dict[str, Any]:
    """The partition for status pages."""
    core = task.core
    return {
        "partition": task.partition,
        "state": task.state,
        "watermark": core.watermark or None if core else None,
        "lag": core.lag if core else None,
        "users": core.store.meta.users if core else None,
    }
