"""Bringing a store up to the changelog: each record is the whole state of one user, so applying one
again changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from app.domain.limits import NEVER
from app.streaming.ports import StepEngine
from tables import changelog, meta
from tables.changelog import Mark
from tables.store import PartitionStore, UserWrite, write_for
from tables.users import StoredUser


class LogRecord(NamedTuple):
    """One record of a partition's changelog."""

    offset: int
    key: bytes
    value: bytes | None


class ForeignLog(Exception):
    """The changelog is not the one this store was made from: another cluster, or a topic that was
    made anew."""


class Rebuilder:
    """Applies changelog records to a store, rebuilding the timers and members of each user from its
    old and new state."""

    def __init__(self, store: PartitionStore, engine: StepEngine) -> None:
        self.store = store
        self._engine = engine

    def apply(self, records: Iterable[LogRecord], reached: int) -> None:
        """Applies records in the order of the log, in one write; from then on the store has reached
        the offset `reached`.

        Raises ForeignLog before anything is written, ValueError for a record of another version.
        """
        latest: dict[str, bytes | None] = {}
        mark: Mark | None = None
        for record in records:
            if record.key == changelog.MARK_KEY:
                mark = self._checked(record)
            else:
                latest[changelog.user_of(record.key)] = record.value
        rows = self.store.get_many(list(latest))
        writes = [
            write
            for (user, value), row in zip(latest.items(), rows, strict=True)
            if (write := self._write(user, value, row))
        ]
        self.store.apply(writes, self._after(mark, reached))

    def _checked(self, record: LogRecord) -> Mark:
        mark = changelog.decode_mark(record.value or b"")
        known = self.store.meta.log
        if known and known != mark.log:
            raise ForeignLog(f"it is {mark.log}, this store was made from {known}")
        return mark

    def _after(self, mark: Mark | None, reached: int) -> meta.Meta:
        before = self.store.meta
        if mark is None:
            return msgspec.structs.replace(before, reached=reached)
        offsets = dict(zip(mark.topics, mark.offsets, strict=True))
        return meta.Meta(reached, mark.watermark, mark.log, mark.plan, 0, offsets)

    def _write(self, user: str, value: bytes | None, row: StoredUser | None) -> UserWrite | None:
        armed_before = row.armed if row else NEVER
        old = self._members(row.raw) if row else {}
        if value is None:
            return write_for(user, None, armed_before, NEVER, old, {}, False) if row else None
        state = self._engine.decode(changelog.decode_value(value)[1])
        return write_for(user, value, armed_before, state.due, old, state.members, row is None)

    def _members(self, raw: bytes) -> dict[str, int]:
        members: dict[str, int] = self._engine.decode(changelog.decode_value(raw)[1]).members
        return members
