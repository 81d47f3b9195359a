"""The users of this worker's partitions, for whoever asks (`app.web.ports.LocalState`)."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from app.domain.errors import InputError
from app.domain.views import DefinitionProblem, Explanation, Explanations, LocalSizes, SegmentView, UserView
from app.engine.engine import Engine
from app.engine.views import describe_segment, describe_user, explain_segment
from app.observability.metrics import StreamMetrics
from app.streaming.core import PartitionCore
from app.streaming.partition import describe
from app.streaming.partitioner import partition_for
from app.streaming.rates import Rate
from app.streaming.tasks import PartitionTasks
from tables import changelog
from tables.members import ANY


class LocalUsers:
    """See the protocol for what each method promises. `identity` is what the status page says
    besides numbers."""

    def __init__(
        self,
        tasks: PartitionTasks,
        engine: Engine,
        partitions: int,
        now: Callable[[], int],
        wall: bool,
        metrics: StreamMetrics,
        identity: Mapping[str, str],
        trouble: Callable[[], list[str]],
        problems: Sequence[DefinitionProblem] = (),
    ) -> None:
        self._tasks = tasks
        self._engine = engine
        self._partitions = partitions
        self._now = now
        self._wall = wall
        self._metrics = metrics
        self._identity = identity
        self._trouble = trouble
        self._problems = problems
        self._segments = [describe_segment(engine, s.name) for s in engine.plan.segments]
        self.events_rate = Rate(lambda: metrics.events_total)
        self.changes_rate = Rate(lambda: metrics.changes_total)

    # --- one user --------------------------------------------------------------------------------
    def owns(self, user: str) -> bool:
        return self._core(user) is not None

    async def describe(self, user: str) -> UserView | None:
        found = await self._state(user)
        return None if found is None else describe_user(self._engine, found[0], found[1])

    async def explain(self, user: str, segment: str | None, at: int | None) -> Explanation | Explanations | None:
        found = await self._state(user)
        if found is None:
            return None
        state, present = found
        if at is not None and at < state.clock:
            raise InputError(
                f"at {at} is before this user's last event or timer ({state.clock}): the state cannot "
                "answer it; use hyperseg replay"
            )
        names = [segment] if segment is not None else [s.name for s in self._engine.plan.segments]
        answers = [explain_segment(self._engine, state, name, present if at is None else at) for name in names]
        return answers[0] if segment is not None else Explanations(user_id=user, segments=answers)

    def _core(self, user: str) -> PartitionCore | None:
        task = self._tasks.tasks.get(partition_for(user.encode(), self._partitions))
        return task.core if task is not None and task.state == "running" else None

    async def _state(self, user: str) -> tuple[Any, int] | None:
        """The user's state and the present instant; LookupError when the partition is not here
        any more."""
        core = self._core(user)
        if core is None:
            raise LookupError(user)
        present = self._now() if self._wall else core.watermark
        cached = core.cache.users.get(user)
        if cached is not None:
            return None if cached.new and not cached.changed else (cached.state, present)
        try:
            row = await asyncio.to_thread(core.store.get, user)
        except Exception as error:  # closed meanwhile: the partition has left
            raise LookupError(user) from error
        return None if row is None else (self._engine.decode(changelog.decode_value(row.raw)[1]), present)

    # --- all users -------------------------------------------------------------------------------
    def _cores(self) -> list[PartitionCore]:
        return [task.core for task in self._tasks.tasks.values() if task.core is not None]

    def sizes(self) -> LocalSizes:
        cores = self._cores()
        sizes: Counter[str] = Counter()
        people: Counter[str] = Counter()
        for core in cores:
            sizes.update(core.store.sizes())
            people.update(core.store.people())
        return LocalSizes(
            sizes=dict(sizes),
            people={name: count for name, count in people.items() if name != ANY},
            in_segments=people[ANY],
            known=sum(core.store.meta.users for core in cores),
            partitions=sorted(core.partition for core in cores),
            partitions_total=self._partitions,
        )

    async def members(self, segment: str, after: tuple[str, str] | None, limit: int) -> Sequence[tuple[str, str, int]]:
        stores = [core.store for core in self._cores()]
        pages = await asyncio.gather(*(asyncio.to_thread(store.members, segment, after, limit) for store in stores))
        merged = heapq.merge(*pages, key=lambda row: (row[0].encode(), row[1].encode()))
        return list(islice(merged, limit))

    def definitions(self) -> Sequence[SegmentView]:
        return self._segments

    def problems(self) -> Sequence[DefinitionProblem]:
        return self._problems

    # --- health ----------------------------------------------------------------------------------
    def unready(self) -> list[str]:
        reasons = list(self._trouble())
        if self._tasks.dealing:
            reasons.append("the consumer group is assigning partitions")
        for partition, task in sorted(self._tasks.tasks.items()):
            core = task.core
            if task.reason:
                reasons.append(task.reason)
            elif core is not None and not core.caught_up:
                reasons.append(f"partition {partition} is catching up: {core.lag} records left")
        return reasons

    def status(self) -> Mapping[str, Any]:
        partitions = [describe(task) for _, task in sorted(self._tasks.tasks.items())]
        commits = sorted(self._metrics.recent_commit_s)
        lags = [p["lag"] for p in partitions]
        watermarks = [p["watermark"] for p in partitions if p["watermark"]]
        return {
            **self._identity,
            "partitions": partitions,
            "watermark": min(watermarks, default=None),
            "lag": None if self._tasks.dealing or None in lags else sum(lags),
            "events_per_second": self.events_rate.per_second(),
            "changes_per_second": self.changes_rate.per_second(),
            "commit_ms_p50": _quantile_ms(commits, 0.5),
            "commit_ms_p99": _quantile_ms(commits, 0.99),
            "plan_digest": self._engine.plan.digest,
            "definitions_refused": sum(problem.kind == "refused" for problem in self._problems),
        }


def _quantile_ms(ordered: Sequence[float], q: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * q))] * 1000, 1) if ordered else None
