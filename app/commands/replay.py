"""`hyperseg replay`: the engine over event files, no broker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import ConfigFlag, SetFlag, parse_instant, read_settings

if TYPE_CHECKING:
    from collections import Counter

    from rich.table import Table

    from app.domain.options import EngineOptions
    from app.offline.log import Log, Progress
    from app.offline.replay import Result
    from app.rules.plan import Plan

SegmentsFlag = Annotated[
    str | None,
    typer.Option(
        "--segments", metavar="DIR", help="Folder (or file) of definitions (default: the setting segments_dir)."
    ),
]
_REFUSED_SHOWN = 3
_SUMMARY_SAMPLE = 3  # members of a segment that are named
_SUMMARY_VALUES = 10  # values of a `for_each` segment that have a row


def register(cli: typer.Typer) -> None:
    cli.command("replay")(replay)


def replay(
    events: Annotated[
        list[str],
        typer.Argument(
            metavar="EVENTS…", help="Event files (.gz and .zst are read; - is stdin); they need not be sorted."
        ),
    ],
    segments: SegmentsFlag = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TS", help="Last instant: epoch ms or RFC 3339 (default: the largest ts of the input)."),
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where the changes go, as JSON Lines (default: stdout).")
    ] = None,
    summary: Annotated[
        bool,
        typer.Option(
            "--summary", help="Counts per segment, sizes at the end, sample members; without --out no changes."
        ),
    ] = False,
    rejects: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where refused lines go, each with its reason.")
    ] = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Replay event files through the definitions: every change of membership, with its reasons."""
    from app.offline.log import read_log
    from app.offline.replay import replay as replay_log

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
    """The plan of a folder; every definition error is a line on stderr. Raises InputError when a
    definition is wrong."""
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


# --- the summary --------------------------------------------------------------------------------


def summarize(plan: Plan, result: Result) -> str:
    """The table as text. A `for_each` segment has a row for all its values and one for each of its
    largest."""
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    from app.domain.members import name_of, value_of

    entered, exited = _counts(result)
    table = Table(
        title=f"{result.events:,} events, {result.users:,} users, {len(result.changes):,} changes",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for column in ("segment", "entered", "exited", "members", "share", "sample"):
        table.add_column(column, justify="left" if column in ("segment", "sample") else "right", no_wrap=True)
    by_segment: dict[str, set[str]] = {s.name: set() for s in plan.segments}
    values: dict[str, list[tuple[str, list[str]]]] = {}
    for key, users in result.members.items():
        name, value = name_of(key), value_of(key)
        by_segment.setdefault(name, set()).update(users)
        if value is not None:
            values.setdefault(name, []).append((f"{name}:{value}", users))
    for name in sorted(by_segment):
        _row(table, name, entered[name], exited[name], sorted(by_segment[name]), result.users)
        for label, users in sorted(values.get(name, []), key=lambda row: (-len(row[1]), row[0]))[:_SUMMARY_VALUES]:
            _row(table, f"  {label}", None, None, sorted(users), result.users)
    out = StringIO()
    Console(file=out, width=160).print(table)
    return out.getvalue()


def _counts(result: Result) -> tuple[Counter[str], Counter[str]]:
    """Entries and exits per segment; a group's move is an exit from one and an entry into
    another."""
    from collections import Counter

    entered: Counter[str] = Counter()
    exited: Counter[str] = Counter()
    for change in result.changes:
        if change.change == "moved":
            exited.update([change.from_] if change.from_ else [])
            entered.update([change.to] if change.to else [])
        else:
            (entered if change.change == "entered" else exited)[str(change.segment)] += 1
    return entered, exited


def _row(table: Table, name: str, entered: int | None, exited: int | None, users: list[str], all_users: int) -> None:
    share = f"{len(users) / all_users:.1%}" if all_users else "–"
    counts = ["" if n is None else f"{n:,}" for n in (entered, exited)]
    table.add_row(name, *counts, f"{len(users):,}", share, ", ".join(users[:_SUMMARY_SAMPLE]))
