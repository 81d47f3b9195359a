"""`hyperseg demo` as a person starts it: changes within seconds, and nothing left after Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selenium import webdriver

from tests.web.chromium import Driver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("demo")]
PICTURE_WANTED = "HYPERSEG_SCREENSHOT"
FIRST_CHANGE_S = 20.0
LIGHT, STILL = {"name": "prefers-color-scheme", "value": "light"}, {"name": "prefers-reduced-motion", "value": "reduce"}
# A machine that runs other tests beside this one is slower than a person's.
PATIENCE_S = 90.0 if os.environ.get("CI") else 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the demonstration makes its temporary folder."""
    made = tmp_path / "tmp"
    made.mkdir()
    return made


@pytest.fixture
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "app.cli", "demo", "--no-browser", "--port", "0"]
    # Whatever the environment says, the demonstration is the same; but a setting that does not
    # exist is refused.
    environment = {name: value for name, value in os.environ.items() if name != PICTURE_WANTED}
    environment |= {"TMPDIR": str(folder), "HYPERSEG_BROKER": "kafka://nowhere:1"}
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    yield started
    if started.poll() is None:
        started.send_signal(signal.SIGINT)
        try:
            started.wait(40)
        except subprocess.TimeoutExpired:
            started.kill()
    assert started.stderr is not None
    started.stderr.close()


def address(running: subprocess.Popen[str]) -> str:
    assert running.stderr is not None
    for line in running.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found[0]
    raise AssertionError("it ended without an address")


def first_change(base: str, since: float) -> float:
    """Seconds from `since` until the first change came over the wire."""
    while time.monotonic() - since < PATIENCE_S:
        try:
            with httpx.stream("GET", f"{base}/api/changes", timeout=httpx.Timeout(5, read=PATIENCE_S)) as answer:
                for line in answer.iter_lines():
                    if line.startswith("event: change"):
                        return time.monotonic() - since
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"no change within {PATIENCE_S} s; {said(base)}")


def said(base: str) -> str:
    """What the worker says of itself."""
    try:
        return f"{httpx.get(f'{base}/readyz').text} {httpx.get(f'{base}/api/status').text}"
    except httpx.TransportError as error:
        return f"the worker does not answer: {error}"


def children(parent: int) -> list[int]:
    """Processes that `parent` started and that live."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True).stdout
    return [int(pid) for pid in found.split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_demo_shows_changes_and_leaves_nothing_behind(running: subprocess.Popen[str], folder: Path) -> None:
    since = time.monotonic()
    base = address(running)
    seconds = first_change(base, since)
    print(f"first change after {seconds:.1f} s (meant: {FIRST_CHANGE_S:.0f})")
    workers = children(running.pid)
    assert (len(workers), len(list(folder.iterdir()))) == (1, 1)
    assert "Browsing right now" in httpx.get(base).text

    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 0
    assert list(folder.iterdir()) == []
    assert not [pid for pid in workers if alive(pid)]
    with pytest.raises(httpx.ConnectError):
        httpx.get(base)


def test_the_worker_ends_with_its_parent_however_that_ends(running: subprocess.Popen[str], folder: Path) -> None:
    base = address(running)
    first_change(base, time.monotonic())
    workers = children(running.pid)
    running.kill()
    running.wait()
    deadline = time.monotonic() + 30
    while [pid for pid in workers if alive(pid)] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not [pid for pid in workers if alive(pid)]
    assert list(folder.iterdir()) == []


def test_stopping_while_it_starts_leaves_nothing_behind(running: subprocess.Popen[str], folder: Path) -> None:
    address(running)
    workers = children(running.pid)
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 0
    assert list(folder.iterdir()) == []
    assert not [pid for pid in workers if alive(pid)]


PICTURE = Path(__file__).resolve().parents[2] / "docs" / "assets" / "console.png"
LOOKED_AT_S = 320.0  # until the small charts, which hold five minutes, are full

# Makes the picture of the documentation, and is a test only where that is asked for.
if PICTURE_WANTED in os.environ:

    @pytest.mark.browser
    @pytest.mark.timeout(600)
    async def test_the_picture_of_the_console(running: subprocess.Popen[str], browser: webdriver.Chrome) -> None:
        base = await asyncio.to_thread(address, running)
        await asyncio.to_thread(first_change, base, time.monotonic())
        await asyncio.sleep(LOOKED_AT_S)
        driver = Driver(browser, base)
        await asyncio.to_thread(browser.execute_cdp_cmd, "Emulation.setEmulatedMedia", {"features": [LIGHT, STILL]})
        await asyncio.to_thread(browser.execute_cdp_cmd, "Emulation.setScrollbarsHidden", {"hidden": True})
        await driver.open("/", 1280, 800)
        await driver.until("document.querySelector('#connection').dataset.state", lambda state: state == "on")
        await driver.until("document.querySelectorAll('#feed li').length >= 12")
        assert await driver.text("#notices") == ""
        picture = await asyncio.to_thread(browser.get_screenshot_as_png)
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_bytes(picture)
        assert len(picture) < 300_000
