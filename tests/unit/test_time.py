"""Durations, offsets and instants as text: what each spelling means, there and back, the bounds,
and what is none of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.commands import parse_instant
from app.domain import limits
from app.domain.errors import DefinitionError, UsageError
from app.domain.time import (
    UNITS_MS,
    aware,
    day,
    duration_ms,
    duration_text,
    epoch_ms,
    instant_ms,
    instant_text,
    is_instant,
    offset_ms,
    offset_text,
    whole_ms,
)
from app.rules import ast
from app.rules.types import range_bounds
from app.testing.notation import BASE, NotationError, duration, instant

MONDAY_MS = 1_793_577_600_000  # 2026-11-02T00:00:00Z
LENGTHS = [
    ("500ms", 500),
    ("30s", 30_000),
    ("10m", 600_000),
    ("24h", 86_400_000),
    ("7d", 604_800_000),
    ("4w", 2_419_200_000),
    ("0s", 0),
]


@pytest.mark.parametrize(("text", "ms"), LENGTHS)
def test_every_reader_knows_every_unit(text: str, ms: int) -> None:
    assert duration_ms(text) == whole_ms(text) == offset_ms(text) == ms
    assert {unit for unit in UNITS_MS if any(spelled.endswith(unit) for spelled, _ in LENGTHS)} == set(UNITS_MS)


@pytest.mark.parametrize(
    ("text", "ms"), [("1.5h", 5_400_000), ("0.001s", 1), (" 7d ", 604_800_000), ("0.50d", 43_200_000)]
)
def test_the_language_knows_fractions(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize(
    "text", ["", "7", "d", "soon", "7 d", "+7d", "-7d", "1d2h", "7y", "1.h", ".5h", "7D", "1e3s", "9" * 320 + "d"]
)
def test_what_is_no_duration_of_the_language(text: str) -> None:
    with pytest.raises(ValueError, match=r"^found '.*expected a duration such as 500ms"):
        duration_ms(text)


def test_a_duration_is_whole_milliseconds() -> None:
    with pytest.raises(ValueError, match=r"^found '0.5ms', expected a whole number of milliseconds"):
        duration_ms("0.5ms")
    # How long one may be is for the language to say.
    assert duration_ms("9" * 300 + "d") == (10**300 - 1) * limits.DAY_MS


@pytest.mark.parametrize(
    "text", ["", "0", "7", "h", "1.5h", "-1s", "+1s", "1d2h", "1 h", "1234567890123456ms", "9" * 5_000 + "d"]
)
def test_what_is_no_whole_duration(text: str) -> None:
    assert whole_ms(text) is None


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("1d2h", 93_600_000),
        ("24h-1ms", 86_399_999),
        ("-1h+1s", -3_599_000),
        ("1m5ms", 60_005),
        ("1h1h", 7_200_000),
    ],
)
def test_offsets_add_up(text: str, ms: int) -> None:
    assert offset_ms(text) == ms


@pytest.mark.parametrize(
    "text", ["", "1", "00", "1d 2h", "1.5h", "1d2", "x1d", "1dx2h", "--1d", "1d-", "9" * 5_000 + "d", "1d" * 200]
)
def test_what_is_no_offset(text: str) -> None:
    assert offset_ms(text) is None
    with pytest.raises(NotationError, match="a duration such as 0, 10m, 1d2h or 24h-1ms"):
        duration(text)


@given(st.integers(min_value=0, max_value=limits.WINDOW_MS_MAX) | st.sampled_from([*UNITS_MS.values()]))
def test_durations_there_and_back(ms: int) -> None:
    assert duration_ms(duration_text(ms)) == ms


@given(st.integers(min_value=-limits.TS_MAX_MS, max_value=limits.TS_MAX_MS))
def test_offsets_there_and_back(ms: int) -> None:
    assert offset_ms(offset_text(ms)) == ms


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0ms"),
        (1, "1ms"),
        (1_500, "1500ms"),
        (86_400_000, "24h"),
        (172_800_000, "2d"),
        (1_209_600_000, "14d"),
        (90_000, "90s"),
    ],
)
def test_durations_are_printed_in_the_largest_unit_that_fits(ms: int, text: str) -> None:
    assert duration_text(ms) == text


# --- instants -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["2026-11-02T00:00:00Z", "2026-11-02T01:00:00+01:00", "2026-11-02T00:00:00.0009Z", "20261102T000000Z"]
)
def test_instants_are_told_apart_by_their_zone_alone(text: str) -> None:
    assert instant_ms(text) == MONDAY_MS


@pytest.mark.parametrize(
    "text", ["", "now", "2026-11-02", "2026-11-02T00:00:00", "2026-02-30T00:00:00Z", "1793577600000", "9" * 5_000]
)
def test_what_is_no_instant(text: str) -> None:
    assert instant_ms(text) is None
    assert aware(text) is None


@given(
    st.datetimes(
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=-11, minutes=30)), timezone(timedelta(hours=14))])
    )
)
def test_instants_are_whole_milliseconds_since_the_epoch(at: datetime) -> None:
    ms = epoch_ms(at)
    assert instant_ms(at.isoformat()) == ms
    assert (
        timedelta(0) <= at - (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)) < timedelta(milliseconds=1)
    )


@given(st.integers(min_value=0, max_value=limits.TS_MAX_MS))
def test_instants_there_and_back(ms: int) -> None:
    assert instant_ms(instant_text(ms)) == ms


def test_instants_are_printed_in_utc_with_milliseconds() -> None:
    assert instant_text(MONDAY_MS + 7) == "2026-11-02T00:00:00.007Z"


def test_a_day_is_not_an_instant() -> None:
    assert day("2026-11-02") == date(2026, 11, 2)
    assert [day(text) for text in ("2026-02-30", "20261102", "2026-11-02T00:00:00Z", "")] == [None] * 4


def test_instants_lie_between_1970_and_9999() -> None:
    last = instant_ms("9999-12-31T23:59:59.999Z")
    assert last == limits.TS_MAX_MS
    assert [is_instant(ms) for ms in (-1, 0, last, last + 1, limits.NEVER)] == [False, True, True, False, False]


@pytest.mark.parametrize(("text", "ms"), [("0", 0), (str(limits.TS_MAX_MS), limits.TS_MAX_MS), (BASE, MONDAY_MS)])
def test_instants_of_flags(text: str, ms: int) -> None:
    assert parse_instant(text, "--at") == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "-5",
        "--5",
        "1.5",
        "2026-11-02",
        str(limits.TS_MAX_MS + 1),
        str(limits.NEVER + 1),
        "9" * 5_000,
        "²",
    ],
)
def test_what_is_no_instant_of_a_flag(text: str) -> None:
    with pytest.raises(UsageError, match=rf"^--at {text[:80]}: expected epoch milliseconds or RFC 3339 with a zone"):
        parse_instant(text, "--at")


@pytest.mark.parametrize("text", ["999999999999999d", "-999999d", "1969-12-31T23:59:59Z"])
def test_instants_of_cases_have_bounds(text: str) -> None:
    with pytest.raises(NotationError, match="between the years 1970 and 9999"):
        instant(text, MONDAY_MS)


@pytest.mark.parametrize(
    ("start", "end", "empty"),
    [
        ("2026-11-01", "2026-11-02", False),
        ("2026-11-01", "2026-11-01", True),
        ("2026-11-01T05:00:00+05:00", "2026-11-01T01:00:00Z", False),
        ("2026-11-01T00:00:00Z", "2026-11-01T01:00:00+05:00", True),
        ("2026-11-01T00:00:00+00:00", "2026-11-01T00:00:00Z", True),
        ("2026-11-01", "2026-11-01T12:00:00Z", False),
    ],
)
def test_a_range_window_is_empty_by_its_instants_not_by_their_spelling(start: str, end: str, empty: bool) -> None:
    window = ast.Window("range", 0, start, end)
    if empty:
        with pytest.raises(DefinitionError, match="the window is empty"):
            range_bounds(window)
    else:
        assert range_bounds(window) == (day(start) or aware(start), day(end) or aware(end))
