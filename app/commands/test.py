"""`hyperseg test`: definitions tested on a simulated clock."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import ConfigFlag, SetFlag, read_settings, stdout

if TYPE_CHECKING:
    from app.testing.running import Outcome


def register(cli: typer.Typer) -> None:
    cli.command("test")(run_tests)


def run_tests(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder of definitions and their *.test.yaml (or one test file of it).")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="The outcomes as one JSON object.")] = False,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Run every *.test.yaml: events, clock steps and the changes expected of them. Exit 1 when a
    case fails."""
    from app.testing.suite import run_suite

    outcomes = run_suite(folder, read_settings(config, set_).engine_options())
    failed = sum(not outcome.passed for outcome in outcomes)
    if as_json:
        _write_json(outcomes, failed)
    else:
        _write_text(outcomes, failed)
    raise typer.Exit(1 if failed else 0)


def _write_json(outcomes: list[Outcome], failed: int) -> None:
    import orjson

    cases = [
        {
            "file": outcome.case.file,
            "line": outcome.case.line,
            "case": outcome.case.name,
            "passed": outcome.passed,
            "expected": outcome.expected,
            "got": outcome.got,
            "diff": [f"{sign} {text}" for sign, text in outcome.diff],
        }
        for outcome in outcomes
    ]
    answer = {"passed": len(outcomes) - failed, "failed": failed, "cases": cases}
    sys.stdout.write(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n")


def _write_text(outcomes: list[Outcome], failed: int) -> None:
    from app.testing.report import report

    console = stdout()
    for line in report(outcomes):
        console.print(line)
    style = "bold red" if failed else "bold green"
    console.print(f"{len(outcomes) - failed} passed, {failed} failed", style=style)
