"""The console in a real browser, on a really served application."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys

from app.web.deps import WebDeps
from tests.support.absent import absent
from tests.web.conftest import served
from tests.web.fakes import NOW, FakeState, change, deps

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
EVIL = '"><img src=x onerror=document.title=1>'
UNNAMED = "e => !e.innerText.trim() && !e.getAttribute('aria-label') && !e.labels?.length && !e.querySelector('img')"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --disable-dev-shm-usage"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        absent("chromium and chromium-driver are not installed")
    options = Options()
    options.binary_location = chromium
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(driver))
    yield running
    running.quit()


class Driver:
    """The browser, asked from a thread so that the application goes on; every wait is for something to become true."""

    def __init__(self, browser: webdriver.Chrome, base: str) -> None:
        self.browser = browser
        self.base = base

    async def open(self, path: str, width: int = 1280) -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        await asyncio.to_thread(self.browser.execute_cdp_cmd, "Emulation.setDeviceMetricsOverride", size)
        await asyncio.to_thread(self.browser.get, self.base + path)

    async def js(self, script: str) -> Any:
        return await asyncio.to_thread(self.browser.execute_script, f"return {script}")

    async def until(self, script: str, holds: Callable[[Any], bool] = bool, seconds: float = 20.0) -> Any:
        found = None
        try:
            async with asyncio.timeout(seconds):
                while not holds(found := await self.js(script)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{script} stayed {found!r}") from None
        return found

    async def text(self, selector: str) -> str:
        return str(await self.js(f"document.querySelector({selector!r})?.innerText ?? ''"))

    def complaints(self) -> list[str]:
        """Errors of scripts, refused resources, violations of the content security policy."""
        # Pages of tests before may still ask for their worker, which is gone.
        log = self.browser.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] == "SEVERE" and self.base in entry["message"]]


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
            "document.querySelectorAll('#feed li').length == 2 && document.querySelector('#feed li:last-child').innerText"
        )
        assert ("u7 entered engaged on a click" in first, "3 × carts + clicks in the last 7 days reached 21 (needs ≥ 20)" in first) == (
            True,
            True,
        )
        assert f"{EVIL} entered interested_in:{EVIL}" in await driver.text("#feed li:first-child .what")
        assert await driver.js("document.querySelectorAll('main img').length") == 0
        link = await driver.js("document.querySelector('#feed li:first-child a.user').click() || true")
        assert link is True
        await driver.until("document.querySelector('h1')?.innerText", lambda text: text == EVIL)
        assert driver.complaints() == []


async def test_sizes_follow_without_a_reload_and_keep_the_focus(browser: webdriver.Chrome, worker: WebDeps) -> None:
    async with served(worker) as base:
        driver = Driver(browser, base)
        await driver.open("/")
        await driver.js("document.querySelector('a.row[data-key=engaged]').focus()")
        worker.state.users["u9"] = {"engaged": NOW}  # type: ignore[attr-defined]
        await driver.until("document.querySelector('a.row[data-key=engaged] .size').innerText", lambda text: text.strip() == "3")
        assert await driver.js("document.activeElement.dataset.key") == "engaged"
        assert await driver.js("document.querySelector('a.row[data-key=engaged]').classList.contains('up')") is True


async def test_a_restarted_worker_is_found_again_and_nothing_is_missed(browser: webdriver.Chrome, worker: WebDeps) -> None:
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


async def test_every_page_fits_every_width_in_both_themes_without_a_complaint(browser: webdriver.Chrome, worker: WebDeps) -> None:
    for seq in range(8):
        happen(worker, "u1", seq, at=NOW - seq * 7_000)
    async with served(worker) as base:
        driver = Driver(browser, base)
        for path in ("/", "/segments/engaged", "/segments/interested_in", "/users/u1?segment=cart_abandoner", "/workers", "/users/nobody"):
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
        assert await driver.js(f"[...document.querySelectorAll('a, button, input, select')].filter({UNNAMED}).length") == 0
