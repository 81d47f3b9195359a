"""The table of functions as tests use it: every function written out, with an example of its
parameter."""

from __future__ import annotations

from collections.abc import Iterator

from app.domain.time import duration_ms
from app.rules.functions import ROWS, Function


def parameter_text(row: Function) -> str:
    """An example of the parameter, as it is written; empty where there is none."""
    return "" if row.parameter is None else row.parameter.example


def parameter_of(row: Function) -> float | None:
    """The same as a value."""
    if row.parameter is None:
        return None
    return duration_ms(row.parameter.example) if row.parameter.kind == "duration" else float(row.parameter.example)


def calls(selector: str, fields: dict[str, str], windows: tuple[str, ...]) -> Iterator[str]:
    """Every function of `selector` (of a field by what the function takes of it: {"number": …,
    "key": …}), over each of `windows`."""
    for row in ROWS:
        base = selector if " " not in selector else f"({selector})"
        named = [f"{base}.{fields[row.takes]}"] if row.field != "none" else []
        for operand in [*named, *([selector] if row.field != "needed" else [])]:
            given = f", {parameter_text(row)}" if row.parameter is not None else ""
            for window in windows if row.windowed else ("",):
                yield f"{row.name}({operand}{given}{f', {window}' if window else ''})"
