"""`hyperseg explain`: why a user is in a segment or not, what is missing, and when that changes by itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import ConfigFlag, SetFlag, parse_instant, read_settings

if TYPE_CHECKING:
    from app.domain.views import Explanations
    from app.settings import Settings


def register(cli: typer.Typer) -> None:
    cli.command("explain")(explain)


def explain(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[EVENTS…]", help="More files for --events.")] = None,
    segment: Annotated[str | None, typer.Option("--segment", metavar="NAME", help="One segment (default: all).")] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TS", help="The instant: epoch ms or RFC 3339 (default: now, or the largest ts).")
    ] = None,
    events: Annotated[
        list[str] | None, typer.Option("--events", metavar="FILE", help="Replay event files instead of asking a worker.")
    ] = None,
    segments: Annotated[str | None, typer.Option("--segments", metavar="DIR", help="Folder of definitions, with --events.")] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="The worker to ask (default: the settings web_host and web_port).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The explanation as one JSON object.")] = False,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Why a user is in or out: which part fails, how far it is from holding, and when it flips with no further event."""
    from app.domain.errors import UsageError

    if more and not events:
        raise UsageError(f"explain takes one user: found {more[0]!r} too; name event files with --events")
    settings = read_settings(config, set_, segments_dir=segments)
    instant = parse_instant(at, "--at") if at is not None else None
    files = [*(events or ()), *(more or ())]
    answer = _replayed(settings, files, user, segment, instant) if files else _asked(settings, url, user, segment, instant)
    _write(answer, settings.timezone, as_json)


def _replayed(settings: Settings, files: list[str], user: str, segment: str | None, at: int | None) -> Explanations:
    from dataclasses import replace

    from app.commands.replay import load_plan
    from app.explaining import from_files

    options = replace(settings.engine_options(), reorder=False)
    return from_files(load_plan(settings.segments_dir, options), options, files, user, segment, at)


def _asked(settings: Settings, url: str | None, user: str, segment: str | None, at: int | None) -> Explanations:
    from app.asking import ask_explanation, worker_url
    from app.explaining import annotated

    return annotated(ask_explanation(url or worker_url(settings.web_host, settings.web_port), user, segment, at))


def _write(answer: Explanations, timezone: str, as_json: bool) -> None:
    import msgspec
    import orjson

    if as_json:
        sys.stdout.write(orjson.dumps(msgspec.to_builtins(answer), option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    from app.engine.calendar import Calendar
    from app.explaining import render
    from app.terminal import stdout

    calendar = Calendar(timezone)
    console = stdout()
    for line in render(answer, lambda ms: calendar.local(ms).isoformat(timespec="milliseconds" if ms % 1_000 else "seconds")):
        console.print(line)
