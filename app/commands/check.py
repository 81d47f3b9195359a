"""`hyperseg check`: definitions validated, and what they cost."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import ConfigFlag, SetFlag, read_settings, stdout

if TYPE_CHECKING:
    from rich.table import Table

    from app.offline.check import Report
    from app.rules.costs import Costs


def register(cli: typer.Typer) -> None:
    cli.command("check")(check)


def check(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder (or file) of definitions.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[EVENTS…]", help="More files for --sample.")] = None,
    sample: Annotated[
        list[str] | None,
        typer.Option("--sample", metavar="EVENTS", help="Event files: warn of names that none of their events has."),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="The plan too: what an event feeds, what is kept of each signal, units in their order."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Errors, warnings and costs as one JSON object.")] = False,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Validate definitions and show what each costs a user: signals, bytes at most, timers. Exit 1
    on an error."""
    import orjson

    from app.domain.errors import UsageError
    from app.offline.check import check as check_folder

    if more and not sample:
        raise UsageError(f"check takes one folder: found {more[0]!r} too; name event files with --sample")
    report = check_folder(folder, read_settings(config, set_).engine_options(), [*(sample or ()), *(more or ())], plan)
    if as_json:
        sys.stdout.write(orjson.dumps(report.as_dict(), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _write_table(report)
        sys.stdout.writelines(f"{line}\n" for line in ["", *report.plan] if report.plan)
    sys.stdout.flush()
    for warning in report.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    for error in report.errors:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
    raise typer.Exit(1 if report.errors else 0)


def _write_table(report: Report) -> None:
    if report.costs is None or not report.costs.segments:
        return
    console = stdout()
    console.print(_table(report.costs))
    console.print(_totals(report.costs))


def _table(costs: Costs) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("segment", "signals", "shared", "bytes", "shared bytes", "timers"):
        table.add_column(column, justify="left" if column in ("segment", "timers") else "right", no_wrap=True)
    for cost in costs.segments:
        numbers = [f"{n:,}" for n in (cost.own, cost.shared, cost.own_bytes, cost.shared_bytes)]
        table.add_row(cost.name, *numbers, ", ".join(cost.timers) or "none")
    return table


def _totals(costs: Costs) -> str:
    """Two sentences; bytes are what a user's state keeps at most."""
    shared = sum(len(signal.segments) > 1 for signal in costs.signals)
    sizes = f"at most {costs.user_bytes:,} bytes a user"
    return (
        f"{len(costs.segments):,} segments, {len(costs.signals):,} signals of which {shared:,} shared: {sizes}.\n"
        f"Besides, at most {costs.ids_bytes:,} for event ids and {costs.recent_bytes:,} for recent events "
        "that late ones are put among."
    )
