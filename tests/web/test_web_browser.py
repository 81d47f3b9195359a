"""The console in a real browser, on a really served application."""

from __future__ import annotations

import asyncio
import signal as signal_numbers
import sys
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from app.domain.members import member_key
from app.domain.views import DefinitionProblem, UserView
from app.web import limits
from app.web.deps import WebDeps
from app.web.feed import ChangeFeed
from tests.web.chromium import Driver
from tests.web.conftest import served
from tests.web.fakes import NOW, FakeCluster, FakeState, change, deps, signal
from tests.web.fakes import describe as describe_user

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
EVIL = '"><img src=x onerror=document.title=1>'
UNNAMED = "e => !e.innerText.trim() && !e.getAttribute('aria-label') && !e.labels?.length && !e.querySelector('img')"


@pytest.fixture
def worker() -> WebDeps:
    worker = deps(FakeState({"u1": {"engaged": NOW - 60_000}, EVIL: {"engaged": NOW}}))
    worker.feed.begin({0: 0})
    return worker


def happen(worker: WebDeps, user: str, seq: int, **more: Any) -> None:
    worker.feed.append(0, worker.feed.heads[0], change(user, seq, **more))
    worker.feed.notify()


async def test_live_changes_appear_with_their_reasons(browser: webdriver.Chrome, worker: WebDeps) -> None:
    async with served(worker) as base:
        driver = Driver(browser, base)
        await driver.open("/")
        await driver.until("document.querySelector('#connection').dataset.state", lambda state: state == "on")
        happen(worker, "u7", 1)
        happen(worker, EVIL, 2, segment="interested_in", value=EVIL)
        first = await driver.until(
            "document.querySelectorAll('#feed li').length == 2 && document.querySelector('#feed "
            "li:last-child').innerText"
        )
        assert (
            "u7 entered engaged on a click" in first,
            "3 × carts + clicks in the last 7 days reached 21 (needs ≥ 20)" in first,
        ) == (
            True,
            True,
        )
        assert f"{EVIL} entered interested_in:{EVIL}" in await driver.text("#feed li:first-child .what")
        assert await driver.js("document.querySelectorAll('main img').length") == 0
        link = await driver.js("document.querySelector('#feed li:first-child a.user').click() || true")
        assert link is True
        await driver.until("document.querySelector('h1')?.innerText", lambda text: text == EVIL)
        assert driver.complaints() == []


async def test_a_page_that_is_refused_its_stream_again_and_again_does_not_grow(
    browser: webdriver.Chrome, worker: WebDeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAM_CLIENTS_MAX", 0)

    def listeners() -> int:
        page = browser.execute_cdp_cmd("Runtime.evaluate", {"expression": "window"})["result"]["objectId"]
        found = browser.execute_cdp_cmd("DOMDebugger.getEventListeners", {"objectId": page})["listeners"]
        return [listener["type"] for listener in found].count("pagehide")

    asked = "performance.getEntriesByType('resource').filter(({name}) => name.includes('/api/changes')).length"
    async with served(worker) as base:
        driver = Driver(browser, base)
        await driver.open("/")
        await driver.until(asked, lambda count: count >= 3)
        assert await asyncio.to_thread(listeners) == 1


async def test_sizes_follow_without_a_reload_and_keep_the_focus(browser: webdriver.Chrome, worker: WebDeps) -> None:
    async with served(worker) as base:
        driver = Driver(browser, base)
        await driver.open("/")
        await driver.js("document.querySelector('a.row[data-key=engaged]').focus()")
        worker.state.users["u9"] = {"engaged": NOW}  # type: ignore[attr-defined]
        await driver.until(
            "document.querySelector('a.row[data-key=engaged] .size').innerText", lambda text: text.strip() == "3"
        )
        assert await driver.js("document.activeElement.dataset.key") == "engaged"
        assert await driver.js("document.querySelector('a.row[data-key=engaged]').classList.contains('up')") is True


# What a page shows, without what scripts make of it: times in words, colours that fade, the chart,
# where the feed was read from.
SHOWN = """(() => {
  const copy = document.createElement("div");
  for (const id of ["freshness", "notices", "main"]) copy.append(document.getElementById(id).cloneNode(true));
  for (const time of copy.querySelectorAll("time")) {
    time.textContent = "";
    for (const name of ["title", "datetime"]) time.removeAttribute(name);
  }
  for (const marked of copy.querySelectorAll("[class]")) { marked.classList.remove("up", "down", "new"); }
  copy.querySelector("#feed")?.removeAttribute("data-after");
  copy.querySelector("#chart")?.replaceChildren();
  const lines = [];
  const walk = (node, depth) => {
    for (const child of node.childNodes) {
      const text = child.nodeType === 3 ? child.data.split(/\\s+/).filter(Boolean).join(" ") : "";
      if (text) lines.push(" ".repeat(depth) + text);
      if (child.nodeType !== 1) continue;
      const attributes = [...child.attributes].filter((a) => a.value || a.name !== "class")
      .map((a) => `${a.name}=${a.value}`).sort();
      lines.push(`${" ".repeat(depth)}<${child.tagName} ${attributes.join(" ")}>`);
      walk(child, depth + 1);
    }
  };
  walk(copy, 0);
  return lines;
})()"""
PAGES = (
    "/",
    "/segments/engaged",
    "/segments/interested_in",
    "/segments/lapsed",
    "/users/u1?segment=cart_abandoner",
    "/users/u9",
    "/workers",
)


async def much_happens(worker: WebDeps, seconds: float) -> None:
    """Somebody comes and goes in everything a page can show, until the end; the last of it
    stays."""
    state = worker.state
    assert isinstance(state, FakeState)
    rows = [member_key("interested_in", f"s{value}") for value in ("yoga", "shoes", "mats", "bikes")]
    for step in range(int(seconds * 2)):
        user = f"u{step % 7}"
        state.users[user] = (
            {"engaged": NOW - step, rows[step % 4]: NOW, rows[(step + 1) % 4]: NOW}
            if step % 3
            else {"lapsed": NOW - step}
        )
        state.users["u1"] = {rows[step % 4]: NOW, "engaged" if step % 2 else "active": NOW}
        state.users["u9"] = {"lapsed": NOW} if step % 4 else {}
        state.problems_ = (
            [] if step % 5 else [DefinitionProblem(kind="refused", message="wrong", file="a.yaml", line=step, column=1)]
        )
        state.counted = [0] if step % 6 else []
        state.watermark = NOW - step * 1_000
        state.reasons = ["it is catching up"] if step % 2 else []
        happen(worker, user, step + 1, what="entered" if step % 2 else "exited", at=NOW - 1_000)
        await asyncio.sleep(0.5)
    state.counted, state.problems_ = (
        [0],
        [DefinitionProblem(kind="refused", message="wrong", file="a.yaml", line=7, column=1)],
    )
    state.reasons = ["it is catching up"]


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES)
async def test_an_open_page_is_what_a_reload_shows(browser: webdriver.Chrome, worker: WebDeps, path: str) -> None:
    """Whatever comes, goes and comes again while it is open: no row twice, none left behind, no
    card that never comes.
    """
    assert isinstance(worker.state, FakeState)
    worker.state.users["u9"] = {}
    async with served(worker) as base:
        driver = Driver(browser, base)
        await driver.open(path)
        await driver.until("document.querySelector('#connection').dataset.state", lambda state: state == "on")
        await driver.js("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        await much_happens(worker, 10)
        await asyncio.sleep(2 * limits.CLUSTER_AGE_SECONDS + 3)
        left_open = [line.replace("<DETAILS open=>", "<DETAILS >") for line in await driver.js(SHOWN)]
        await driver.open(path)
        reloaded = await driver.js(SHOWN)
        assert left_open == reloaded
        assert len(left_open) > 20
    assert driver.complaints() == []


async def test_doubled_keys_do_not_grow(
    browser: webdriver.Chrome, worker: WebDeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 0

    async def describe(user: str) -> UserView:
        nonlocal rows
        rows += 1
        view = describe_user(user, {"engaged": NOW})
        same = [signal("count(click, last 7d)", rows, "yoga") for _ in range(3)]
        return msgspec.structs.replace(view, signals=same)

    monkeypatch.setattr(worker.state, "describe", describe)
    async with served(worker) as base:
        driver = Driver(browser, base)
        await driver.open("/users/u1")
        await driver.until("document.querySelector('#signals').innerText.includes('4')", seconds=30)
        assert await driver.js("document.querySelectorAll('#signals tr').length") == 3


@pytest.mark.parametrize("path", ["/segments/engaged", "/", "/users/u1", "/workers"])
async def test_a_worker_that_goes_is_said_on_an_open_page_and_no_longer_when_it_is_back(
    browser: webdriver.Chrome, worker: WebDeps, path: str
) -> None:
    assert isinstance(worker.cluster, FakeCluster)
    notices, partial = (
        "document.getElementById('notices').innerText.trim()",
        "document.getElementById('main').hasAttribute('data-partial')",
    )
    size = "document.querySelector('[data-key=size] b')?.innerText ?? ''"

    def other() -> WebDeps:
        state = FakeState({f"v{n}": {"engaged": NOW} for n in range(5)})
        state.counted, state.partitions = [1], 2
        return deps(state)

    async with served(worker) as base:
        driver = Driver(browser, base)
        async with served(other()) as peer:
            worker.cluster.others = [peer]
            await driver.open(path)
            await driver.until(size, lambda text: text in ("7", ""))
            assert (await driver.js(notices), await driver.js(partial)) == ("", False)
        await driver.until(notices, lambda text: "Of 2 workers 1 answers" in text and peer in text, seconds=8)
        assert await driver.js(partial)
        if path == "/segments/engaged":
            assert (await driver.js(size), "of 2 workers 1 answers" in await driver.text("#numbers")) == ("2", True)
            assert float(await driver.js("getComputedStyle(document.querySelector('#numbers b')).opacity")) < 0.6
        async with served(other()) as again:
            worker.cluster.others = [again]
            await driver.until(notices, lambda text: text == "", seconds=8)
            await driver.until(size, lambda text: text in ("7", ""))
            assert not await driver.js(partial)
    assert driver.complaints() == []


async def test_events_that_are_late_are_amber(browser: webdriver.Chrome, worker: WebDeps) -> None:
    assert isinstance(worker.state, FakeState)
    worker.state.watermark = NOW - 50_000
    async with served(worker) as base:
        driver = Driver(browser, base)
        for path in ("/", "/segments/engaged", "/users/u1", "/workers", "/users/nobody"):
            await driver.open(path)
            assert (await driver.text("#freshness")).startswith("events up to ")
        await driver.open("/workers")
        assert not await driver.js("document.getElementById('freshness').hasAttribute('data-late')")
        before = await driver.js("getComputedStyle(document.getElementById('freshness')).color")
        worker.state.watermark = NOW - 61_000
        await driver.until("document.getElementById('freshness').hasAttribute('data-late')")
        assert await driver.js("getComputedStyle(document.getElementById('freshness')).color") != before
        worker.state.watermark = NOW
        await driver.until("!document.getElementById('freshness').hasAttribute('data-late')")


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "/workers"])
async def test_nothing_is_live_over_a_worker_that_is_stopped_or_dead(browser: webdriver.Chrome, path: str) -> None:
    state = "document.getElementById('connection').dataset.state"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.web.stopped", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        driver = Driver(browser, f"http://127.0.0.1:{int(await process.stdout.readline())}")
        await driver.open(path)
        await driver.until(state, lambda found: found == "on")
        process.send_signal(signal_numbers.SIGSTOP)
        await driver.until(state, lambda found: found == "stale", seconds=12)
        assert (await driver.text("#connection")).startswith("not updating since ")
        assert float(await driver.js("getComputedStyle(document.querySelector('main b')).opacity")) < 0.6
        process.send_signal(signal_numbers.SIGCONT)
        await driver.until(state, lambda found: found == "on", seconds=15)
        assert not await driver.js("document.body.hasAttribute('data-stale')")
        process.kill()
        await driver.until(state, lambda found: found in ("wait", "stale"), seconds=5)
        await driver.until(state, lambda found: found == "stale", seconds=12)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_the_chart_draws_only_what_was_measured(browser: webdriver.Chrome, worker: WebDeps) -> None:
    now = [NOW]
    worker.clock = lambda: now[0]
    happen(worker, "u1", 1, at=NOW - 600_000)
    async with served(worker) as base:
        driver = Driver(browser, base)
        await driver.open("/segments/engaged")
        await driver.until("document.querySelectorAll('#chart canvas').length == 1")
        now[0] += 20_000
        await asyncio.sleep(limits.CLUSTER_AGE_SECONDS + 0.5)
        drawn = await driver.js("fetch('/api/segments/engaged').then((answer) => answer.json())")
        known = [(point["at"], point["size"]) for point in drawn["flow"] if point["size"] is not None]
        assert known[0] == (NOW, 2)
        assert (await driver.text("#main")).count("measured since") == 1


async def test_a_restarted_worker_is_found_again_and_nothing_is_missed(
    browser: webdriver.Chrome, worker: WebDeps
) -> None:
    async with served(worker) as base:
        driver = Driver(browser, base)
        await driver.open("/")
        await driver.until("document.querySelector('#connection').dataset.state", lambda state: state == "on")
        happen(worker, "u1", 1)
        await driver.until("document.querySelectorAll('#feed li').length == 1")
        worker.feed.close()
        await driver.until("document.querySelector('#connection').dataset.state", lambda state: state == "wait")
        happen(worker, "u2", 1)
        worker.feed.closed = False
        await driver.until("document.querySelectorAll('#feed li').length == 2")
        assert await driver.js("document.querySelector('#connection').dataset.state") == "on"


async def test_a_list_with_a_hole_says_so(browser: webdriver.Chrome) -> None:
    few = deps(feed=ChangeFeed(entries_max=2))
    few.feed.begin({0: 0})
    async with served(few) as base:
        driver = Driver(browser, base)
        await driver.open("/")
        await driver.until("document.querySelector('#connection').dataset.state", lambda state: state == "on")
        few.feed.close()
        await driver.until("document.querySelector('#connection').dataset.state", lambda state: state == "wait")
        for user in ("u1", "u2", "u3", "u4"):
            happen(few, user, 1)
        few.feed.closed = False
        await driver.until("document.querySelectorAll('#feed li').length == 2")
        note = "document.getElementById('feed-more').innerText"
        await driver.until(note, lambda text: "no longer kept and not in this list" in text)


async def test_pausing_holds_the_feed(browser: webdriver.Chrome, worker: WebDeps) -> None:
    async with served(worker) as base:
        driver = Driver(browser, base)
        await driver.open("/")
        await driver.until("document.querySelector('#connection').dataset.state", lambda state: state == "on")
        await driver.js("document.getElementById('pause').click()")
        happen(worker, "u1", 1)
        await driver.until("document.getElementById('feed-more').innerText", lambda text: text == "1 new while paused")
        assert await driver.js("document.querySelectorAll('#feed li').length") == 0
        await driver.js("document.getElementById('pause').click()")
        await driver.until("document.querySelectorAll('#feed li').length == 1")


async def test_every_page_fits_every_width_in_both_themes_without_a_complaint(
    browser: webdriver.Chrome, worker: WebDeps
) -> None:
    for seq in range(8):
        happen(worker, "u1", seq, at=NOW - seq * 7_000)
    async with served(worker) as base:
        driver = Driver(browser, base)
        for path in (
            "/",
            "/segments/engaged",
            "/segments/interested_in",
            "/users/u1?segment=cart_abandoner",
            "/workers",
            "/users/nobody",
        ):
            for width in (1280, 390):
                await driver.open(path, width)
                await driver.until("document.readyState", lambda state: state == "complete")
                assert await driver.js("document.documentElement.scrollWidth - innerWidth") <= 0, (path, width)
                before = await driver.js("getComputedStyle(document.body).backgroundColor")
                await driver.js("document.getElementById('theme').click()")
                assert await driver.js("getComputedStyle(document.body).backgroundColor") != before
        await driver.open("/segments/engaged")
        await driver.until("document.querySelectorAll('#chart canvas').length == 1")
    assert [line for line in driver.complaints() if "404" not in line] == []


async def test_the_keyboard_is_enough(browser: webdriver.Chrome, worker: WebDeps) -> None:
    async with served(worker) as base:
        driver = Driver(browser, base)
        await driver.open("/")
        await driver.until("document.querySelector('#connection').dataset.state", lambda state: state == "on")
        body = browser.find_element("tag name", "body")
        await asyncio.to_thread(body.send_keys, Keys.TAB)
        assert await driver.js("document.activeElement.className") == "skip"
        await asyncio.to_thread(body.send_keys, "/")
        assert await driver.js("document.activeElement.id") == "search"
        await asyncio.to_thread(browser.switch_to.active_element.send_keys, "u1", Keys.ENTER)
        await driver.until("document.querySelector('h1')?.innerText", lambda text: text == "u1")
        assert "leaves engaged" in await driver.text("#next")
        assert (
            await driver.js(f"[...document.querySelectorAll('a, button, input, select')].filter({UNNAMED}).length") == 0
        )
