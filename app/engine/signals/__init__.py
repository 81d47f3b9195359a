"""Signals: what an event feeds and a condition reads.

A *plain* signal aggregates events, a *keyed* one does so for each value of `for_each`, a *pattern*
signal aggregates the matches of a chain or an absence (for each value, where it uses `each`). Under
its key a user's state has the cell, or {value's key: cell}; a keyed pattern has under TEMPLATE the
cell that only un-keyed events have fed, from which a new value's cell is copied. Stored cells are
decoded when they are first touched.
"""

from __future__ import annotations

from app.domain.options import EngineOptions
from app.engine.calendar import Calendar
from app.engine.signals.keyed import TEMPLATE, KeyedSignal
from app.engine.signals.matches import PatternSignal
from app.engine.signals.plain import PlainSignal
from app.engine.signals.signal import Dependents, Instance, Leaf, Reading, Signal, Take
from app.rules import ast
from app.rules.plan import SignalSpec

__all__ = [
    "TEMPLATE",
    "Dependents",
    "Instance",
    "KeyedSignal",
    "Leaf",
    "PatternSignal",
    "PlainSignal",
    "Reading",
    "Signal",
    "Take",
    "build_signal",
]


def build_signal(
    spec: SignalSpec, options: EngineOptions, calendar: Calendar
) -> PlainSignal | KeyedSignal | PatternSignal:
    """The signal of a plan's aggregate."""
    if not isinstance(spec.node.selector, ast.Events):
        return PatternSignal(spec, options, calendar)
    return KeyedSignal(spec, options, calendar) if ast.uses_each(spec.node) else PlainSignal(spec, options, calendar)
