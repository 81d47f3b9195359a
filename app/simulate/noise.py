"""What goes wrong between a shop and its log: events sent twice, events that come late, records
that are no events."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from app.domain import limits
from app.simulate.chance import Chance
from app.simulate.shop import ShopEvent

_AGAIN_MS_MAX = 30 * limits.SECOND_MS  # a client retries within seconds
# A phone comes out of its tunnel; within the default allowed_lateness.
_LATE_MS_MAX = 30 * limits.MINUTE_MS
_BROKEN = ("cut", "text", "list", "no_user", "user_number", "no_ts", "ts_seconds", "ts_text", "deep", "long")


@dataclass(frozen=True, slots=True)
class NoiseOptions:
    """Shares (0 to 1) of events sent twice, delivered late, and of broken records put between
    them."""

    duplicates: float = 0.0
    late: float = 0.0
    malformed: float = 0.0


class Record(NamedTuple):
    """One record as it is delivered at `due` (epoch ms): `value` is a JSON object without its type,
    or not even JSON."""

    due: int
    stream: str
    user: str
    value: bytes


def records(events: Iterable[ShopEvent], options: NoiseOptions, seed: int) -> Iterator[Record]:
    """The events as records in the order of their delivery, with the noise asked for."""
    chance = Chance(f"{seed}/noise")
    waiting: list[tuple[int, int, Record]] = []
    for order, event in enumerate(events):
        record = _record(event)
        while waiting and waiting[0][0] <= record.due:
            yield heapq.heappop(waiting)[2]
        if options.malformed and chance.happens(options.malformed):
            yield record._replace(value=_broken(event, record, chance))
        if options.late and chance.happens(options.late):
            _later(waiting, order, record, chance.whole(1_000, _LATE_MS_MAX))
            continue
        yield record
        if options.duplicates and chance.happens(options.duplicates):
            _later(waiting, order, record, chance.whole(0, _AGAIN_MS_MAX))
    while waiting:
        yield heapq.heappop(waiting)[2]


def _record(event: ShopEvent) -> Record:
    fields = event.event
    return Record(fields["ts"], event.stream, fields["user_id"], orjson.dumps(fields))


def _later(waiting: list[tuple[int, int, Record]], order: int, record: Record, delay_ms: int) -> None:
    due = record.due + delay_ms
    heapq.heappush(waiting, (due, order, record._replace(due=due)))


def _broken(event: ShopEvent, record: Record, chance: Chance) -> bytes:
    """A record that a producer with a bug might have sent instead of `event`."""
    fields = event.event | {"event_id": f"{event.event['event_id']}-broken"}
    match chance.pick(_BROKEN):
        case "cut":
            return record.value[: len(record.value) // 2]
        case "text":
            return b"GET /favicon.ico HTTP/1.1"
        case "list":
            return orjson.dumps([fields])
        case "no_user":
            return orjson.dumps({name: value for name, value in fields.items() if name != "user_id"})
        case "user_number":
            return orjson.dumps(fields | {"user_id": 12345})
        case "no_ts":
            return orjson.dumps({name: value for name, value in fields.items() if name != "ts"})
        case "ts_seconds":
            return orjson.dumps(fields | {"ts": fields["ts"] // 1000})
        case "ts_text":
            return orjson.dumps(fields | {"ts": "yesterday"})
        case "deep":
            return orjson.dumps(fields)[:-1] + b',"a":' + b'{"a":' * 40 + b"1" + b"}" * 41
        case _:
            return orjson.dumps(fields | {"note": "x" * (limits.EVENT_STRING_BYTES_MAX + 1)})
