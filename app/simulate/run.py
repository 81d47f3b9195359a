"""Lets the simulated shop run: into a file as fast as it goes, or onto a broker, there also at the
pace of the clock."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import BinaryIO, Protocol

from app.simulate.noise import Record

_BREATH_S = 0.02  # events closer together than this go out together


class Sink(Protocol):
    """Where records go: `app.broker.publisher.Publisher`, or a test's list."""

    def put(self, topic: str, key: bytes | None, value: bytes) -> None: ...


def to_file(records: Iterable[Record], out: BinaryIO) -> Counter[str]:
    """Writes JSON Lines with the stream as `type`; gives the number of records by stream."""
    counts: Counter[str] = Counter()
    for record in records:
        out.write(typed(record) + b"\n")
        counts[record.stream] += 1
    return counts


def typed(record: Record) -> bytes:
    """The record as a line of an event file; what is no JSON object stays as it is."""
    if record.value[:1] != b"{":
        return record.value
    return b'{"type":"%s",%s' % (record.stream.encode(), record.value[1:])


def to_broker(
    records: Iterable[Record],
    sink: Sink,
    topics: Mapping[str, str],
    paced_from: int | None = None,
    stop: threading.Event | None = None,
    counts: Counter[str] | None = None,
) -> Counter[str]:
    """Sends records to `topics` (stream → topic), keyed by user; gives the number by stream,
    counted into `counts` on the way.

    With `paced_from` (epoch ms) a record due d ms after it goes out d ms after the call; without it
    all go at once. `stop` ends it early.
    """
    stop = stop or threading.Event()
    counts = Counter() if counts is None else counts
    began = time.monotonic()
    for record in records:
        if paced_from is not None:
            ahead_s = (record.due - paced_from) / 1000 - (time.monotonic() - began)
            if ahead_s > _BREATH_S:
                stop.wait(ahead_s)
        if stop.is_set():
            break
        sink.put(topics[record.stream], record.user.encode(), record.value)
        counts[record.stream] += 1
    return counts
