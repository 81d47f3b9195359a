"""Calendar questions about an instant (epoch milliseconds) in a zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY_MS = 86_400_000
QUARTER_MS = 900_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=65_536)
def local(ts: int, zone: str) -> datetime:
    """The wall clock of `zone` at `ts`."""
    return (_EPOCH + timedelta(milliseconds=ts)).astimezone(ZoneInfo(zone))


def period(kind: str, ts: int, zone: str) -> object:
    """What names the day, ISO week or month that `ts` lies in; equal for two instants of the same
    one."""
    at = local(ts, zone)
    if kind == "today":
        return at.date()
    if kind == "this week":
        return at.isocalendar()[:2]
    return (at.year, at.month)


def midnight(day: date, zone: str) -> int:
    """The first instant of `day`; where its midnight is skipped, the instant of the skip."""
    at = datetime.combine(day, time(), tzinfo=ZoneInfo(zone))
    return (at.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)


def edge(text: str, zone: str) -> int:
    """An end of a `from … to …` window: a date (its midnight in the zone) or an RFC 3339
    instant."""
    if len(text) == 10:
        return midnight(date.fromisoformat(text), zone)
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)


def midnights(after: int, upto: int, zone: str) -> Iterator[int]:
    """The days' beginnings in (after, upto]."""
    day = local(after, zone).date()
    while (at := midnight(day, zone)) <= upto:
        if at > after:
            yield at
        day += timedelta(days=1)


def quarters(after: int, upto: int) -> Iterator[int]:
    """Every quarter of an hour in (after, upto]: no zone's hour begins elsewhere."""
    at = (after // QUARTER_MS + 1) * QUARTER_MS
    while at <= upto:
        yield at
        at += QUARTER_MS
