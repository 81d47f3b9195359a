"""`hyperseg segments`: working with definitions. `diff` says who would move if one folder took
another's place."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import ConfigFlag, SetFlag, parse_instant, read_settings, stdout

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from app.offline.diff import Comparison

_STYLES = {"+": "green", "-": "red", " ": ""}


def register(cli: typer.Typer) -> None:
    segments = typer.Typer(
        help="Work with definitions: what would change, and for whom.", no_args_is_help=True, rich_markup_mode=None
    )
    segments.callback()(lambda: None)
    segments.command("diff")(diff)
    cli.add_typer(segments, name="segments")


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Folder (or file) of the definitions as they are.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Folder (or file) of the definitions as they would be.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[EVENTS…]", help="More files for --events.")] = None,
    events: Annotated[
        list[str] | None, typer.Option("--events", metavar="FILE", help="Event files to replay under both.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TS", help="The instant compared (default: the largest ts).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The comparison as one JSON object.")] = False,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Who would move: definitions that differ, sizes before and after, how many enter and leave,
    and some of them."""
    import orjson

    from app.commands.replay import load_plan
    from app.domain.errors import UsageError
    from app.offline.diff import compare
    from app.offline.log import read_log

    files = [*(events or ()), *(more or ())]
    if not events:
        raise UsageError("segments diff: no events; name event files with --events")
    options = read_settings(config, set_).engine_options()
    last = parse_instant(until, "--until") if until is not None else None
    before, after = load_plan(old, options), load_plan(new, options)
    log = read_log(files, options.streams, last)
    found = compare(before, after, options, log, last)
    if as_json:
        sys.stdout.write(orjson.dumps(found.as_dict(), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _write(found)
    for place, reason, detail, _ in log.refused[:1]:
        sys.stderr.write(f"warning: {len(log.refused)} lines were refused; the first is {place}: {reason}: {detail}\n")


def _write(found: Comparison) -> None:
    console = stdout()
    for line in _definitions(found):
        console.print(line)
    moved = sum(bool(move.entered or move.left) for move in found.segments)
    console.print(
        f"{found.events:,} events, {found.users:,} users; members move in {moved:,} of "
        f"{len(found.segments):,} segments",
        style="bold",
    )
    if any(move.entered or move.left or move.status != "same" for move in found.segments):
        console.print(_table(found))
    sys.stdout.flush()


def _definitions(found: Comparison) -> Iterator[Text]:
    from rich.text import Text

    for definition in found.definitions:
        yield Text(f"{definition.name}: {definition.status}", "bold")
        for line in definition.diff:
            yield Text(f"  {line}", _STYLES[line[0]])
        yield Text()


def _table(found: Comparison) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("segment", "before", "after", "entered", "left", "for example"):
        table.add_column(column, justify="left" if column in ("segment", "for example") else "right", no_wrap=True)
    for move in found.segments:
        if move.entered or move.left or move.status != "same":
            sample = [f"+{user}" for user in move.sample_entered] + [f"-{user}" for user in move.sample_left]
            table.add_row(
                move.segment, *(f"{n:,}" for n in (move.before, move.after, move.entered, move.left)), " ".join(sample)
            )
    return table
