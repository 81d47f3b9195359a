"""A line of an event file as an event: its type names the stream, and what it is refused for
otherwise."""

from __future__ import annotations

import pytest

from app.domain.decode import event_of_line
from app.domain.errors import Refused
from app.domain.streams import DEFAULT_STREAMS

STREAMS = {stream.name: stream for stream in DEFAULT_STREAMS}
TS = 1_793_577_600_000


def test_the_type_names_the_stream_and_the_place_a_line_without_an_id() -> None:
    event = event_of_line(b'{"type":"cart","user_id":"u","ts":1793577600000,"action":"add"}', STREAMS, "shop.jsonl:7")
    assert (event.stream, event.rank, event.user, event.ts) == ("cart", STREAMS["cart"].rank, "u", TS)
    assert (event.id, event.has_id, event.fields) == ("shop.jsonl:7", False, {"action": "add"})


@pytest.mark.parametrize(
    ("raw", "reason", "detail"),
    [
        (b'{"type":"clik","user_id":"u","ts":1}', "unknown_type", "type is 'clik', expected one of profile, click, "),
        (b'{"type":"clik","user_id":"u","ts":1}', "unknown_type", 'purchase; did you mean "click"?'),
        (b'{"user_id":"u","ts":1}', "unknown_type", "type is None, expected one of"),
        (b'{"type":["click"],"user_id":"u"}', "unknown_type", "type is ['click'], expected one of"),
        (b'{"type":"click","ts":1793577600000}', "no_user", "no user_id and no anonymous_id"),
        (
            b'{"type":"click","user_id":"u","ts":"2026-11-02"}',
            "bad_ts",
            "ts is '2026-11-02', expected epoch milliseconds or RFC 3339",
        ),
        (b'["click"]', "bad_field", "object"),
        (b"click", "not_json", "send one JSON object"),
    ],
)
def test_a_line_that_does_not_fit_is_refused_with_its_reason(raw: bytes, reason: str, detail: str) -> None:
    with pytest.raises(Refused) as refused:
        event_of_line(raw, STREAMS, "shop.jsonl:7")
    assert refused.value.reason == reason
    assert detail in refused.value.detail
