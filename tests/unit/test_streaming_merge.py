"""The merge of a partition's topics, against its definition: always the smallest head."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from app.domain.streams import Stream
from app.streaming.merge import Lane, merge
from app.streaming.records import LaneUpdate
from app.streaming.watermark import Clock

STREAMS = (Stream("profile", "p", 0), Stream("click", "c", 1), Stream("cart", "k", 2))


class Record(NamedTuple):
    offset: int
    ts: int


def admit(record: Any, _stream: Stream) -> tuple[int | None, Any]:
    return (None if record.ts < 0 else record.ts), record.ts


def lanes_of(topics: list[list[int]], end: int | None = None) -> list[Lane]:
    lanes = [Lane(stream, 0, 0, 0) for stream in STREAMS]
    for lane, stamps in zip(lanes, topics, strict=True):
        records = [Record(offset, ts) for offset, ts in enumerate(stamps)]
        lane.offer(LaneUpdate(lane.topic, records, len(records), len(records) if end is None else end, 7))
    return lanes


def drain(lanes: list[Lane], want: int) -> list[tuple[int, int]]:
    """(rank, offset) in the order merged out."""
    found = []
    while entries := merge(lanes, want, admit):
        found += [(rank, offset) for _, rank, offset, *_ in entries]
    return found


def smallest_head(topics: list[list[int]]) -> list[tuple[int, int]]:
    """The definition. A record without a ts (here: negative) counts as its predecessor's."""
    at, tops, found = [0] * len(topics), [0] * len(topics), []
    while heads := [rank for rank in range(len(topics)) if at[rank] < len(topics[rank])]:

        def head(rank: int) -> tuple[int, int]:
            ts = topics[rank][at[rank]]
            return (ts if ts >= 0 else tops[rank], rank)

        rank = min(heads, key=head)
        found.append((rank, at[rank]))
        tops[rank] = max(tops[rank], topics[rank][at[rank]])
        at[rank] += 1
    return found


stamps = st.lists(st.integers(-1, 12), max_size=12)


@given(st.lists(stamps, min_size=3, max_size=3), st.integers(1, 5))
def test_it_is_the_smallest_head_however_it_is_sliced(topics: list[list[int]], want: int) -> None:
    # A late record with a larger-ranked tie behind it keeps its topic's order, which is what heads
    # do.
    assert drain(lanes_of(topics), want) == smallest_head(topics)


@given(st.lists(stamps, min_size=3, max_size=3), st.integers(1, 5), st.integers(1, 4))
def test_it_does_not_depend_on_how_it_was_fetched(topics: list[list[int]], want: int, fetch: int) -> None:
    lanes = [Lane(stream, 0, len(topic), 0) for stream, topic in zip(STREAMS, topics, strict=True)]
    found = []
    for start in range(0, 12, fetch):
        for lane, topic in zip(lanes, topics, strict=True):
            end = min(len(topic), start + fetch)
            records = [Record(offset, topic[offset]) for offset in range(min(start, len(topic)), end)]
            lane.offer(LaneUpdate(lane.topic, records, end, len(topic), 0))
        found += drain(lanes, want)
    assert found == smallest_head(topics)


def test_a_topic_behind_its_end_is_waited_for_and_one_at_its_end_is_not() -> None:
    lanes = lanes_of([[], [5, 6], [5]])
    lanes[0].end = 1
    assert drain(lanes, 10) == []
    lanes[0].end = None  # not known counts as behind
    assert drain(lanes, 10) == []
    lanes[0].end = 0
    assert drain(lanes, 10) == [(1, 0), (2, 0), (1, 1)]


def test_what_may_be_committed_follows_what_was_merged_and_passes_control_records() -> None:
    lane = Lane(STREAMS[1], 10, 10, 0)
    lane.offer(LaneUpdate("c", [Record(10, 1), Record(11, 2)], 14, 14, 0))  # 12 and 13 are markers
    assert lane.next_offset == 10
    lane.fill(1, admit)
    assert lane.take((1, 1, 11)) != []
    assert (lane.next_offset, lane.lag, lane.drained) == (11, 3, False)
    lane.fill(1, admit)
    lane.take(None)
    assert (lane.next_offset, lane.lag, lane.drained) == (14, 0, True)
    lane.offer(LaneUpdate("c", [], 15, 15, 1))
    assert lane.next_offset == 15


def test_silence_earns_the_instant_of_the_oldest_answer() -> None:
    lanes = lanes_of([[], [], []])
    lanes[0].asof, lanes[1].asof, lanes[2].asof = 9_000, 8_000, 9_500
    assert Clock(wall=True, grace_ms=500).in_silence(lanes) == 7_500
    assert Clock(wall=False).in_silence(lanes) == 0
    lanes[2].end = 1
    assert Clock(wall=True, grace_ms=500).in_silence(lanes) == 0
