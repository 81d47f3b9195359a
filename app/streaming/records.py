"""What passes between the stages of the streaming path. Nothing here knows Faust or RocksDB."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from app.domain.changes import Change
from app.domain.errors import RefusalReason
from tables.store import UserWrite

Headers = list[tuple[str, bytes]]
Message = tuple[bytes | None, bytes | None, Headers]
"""A record to be written: key, value (None: a tombstone), headers."""


class LaneUpdate(NamedTuple):
    """What a fetch brought for one topic of a partition.

    `records` have an `offset`, a `key` and a `value` (bytes or None), as aiokafka's do. `position`
    is the offset the next fetch begins at. `end` is where the readable part of the topic ended at
    the instant `asof` (epoch ms, taken before the broker was asked); None: not known now, so the
    topic counts as behind.
    """

    topic: str
    records: list[Any]
    position: int
    end: int | None
    asof: int


class Chunk(NamedTuple):
    """One fetch of one partition: all its topics, those without records included.

    `epoch` names the start of the partition's task the fetch belongs to; `number` counts the
    chunks of that epoch.
    """

    partition: int
    epoch: int
    number: int
    lanes: list[LaneUpdate]


class DeadLetter(msgspec.Struct, gc=False):
    """A record that did not fit, with the bytes it came with."""

    topic: str
    offset: int
    key: bytes | None
    value: bytes | None
    reason: RefusalReason
    detail: str


class Batch(msgspec.Struct):
    """What one commit makes durable.

    `states`: (user, raw or None) for the changelog; `writes`: rows of the store, those of `states`
    and users that were only re-armed. `offsets`: by topic, where the inputs are consumed up to
    (exclusive). `events` are the records taken, refused ones among them, and the timers fired;
    `weight` is all work in it, users brought under new definitions or forgotten included.
    """

    number: int
    changes: list[Change]
    dead_letters: list[DeadLetter]
    states: list[tuple[str, bytes | None]]
    writes: list[UserWrite]
    offsets: dict[str, int]
    watermark: int
    plan: str
    weight: int
    events: int
    users: list[str]
