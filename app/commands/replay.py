"""`hyperseg replay`: the engine over event files, no broker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import ConfigFlag, SetFlag, parse_instant, read_settings

if TYPE_CHECKING:
    from app.domain.options import EngineOptions
    from app.offline.replay import Log, Progress, Result
    from app.rules.plan import Plan

SegmentsFlag = Annotated[
    str | None, typer.Option("--segments", metavar="DIR", help="Folder (or file) of definitions (default: the setting segments_dir).")
]
_REFUSED_SHOWN = 3


def register(cli: typer.Typer) -> None:
    cli.command("replay")(replay)


def replay(
    events: Annotated[
        list[str], typer.Argument(metavar="EVENTS…", help="Event files (.gz and .zst are read; - is stdin); they need not be sorted.")
    ],
    segments: SegmentsFlag = None,
    until: Annotated[
        str | None, typer.Option(metavar="TS", help="Last instant: epoch ms or RFC 3339 (default: the largest ts of the input).")
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Where the changes go, as JSON Lines (default: stdout).")] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="Counts per segment, sizes at the end, sample members; without --out no changes.")
    ] = False,
    rejects: Annotated[str | None, typer.Option(metavar="FILE", help="Where refused lines go, each with its reason.")] = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Replay event files through the definitions: every change of membership, with its reasons."""
    from app.offline.replay import read_log
    from app.offline.replay import replay as replay_log
    from app.replay_summary import summarize

    settings = read_settings(config, set_, segments_dir=segments)
    options = settings.engine_options()
    last = parse_instant(until, "--until") if until is not None else None
    plan = load_plan(settings.segments_dir, options)
    with _progress() as progress:
        log = read_log(events, options.streams, last, progress)
        result = replay_log(plan, options, log, last, progress)
    if out is not None or not summary:
        _write_changes(result, out or "-")
    if rejects is not None:
        _write_rejects(log, rejects)
    if summary:
        sys.stdout.write(summarize(plan, result))
    _tell(log, result)


def load_plan(folder: str, options: EngineOptions) -> Plan:
    """The plan of a folder; every definition error is a line on stderr. Raises InputError when a definition is wrong."""
    from app.domain.errors import InputError
    from app.rules.definitions import load_folder
    from app.rules.plan import compile_plan

    definitions = load_folder(folder, options)
    for error in definitions.errors[1:]:
        sys.stderr.write(f"hyperseg: {error}\n")
    if definitions.errors:
        raise InputError(str(definitions.errors[0]))
    return compile_plan(definitions, options)


def _write_changes(result: Result, path: str) -> None:
    from app.domain.changes import encode_change
    from app.offline.eventfiles import open_out

    with open_out(path) as file:
        for change in result.changes:
            file.write(encode_change(change, change.at) + b"\n")


def _write_rejects(log: Log, path: str) -> None:
    import orjson

    from app.offline.eventfiles import open_out

    with open_out(path) as file:
        for place, reason, detail, raw in log.refused:
            row = {"place": place, "reason": reason, "detail": detail, "line": raw.decode("utf-8", "backslashreplace")}
            file.write(orjson.dumps(row) + b"\n")


def _tell(log: Log, result: Result) -> None:
    for place, reason, detail, _ in log.refused[:_REFUSED_SHOWN]:
        sys.stderr.write(f"hyperseg: {place}: {reason}: {detail}\n")
    refused = ", ".join(f"{reason} {count}" for reason, count in sorted(log.reasons().items()))
    after = f", {log.skipped} after --until" if log.skipped else ""
    bad = f"; refused: {refused}" if refused else ""
    sys.stderr.write(f"{result.events} events of {result.users} users, {len(result.changes)} changes{after}{bad}\n")


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A progress bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda phase, done, total: bar.update(task, description=phase, completed=done, total=total or None)
