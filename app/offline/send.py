"""Event files as records for topics: which topic, which key, in which order.

A line is sent as it is, its `type` left out; whether it is a fit event is for the worker to judge,
which keeps unfit ones as dead letters. Only a line whose topic cannot be told is not sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from app.domain.decode import stream_of_type
from app.domain.errors import nearest
from app.domain.streams import Stream
from app.domain.time import instant_ms
from app.offline.eventfiles import numbered_lines


class Line(NamedTuple):
    """One record. Tuples of it sort as they are to be sent: by ts, then the stream's rank, then the
    place among all lines read."""

    ts: int
    rank: int
    place: int
    stream: str
    key: bytes | None
    value: bytes


@dataclass(slots=True)
class Lines:
    """What was read: records in the order to send them, and what is wrong (file:line, found, what
    to do) with those that have no topic."""

    routed: list[Line] = field(default_factory=list)
    unroutable: list[str] = field(default_factory=list)

    def counts(self) -> Counter[str]:
        return Counter(line.stream for line in self.routed)


def read_sorted(files: Iterable[str], streams: Iterable[Stream]) -> Lines:
    """All lines of all `files`, sorted; they are held in memory, about twice their size. Raises
    InputError for a file it cannot read."""
    by_name = {stream.name: stream for stream in streams}
    lines = Lines()
    ts = 0
    for number, (place, raw) in enumerate(numbered_lines(files)):
        if not raw:
            continue
        event = _parsed(raw)
        stream = stream_of_type(event.pop("type", None), by_name) if isinstance(event, dict) else None
        if stream is None:
            lines.unroutable.append(f"{place}: {_complaint(raw, by_name)}")
            continue
        ts = _instant(event.get("ts"), ts)
        lines.routed.append(Line(ts, stream.rank, number, stream.name, _key(event), orjson.dumps(event)))
    lines.routed.sort()
    return lines


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _complaint(raw: bytes, names: Iterable[str]) -> str:
    event = _parsed(raw)
    if not isinstance(event, dict):
        return "not a JSON object; mend the line"
    if "type" not in event:
        return f'no "type"; add one of {", ".join(names)}'
    close = nearest(str(event["type"]), names)
    return f"unknown type {event['type']!r}; " + (
        f"did you mean {close}?" if close else f"expected one of {', '.join(names)}"
    )


def _instant(ts: object, before: int) -> int:
    """The line's instant; one without a usable ts stays beside the line before it."""
    if isinstance(ts, int) and not isinstance(ts, bool):
        return ts
    ms = instant_ms(str(ts))
    return before if ms is None else ms


def _key(event: dict[str, Any]) -> bytes | None:
    user = event.get("user_id") or event.get("anonymous_id")
    return user.encode() if isinstance(user, str) else None
