"""The ring of changes, positions in it, rates, and the streams that read it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from app.web import limits
from app.web.feed import ChangeFeed, CursorExpired, entry_of, matches
from app.web.guard import Throttle
from app.web.metrics import WebMetrics
from app.web.rates import Rates
from app.web.sizes import SizeHistory
from app.web.stream import ChangeStream, StreamRequest, decode_position, encode_position
from tests.web.fakes import NOW, FakeHistory, change


def filled(count: int, partitions: int = 1, **options: int) -> tuple[ChangeFeed, FakeHistory]:
    """A feed that saw `count` changes from the topic's beginning on, and the topic."""
    feed, history = ChangeFeed(**options), FakeHistory()
    feed.history = history
    feed.begin(dict.fromkeys(range(partitions), 0))
    add(feed, history, range(count), partitions)
    return feed, history


def add(feed: ChangeFeed, history: FakeHistory, numbers: Iterable[int], partitions: int = 1) -> None:
    for number in numbers:
        raw = change(f"u{number}", number)
        feed.append(number % partitions, history.add(number % partitions, raw), raw)
    feed.notify()


def stream(feed: ChangeFeed, request: StreamRequest | None = None) -> ChangeStream:
    return ChangeStream(feed, request or StreamRequest(), bytes, WebMetrics(CollectorRegistry()), asyncio.Semaphore(1))


async def events(source: ChangeStream, enough: int) -> list[tuple[str, str, dict[str, object]]]:
    """(event, id, data) until `enough` of them came or the stream ended."""
    found: list[tuple[str, str, dict[str, object]]] = []
    async with asyncio.timeout(5):
        async for piece in source.pieces():
            for block in piece.decode().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
                if "event" in fields:
                    found.append((fields["event"], fields["id"], orjson.loads(fields["data"])))
            if len(found) >= enough:
                break
    return found


def users(found: list[tuple[str, str, dict[str, object]]]) -> list[object]:
    return [data["user_id"] for kind, _, data in found if kind == "change"]


@given(st.dictionaries(st.integers(0, 999_999), st.integers(0, 2**62), max_size=50))
def test_a_position_survives_being_written(position: dict[int, int]) -> None:
    assert decode_position(encode_position(position)) == (position or None)


@pytest.mark.parametrize("text", ["", "abc", "1", "1-", "-1", "1-2.", "1-2,3-4", "١-٢", "1-2\n", "9" * 30 + "-1"])
def test_what_is_no_position_is_none(text: str) -> None:
    assert decode_position(text) is None


def test_the_ring_keeps_the_newest_and_knows_from_where_it_is_complete() -> None:
    feed, _ = filled(10, partitions=2, entries_max=4)
    assert [entry.user for entry in feed.read(feed.first, 99)] == ["u6", "u7", "u8", "u9"]
    assert (feed.floors, feed.heads) == ({0: 3, 1: 3}, {0: 5, 1: 5})
    with pytest.raises(CursorExpired):
        feed.read(feed.first - 1, 1)


def test_the_ring_is_bounded_in_bytes() -> None:
    size = len(change("u0", 0))
    feed, _ = filled(10, bytes_max=size * 3)
    assert feed.end - feed.first == 3


def test_records_seen_twice_count_once_and_what_is_no_change_is_passed_over() -> None:
    feed, _ = filled(1)
    feed.append(0, 0, change())
    for junk in (b"", b"{", b"[]", b'{"user_id": 4}', b"\xff\xfe"):
        feed.append(0, feed.heads[0], junk)
    assert (feed.end, feed.unreadable, feed.heads) == (1, 5, {0: 6})


def test_a_topic_made_anew_empties_the_ring() -> None:
    feed, _ = filled(5)
    feed.begin({0: 0})
    assert (feed.end - feed.first, feed.heads) == (0, {0: 0})
    feed.append(0, 0, change("new"))
    assert [entry.user for entry in feed.recent(5)] == ["new"]


def test_filters() -> None:
    entered = entry_of(0, 0, change("u1", segment="interested_in", value="yoga"))
    moved = entry_of(0, 1, change("u2", what="moved", segment=None, group="lifecycle", from_="active", to="lapsed"))
    assert entered is not None
    assert moved is not None
    assert [
        matches(entered, name, None)
        for name in (None, "interested_in", "interested_in:yoga", "interested_in:shoes", "yoga")
    ] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert [matches(moved, name, None) for name in ("lifecycle", "active", "lapsed", "other")] == [
        True,
        True,
        True,
        False,
    ]
    assert [matches(moved, None, user) for user in ("u1", "u2")] == [False, True]


def test_rates_count_by_minute_and_moves_count_twice() -> None:
    rates = Rates()
    rates.add(NOW - 70_000, NOW - 70_000, "a", None, "s", None)
    rates.add(NOW - 30_000, NOW - 30_000, "b", None, "s", None)
    rates.add(NOW - 1_000, NOW - 1_000, "c", None, "t", "s")
    assert (rates.per_minute("s", NOW), rates.per_minute("t", NOW)) == ((1, 1), (1, 0))
    assert [point[1:] for point in rates.series("s", NOW, 3)] == [(0, 0), (0, 1), (0, 0)]
    assert rates.flap_rate("s") == 0.0
    rates.add(NOW, NOW, "c", None, "s", None)
    assert rates.flap_rate("s") == 0.25
    assert rates.flap_rate("nothing") is None


def test_the_past_that_is_caught_up_with_is_no_traffic_of_now() -> None:
    feed = ChangeFeed()
    old = orjson.loads(change(at=NOW - 86_400_000))
    feed.append(0, 0, orjson.dumps({**old, "emitted_at": NOW}))
    feed.append(0, 1, change("u2", at=NOW))
    assert (feed.end, feed.rates.per_minute("engaged", NOW + 100)) == (2, (1, 0))


def test_rates_take_what_comes_a_little_out_of_order_and_forget_what_is_old() -> None:
    rates = Rates()
    for at in (NOW, NOW - 20_000, NOW - 10_000, NOW - 20_000):
        rates.add(at, at, "a", None, "s", None)
    assert [entered for _, entered, _ in rates.series("s", NOW, 5)] == [2, 0, 1, 0, 1]
    for index in range(limits.RATE_BUCKETS_MAX + 5):
        rates.add(NOW + index * limits.RATE_BUCKET_MS, NOW + index * limits.RATE_BUCKET_MS, "a", None, "s", None)
    rates.add(NOW - 60_000, NOW - 60_000, "late", None, "s", None)
    assert len(rates._buckets) == limits.RATE_BUCKETS_MAX


def test_all_segments_together() -> None:
    rates = Rates()
    rates.add(NOW - 70_000, NOW - 70_000, "a", None, "s", None)
    rates.add(NOW - 30_000, NOW - 30_000, "b", None, "s", None)
    rates.add(NOW - 1_000, NOW - 1_000, "c", None, "t", "s")
    assert rates.all_per_minute(NOW) == 3


@given(
    st.lists(st.tuples(st.integers(0, 30), st.dictionaries(st.sampled_from("ab"), st.integers(1, 9))), max_size=20),
    st.integers(0, 40),
)
def test_sizes_are_what_was_measured_in_their_bucket_and_unknown_elsewhere(
    measures: list[tuple[int, dict[str, int]]], now: int
) -> None:
    history, known = SizeHistory(buckets=8), {}
    for bucket, people in sorted(measures, key=lambda measure: measure[0]):
        if bucket <= now:
            history.record(bucket * limits.RATE_BUCKET_MS + 17, people)
            known[bucket] = people
    at = now * limits.RATE_BUCKET_MS + 4_321
    buckets = range(now - 7, now + 1)
    for name in "abc":
        assert history.series(name, at, 8) == [
            known[bucket].get(name, 0) if bucket in known else None for bucket in buckets
        ]
    kept = [bucket for bucket in known if bucket in buckets]
    assert history.since(at) == (min(kept) * limits.RATE_BUCKET_MS if kept else None)


def test_a_throttle_lets_a_burst_through_and_then_the_rate() -> None:
    throttle = Throttle(rate=10, burst=3, keys_max=2)
    assert [throttle.wait("a", 0.0) == 0.0 for _ in range(4)] == [True, True, True, False]
    assert throttle.wait("a", 0.0) == pytest.approx(0.1)
    assert throttle.wait("a", 0.1) == 0.0
    assert throttle.wait("b", 0.1) == throttle.wait("c", 0.1) == 0.0


async def test_a_stream_shows_what_comes_after_it_began() -> None:
    feed, history = filled(3)
    reading = asyncio.create_task(events(stream(feed), 2))
    await asyncio.sleep(0.01)
    add(feed, history, [3, 4])
    found = await reading
    assert users(found) == ["u3", "u4"]
    assert [place for _, place, _ in found] == ["0-4", "0-5"]


async def test_a_stream_continues_after_the_last_id_from_the_ring() -> None:
    feed, _ = filled(6, partitions=2)
    found = await events(stream(feed, StreamRequest(after={0: 1, 1: 2})), 3)
    assert users(found) == ["u2", "u4", "u5"]
    assert found[-1][1] == "0-3.1-3"


async def test_what_the_ring_lost_is_read_from_the_topic_again() -> None:
    feed, history = filled(30, partitions=2, entries_max=4)
    found = await events(stream(feed, StreamRequest(after={0: 2, 1: 3})), 25)
    assert sorted(users(found), key=lambda name: int(str(name)[1:])) == [f"u{n}" for n in range(4, 30) if n != 5]
    assert history.reads == 1


async def test_every_change_that_is_written_is_counted_from_the_ring_and_from_the_topic() -> None:
    feed, _ = filled(30, entries_max=4)
    registry = CollectorRegistry()
    request = StreamRequest(segment="engaged", after={0: 20})
    source = ChangeStream(feed, request, bytes, WebMetrics(registry), asyncio.Semaphore(1))
    assert len(await events(source, 10)) == 10
    assert registry.get_sample_value("hyperseg_streams_changes_total") == 10


async def test_filters_hold_for_the_past_too_and_the_id_moves_past_what_is_not_shown() -> None:
    feed, _ = filled(30, entries_max=4)
    found = await events(stream(feed, StreamRequest(user="u3", after={0: 0})), 1)
    assert users(found) == ["u3"]
    source = stream(feed, StreamRequest(user="u29", after={0: 0}))
    assert [(kind, place) for kind, place, _ in await events(source, 1)] == [("change", "0-30")]


async def test_what_cannot_be_read_again_is_named_as_a_gap() -> None:
    feed, history = filled(30, entries_max=4)
    history.gone = True
    found = await events(stream(feed, StreamRequest(after={0: 10})), 5)
    assert found[0][0] == "gap"
    assert found[0][2] == {"partitions": {"0": {"from": 10, "to": 26}}}
    assert users(found) == ["u26", "u27", "u28", "u29"]


async def test_too_long_a_past_is_cut_to_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RESUME_RECORDS_MAX", 5)
    feed, _ = filled(30, entries_max=4)
    found = await events(stream(feed, StreamRequest(after={0: 0})), 10)
    assert found[0][2] == {"partitions": {"0": {"from": 0, "to": 21}}}
    assert users(found) == [f"u{n}" for n in range(21, 30)]


async def test_a_position_of_another_topic_is_not_believed() -> None:
    feed, _ = filled(3)
    assert users(await events(stream(feed, StreamRequest(after={0: 900})), 3)) == ["u0", "u1", "u2"]


async def test_a_position_ahead_of_this_worker_waits_for_it() -> None:
    feed, history = filled(3)
    raw = [change(f"u{n}", n) for n in (3, 4)]
    offsets = [history.add(0, record) for record in raw]
    reading = asyncio.create_task(events(stream(feed, StreamRequest(after={0: 4})), 1))
    await asyncio.sleep(0.01)
    for offset, record in zip(offsets, raw, strict=True):
        feed.append(0, offset, record)
    feed.notify()
    assert users(await reading) == ["u4"]


async def test_a_client_that_is_too_slow_is_told_and_dropped() -> None:
    feed, history = filled(0, entries_max=8)
    pieces = stream(feed).pieces()
    assert b"beat" in await anext(pieces)
    add(feed, history, range(2))
    assert b"u1" in await anext(pieces)
    add(feed, history, range(2, 40))
    last = await anext(pieces)
    assert b"id: 0-2\nevent: dropped" in last
    with pytest.raises(StopAsyncIteration):
        await anext(pieces)


async def test_a_client_may_ask_for_fewer_and_is_told_how_many_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [100.0]
    monkeypatch.setattr("app.web.stream.time.monotonic", lambda: seconds[0])
    feed, history = filled(0)
    pieces = stream(feed, StreamRequest(per_second=3)).pieces()
    await anext(pieces)
    add(feed, history, range(10))
    first = await anext(pieces)
    assert (first.count(b"event: change"), b'event: skipped\ndata: {"count":7}' in first) == (3, True)
    seconds[0] += 1
    add(feed, history, range(10, 12))
    second = await anext(pieces)
    assert (second.count(b"event: change"), b"skipped" in second) == (2, False)


async def test_a_silent_stream_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAM_HEARTBEAT_SECONDS", 0.01)
    feed, _ = filled(3)
    pieces = stream(feed).pieces()
    await anext(pieces)
    assert await anext(pieces) == b"id: 0-3\n: beat\n\n"


async def test_closing_the_feed_ends_every_stream() -> None:
    feed, _ = filled(1)
    reading = asyncio.create_task(events(stream(feed), 99))
    await asyncio.sleep(0.01)
    feed.close()
    assert [kind for kind, _, _ in await reading] == ["closing"]
