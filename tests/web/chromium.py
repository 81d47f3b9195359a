"""Chromium without a window, and how a test asks it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from tests.support.absent import absent

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update "
    "--disable-sync --disable-dev-shm-usage"
)


def chromium(folder: Path) -> Iterator[webdriver.Chrome]:
    """A running browser with its profile in `folder`; ends with the generator."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        absent("chromium and chromium-driver are not installed")
    options = Options()
    options.binary_location = binary
    for flag in [*FLAGS.split(), f"--user-data-dir={folder}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(driver))
    yield running
    running.quit()


class Driver:
    """The browser, asked from a thread so that the application goes on; every wait is for something
    to become true.
    """

    def __init__(self, browser: webdriver.Chrome, base: str) -> None:
        self.browser = browser
        self.base = base

    async def open(self, path: str, width: int = 1280, height: int = 900) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
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
