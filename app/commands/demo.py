"""`hyperseg demo`: everything on this machine with no set-up."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer


def register(cli: typer.Typer) -> None:
    cli.command("demo")(demo)


def demo(
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the console when there is a display.")
    ] = True,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="Port of the console; taken: another one.")
    ] = 8787,
    users: Annotated[int, typer.Option(min=1, max=100_000, help="How many users the shop has.")] = 400,
    rate: Annotated[float, typer.Option(min=0.1, max=2_000.0, help="Events a second of the live shop.")] = 10.0,
    segments: Annotated[
        Path | None,
        typer.Option(
            "--segments",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Your own definitions instead of the demo's.",
        ),
    ] = None,
) -> None:
    """Show all of it: an embedded broker, a worker, a live shop, the console in the browser. Ctrl-C
    stops it and leaves nothing behind."""
    from app.demo.demo import SEGMENTS, Demo, DemoOptions

    running = Demo(DemoOptions(users=users, rate=rate, segments=segments or SEGMENTS, port=port), _say)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: running.stop())
    with running:
        _say(f"starting the worker; the console will be at {running.url}")
        if running.ready():
            _say(f"ready: {running.url}   (Ctrl-C stops everything)")
            if browser:
                _open(running.url)
            running.wait()
        _say("stopping …")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _open(url: str) -> None:
    """The console in a browser, if this is a desktop: without a display Python knows text browsers
    only, which are generic ones."""
    import webbrowser

    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if type(browser) is not webbrowser.GenericBrowser:
        browser.open(url)
