"""One client's stream of changes: where it begins, what it is sent, how it ends.

Everything that is sent is a server-sent event whose `id` is the client's *position*: for each
partition of the topic the next offset to send, written as `0-120.1-98` (partition, offset; `.`
between; ascending). A browser gives it back as `Last-Event-ID`, and it means the same on every
worker, whatever order that worker saw the partitions in.

    change   the change's JSON as it is in the topic (with `words=1` also in plain English)
    gap      older changes are no longer kept; {"partitions": {"0": {"from": 17, "to": 90}}}
    skipped  changes left out because of `per_second`; {"count": 812}
    dropped  the client is too slow; the stream ends, and connecting again continues at the id
    closing  the worker stops; connect again (to any worker)

An event without data (a comment and an id) is the heartbeat: it keeps the connection and the
position fresh.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import orjson

from app.domain.errors import Unreachable
from app.web import limits
from app.web.feed import ChangeFeed, CursorExpired, FeedEntry, entry_of, matches
from app.web.metrics import WebMetrics

PARTITIONS_MAX = 1_024  # one topic's; more would not fit a request head
_FORM = re.compile(r"\d{1,6}-\d{1,19}(\.\d{1,6}-\d{1,19})*")


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What a client asked for. `after` None: from now on. `per_second` 0: all."""

    segment: str | None = None
    user: str | None = None
    after: dict[int, int] | None = None
    words: bool = False
    per_second: int = 0


class ChangeStream:
    """The events for one client. `render` turns a change's JSON into what is sent of it."""

    def __init__(
        self,
        feed: ChangeFeed,
        request: StreamRequest,
        render: Callable[[bytes], bytes],
        metrics: WebMetrics,
        readers: asyncio.Semaphore,
    ) -> None:
        self._feed = feed
        self._request = request
        self._render = render
        self._metrics = metrics
        self._readers = readers
        self._cursor = feed.end if request.after is None else feed.first
        self._position = _start(feed, request)
        self._window = 0
        self._sent = 0
        self._skipped = 0
        self._said = -1

    async def pieces(self) -> AsyncIterator[bytes]:
        """The stream, in pieces of whole events; ends when the client is dropped or the worker
        stops.
        """
        yield b"retry: %d\n%s" % (limits.STREAM_RETRY_MS, self._beat())
        async for piece in self._catch_up():
            yield piece
        while not self._feed.closed:
            try:
                entries = self._feed.read(self._cursor, limits.STREAM_BATCH_MAX)
            except CursorExpired:
                yield self._end("behind")
                return
            self._cursor += len(entries)
            events = [self._event(entry) for entry in entries if self._wanted(entry)]
            self._metrics.streamed.inc(len(events))
            piece = b"".join(events) + self._said_skipped()
            if piece:
                yield piece
            if not entries and not await self._feed.wait(self._cursor, limits.STREAM_HEARTBEAT_SECONDS):
                yield self._beat()
        self._metrics.dropped("closing")
        yield self._control("closing", {"detail": "This worker stops; connect again."})

    # --- catching up -----------------------------------------------------------------------------
    async def _catch_up(self) -> AsyncIterator[bytes]:
        """What the client missed and the ring no longer has, read from the topic, until the ring
        goes on from there.
        """
        await self._disbelieve()
        for _ in range(limits.CATCH_UP_ROUNDS_MAX):
            self._cursor = self._feed.first if self._request.after is not None else self._cursor
            missing = self._missing()
            if not missing:
                return
            too_many = _trim(missing)
            if too_many or self._feed.history is None:
                yield self._gap(too_many or missing)
            if self._feed.history is not None:
                async for piece in self._from_history(missing):
                    yield piece
            self._advance(missing)
        # Still behind: the first read of the ring says so.

    async def _disbelieve(self) -> None:
        """A position past the topic's end is of another topic (a broker made anew): then all that
        is here is new to the client.

        A position past only this worker's tail is honest: another worker was quicker.
        """
        ahead = [p for p, at in self._position.items() if at > self._feed.heads[p]]
        if not ahead or self._feed.history is None:
            return
        try:
            ends = await self._feed.history.ends()
        except Unreachable:
            return
        if any(self._position[p] > ends.get(p, 0) for p in ahead):
            self._position = dict(self._feed.floors)

    def _missing(self) -> dict[int, tuple[int, int]]:
        """By partition the offsets [from, to) between the client's position and the ring."""
        floors = self._feed.floors
        return {p: (at, floors[p]) for p, at in self._position.items() if p in floors and at < floors[p]}

    async def _from_history(self, missing: dict[int, tuple[int, int]]) -> AsyncIterator[bytes]:
        history = self._feed.history
        assert history is not None
        starts = {p: begin for p, (begin, _) in missing.items()}
        ends = {p: end for p, (_, end) in missing.items()}
        again = 0
        async with self._readers:
            try:
                async for partition, offset, raw in history.read(starts, ends):
                    entry = entry_of(partition, offset, raw)
                    if entry is not None and self._wanted(entry):
                        again += 1
                        yield self._event(entry)
            except Unreachable:
                yield self._gap({p: (self._position[p], end) for p, end in ends.items()})
            finally:
                self._metrics.streamed.inc(again)

    def _advance(self, missing: dict[int, tuple[int, int]]) -> None:
        for partition, (_, end) in missing.items():
            self._position[partition] = max(self._position[partition], end)

    # --- events ----------------------------------------------------------------------------------
    def _wanted(self, entry: FeedEntry) -> bool:
        """Whether to send the change; moves the position past it either way."""
        if entry.offset < self._position.get(entry.partition, 0):
            return False
        self._position[entry.partition] = entry.offset + 1
        return matches(entry, self._request.segment, self._request.user) and self._within_rate()

    def _within_rate(self) -> bool:
        if not self._request.per_second:
            return True
        second = int(time.monotonic())
        if second != self._window:
            self._window, self._sent = second, 0
        self._sent += 1
        if self._sent <= self._request.per_second:
            return True
        self._skipped += 1
        return False

    def _event(self, entry: FeedEntry) -> bytes:
        return b"id: %s\nevent: change\ndata: %s\n\n" % (self._id(), self._render(entry.raw))

    def _said_skipped(self) -> bytes:
        """At most once a second how many were left out since it was last said."""
        second = int(time.monotonic())
        if not self._skipped or second == self._said:
            return b""
        count, self._skipped, self._said = self._skipped, 0, second
        return self._control("skipped", {"count": count})

    def _gap(self, ranges: dict[int, tuple[int, int]]) -> bytes:
        return self._control(
            "gap", {"partitions": {str(p): {"from": begin, "to": end} for p, (begin, end) in ranges.items()}}
        )

    def _end(self, reason: str) -> bytes:
        self._metrics.dropped(reason)
        return self._control(
            "dropped", {"reason": reason, "detail": "Too slow for the changes; connect again to continue here."}
        )

    def _control(self, kind: str, data: dict[str, object]) -> bytes:
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (self._id(), kind.encode(), orjson.dumps(data))

    def _beat(self) -> bytes:
        return b"id: %s\n: beat\n\n" % self._id()

    def _id(self) -> bytes:
        return encode_position(self._position).encode()


def _start(feed: ChangeFeed, request: StreamRequest) -> dict[int, int]:
    """The client's position, completed by partitions it has not heard of (new ones: all the ring
    has of them).
    """
    if request.after is None:
        return dict(feed.heads)
    known = {p: at for p, at in request.after.items() if p in feed.heads}
    return {**feed.floors, **known}


def _trim(missing: dict[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """Shorten `missing` to the newest records that one client may read again; gives what was cut
    off.
    """
    share = limits.RESUME_RECORDS_MAX // len(missing)
    cut = {p: (begin, end - share) for p, (begin, end) in missing.items() if end - begin > share}
    for p, (_, end) in cut.items():
        missing[p] = (end, missing[p][1])
    return cut


def encode_position(position: Mapping[int, int]) -> str:
    """The place as text; of no partitions the empty string."""
    return ".".join([f"{partition}-{offset}" for partition, offset in sorted(position.items())])


def decode_position(text: str) -> dict[int, int] | None:
    """The place a text names; None when it is not one (a client's own id, another product's)."""
    if not text.isascii() or _FORM.fullmatch(text) is None:
        return None
    pairs = [pair.split("-") for pair in text.split(".")]
    if len(pairs) > PARTITIONS_MAX:
        return None
    return {int(partition): int(offset) for partition, offset in pairs}
