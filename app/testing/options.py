"""The `options` of a test: what a deployment's settings say, as far as an answer depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from app.domain.errors import nearest
from app.domain.options import EngineOptions
from app.domain.streams import with_declared
from app.testing.notation import NotationError, duration

_DURATIONS = {
    "session_gap": "session_gap_ms",
    "allowed_lateness": "allowed_lateness_ms",
    "dedupe_window": "dedupe_window_ms",
}
_COUNTS = ("max_points", "dedupe_ids_max", "reorder_events_max")
OPTIONS = ("timezone", "streams", *_DURATIONS, *_COUNTS)


def options_from(given: Mapping[str, Any], base: EngineOptions) -> EngineOptions:
    """`base` with what `given` names (as the settings are called; durations as texts, `streams` a
    list of names). Raises NotationError."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in _DURATIONS:
            found[_DURATIONS[name]] = duration(str(value))
        elif name in _COUNTS:
            found[name] = _count(name, value)
        elif name == "timezone":
            found[name] = _timezone(value)
        elif name == "streams":
            found[name] = with_declared(_streams(value, base), base.streams)
        else:
            raise NotationError("unknown option", f'"{name}"', "one of " + ", ".join(OPTIONS), nearest(name, OPTIONS))
    return replace(base, **found)


def _count(name: str, value: Any) -> int:
    if type(value) is not int or value < 0:
        raise NotationError(f"{name} is a whole number", repr(value), "0 or more")
    return value


def _timezone(value: Any) -> str:
    try:
        ZoneInfo(str(value))
    except (KeyError, ValueError, OSError):
        raise NotationError(
            "unknown time zone", repr(value), "an IANA time zone such as UTC or Europe/Berlin"
        ) from None
    return str(value)


def _streams(value: Any, base: EngineOptions) -> dict[str, str]:
    known = {stream.name for stream in base.streams}
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise NotationError("streams is a list of names", repr(value), "streams: [email]")
    return {name: name for name in value if name not in known}
