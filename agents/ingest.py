"""Input topics → partition tasks: a message is one round of fetched partitions."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import faust
from faust.types import AppT, EventT, Message
from faust.types.agents import AgentT

from app.streaming.records import Chunk


class IngestDeps(NamedTuple):
    """`topics` are all inputs; `offer` takes a round's chunks, at once and without failing."""

    topics: Sequence[str]
    offer: Callable[[Iterable[Chunk]], None]


class ChunkSchema(faust.Schema[bytes, list[Chunk]]):
    """Passes a round through: what the transport puts into a message is decoded already."""

    def compile(self, app: AppT, **_: Any) -> Callable[..., Any]:
        """Faust's hook: a coroutine function from a message to the event that agents get."""

        async def decode(message: Message, *, propagate: bool = False) -> EventT[list[Chunk]]:
            return app.create_event(None, message.value, message.headers, message)

        return decode


def register(app: faust.App, deps: IngestDeps) -> AgentT[list[Chunk]]:
    """Adds the agent; without acknowledgements, because offsets are committed by the partition
    tasks."""
    topic = app.topic(*deps.topics, schema=ChunkSchema(), acks=False)

    async def ingest(rounds: AsyncIterable[list[Chunk]]) -> None:
        async for chunks in rounds:
            deps.offer(chunks)

    return app.agent(topic, name="ingest")(ingest)
