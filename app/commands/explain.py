"""`hyperseg explain`: why a user is in a segment or not, what is missing, and when that changes by
itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import ConfigFlag, SetFlag, parse_instant, read_settings, stdout

if TYPE_CHECKING:
    import httpx

    from app.domain.views import Explanation, Explanations
    from app.settings import Settings

_SECONDS_MAX = 10.0  # the longest a command waits for a worker, which answers in milliseconds


def register(cli: typer.Typer) -> None:
    cli.command("explain")(explain)


def explain(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[EVENTS…]", help="More files for --events.")] = None,
    segment: Annotated[
        str | None, typer.Option("--segment", metavar="NAME", help="One segment (default: all).")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TS", help="The instant: epoch ms or RFC 3339 (default: now, or the largest ts)."),
    ] = None,
    events: Annotated[
        list[str] | None,
        typer.Option("--events", metavar="FILE", help="Replay event files instead of asking a worker."),
    ] = None,
    segments: Annotated[
        str | None, typer.Option("--segments", metavar="DIR", help="Folder of definitions, with --events.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="The worker to ask (default: the settings web_host and web_port)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The explanation as one JSON object.")] = False,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Why a user is in or out: which part fails, how far it is from holding, and when it flips with
    no further event."""
    from app.domain.errors import UsageError

    if more and not events:
        raise UsageError(f"explain takes one user: found {more[0]!r} too; name event files with --events")
    settings = read_settings(config, set_, segments_dir=segments)
    instant = parse_instant(at, "--at") if at is not None else None
    files = [*(events or ()), *(more or ())]
    answer = (
        _replayed(settings, files, user, segment, instant) if files else _asked(settings, url, user, segment, instant)
    )
    _write(answer, settings.timezone, as_json)


def _replayed(settings: Settings, files: list[str], user: str, segment: str | None, at: int | None) -> Explanations:
    from dataclasses import replace

    from app.commands.replay import load_plan
    from app.offline.explain import from_files

    options = replace(settings.engine_options(), reorder=False)
    return from_files(load_plan(settings.segments_dir, options), options, files, user, segment, at)


def _asked(settings: Settings, url: str | None, user: str, segment: str | None, at: int | None) -> Explanations:
    from app.offline.explain import annotated

    return annotated(ask_explanation(url or worker_url(settings.web_host, settings.web_port), user, segment, at))


def worker_url(host: str, port: int) -> str:
    """Where the worker of these settings listens, seen from this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what is bound to all is asked here
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def ask_explanation(
    url: str, user: str, segment: str | None, at: int | None, transport: httpx.BaseTransport | None = None
) -> Explanation | Explanations:
    """`GET /api/users/{user}/explain` of the worker at `url`, of one segment or of all: the only
    place where a command asks one.

    Raises InputError for what the worker refuses, Unreachable without an answer.
    """
    from urllib.parse import quote

    import httpx
    import msgspec

    from app.domain.errors import InputError, Unreachable
    from app.domain.views import Explanation, Explanations

    given = {"segment": segment, "at": at}
    try:
        with httpx.Client(base_url=url, timeout=_SECONDS_MAX, trust_env=False, transport=transport) as client:
            answer = client.get(
                f"/api/users/{quote(user, safe='')}/explain", params={k: v for k, v in given.items() if v is not None}
            )
            found = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        what = str(error) or type(error).__name__
        raise Unreachable(
            f"worker {url}: no answer ({what}); start one with hyperseg worker, name it with --url, or give --events"
        ) from None
    if answer.is_success and isinstance(found, dict):
        try:
            return msgspec.convert(found, Explanations) if "segments" in found else msgspec.convert(found, Explanation)
        except msgspec.ValidationError as error:
            raise InputError(f"worker {url}: no explanation ({error}); is it hyperseg, and of this version?") from None
    detail = found.get("detail") or found.get("title") if isinstance(found, dict) else ""
    kind = Unreachable if answer.status_code >= 500 else InputError
    raise kind(f"worker {url}: {answer.status_code}: {detail or 'no explanation'}")


def _write(answer: Explanations, timezone: str, as_json: bool) -> None:
    import msgspec
    import orjson

    if as_json:
        sys.stdout.write(orjson.dumps(msgspec.to_builtins(answer), option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    from app.engine.calendar import Calendar
    from app.offline.explain import render

    calendar = Calendar(timezone)
    console = stdout()
    for line in render(
        answer, lambda ms: calendar.local(ms).isoformat(timespec="milliseconds" if ms % 1_000 else "seconds")
    ):
        console.print(line)
