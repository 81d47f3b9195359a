"""Where a partition's work begins: the group's offsets, or those of the changelog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.domain.streams import Stream
from app.observability.logs import get_logger
from app.streaming.core import Start
from app.streaming.process import now_ms
from tables.meta import Meta

log = get_logger(__name__)


class Input(Protocol):
    """The consumer, as a task sees it (`transport.KafkaInput`)."""

    async def is_member(self) -> bool: ...
    def has(self, partition: int) -> bool: ...
    async def committed(self, partition: int) -> dict[str, int | None]: ...
    async def bounds(self, partition: int) -> tuple[dict[str, int], dict[str, int]]: ...
    async def start(
        self, partition: int, session: int, offsets: dict[str, int], ends: dict[str, int], asof: int
    ) -> None: ...
    async def stop(self, partition: int) -> None: ...
    def hold(self, topic: str, partition: int, on: bool) -> None: ...


async def where_to_begin(
    source: Input, streams: Sequence[Stream], partition: int, meta: Meta, transactional: bool, plan: str
) -> Start:
    """Call when the predecessor is fenced and the store (`meta`) is at the changelog's end; `plan`
    is the digest in force.

    The group's offsets are in the same transactions as the changelog, so they agree. Where the
    group has forgotten them, or commits are no transactions, the changelog's own count.
    """
    committed = await source.committed(partition) if transactional else {}
    asof = now_ms()
    first, ends = await source.bounds(partition)
    offsets = {}
    for topic in [stream.topic for stream in streams]:
        known = committed.get(topic)
        offset = known if known is not None else meta.offsets.get(topic, first[topic])
        if offset < first[topic]:
            lost = first[topic] - offset
            log.error(
                "records were deleted by the topic's retention before they were read",
                topic=topic,
                partition=partition,
                records=lost,
            )
        offsets[topic] = max(offset, first[topic])
    return Start(offsets, ends, asof, meta.watermark, meta.plan if meta.users else plan)
