"""`hyperseg replay`: small outputs byte for byte, order, bounds, refused lines, exit codes."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard

from app import cli
from app.domain.options import EngineOptions
from app.offline.log import read_log
from app.offline.replay import replay
from app.rules.definitions import load_text
from app.rules.plan import compile_plan

BASE = 1_793_577_600_000  # 2026-11-02T00:00:00Z
HOUR = 3_600_000
DEFINITIONS = """
segments:
  - {name: keen, when: "count(click, last 1h) >= 2"}
  - {name: abandoner, when: "any(cart without purchase within 2h, last 1d)"}
  - {name: likes, for_each: click.c, when: "any(click[c == each], last 1h)"}
  - {name: hot, when: "since(click) < 30m"}
  - {name: cold, when: any(click)}
groups:
  - {name: heat, segments: [hot, cold]}
"""
EVENTS: list[dict[str, Any]] = [
    {"type": "click", "user_id": "b", "ts": BASE + HOUR // 2, "event_id": "2"},
    {"type": "click", "user_id": "b", "ts": "2026-11-02T01:00:00+01:00", "event_id": "1"},
    {"type": "cart", "user_id": "a", "ts": BASE, "event_id": "3"},
    {"type": "click", "user_id": "b", "ts": BASE + HOUR // 2, "event_id": "2"},
]


def lines(events: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "d.yaml").write_text(DEFINITIONS)
    (tmp_path / "e.jsonl").write_bytes(lines(EVENTS))
    return tmp_path


def replayed(shop: Path, *arguments: str, code: int = 0) -> None:
    assert cli.run(["replay", *(arguments or (str(shop / "e.jsonl"),)), "--segments", str(shop / "d.yaml")]) == code


def changes(shop: Path, *arguments: str) -> list[dict[str, Any]]:
    out = shop / "out.jsonl"
    replayed(shop, *(arguments or (str(shop / "e.jsonl"),)), "--out", str(out))
    return [json.loads(line) for line in out.read_bytes().splitlines()]


def short(change: dict[str, Any]) -> tuple[int, str, int, str, str]:
    what = change["change"] if change["change"] != "moved" else f"{change['from']}->{change['to']}"
    return change["at"] - BASE, change["user_id"], change["seq"], what, change["segment"] or change["group"]


def test_every_change_in_order_of_at_user_and_seq(shop: Path) -> None:
    assert [short(change) for change in changes(shop, str(shop / "e.jsonl"), "--until", str(BASE + 3 * HOUR))] == [
        (0, "b", 1, "None->hot", "heat"),
        (HOUR // 2, "b", 2, "hot->cold", "heat"),
        (HOUR // 2, "b", 3, "cold->hot", "heat"),
        (HOUR // 2, "b", 4, "entered", "keen"),
        (HOUR, "b", 5, "hot->cold", "heat"),
        (HOUR, "b", 6, "exited", "keen"),
        (2 * HOUR, "a", 1, "entered", "abandoner"),
    ]


def test_one_change_byte_for_byte(shop: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    (shop / "d.yaml").write_text('segments: [{name: keen, when: "count(click, last 1h) >= 2"}]')
    replayed(shop)
    out, err = capsysbinary.readouterr()
    change = json.loads(out)
    assert len(change.pop("change_id")) == 26
    assert len(change["definition"].pop("digest")) >= 16
    assert change == {
        "user_id": "b",
        "segment": "keen",
        "value": None,
        "group": None,
        "change": "entered",
        "from": None,
        "to": None,
        "at": BASE + HOUR // 2,
        "emitted_at": BASE + HOUR // 2,
        "seq": 1,
        "late": False,
        "definition": {"name": "keen", "version": 1},
        "cause": {"kind": "event", "event_id": "2", "stream": "click", "ts": BASE + HOUR // 2},
        "facts": [{"expr": "count(click, last 1h)", "value": 2, "needs": ">= 2", "or_more": True}],
        "holdout": False,
    }
    assert err == b"4 events of 2 users, 1 changes\n"


def test_the_same_bytes_twice_and_from_any_order_of_lines(shop: Path) -> None:
    written = []
    for name, events in (("1", EVENTS), ("2", EVENTS), ("3", EVENTS[::-1])):
        (shop / "e.jsonl").write_bytes(lines(events))
        replayed(shop, str(shop / "e.jsonl"), "--out", str(shop / name))
        written.append((shop / name).read_bytes())
    assert written[0] == written[1] == written[2] != b""


@pytest.mark.parametrize("suffix", [".gz", ".zst", ""])
def test_compressed_in_and_out(shop: Path, suffix: str) -> None:
    packed = {".gz": gzip.compress, ".zst": zstandard.compress, "": bytes}[suffix](lines(EVENTS))
    source, out, plain = (str(shop / f"{name}{suffix}") for name in ("in.jsonl", "out.jsonl", "plain"))
    Path(source).write_bytes(packed)
    replayed(shop, source, "--out", out)
    replayed(shop, "--out", plain, str(shop / "e.jsonl"))
    unpack = {
        ".gz": gzip.decompress,
        ".zst": lambda raw: zstandard.ZstdDecompressor().decompressobj().decompress(raw),
        "": bytes,
    }[suffix]
    assert unpack(Path(out).read_bytes()) == unpack(Path(plain).read_bytes()) != b""
    assert Path(out).read_bytes() == Path(plain).read_bytes()


def test_several_files_and_stdin(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = changes(shop)
    (shop / "1.jsonl").write_bytes(lines(EVENTS[:2]))
    (shop / "2.jsonl").write_bytes(lines(EVENTS[2:]))
    assert changes(shop, str(shop / "1.jsonl"), str(shop / "2.jsonl")) == whole
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines(EVENTS))))
    assert changes(shop, "-") == whole


def test_until_ends_events_and_timers(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = changes(shop, str(shop / "e.jsonl"), "--until", "2026-11-02T00:10:00Z")
    assert [short(change)[4] for change in first] == ["heat"]
    assert "2 events of 2 users, 1 changes, 2 after --until" in capsys.readouterr().err
    assert changes(shop)[-1]["at"] == BASE + HOUR // 2


def test_refused_lines_are_told_and_stop_nothing(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [
        b"not json\n",
        b'{"type": "clik", "user_id": "u", "ts": 1}\n',
        b'{"type": "click", "ts": 1793577600000}\n',
        b"\n",
        b"[1]\n",
    ]
    (shop / "e.jsonl").write_bytes(b"".join(bad) + lines(EVENTS))
    replayed(shop, str(shop / "e.jsonl"), "--out", str(shop / "o"), "--rejects", str(shop / "r"))
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(f"hyperseg: {shop}/e.jsonl:1: not_json: ")
    assert 'did you mean "click"?' in told[1]
    assert told[2].startswith(f"hyperseg: {shop}/e.jsonl:3: no_user: ")
    assert told[3].startswith("4 events of 2 users, ")
    assert told[3].endswith("; refused: bad_field 1, no_user 1, not_json 1, unknown_type 1")
    rows = [json.loads(line) for line in (shop / "r").read_bytes().splitlines()]
    assert [(row["place"].rpartition(":")[2], row["reason"]) for row in rows] == [
        ("1", "not_json"),
        ("2", "unknown_type"),
        ("3", "no_user"),
        ("5", "bad_field"),
    ]
    assert rows[0]["line"] == "not json"


def test_a_summary_instead_of_changes(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "e.jsonl").write_bytes(lines([{**event, "c": "x"} for event in EVENTS]))
    replayed(shop, str(shop / "e.jsonl"), "--summary")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["4", "events,", "2", "users,", "5", "changes"]
    assert rows[2:] == [
        ["abandoner", "0", "0", "0", "0.0%"],
        ["cold", "1", "1", "0", "0.0%"],
        ["hot", "2", "1", "1", "50.0%", "b"],
        ["keen", "1", "0", "1", "50.0%", "b"],
        ["likes", "1", "0", "1", "50.0%", "b"],
        ["likes:x", "1", "50.0%", "b"],
    ]


def test_changes_and_a_summary(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replayed(shop, str(shop / "e.jsonl"), "--summary", "--out", str(shop / "o"))
    assert "keen" in capsys.readouterr().out
    assert (shop / "o").read_bytes().count(b"\n") == 4


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.jsonl"], 1, "nowhere.jsonl: no such file"),
        (["e.jsonl", "--until", "tomorrow"], 2, "--until tomorrow: expected"),
        (["e.jsonl", "--until", "9223372036854775807"], 2, "--until 9223372036854775807: expected"),
        ([], 2, "Missing argument"),
    ],
)
def test_exit_codes(shop: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(shop / "e.jsonl") if argument == "e.jsonl" else argument for argument in arguments]
    assert cli.run(["replay", *files, "--segments", str(shop / "d.yaml")]) == code
    error = capsys.readouterr().err
    assert said.lower() in error.lower()
    assert error.count("\n") == 1


def test_definitions_that_are_wrong_end_with_1(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "d.yaml").write_text("segments: [{name: a, when: any(clik)}, {name: b, when: any(crt)}]")
    replayed(shop, code=1)
    assert sorted('"clik"' in line or '"crt"' in line for line in capsys.readouterr().err.splitlines()) == [True, True]
    assert cli.run(["replay", str(shop / "e.jsonl"), "--segments", str(shop / "none")]) == 1


def test_no_events_are_no_error(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "e.jsonl").write_bytes(b"")
    replayed(shop)
    replayed(shop, str(shop / "e.jsonl"), "--summary")
    out, err = capsys.readouterr()
    assert err == "0 events of 0 users, 0 changes\n" * 2
    assert out.startswith("0 events, 0 users, 0 changes")


def test_a_damaged_file_is_an_error(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "e.jsonl.gz").write_bytes(gzip.compress(lines(EVENTS))[:-9])
    replayed(shop, str(shop / "e.jsonl.gz"), code=1)
    assert "damaged" in capsys.readouterr().err


def test_progress_is_told_while_reading_and_replaying(shop: Path) -> None:
    told: list[tuple[str, int, int]] = []
    (shop / "e.jsonl").write_bytes(
        lines([{**EVENTS[0], "user_id": f"u{i}", "event_id": str(i)} for i in range(20_000)])
    )
    options = EngineOptions()
    log = read_log([str(shop / "e.jsonl")], options.streams, None, lambda *given: told.append(given))
    replay(
        compile_plan(load_text(DEFINITIONS, options), options), options, log, None, lambda *given: told.append(given)
    )
    assert told == [("reading", 20_000, 0), ("replaying", 0, 20_000)]


def test_ties_are_applied_in_the_order_of_streams_then_lines(shop: Path) -> None:
    (shop / "d.yaml").write_text('segments: [{name: s, when: last(*.x) == "last"}]')
    events = [
        {"type": kind, "user_id": "u", "ts": BASE, "x": x}
        for kind, x in (("purchase", "last"), ("click", "a"), ("cart", "b"))
    ]
    (shop / "e.jsonl").write_bytes(lines(events))
    assert [change["cause"]["stream"] for change in changes(shop)] == ["purchase"]
    (shop / "e.jsonl").write_bytes(lines([{**events[1], "x": x} for x in ("first", "last")]))
    assert [change["cause"]["event_id"] for change in changes(shop)] == [f"{shop}/e.jsonl:2"]
