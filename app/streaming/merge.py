"""Merging the topics of one partition by time. Pure.

The order is by `ts`; ties by stream rank, then by offset; within one topic always by offset. So the
next event is the smallest of the topics' heads. That is the same as sorting by (running maximum of
ts within the topic, rank, offset): a record that is older than its predecessor becomes a head the
moment that predecessor left, and nothing else can be smaller. A sort of runs is C speed; comparing
heads would be Python.

A topic that is behind its end and has nothing buffered is waited for; one that is caught up is not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from app.domain.streams import Stream
from app.streaming.records import LaneUpdate

# (running maximum of ts, rank, offset, what was decoded, the record itself)
Entry = tuple[int, int, int, Any, Any]
Admit = Callable[[Any, Stream], tuple[int | None, Any]]

_COMPACT_AT = 4_096


class Lane:
    """One topic of the partition: fetched records, the decoded head of them, and how far the topic
    is known to reach.

    `position` is the offset behind everything handed in, `next_offset` the one behind everything
    merged out (what may be committed).
    """

    def __init__(self, stream: Stream, position: int, end: int | None, asof: int) -> None:
        self.stream = stream
        self.topic = stream.topic
        self.position = position
        self.next_offset = position
        self.end = end
        self._known_end = end or 0
        self.asof = asof
        self.buffered = 0
        self._raw: deque[list[Any]] = deque()
        self._raw_at = 0
        self._ready: list[Entry] = []
        self._at = 0
        self._top = 0

    def offer(self, update: LaneUpdate) -> None:
        """Takes what a fetch brought."""
        if update.records:
            self._raw.append(update.records)
            self.buffered += len(update.records)
        self.position = update.position
        self.end = update.end
        self._known_end = self._known_end if update.end is None else update.end
        self.asof = update.asof
        if not self.buffered:
            # Control records and compacted gaps are consumed by passing them.
            self.next_offset = self.position

    @property
    def open(self) -> bool:
        """Whether more records are known to come, which must be waited for."""
        return bool(self._raw) or self.end is None or self.position < self.end

    @property
    def drained(self) -> bool:
        """Whether everything known to be readable has been merged out."""
        return not self.buffered and not self.open

    @property
    def lag(self) -> int:
        """Records not yet merged out, up to the last end that was known: not knowing the present
        one is not being there."""
        return max(self._known_end, self.position) - self.next_offset

    def fill(self, want: int, admit: Admit) -> None:
        """Decodes until `want` entries are ready or nothing is left to decode."""
        while len(self._ready) - self._at < want and self._raw:
            chunk = self._raw[0]
            end = min(len(chunk), self._raw_at + want)
            self._decode(chunk, self._raw_at, end, admit)
            self._raw_at = end
            if end == len(chunk):
                self._raw.popleft()
                self._raw_at = 0

    def _decode(self, chunk: list[Any], start: int, end: int, admit: Admit) -> None:
        top, rank, stream, append = self._top, self.stream.rank, self.stream, self._ready.append
        for record in chunk[start:end]:
            ts, item = admit(record, stream)
            if ts is not None and ts > top:
                top = ts
            append((top, rank, record.offset, item, record))
        self._top = top

    def bound(self) -> tuple[int, int, int] | None:
        """The key just behind the last ready entry; None when nothing is ready."""
        if self._at == len(self._ready):
            return None
        top, rank, offset, *_ = self._ready[-1]
        return top, rank, offset + 1

    def take(self, bound: tuple[int, int, int] | None) -> list[Entry]:
        """Removes the ready entries below `bound` (None: all)."""
        ready, at = self._ready, self._at
        cut = len(ready) if bound is None else bisect_left(ready, bound, at)
        taken = ready[at:cut]
        if not taken:
            return taken
        self.buffered -= len(taken)
        self._at = cut
        if cut == len(ready):
            ready.clear()
            self._at = 0
        elif cut > _COMPACT_AT:
            del ready[:cut]
            self._at = 0
        self.next_offset = taken[-1][2] + 1 if self.buffered else self.position
        return taken


def merge(lanes: Sequence[Lane], want: int, admit: Admit) -> list[Entry]:
    """The next entries in order, as many as may go without waiting: about `want` of each lane.
    Empty: wait for more to be fetched."""
    lowest: tuple[int, int, int] | None = None
    for lane in lanes:
        lane.fill(want, admit)
    for lane in lanes:
        if lane.open:
            bound = lane.bound()
            if bound is None:
                return []
            if lowest is None or bound < lowest:
                lowest = bound
    parts = [part for lane in lanes if (part := lane.take(lowest))]
    if len(parts) == 1:
        return parts[0]
    merged = [entry for part in parts for entry in part]
    merged.sort()
    return merged
