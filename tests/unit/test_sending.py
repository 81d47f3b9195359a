"""Event files on their way to topics: order, keys, and lines that have no topic."""

from __future__ import annotations

from pathlib import Path

from app.domain.streams import DEFAULT_STREAMS
from app.offline.send import Lines, read_sorted


def _read(tmp_path: Path, *texts: str) -> Lines:
    files = []
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(text)
        files.append(str(path))
    return read_sorted(files, DEFAULT_STREAMS)


def test_lines_are_sorted_by_ts_then_stream_then_place(tmp_path: Path) -> None:
    lines = _read(
        tmp_path,
        '{"type":"purchase","user_id":"a","ts":2000,"n":1}\n{"type":"click","user_id":"a","ts":2000,"n":2}\n'
        '{"type":"click","user_id":"b","ts":2000,"n":3}\n',
        '{"type":"click","user_id":"a","ts":"1970-01-01T00:00:01Z","n":4}\n\n{"type":"profile","user_id":"a","ts":2000,"attributes":{}}\n',
    )
    assert [line.value for line in lines.routed] == [
        b'{"user_id":"a","ts":"1970-01-01T00:00:01Z","n":4}',
        b'{"user_id":"a","ts":2000,"attributes":{}}',
        b'{"user_id":"a","ts":2000,"n":2}',
        b'{"user_id":"b","ts":2000,"n":3}',
        b'{"user_id":"a","ts":2000,"n":1}',
    ]
    assert [line.key for line in lines.routed] == [b"a", b"a", b"a", b"b", b"a"]
    assert lines.counts() == {"click": 3, "profile": 1, "purchase": 1}


def test_unfit_events_are_sent_beside_the_line_before_them(tmp_path: Path) -> None:
    lines = _read(
        tmp_path,
        '{"type":"click","user_id":"a","ts":5000}\n{"type":"click","ts":"noon"}\n{"type":"click","user_id":7,"ts":true}\n'
        '{"type":"click","anonymous_id":"x","ts":4000}\n',
    )
    assert [(line.ts, line.key) for line in lines.routed] == [(4000, b"x"), (5000, b"a"), (5000, None), (5000, None)]


def test_lines_without_a_topic_are_named(tmp_path: Path) -> None:
    lines = _read(
        tmp_path, '{"type":"click","user_id":"a","ts":1}\nnonsense\n{"ts":1}\n{"type":"clik"}\n[1]\n{"type":{"a":1}}\n'
    )
    assert len(lines.routed) == 1
    said = [text.partition("0.jsonl:")[2] for text in lines.unroutable]
    assert said[0] == "2: not a JSON object; mend the line"
    assert said[1] == '3: no "type"; add one of profile, click, cart, purchase'
    assert said[2] == "4: unknown type 'clik'; did you mean \"click\"?"
    assert said[3].startswith("5: not a JSON object")
    assert said[4].startswith("6: unknown type {'a': 1}; expected one of")
