"""The live changes of the whole cluster as this worker saw them: one bounded ring that every
open stream reads at its own pace.

    first ─┐                                        ┌─ end (the number the next change gets)
           ▼                                        ▼
    … gone │ n │ n+1 │ … │ a client's cursor │ … │
              every change has a number here, and (partition, offset) everywhere

There is no queue a client: a client is a cursor. One that falls behind the ring is told so and
dropped; it comes back with the position it had (see `stream`) and continues, from the ring or,
where the ring has gone on, from the topic itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from app.web import limits
from app.web.ports import History
from app.web.rates import Rates
from app.wording.phrases import show_value


class FeedEntry(msgspec.Struct, gc=False, frozen=True):
    """One change: where it is in the topic, its JSON as it was written, and what streams filter
    by."""

    partition: int
    offset: int
    raw: bytes
    user: str
    names: tuple[str | None, ...]
    value: str | int | float | bool | None


class _Seen(msgspec.Struct, gc=False):
    """The members of a change's JSON that the feed itself reads."""

    user_id: str
    change: str
    segment: str | None = None
    group: str | None = None
    value: str | int | float | bool | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    at: int = 0
    emitted_at: int = 0


_decoder = msgspec.json.Decoder(_Seen)


class CursorExpired(Exception):
    """The cursor points to changes that the ring no longer holds."""


class ChangeFeed:
    """Filled by the tail of the changes topic, read by the web; everything on one event loop.

    One per worker: `ChangeFeed()`; call `close()` when the worker stops. `floors[p]` is the oldest
    offset of partition p from which the ring is complete, `heads[p]` the next one expected.
    """

    def __init__(self, entries_max: int = limits.FEED_ENTRIES_MAX, bytes_max: int = limits.FEED_BYTES_MAX) -> None:
        self.rates = Rates()
        self.floors: dict[int, int] = {}
        self.heads: dict[int, int] = {}
        # Set by the tail: how to read what the ring no longer has.
        self.history: History | None = None
        self.end = 0
        self.first = 0
        self.closed = False
        self.unreadable = 0
        self._slots: list[FeedEntry | None] = [None] * entries_max
        self._bytes = 0
        self._bytes_max = bytes_max
        self._wake = asyncio.Event()

    # --- filling (the tail) ----------------------------------------------------------------------
    def begin(self, starts: Mapping[int, int]) -> None:
        """From where the tail will read each partition.

        A partition already known goes on; one that was made anew empties the ring.
        """
        if any(offset < self.heads.get(partition, 0) for partition, offset in starts.items()):
            self._clear()
        for partition, offset in starts.items():
            if offset > self.heads.get(partition, -1):
                self.floors[partition] = offset
                self.heads[partition] = offset

    def append(self, partition: int, offset: int, raw: bytes) -> None:
        """One change as it was written to the topic.

        An offset already seen is ignored; what is not a change is counted and passed over.
        """
        if offset < self.heads.get(partition, 0):
            return
        self.heads[partition] = offset + 1
        self.floors.setdefault(partition, offset)
        seen = _look(raw)
        if seen is None:
            self.unreadable += 1
            return
        self._count(seen)
        self._put(_entry(partition, offset, raw, seen))

    def notify(self) -> None:
        """Wake every reader: called once after a batch of `append`."""
        self._wake.set()
        self._wake = asyncio.Event()

    def close(self) -> None:
        """End every open stream, so that the server can stop."""
        self.closed = True
        self.notify()

    # --- reading (the streams) -------------------------------------------------------------------
    def read(self, cursor: int, count: int) -> list[FeedEntry]:
        """At most `count` changes from number `cursor` on; raises `CursorExpired` when the first of
        them is gone.
        """
        if cursor < self.first:
            raise CursorExpired
        size = len(self._slots)
        stop = min(self.end, cursor + count)
        return [entry for number in range(cursor, stop) if (entry := self._slots[number % size]) is not None]

    async def wait(self, cursor: int, seconds: float) -> bool:
        """Wait until there is a change with number `cursor`; False when there is none after
        `seconds` or the feed is closed.
        """
        if cursor < self.end or self.closed:
            return not self.closed
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return False
        return not self.closed

    def recent(self, count: int, segment: str | None = None, user: str | None = None) -> list[FeedEntry]:
        """The newest `count` changes that match, newest first."""
        found: list[FeedEntry] = []
        size = len(self._slots)
        for number in range(self.end - 1, self.first - 1, -1):
            entry = self._slots[number % size]
            if entry is not None and matches(entry, segment, user):
                found.append(entry)
                if len(found) == count:
                    break
        return found

    # --- the ring --------------------------------------------------------------------------------
    def _put(self, entry: FeedEntry) -> None:
        size = len(self._slots)
        if self.end - self.first == size:
            self._drop()
        self._slots[self.end % size] = entry
        self.end += 1
        self._bytes += len(entry.raw)
        while self._bytes > self._bytes_max and self.end - self.first > 1:
            self._drop()

    def _drop(self) -> None:
        slot = self.first % len(self._slots)
        entry = self._slots[slot]
        assert entry is not None
        self._slots[slot] = None
        self._bytes -= len(entry.raw)
        self.floors[entry.partition] = entry.offset + 1
        self.first += 1

    def _clear(self) -> None:
        while self.first < self.end:
            self._drop()
        self.floors.clear()
        self.heads.clear()

    def _count(self, seen: _Seen) -> None:
        entered, exited = {"moved": (seen.to, seen.from_), "entered": (seen.segment, None)}.get(
            seen.change, (None, seen.segment)
        )
        if seen.emitted_at - seen.at <= limits.PAST_MS:
            self.rates.add(seen.emitted_at, seen.at, seen.user_id, seen.value, entered, exited)


def entry_of(partition: int, offset: int, raw: bytes) -> FeedEntry | None:
    """A record of the changes topic as an entry; None when it is not a change."""
    seen = _look(raw)
    return None if seen is None else _entry(partition, offset, raw, seen)


def _look(raw: bytes) -> _Seen | None:
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _entry(partition: int, offset: int, raw: bytes, seen: _Seen) -> FeedEntry:
    return FeedEntry(partition, offset, raw, seen.user_id, (seen.segment, seen.group, seen.from_, seen.to), seen.value)


def matches(entry: FeedEntry, segment: str | None, user: str | None) -> bool:
    """Whether a stream with these filters shows the change.

    `segment` is a segment's or group's name, or `name:value`.
    """
    if user is not None and entry.user != user:
        return False
    if segment is None or segment in entry.names:
        return True
    name, colon, value = segment.partition(":")
    return bool(colon) and name == entry.names[0] and value == show_value(entry.value)
