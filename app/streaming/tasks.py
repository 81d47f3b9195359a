"""The partition tasks of this worker, begun and ended as the group assigns and revokes
partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from app.observability.logs import get_logger
from app.observability.metrics import PartitionNow, StreamMetrics
from app.streaming.partition import PartitionTask, TaskDeps
from app.streaming.ports import StepEngine
from app.streaming.records import Chunk

log = get_logger(__name__)


class PartitionTasks:
    """`assigned` is None until the group has answered for the first time.

    `dealing` holds before that, and between a revocation and the next assignment: this worker
    has no partitions then.
    """

    def __init__(self, deps: TaskDeps, metrics: StreamMetrics) -> None:
        self._deps = deps
        self._metrics = metrics
        self._tasks: dict[int, PartitionTask] = {}
        self._lock = asyncio.Lock()
        self.assigned: frozenset[int] | None = None
        self.dealing = True
        self.closed = False
        metrics.read_partitions(self._now)

    def __getitem__(self, partition: int) -> PartitionTask:
        """The task of a partition; LookupError when this worker does not have it."""
        return self._tasks[partition]

    @property
    def tasks(self) -> Mapping[int, PartitionTask]:
        """By partition."""
        return self._tasks

    def offer(self, chunks: Iterable[Chunk]) -> None:
        """Hands chunks to their tasks; those of partitions that are gone are dropped (their next
        owner reads them)."""
        for chunk in chunks:
            task = self._tasks.get(chunk.partition)
            if task is not None:
                task.offer(chunk)

    async def assign(self, partitions: Iterable[int]) -> None:
        """Begins the tasks of these partitions, which are all that this worker has now."""
        wanted = frozenset(partitions)
        async with self._lock:
            if self.closed:
                return
            self.assigned = wanted
            await self._end([p for p, task in self._tasks.items() if p not in wanted or task.done])
            for partition in sorted(wanted - self._tasks.keys()):
                task = PartitionTask(partition, self._deps, self._metrics.partition(partition))
                self._tasks[partition] = task
                task.begin()
            self.dealing = False
        log.info("assigned", partitions=sorted(wanted))

    async def revoke(self) -> None:
        """Ends all tasks, each with a last commit: the group is about to deal the partitions
        anew."""
        self.dealing = True
        async with self._lock:
            await self._end(list(self._tasks))

    async def close(self) -> None:
        """Ends all tasks for good."""
        self.closed = True
        await self.revoke()

    def switch(self, engine: StepEngine) -> None:
        """The definitions of `engine` hold from each partition's next batch on."""
        self._deps = replace(self._deps, engine=engine)
        for task in self._tasks.values():
            task.switch(engine)

    def _now(self) -> Iterator[PartitionNow]:
        for partition, task in sorted(self._tasks.items()):
            if task.core is not None:
                yield PartitionNow(partition, task.core.lag, task.core.watermark)

    async def _end(self, partitions: Iterable[int]) -> None:
        tasks = [self._tasks[p] for p in partitions]
        await asyncio.gather(*(task.stop() for task in tasks))
        for task in tasks:
            self._tasks.pop(task.partition, None)
