"""Outcomes as text for a terminal: one line a case, and under a failed one the difference with its
reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.text import Text

from app.testing.running import Outcome

_STYLES = {"-": "red", "+": "green", "?": "dim", " ": ""}


def report(outcomes: Iterable[Outcome]) -> Iterator[Text]:
    """The lines to print, in order."""
    for outcome in outcomes:
        case = outcome.case
        if outcome.passed:
            yield Text.assemble(("ok", "green"), f"    {case.name}")
            continue
        yield Text.assemble(("FAIL", "bold red"), f"  {case.name}", (f"  {case.file}:{case.line}", "dim"))
        yield Text("      --- expected", "red")
        yield Text("      +++ got", "green")
        for sign, text in outcome.diff:
            yield Text(f"        {'    because ' if sign == '?' else sign}{text}", _STYLES[sign])
