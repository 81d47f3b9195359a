"""`hyperseg segments diff`: which definitions differ, who would move."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app import cli

BASE = 1_793_577_600_000
HOUR = 3_600_000
OLD = """
segments:
  - {name: keen, when: "count(click, last 1d) >= 3", title: Keen}
  - {name: buyer, when: "any(purchase, last 1d)"}
  - {name: likes, for_each: click.c, when: "any(click[c == each], last 1d)"}
  - {name: gone, when: "any(click)", exit_when: "since(click) > 3d", min_dwell: 1h, cooldown: 2h}
"""
NEW = """
segments:
  - {name: keen, when: "count(click, last 24h)   >= 2", title: Very keen}
  - {name: buyer, when: "any(purchase, last 24h)", description: the same in other words}
  - {name: likes, for_each: click.c, max_per_user: 5, when: "any(click[c == each], last 1d)"}
  - {name: fresh, when: "since(click) < 1h"}
groups:
  - {name: tier, segments: [buyer, fresh]}
"""


def clicks(user: str, count: int) -> list[dict[str, Any]]:
    return [{"type": "click", "user_id": user, "ts": BASE + i * HOUR, "c": "ab"[i % 2]} for i in range(count)]


@pytest.fixture
def shop(tmp_path: Path) -> list[str]:
    """OLD NEW --events FILE."""
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text(NEW)
    events = [
        *clicks("one", 1),
        *clicks("two", 2),
        *clicks("three", 3),
        {"type": "purchase", "user_id": "two", "ts": BASE + 2 * HOUR},
    ]
    (tmp_path / "e.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return [str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml"), "--events", str(tmp_path / "e.jsonl")]


def answer(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert cli.run(["segments", "diff", "--json", *arguments]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_definitions_that_mean_something_else(shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = {row["name"]: row for row in answer(shop, capsys)["definitions"]}
    assert {name: row["status"] for name, row in found.items()} == {
        "buyer": "changed",
        "fresh": "added",
        "gone": "removed",
        "keen": "changed",
        "likes": "changed",
        "tier": "added",
    }
    assert found["keen"]["diff"] == ["- when: count(click, last 24h) >= 3", "+ when: count(click, last 24h) >= 2"]
    assert found["buyer"]["diff"] == ["  when: any(purchase, last 24h)", "+ group: tier"]
    assert found["likes"]["diff"][-2:] == ["- max_per_user: 20", "+ max_per_user: 5"]
    assert found["gone"]["diff"][1:] == ["- exit_when: since(click) > 3d", "- min_dwell: 1h", "- cooldown: 2h"]
    assert found["tier"]["diff"] == ["+ segments: buyer, fresh"]


def test_who_would_move(shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(shop, capsys)
    assert (found["events"], found["users"], found["until"]) == (7, 3, BASE + 2 * HOUR)
    rows = {row["segment"]: row for row in found["segments"]}
    assert [rows["keen"][key] for key in ("before", "after", "entered", "left", "sample_entered")] == [
        1,
        2,
        1,
        0,
        ["two"],
    ]
    assert [rows["gone"][key] for key in ("before", "after", "left", "sample_left")] == [
        3,
        0,
        3,
        ["one", "three", "two"],
    ]
    assert [rows["likes"][key] for key in ("before", "after", "status")] == [3, 3, "changed"]
    assert [rows["buyer"][key] for key in ("before", "after")] == [1, 1]
    assert [rows["fresh"][key] for key in ("before", "after", "sample_entered")] == [0, 1, ["three"]]


def test_another_end(shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = answer([*shop, "--until", str(BASE + 48 * HOUR)], capsys)
    rows = {row["segment"]: row for row in found["segments"]}
    assert found["until"] == BASE + 48 * HOUR
    assert (rows["keen"]["before"], rows["keen"]["after"]) == (0, 0)
    assert answer([*shop, "--until", str(BASE)], capsys)["events"] == 3


def test_text(shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["segments", "diff", *shop]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:6] == [
        "buyer: changed",
        "    when: any(purchase, last 24h)",
        "  + group: tier",
        "",
        "fresh: added",
        "  + when: since(click) < 1h",
    ]
    assert "7 events, 3 users; members move in 3 of 5 segments" in lines
    assert [line.split() for line in lines if line.startswith("keen ")] == [["keen", "1", "2", "1", "0", "+two"]]
    assert [line.split() for line in lines if line.startswith("likes ")] == [["likes", "3", "3", "0", "0"]]


def test_the_same_definitions(shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["segments", "diff", shop[0], shop[0], *shop[2:]]) == 0
    assert capsys.readouterr().out == "7 events, 3 users; members move in 0 of 4 segments\n"


def test_what_is_wrong(tmp_path: Path, shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["segments", "diff", shop[0], shop[1]]) == 2
    assert "name event files with --events" in capsys.readouterr().err
    (tmp_path / "bad.yaml").write_text("segments: [{name: a, when: any(clik)}]")
    assert cli.run(["segments", "diff", shop[0], str(tmp_path / "bad.yaml"), *shop[2:]]) == 1
    assert 'unknown stream; found "clik"' in capsys.readouterr().err
    (tmp_path / "e.jsonl").write_text("{}\n")
    assert cli.run(["segments", "diff", *shop]) == 0
    assert "1 lines were refused; the first is" in capsys.readouterr().err
