"""Notices what neither Faust nor aiokafka tells: a dead coordinator or fetcher, no assignment,
commits that stand still while lag grows.

A broker that is away is no reason to end: aiokafka comes back to it by itself. A worker that cannot
come back must end, so that whatever runs it starts it again and its partitions move on meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiokafka.errors import KafkaError

from app.observability.logs import get_logger
from app.streaming.tasks import PartitionTasks
from app.streaming.transport import KafkaInput

log = get_logger(__name__)

CHECK_S = 2.0
UNREADY_AFTER_S = 10.0
END_AFTER_S = 120.0


class Watchdog:
    """`check` every CHECK_S. `trouble` are the reasons for being unready, "" in `fatal` while the
    process may go on."""

    def __init__(self, source: KafkaInput, tasks: PartitionTasks, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._tasks = tasks
        self._clock = clock
        self._began = clock()
        self._member_at = clock()
        self._away = False
        self.trouble: list[str] = []
        self.fatal = ""

    async def check(self) -> None:
        """Looks once."""
        self.fatal = self._dead()
        now = self._clock()
        if not self.fatal and await self._is_member():
            self._member_at = now
        away_s = now - self._member_at
        self._tell(away_s > UNREADY_AFTER_S)
        self.trouble = [f"no word from the broker for {away_s:.0f} s"] if self._away else []
        if not self.trouble:
            self._check_progress(now)

    def _tell(self, away: bool) -> None:
        if away and not self._away:
            log.error("the broker does not answer; the worker waits for it and goes on by itself")
        elif self._away and not away:
            log.info("the broker answers again")
        self._away = away

    def _dead(self) -> str:
        try:
            consumer = self._source.thread._ensure_consumer()
        except Exception:
            return "" if self._clock() - self._began < END_AFTER_S else "the consumer did not start"
        for task, what in (
            (consumer._coordinator._coordination_task, "group coordination"),
            (consumer._fetcher._fetch_task, "fetching"),
        ):
            if task.done():
                cause = None if task.cancelled() else task.exception()
                return f"{what} ended: {cause or 'without a reason'}"
        return ""

    async def _is_member(self) -> bool:
        try:
            return await self._source.is_member()
        except (KafkaError, ConnectionError, TimeoutError):
            return False

    def _check_progress(self, now: float) -> None:
        """The broker answers: then partitions must be assigned and those with work must commit."""
        if self._tasks.assigned is None:
            if now - self._began > END_AFTER_S:
                self.fatal = f"no partitions were assigned in {END_AFTER_S:.0f} s though the broker answers"
            return
        for partition, task in self._tasks.tasks.items():
            idle_s = now - task.last_commit_at
            if task.core is None or not task.core.lag or idle_s < UNREADY_AFTER_S:
                continue
            self.trouble.append(
                f"partition {partition} has not committed for {idle_s:.0f} s, {task.core.lag} records behind"
            )
            if idle_s > END_AFTER_S:
                self.fatal = self.trouble[-1]
