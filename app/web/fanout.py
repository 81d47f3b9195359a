"""Answers that need every worker: sizes and members summed and merged over all partitions of the cluster."""

from __future__ import annotations

import asyncio
import base64
import binascii
import heapq
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from app.domain.members import name_of
from app.web import limits
from app.web.deps import WebDeps
from app.web.forward import Forwarder
from app.web.ports import MemberPosition, MemberRow
from app.web.problems import Problem


@dataclass(frozen=True, slots=True)
class Sizes:
    """Members by member key and by segment name; `missing` are the workers that gave no answer (then the numbers are too small)."""

    by_key: Mapping[str, int]
    by_segment: Mapping[str, int]
    missing: Sequence[str]


class Fanout:
    """The cluster as seen from this worker."""

    def __init__(self, deps: WebDeps, forwarder: Forwarder) -> None:
        self._deps = deps
        self._forwarder = forwarder
        self._sizes: asyncio.Task[Sizes] | None = None
        self._sizes_at = 0.0

    async def sizes(self, local: bool = False) -> Sizes:
        """Sizes over all workers, at most `CLUSTER_SIZES_AGE_SECONDS` old; with `local` only this worker's."""
        if local:
            return _sum([self._deps.state.sizes()], [])
        now = asyncio.get_running_loop().time()
        if self._sizes is None or (self._sizes.done() and now - self._sizes_at > limits.CLUSTER_SIZES_AGE_SECONDS):
            self._sizes, self._sizes_at = asyncio.create_task(self._ask_sizes()), now
        return await asyncio.shield(self._sizes)

    async def _ask_sizes(self) -> Sizes:
        answers, missing = await self._forwarder.ask_all(self._deps.cluster.peers(), "/api/sizes", {})
        return _sum([self._deps.state.sizes(), *[answer["sizes"] for answer in answers]], missing)

    async def members(
        self, path: str, segment: str, after: MemberPosition | None, limit: int, local: bool
    ) -> tuple[list[MemberRow], list[str]]:
        """The next `limit` members over all workers in the order of `MemberRow`, and the workers that gave no answer.

        `path` is the route's own path, asked of the peers.
        """
        own = [MemberRow(*row) for row in await self._deps.state.members(segment, after, limit)]
        if local:
            return own, []
        params = {"limit": str(limit)} | ({"cursor": encode_cursor(after)} if after else {})
        answers, missing = await self._forwarder.ask_all(self._deps.cluster.peers(), path, params)
        others = [[MemberRow(*row) for row in answer["rows"]] for answer in answers]
        return list(itertools.islice(heapq.merge(own, *others, key=_order), limit)), missing

    async def statuses(self) -> tuple[list[Any], list[str]]:
        """The status of every worker, this one first, and the workers that gave none."""
        answers, missing = await self._forwarder.ask_all(self._deps.cluster.peers(), "/api/status", {})
        return [self._deps.state.status(), *[worker for answer in answers for worker in answer["workers"]]], missing


def _sum(parts: Sequence[Mapping[str, int]], missing: Sequence[str]) -> Sizes:
    by_key: Counter[str] = Counter()
    for part in parts:
        by_key.update(part)
    by_segment: Counter[str] = Counter()
    for key, count in by_key.items():
        by_segment[name_of(key)] += count
    return Sizes(by_key, by_segment, missing)


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
