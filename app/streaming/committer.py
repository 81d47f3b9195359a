"""When a partition commits, and the commit itself: one transaction in the log, then one write into
the store.

One commit is under way at a time; the slices go on meanwhile, into the next batch. Under load a
transaction grows rather than that there are more of them: each costs about five requests whatever
is in it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from aiokafka import TopicPartition

from app.observability.metrics import PartitionMetrics
from app.streaming.core import PartitionCore
from app.streaming.messages import Writer
from app.streaming.outbox import Outbox
from app.streaming.process import IoThread
from app.streaming.records import Batch
from tables.meta import Meta
from tables.store import PartitionStore

STRETCH = 8  # commit intervals that a transaction may take under load


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """A commit is due `interval_ms` after the one before began, when idle; `events` or changes make
    it due at once."""

    interval_ms: int
    events: int


class Committer:
    """One epoch's. `wake` is called when a commit has ended."""

    def __init__(
        self,
        core: PartitionCore,
        store: PartitionStore,
        outbox: Outbox,
        writer: Writer,
        group: str,
        pace: CommitPolicy,
        disk: Executor,
        io: IoThread,
        turn: asyncio.Lock,
        now: Callable[[], int],
        metrics: PartitionMetrics,
        wake: Callable[[], None],
    ) -> None:
        self._core = core
        self._store = store
        self._outbox = outbox
        self._writer = writer
        self._group = group
        self._pace = pace
        self._disk = disk
        self._io = io
        self._turn = turn
        self._now = now
        self._metrics = metrics
        self._wake = wake
        self._under_way: asyncio.Task[None] | None = None
        self._began = 0.0
        self.last_at = time.monotonic()

    async def maybe(self, busy: bool) -> None:
        """Begins a commit if one is due. `busy`: more work is waiting. Raises what the commit
        before raised."""
        core, pace = self._core, self._pace
        full = core.weight >= pace.events or core.changes_pending >= pace.events
        if self._under_way is not None:
            if not self._under_way.done() and not (full and core.weight >= 2 * pace.events):
                return
            await self.finish()
        interval_s = pace.interval_ms / 1000 * (STRETCH if busy else 1)
        if core.pending and (full or time.monotonic() - self._began >= interval_s):
            self._began = time.monotonic()
            batch = await self._seal()
            self._under_way = asyncio.create_task(self._commit(batch))
            self._under_way.add_done_callback(lambda _: self._wake())

    def due_in_s(self) -> float | None:
        """Seconds until what is pending may be committed; None when nothing is, or when the end of
        a commit will say."""
        if not self._core.pending:
            self.last_at = time.monotonic()  # nothing to commit is as good as committed
            return None
        return (
            None
            if self._under_way is not None
            else max(0.0, self._began + self._pace.interval_ms / 1000 - time.monotonic())
        )

    async def everything(self) -> None:
        """Commits all there is, and waits for it."""
        await self.finish()
        if self._core.pending:
            await self._commit(await self._seal())

    async def finish(self) -> None:
        """Waits for the commit under way, if any, and raises what it raised."""
        under_way = self._under_way
        if under_way is not None:
            await asyncio.wait([under_way])
            self._under_way = None
            under_way.result()

    async def abandon(self) -> None:
        """Ends the commit under way, whatever became of it."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.cancel()
            await asyncio.wait([under_way])
            if not under_way.cancelled():
                under_way.exception()  # told already, or of no interest any more

    async def _seal(self) -> Batch:
        while True:
            async with self._turn:
                if not self._core.encode_dirty():
                    return self._core.seal()
            await asyncio.sleep(0)

    async def _commit(self, batch: Batch) -> None:
        writer, began = self._writer, time.monotonic()
        messages, last = writer.outgoing(batch, self._now()), writer.changelog(batch)
        offsets = {TopicPartition(topic, self._core.partition): offset for topic, offset in batch.offsets.items()}
        reached = await self._io.run(self._outbox.commit(messages, last, offsets, self._group))
        logged = time.monotonic()
        meta = Meta(reached, batch.watermark, writer.log_name, batch.plan, 0, batch.offsets)
        await asyncio.get_running_loop().run_in_executor(self._disk, self._store.apply, batch.writes, meta)
        self._core.release(batch)
        self.last_at = time.monotonic()
        refused = Counter(letter.reason for letter in batch.dead_letters)
        events = batch.events - len(batch.dead_letters)
        self._metrics.committed(events, len(batch.changes), refused, logged - began, self.last_at - logged)
