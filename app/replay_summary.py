"""A replay in one table: changes per segment, sizes at the end, sample members."""

from __future__ import annotations

from collections import Counter
from io import StringIO

from rich.console import Console
from rich.table import Table

from app.domain.members import name_of, value_of
from app.offline.replay import Result
from app.rules.plan import Plan

_SAMPLE = 3
_VALUES_SHOWN = 10


def summarize(plan: Plan, result: Result) -> str:
    """The table as text. A `for_each` segment has a row for all its values and one for each of its largest."""
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
        for label, users in sorted(values.get(name, []), key=lambda row: (-len(row[1]), row[0]))[:_VALUES_SHOWN]:
            _row(table, f"  {label}", None, None, sorted(users), result.users)
    out = StringIO()
    Console(file=out, width=160).print(table)
    return out.getvalue()


def _counts(result: Result) -> tuple[Counter[str], Counter[str]]:
    """Entries and exits per segment; a group's move is an exit from one and an entry into another."""
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
    table.add_row(name, *counts, f"{len(users):,}", share, ", ".join(users[:_SAMPLE]))
