"""`hyperseg explain`: what is missing, how far it is, when it flips; from files and from a
worker."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from app import cli
from app.commands.explain import worker_url
from app.domain.changes import Fact
from app.wording.distance import distance, negated

DAY = 86_400_000
BASE = 1_793_577_600_000  # 2026-11-02T00:00:00Z
DEFINITIONS = """
segments:
  - {name: keen, when: "count(click, last 7d) >= 5 and not any(purchase, last 1d)"}
  - {name: buyer, when: "sum(purchase.amount, last 30d) >= 500 or segment(\\"keen\\")"}
  - {name: recent, when: "since(click) < 1d"}
  - {name: quiet, when: "since(click) >= 1d", cooldown: 3d, min_dwell: 1h}
  - {name: sticky, when: any(click), exit_when: "count(click) >= 3"}
  - {name: likes, for_each: click.category, when: "count(click[category == each], last 7d) >= 2"}
  - {name: top, when: any(click)}
  - {name: second, when: any(click)}
groups:
  - {name: tier, segments: [top, second]}
"""
EVENTS = [
    {"type": "click", "user_id": "u", "ts": BASE, "category": "yoga"},
    {"type": "click", "user_id": "u", "ts": BASE + 3_600_000, "category": "yoga"},
    {"type": "click", "user_id": "u", "ts": BASE + 7_200_000},
    {"type": "purchase", "user_id": "u", "ts": BASE + 7_200_000, "amount": 379.5},
    {"type": "click", "user_id": "other", "ts": BASE + DAY},
]


@pytest.fixture
def shop(tmp_path: Path) -> list[str]:
    """Flags for the definitions and the events."""
    (tmp_path / "d.yaml").write_text(DEFINITIONS)
    (tmp_path / "e.jsonl").write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    return ["--segments", str(tmp_path / "d.yaml"), "--events", str(tmp_path / "e.jsonl")]


def told(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> list[str]:
    assert cli.run(["explain", *arguments]) == code
    out, err = capsys.readouterr()
    return (err if code else out).splitlines()


def one(name: str, shop: list[str], capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    return told(["u", "--segment", name, *more, *shop], capsys)[2:]


def test_which_part_fails_and_how_far_it_is(shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert told(["u", "--segment", "keen", *shop], capsys) == [
        "u at 2026-11-03T00:00:00+00:00",
        "",
        "✘ keen: not in",
        "    all of",
        "        ✘ clicks in the last 7 days is 3 (needs ≥ 5): 2 more clicks",
        "        ✘ a purchase in the last 24 h (needs none)",
    ]
    assert one("buyer", shop, capsys) == [
        "✘ buyer: not in",
        "    one of",
        "        ✘ total amount of purchases in the last 30 days is 379.5 (needs ≥ 500): 120.50 more",
        "        ✘ not in keen (needs yes)",
    ]


def test_in_since_when_why_and_until_when(shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert one("recent", shop, capsys) == [
        "✔ recent: in since 2026-11-02T00:00:00+00:00; leaves by itself in 2 hours, at 2026-11-03T02:00:00+00:00",
        "    time since the latest click is 22 hours (needs < 24 h)",
    ]
    assert one("quiet", shop, capsys) == [
        "✘ quiet: not in; enters by itself in 2 hours, at 2026-11-03T02:00:00+00:00",
        "    ✘ time since the latest click is 22 hours (needs ≥ 24 h): in 2 hours",
    ]


def test_another_instant_and_another_zone(shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--at", "2026-11-02T00:30:00.5Z", "--set", "timezone=Europe/Oslo")
    assert one("likes", shop, capsys, *at) == [
        "✘ likes:yoga: not in",
        "    ✘ clicks with category yoga in the last 7 days is 1 (needs ≥ 2): 1 more click with category yoga",
    ]
    assert told(["u", "--segment", "keen", *at, *shop], capsys)[0] == "u at 2026-11-02T01:30:00.500+01:00"
    later = one("quiet", shop, capsys, "--at", "2026-11-03T02:30:00Z")
    assert later[-1] == "    stays at least until 2026-11-03T03:00:00+00:00 (min_dwell)"
    assert one("likes", shop, capsys, "--at", "2026-12-01T00:00:00Z")[0].startswith("✘ likes:yoga: not in")
    assert told(["other", "--segment", "likes", *shop], capsys)[2:] == [
        "✘ likes: not in; no value of click.category was seen"
    ]


def test_held_back_although_the_condition_holds(shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        one("second", shop, capsys)[-1] == "    its condition holds, and another segment of the group tier comes first"
    )
    assert one("sticky", shop, capsys)[-1] == "    its condition holds, and so does that of leaving it (exit_when)"


def test_cooldown(tmp_path: Path, shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    events = [{"type": "click", "user_id": "u", "ts": BASE + ms} for ms in (0, 2 * DAY, 2 * DAY + 1)]
    (tmp_path / "e.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    assert one("quiet", shop, capsys)[-1] == "    cannot come back before 2026-11-07T00:00:00+00:00 (cooldown)"


def test_json_of_all_segments(shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", "u", "--json", *shop]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["user_id"], answer["at"]) == ("u", BASE + DAY)
    assert [row["segment"] for row in answer["segments"]] == [
        "keen",
        "buyer",
        "recent",
        "quiet",
        "sticky",
        "likes",
        "top",
        "second",
    ]
    failing = answer["segments"][0]["answers"][0]["parts"]["parts"][0]
    assert (failing["fits"], failing["distance"], failing["fact"]["needs"]) == (False, "2 more clicks", ">= 5")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["v"], "user v: none of 5 events is theirs; mend the name or --at"),
        (["othr"], 'user othr: none of 5 events is theirs; did you mean "other"?'),
        (["u", "--segment", "ken"], 'segment ken: not defined; did you mean "keen"?'),
        (["u", "--segment", "zzz"], "segment zzz: not defined; expected one of keen"),
    ],
)
def test_names_nobody_has(arguments: list[str], said: str, shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert said in told([*arguments, *shop], capsys, 1)[0]


def test_usage(shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "name event files with --events" in told(["u", "v"], capsys, 2)[0]
    assert "--at soon: expected" in told(["u", "--at", "soon", *shop], capsys, 2)[0]


# --- a worker -----------------------------------------------------------------------------------


class _Worker(BaseHTTPRequestHandler):
    """Answers as a worker does; `answers` is path → (status, body)."""

    answers: dict[str, tuple[int, bytes]]

    def do_GET(self) -> None:
        status, body = self.answers.get(
            self.path, (404, b'{"title": "Not Found", "detail": "Nothing is known of the user."}')
        )
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: the test's output is the command's."""


@pytest.fixture
def worker() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Worker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_worker_is_asked(shop: list[str], worker: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", "u", "--json", "--segment", "keen", *shop]) == 0
    answer = json.loads(capsys.readouterr().out)["segments"][0]
    by_file = told(["u", "--segment", "keen", *shop], capsys)
    _Worker.answers = {f"/api/users/a%2Fb/explain?segment=keen&at={BASE}": (200, json.dumps(answer).encode())}
    by_worker = told(["a/b", "--segment", "keen", "--at", str(BASE), "--url", worker], capsys)
    assert by_worker == by_file


def test_all_segments_of_a_worker(shop: list[str], worker: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", "u", "--json", *shop]) == 0
    answer = json.loads(capsys.readouterr().out)
    del answer["at"]  # a worker's answer has it at each segment
    _Worker.answers = {"/api/users/u/explain": (200, json.dumps(answer).encode())}
    port = worker.rpartition(":")[2]
    assert told(["u", "--set", f"web_port={port}"], capsys) == told(["u", *shop], capsys)


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ((404, b'{"detail": "Nothing is known of the user."}'), 1, "404: Nothing is known of the user."),
        ((503, b'{"title": "no owner"}'), 3, "503: no owner"),
        ((200, b"<html>"), 3, "no answer"),
        ((200, b"[]"), 1, "no explanation"),
    ],
)
def test_a_worker_that_refuses(
    answer: tuple[int, bytes], code: int, said: str, worker: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _Worker.answers = {"/api/users/u/explain": answer}
    assert said in told(["u", "--url", worker], capsys, code)[0]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[", "ftp://x"])
def test_no_worker_there(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "start one with hyperseg worker" in told(["u", "--url", url], capsys, 3)[0]


@pytest.mark.parametrize(
    ("host", "url"), [("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1"), ("h", "http://h:1")]
)
def test_where_a_worker_of_these_settings_listens(host: str, url: str) -> None:
    assert worker_url(host, 1) == url


# --- distances ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "value", "needs", "more", "said"),
    [
        ("count(click, last 7d)", 3, ">= 5", {}, "2 more clicks"),
        ("count(click, last 7d)", 4, ">= 5", {}, "1 more click"),
        ("count(click, last 7d)", 3, "> 5", {}, "3 more clicks"),
        ("count(click, last 7d)", 5, "> 5", {}, "1 more click"),
        ("count(click, last 7d)", 7, "< 5", {}, "3 fewer clicks"),
        ("count(click, last 7d)", 7, "<= 5", {"or_more": True}, "at least 2 fewer clicks"),
        ("count(click, last 7d)", 7, "== 8", {}, "1 more click"),
        ("count(click, last 7d)", 7, "between 8 and 9", {}, "1 more click"),
        ("count(click, last 7d)", 10, "between 8 and 9", {}, "1 fewer click"),
        ("count(click, last 7d)", 7, "!= 7", {}, ""),
        ('count(click[category == "yoga"])', 0, ">= 1", {}, "1 more click with category yoga"),
        (
            "count(cart -> purchase within 1h)",
            1,
            ">= 3",
            {},
            "2 more times of a cart followed by a purchase within 1 hour",
        ),
        ("days(click, last 7d)", 1, ">= 3", {}, "2 more days with clicks"),
        ("session_count(click)", 1, ">= 2", {}, "1 more session with clicks"),
        ("distinct(click.product_id)", 1, ">= 3", {}, "2 more different product_id values of clicks"),
        ("sum(purchase.amount, last 90d)", 379.5, ">= 500", {}, "120.50 more"),
        ("sum(purchase.amount, last 90d)", 379.5, "< 100", {}, "279.50 less"),
        ("decay(click, 1d)", 0.001, "> 0.002", {}, "0.001 more"),
        ("3 * count(cart) + count(click)", 12, ">= 20", {}, "8 more"),
        ("count(cart)", 2, ">= count(click)", {"against": 5}, "3 more carts"),
        ("count(cart)", 2, ">= count(click)", {"against": None}, ""),
        ("since(purchase)", 12_000_000, ">= 4h", {}, "in 40 minutes"),
        ("since(purchase)", 40 * DAY, "< 30d", {}, "10 days too long ago"),
        ("since(purchase)", 40 * DAY, "between 10d and 30d", {}, "10 days too long ago"),
        ("since(purchase)", None, "< 30d", {}, "no purchase yet"),
        ("last(click.device)", None, '== "mobile"', {}, "no click yet"),
        ("last(click.device)", "desktop", '== "mobile"', {}, ""),
        ("profile.age", 20, "between 25 and 34", {}, "5 more"),
        ("profile.age", None, "between 25 and 34", {}, ""),
        ("any(click, last 1d)", False, "true", {}, ""),
        ("any(click, last 1d)", True, "false", {}, ""),
        ("no expression (", 3, ">= 5", {}, ""),
        ("count(click)", 3, "between a and b", {}, ""),
    ],
)
def test_distances(expr: str, value: Any, needs: str, more: dict[str, Any], said: str) -> None:
    assert distance(Fact(expr, value, needs, **more)) == said


@pytest.mark.parametrize(
    ("needs", "other"),
    [
        ("true", "false"),
        (">= 3", "< 3"),
        ("> 3", "<= 3"),
        ("== 3", "!= 3"),
        ('in ["a"]', 'not in ["a"]'),
        ("not between 1 and 2", "between 1 and 2"),
    ],
)
def test_the_opposite(needs: str, other: str) -> None:
    assert negated(needs) == other
    assert negated(other) == needs
