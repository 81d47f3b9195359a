"""Signals: what an event feeds and a condition reads. `signal` over `patterns` (which instants count) and `windows` (until when)."""

from app.engine.signals.signal import (
    TEMPLATE,
    Dependents,
    Instance,
    KeyedSignal,
    Leaf,
    PatternSignal,
    PlainSignal,
    Reading,
    Signal,
    Take,
    build_signal,
)

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
