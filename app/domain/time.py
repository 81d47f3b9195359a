"""Units of time, and durations and instants as text: the one table, read and written here alone.

    duration    an amount and its unit      500ms · 30s · 10m · 24h · 7d · 4w (also 1.5h)
    offset      amounts after each other    1d2h · 24h-1ms · -1h · 0
    instant     RFC 3339 with a zone        2026-11-22T10:00:00Z · 2026-11-22T11:00:00+01:00

All are whole milliseconds, an instant those since the epoch. There is no clock: what time it is,
is an argument. Where a reader gives None the caller says what it expected.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from app.domain import limits

# The order is that of the alternatives when a text is read: "ms" stands before "m" and "s".
UNITS_MS = {
    "ms": 1,
    "s": limits.SECOND_MS,
    "m": limits.MINUTE_MS,
    "h": limits.HOUR_MS,
    "d": limits.DAY_MS,
    "w": limits.WEEK_MS,
}
"""Every unit a duration may be written in."""
WRITTEN_UNITS_MS = tuple([(unit, ms) for unit, ms in reversed(UNITS_MS.items()) if unit != "w"])
"""The units durations are printed in, largest first: nobody reads 2w faster than 14d."""

_AMOUNT = re.compile(rf"([+-]?)(\d+)(?:\.(\d+))?({'|'.join(UNITS_MS)})")
_CHARS_MAX = 320  # of a text that is read at all; Python itself stops at numbers of 4,300 digits
# Of an amount without a fraction: as many as the last instant has in milliseconds.
_WHOLE_DIGITS_MAX = 15
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# --- durations ----------------------------------------------------------------------------------


def duration_ms(text: str) -> int:
    """Milliseconds of a duration of the language: `7d`, `1.5h`.

    Raises ValueError, saying what was found and expected, for anything else and for fractions of a
    millisecond.
    """
    found = _AMOUNT.fullmatch(text.strip()) if len(text) <= _CHARS_MAX else None
    if found is None or found[1]:
        raise ValueError(f"found {text!r:.80}, expected a duration such as 500ms, 30s, 10m, 24h, 7d or 4w")
    fraction = found[3] or ""
    scale: int = 10 ** len(fraction)
    ms, rest = divmod(int(found[2] + fraction) * UNITS_MS[found[4]], scale)
    if rest:
        raise ValueError(f"found {text!r:.80}, expected a whole number of milliseconds")
    return ms


def whole_ms(text: str) -> int | None:
    """Milliseconds of a duration without a fraction: `90m`. None for anything else."""
    found = _AMOUNT.fullmatch(text) if len(text) <= _CHARS_MAX else None
    return _whole(found) if found is not None and not found[1] else None


def offset_ms(text: str) -> int | None:
    """Milliseconds of whole amounts after each other: `1d2h`, `24h-1ms`, `0`; what has a minus is
    taken away.

    None for anything else.
    """
    if text == "0":
        return 0
    if len(text) > _CHARS_MAX:
        return None
    total = end = 0
    for found in _AMOUNT.finditer(text):
        ms = _whole(found)
        if ms is None or found.start() != end:
            return None
        total, end = total + (-ms if found[1] == "-" else ms), found.end()
    return total if 0 < end == len(text) else None


def _whole(found: re.Match[str]) -> int | None:
    """The size of one matched amount; None for one with a fraction or too many digits."""
    if found[3] is not None or len(found[2]) > _WHOLE_DIGITS_MAX:
        return None
    return int(found[2]) * UNITS_MS[found[4]]


def duration_text(ms: int) -> str:
    """A duration in the largest unit that divides it: `90s`, `14d`; a single day is `24h`."""
    if ms == limits.DAY_MS:
        return "24h"
    return next((f"{ms // size}{unit}" for unit, size in WRITTEN_UNITS_MS if ms and ms % size == 0), f"{ms}ms")


def offset_text(ms: int) -> str:
    """An offset in all units it needs: `1d2h`, `0`; before zero each amount has a minus."""
    sign, rest = ("-", -ms) if ms < 0 else ("", ms)
    parts = []
    for unit, size in WRITTEN_UNITS_MS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{sign}{count}{unit}")
    return "".join(parts) or "0"


# --- instants -----------------------------------------------------------------------------------


def day(text: str) -> date | None:
    """The day in `2026-11-01`; None for anything else."""
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def aware(text: str) -> datetime | None:
    """The instant in an RFC 3339 text, in the zone it is written in; None for anything else and
    without a zone."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None


def instant_ms(text: str) -> int | None:
    """Epoch milliseconds of an RFC 3339 text with a zone; None for anything else."""
    instant = aware(text)
    return None if instant is None else epoch_ms(instant)


def epoch_ms(instant: datetime) -> int:
    """An aware datetime in whole epoch milliseconds (microseconds are cut off)."""
    delta = instant - _EPOCH
    return delta.days * limits.DAY_MS + delta.seconds * limits.SECOND_MS + delta.microseconds // 1_000


def instant_text(ms: int) -> str:
    """An instant in UTC with its milliseconds: `2026-11-22T10:00:00.000Z`. `ms` is one that
    `is_instant`."""
    return datetime.fromtimestamp(ms // 1_000, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{ms % 1_000:03d}Z")


def is_instant(ms: int) -> bool:
    """Whether epoch milliseconds lie between the years 1970 and 9999: what calendars and printers
    can take."""
    return 0 <= ms <= limits.TS_MAX_MS
