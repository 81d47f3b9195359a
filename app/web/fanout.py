"""Answers that need every worker: sizes, members and statuses, summed and merged over all
partitions of the cluster.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import heapq
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson

from app.domain.members import name_of
from app.domain.views import LocalSizes
from app.web import limits
from app.web.deps import WebDeps
from app.web.forward import Forwarder
from app.web.ports import MemberPosition, MemberRow
from app.web.problems import Problem
from app.web.sizes import SizeHistory

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Who is in what over the cluster: memberships by member key and by segment, people by segment,
    each person once.

    `missing` are the workers that gave no answer, of `workers` in all; `uncounted` the partitions
    that nobody has counted, of `partitions`: the numbers are too small while there are any of
    either. `doubled` are partitions that moved while the workers were asked and that two of them
    counted: the numbers are too large.
    """

    by_key: Mapping[str, int]
    memberships: Mapping[str, int]
    people: Mapping[str, int]
    in_segments: int
    known: int
    missing: Sequence[str]
    workers: int
    uncounted: Sequence[int]
    doubled: Sequence[int]
    partitions: int

    @property
    def complete(self) -> bool:
        """Whether everybody was counted, and once."""
        return not (self.missing or self.uncounted or self.doubled)


@dataclass(frozen=True, slots=True)
class Statuses:
    """The status of every worker that answers, the one asked first, and the addresses of those that
    do not.
    """

    workers: Sequence[Mapping[str, Any]]
    missing: Sequence[str]

    @property
    def watermark(self) -> int | None:
        """Up to which instant every worker that answers has seen all events, epoch ms; None before
        the first event.
        """
        marks = [worker["watermark"] for worker in self.workers if worker.get("watermark")]
        return min(marks, default=None)


class Fanout:
    """The cluster as seen from this worker. Every complete measure of sizes goes into `history`."""

    def __init__(self, deps: WebDeps, forwarder: Forwarder) -> None:
        self.history = SizeHistory()
        self._deps = deps
        self._forwarder = forwarder
        self._sizes = _Shared(self._ask_sizes)
        self._statuses = _Shared(self._ask_statuses)

    async def sizes(self) -> Sizes:
        """Sizes over all workers, at most `CLUSTER_AGE_SECONDS` old while all of them answer."""
        return await self._sizes.get()

    async def statuses(self) -> Statuses:
        """The workers, at most `CLUSTER_AGE_SECONDS` old while all of them answer."""
        return await self._statuses.get()

    async def members(
        self, path: str, segment: str, after: MemberPosition | None, limit: int, local: bool
    ) -> tuple[list[MemberRow], list[str]]:
        """The next `limit` members over all workers in the order of `MemberRow`, and the workers
        that gave no answer.

        `path` is the route's own path, asked of the peers.
        """
        own = [MemberRow(*row) for row in await self._deps.state.members(segment, after, limit)]
        if local:
            return own, []
        params = {"limit": str(limit)} | ({"cursor": encode_cursor(after)} if after else {})
        answers, missing = await self._forwarder.ask_all(self._deps.cluster.peers(), path, params)
        others = [[MemberRow(*row) for row in answer["rows"]] for answer in answers]
        return list(itertools.islice(heapq.merge(own, *others, key=_order), limit)), missing

    async def _ask_sizes(self) -> Sizes:
        peers = self._deps.cluster.peers()
        answers, missing = await self._forwarder.ask_all(peers, "/api/sizes", {}, LocalSizes)
        found = sum_sizes([self._deps.state.sizes(), *answers], missing, len(peers) + 1)
        if found.complete:
            self.history.record(self._deps.clock(), found.people)
        return found

    async def _ask_statuses(self) -> Statuses:
        answers, missing = await self._forwarder.ask_all(self._deps.cluster.peers(), "/api/status", {})
        return Statuses(
            [self._deps.state.status(), *[worker for answer in answers for worker in answer["workers"]]], missing
        )


class _Shared(Generic[T]):
    """One question for all who ask within `CLUSTER_AGE_SECONDS`.

    While a worker takes long to answer, what was known a moment ago is given after
    `CLUSTER_PATIENCE_SECONDS`: a page must not wait for somebody who is stuck.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asked_at = 0.0
        self._asking: asyncio.Task[T] | None = None
        self._known: tuple[float, T] | None = None

    async def get(self) -> T:
        """The answer."""
        now = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and now - self._asked_at > limits.CLUSTER_AGE_SECONDS):
            self._asking, self._asked_at = asyncio.create_task(self._run()), now
        if self._known is not None and now - self._known[0] < limits.CLUSTER_STALE_SECONDS_MAX:
            done, _ = await asyncio.wait([self._asking], timeout=limits.CLUSTER_PATIENCE_SECONDS)
            if not done:
                return self._known[1]
        return await asyncio.shield(self._asking)

    async def _run(self) -> T:
        found = await self._ask()
        self._known = asyncio.get_running_loop().time(), found
        return found


def sum_sizes(parts: Sequence[LocalSizes], missing: Sequence[str], workers: int) -> Sizes:
    """The sizes of several workers together."""
    by_key: Counter[str] = Counter()
    people: Counter[str] = Counter()
    for part in parts:
        by_key.update(part.sizes)
        people.update(part.people)
    memberships: Counter[str] = Counter()
    for key, count in by_key.items():
        memberships[name_of(key)] += count
    partitions = max([part.partitions_total for part in parts])
    counted = Counter(itertools.chain.from_iterable([part.partitions for part in parts]))
    uncounted = sorted(set(range(partitions)) - set(counted))
    doubled = sorted([partition for partition, times in counted.items() if times > 1])
    in_segments, known = sum([part.in_segments for part in parts]), sum([part.known for part in parts])
    return Sizes(by_key, memberships, people, in_segments, known, missing, workers, uncounted, doubled, partitions)


def _order(row: MemberRow) -> tuple[bytes, bytes]:
    return row.member_key.encode(), row.user.encode()


def encode_cursor(position: tuple[str, str]) -> str:
    """A page's end as an opaque text."""
    return base64.urlsafe_b64encode(orjson.dumps(list(position))).decode().rstrip("=")


def decode_cursor(text: str) -> MemberPosition:
    """What `encode_cursor` wrote; anything else is a 422."""
    try:
        pair = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        pair = None
    if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
        raise Problem(422, "invalid-request", "cursor: not one that this server gave")
    return MemberPosition(*pair)
