"""Days, weeks, months and hours of the configured time zone, by epoch milliseconds. Daylight-saving
days have 23 or 25 hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Literal, assert_never
from zoneinfo import ZoneInfo

from app.domain import limits
from app.domain.time import epoch_ms
from app.rules.ast import CalendarFn

Period = Literal["today", "this week", "this month"]
Span = Period | Literal["hour"]

# Periods remembered: eleven years of days; a full cache is emptied, not searched.
_CACHE_MAX = 4_096


class Calendar:
    """Periods of one zone. A period is (start, end) in epoch ms, start included, end excluded."""

    def __init__(self, timezone: str) -> None:
        self.zone = ZoneInfo(timezone)
        self._periods: dict[tuple[Span, int], tuple[int, int]] = {}
        self._current: dict[Span, tuple[int, int]] = {}

    def period(self, kind: Span, ts: int) -> tuple[int, int]:
        """The period of `kind` (today · this week · this month · hour) that contains `ts`."""
        found = self._current.get(kind)
        if found is not None and found[0] <= ts < found[1]:
            return found
        found = self._current[kind] = self._lookup(kind, ts)
        return found

    def _lookup(self, kind: Span, ts: int) -> tuple[int, int]:
        # Zones change at multiples of a quarter of an hour.
        slot = (kind, ts // (limits.HOUR_MS // 4))
        found = self._periods.get(slot)
        if found is None or not found[0] <= ts < found[1]:
            if len(self._periods) >= _CACHE_MAX:
                self._periods.clear()
            found = self._periods[slot] = self._find(kind, ts)
        return found

    def _find(self, kind: Span, ts: int) -> tuple[int, int]:
        day = self.local(ts).date()
        match kind:
            case "hour":
                return self._hour(ts)
            case "today":
                first, after = day, day + timedelta(days=1)
            case "this week":
                first = day - timedelta(days=day.weekday())
                after = first + timedelta(days=7)
            case "this month":
                first = day.replace(day=1)
                after = (first + timedelta(days=32)).replace(day=1)
            case _:
                assert_never(kind)
        return self.midnight(first), self.midnight(after)

    def _hour(self, ts: int) -> tuple[int, int]:
        """The stretch around `ts` over which the local hour reads the same: found by stepping over
        quarter hours, as zones may shift by less than an hour."""
        quarter = limits.HOUR_MS // 4
        hour = self.local(ts).hour
        start = ts - ts % quarter
        while self.local(start - 1).hour == hour:
            start -= quarter
        end = ts - ts % quarter + quarter
        while self.local(end).hour == hour:
            end += quarter
        return start, end

    def local(self, ts: int) -> datetime:
        """The wall-clock reading at `ts`."""
        return (_EPOCH + timedelta(milliseconds=ts)).astimezone(self.zone)

    def midnight(self, day: date) -> int:
        """The first instant of a calendar day (where clocks skip midnight, the instant they skip
        to)."""
        return epoch_ms(datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC))

    def instant(self, bound: date | datetime) -> int:
        """A date's midnight, or an aware datetime, in epoch ms."""
        return epoch_ms(bound) if isinstance(bound, datetime) else self.midnight(bound)

    def reading(self, fn: CalendarFn, ts: int) -> tuple[int | str, int]:
        """hour(), weekday() or date() at `ts`, and the instant until which it reads the same."""
        start, end = self.period("hour" if fn == "hour" else "today", ts)
        match fn:
            case "hour":
                return self.local(ts).hour, end
            case "weekday":
                return self.local(start).isoweekday(), end
            case "date":
                return self.local(start).date().isoformat(), end
            case _:
                assert_never(fn)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
