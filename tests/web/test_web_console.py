"""The console's pages: what is on them, and that nothing from outside becomes markup."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest

from app.domain.members import member_key, scalar_key
from app.domain.views import DefinitionProblem
from app.web import limits
from app.web.deps import WebDeps
from app.web.guard import SECURITY_HEADERS
from app.web.render import spark
from tests.web.fakes import NOW, FakeState, change, deps
from tests.web.test_web_api import asking

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}",
    "</title><b>",
    "javascript:alert(1)",
    "&lt;b&gt;",
]
_TAGS = """html head meta title link script body a header div img span nav form label svg circle path input kbd i
button main footer
h1 h2 h3 section b small em p ol ul li time code dl dt dd details summary
meter table thead tbody tr th td article select option"""
TAGS_KNOWN = set(_TAGS.split())


class Page(HTMLParser):
    """Tags, links and text of a page; fails on what the console never writes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.scripts: list[str | None] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS_KNOWN, tag
        found = dict(attrs)
        assert not [name for name in found if name.startswith("on") or name == "style"], found
        if tag == "script":
            self.scripts.append(found.get("src"))
        if tag == "a":
            self.links.append(found["href"] or "")

    def handle_data(self, data: str) -> None:
        self.words += data


async def page(client: httpx.AsyncClient, path: str) -> Page:
    answer = await client.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    found = Page(answer.text)
    assert all(script and script.startswith("/static/") for script in found.scripts)
    assert all(link.startswith(("/", "#", "?")) and not link.startswith("//") for link in found.links)
    return found


def hostile(evil: str) -> WebDeps:
    """A worker where everything that people or events may fill is hostile."""
    key = member_key("interested_in", scalar_key(evil))
    state = FakeState({evil: {"engaged": NOW, key: NOW}}, reasons=[evil])
    more: dict[str, Any] = {
        "title": evil,
        "description": evil,
        "tags": [evil],
        "owner": evil,
        "group": evil,
        "when": f'click.x == "{evil}"',
    }
    state.definitions_ = [msgspec.structs.replace(item, **more) for item in state.definitions_]
    state.problems_ = [DefinitionProblem(kind="refused", message=evil, file=evil, line=1, column=2, segment=evil)]
    worker = deps(state)
    worker.feed.append(0, 0, change(evil, 1, segment="interested_in", value=evil, at=NOW))
    worker.feed.append(0, 1, change(evil, 2, "moved", None, group=evil, from_=evil, to=evil))
    return worker


@pytest.mark.parametrize("evil", EVIL)
async def test_nothing_from_outside_becomes_markup(evil: str) -> None:
    async with asking(hostile(evil)) as client:
        for path in (
            "/",
            f"/?q={quote(evil)}",
            "/segments/engaged",
            "/segments/interested_in",
            f"/users/{quote(evil, safe='')}",
            "/workers",
        ):
            assert evil in (await page(client, path)).words
        for path in (f"/segments/{quote(evil, safe='')}", f"/users/{quote(evil + 'x', safe='')}"):
            await page(client, path)


async def test_the_overview_shows_segments_sizes_and_recent_changes(worker: WebDeps, client: httpx.AsyncClient) -> None:
    worker.feed.append(0, 0, change("u1", at=NOW - 1_000))
    shown = await page(client, "/")
    assert {"/segments/engaged", "/segments/interested_in", "/users/u1"} <= set(shown.links)
    assert "3 × carts + clicks in the last 7 days reached 21 (needs ≥ 20)" in shown.words
    assert 'data-after="0-1"' in (await client.get("/")).text


async def test_refused_definitions_are_a_card_on_the_first_page_and_a_warning_on_the_workers(
    worker: WebDeps, client: httpx.AsyncClient
) -> None:
    assert "Refused definitions" not in (await page(client, "/")).words
    assert isinstance(worker.state, FakeState)
    sentence = 'unknown function; found "cuont"; did you mean "count"?'
    worker.state.problems_ = [
        DefinitionProblem(kind="refused", message=sentence, file="shop.yaml", line=7, column=11, segment="broken"),
        DefinitionProblem(kind="warning", message="shop.yaml:9: a remark"),
    ]
    await asyncio.sleep(limits.CLUSTER_AGE_SECONDS + 0.05)
    shown = (await page(client, "/")).words
    assert [words in shown for words in ("Refused definitions 1", "broken", "shop.yaml:7:11", sentence)] == [True] * 4
    assert "a remark" not in shown
    assert "worker-1 refused 1 definition and runs without it." in (await page(client, "/workers")).words


async def test_a_person_with_several_values_is_one_person(client: httpx.AsyncClient, worker: WebDeps) -> None:
    assert isinstance(worker.state, FakeState)
    worker.state.users |= {"u2": {member_key("interested_in", value): NOW for value in ("syoga", "sshoes", "n3")}}
    assert "<b>1</b><span>people, 3 memberships</span>" in (await client.get("/segments/interested_in")).text


def test_a_sparkline_draws_what_was_measured_and_nothing_else() -> None:
    assert spark([None, None]) == spark([7]) == {"line": "", "area": ""}
    assert spark([0, 10])["line"] == "M0.0 29.0L120.0 3.0"
    assert spark([0, 0])["line"] == "M0.0 29.0L120.0 29.0", "nobody is the bottom line"
    gap = spark([1, 1, None, None, 1])
    assert gap["line"] == "M0.0 3.0L30.0 3.0M105.0 3.0L120.0 3.0"
    assert spark([50, 49])["line"] == "M0.0 3.0L120.0 3.5", "one in fifty is a step of a fiftieth"
    assert gap["area"].count("Z") == 2


async def test_what_waits_is_not_nought_while_it_is_not_known(worker: WebDeps, client: httpx.AsyncClient) -> None:
    assert "<b>3</b><span>events waiting</span>" in (await client.get("/")).text
    worker.state.lag = None  # type: ignore[attr-defined]
    await asyncio.sleep(limits.CLUSTER_AGE_SECONDS + 0.05)
    for path in ("/", "/workers"):
        assert "<b>–</b><span>events waiting</span>" in (await client.get(path)).text


async def test_a_segments_page(client: httpx.AsyncClient) -> None:
    shown = await page(client, "/segments/engaged")
    assert ("3 * count(cart, last 7d) + count(click, last 7d) >= 20" in shown.words, "/users/u1" in shown.links) == (
        True,
        True,
    )
    assert "carts in the last 7 days" in shown.words


async def test_a_users_page(client: httpx.AsyncClient) -> None:
    shown = await page(client, "/users/u1")
    for words in (
        "In 1 segment",
        "leaves engaged",
        "clicks in the last 7 days",
        "1 day 1 hour",
        "age",
        "31",
        "consent: marketing",
    ):
        assert words in " ".join(shown.words.split())


async def test_a_users_memberships_of_one_segment_are_one_segment(worker: WebDeps, client: httpx.AsyncClient) -> None:
    values = {member_key("interested_in", scalar_key(value)): NOW for value in ("yoga", "books")}
    worker.state.users["u1"] = {"engaged": NOW, **values}  # type: ignore[attr-defined]
    assert "In 2 segments, 3 memberships" in " ".join((await page(client, "/users/u1")).words.split())
    del worker.state.users["u1"]["engaged"]  # type: ignore[attr-defined]
    assert "In 1 segment, 2 memberships" in " ".join((await page(client, "/users/u1")).words.split())


async def test_why_a_user_is_not_in_a_segment(client: httpx.AsyncClient) -> None:
    words = " ".join((await page(client, "/users/u1?segment=cart_abandoner")).words.split())
    assert "not in cart_abandoner" in words
    assert "✗ no cart add was left without a purchase for 24 h, in the last 7 days (needs one)" in words
    assert "✗ a purchase in the last 7 days (needs none)" in words
    assert (await client.get("/users/u1?segment=nope")).status_code == 404


async def test_looking_up_a_user(client: httpx.AsyncClient) -> None:
    answer = await client.get("/users?id=%20a/b%3F%20")
    assert (answer.status_code, answer.headers["location"]) == (303, "/users/a%2Fb%3F")
    assert (await client.get("/users")).headers["location"] == "/"


async def test_problems_are_pages_for_people(client: httpx.AsyncClient) -> None:
    for path, status in (("/users/nobody", 404), ("/segments/nope", 404)):
        answer = await client.get(path)
        assert (answer.status_code, "<h1>" in answer.text) == (status, True)


async def test_static_files_and_their_licences(client: httpx.AsyncClient) -> None:
    for name in (
        "console.css",
        "console.js",
        "feed.js",
        "refresh.js",
        "times.js",
        "chart.js",
        "theme.js",
        "mark.svg",
        "vendor/uplot/uPlot.iife.min.js",
    ):
        answer = await client.get(f"/static/{name}")
        assert (answer.status_code, bool(answer.headers["etag"])) == (200, True)
    assert "MIT" in (await client.get("/static/vendor/uplot/LICENSE")).text
    assert "unsafe" not in SECURITY_HEADERS["Content-Security-Policy"]
