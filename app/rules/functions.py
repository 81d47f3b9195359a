"""The functions of the language, one row each: what the parser, the types, the plan, the costs and
the wording know of one.

How a row's function is computed is in `app.engine.aggregates`, in the file the row calls its
`family`. `definition` says what it *is*, by brute force over all entries of the window: the laws
and the oracle read it, the engine never does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from app.rules.ast import Aggregate, Type

WORD = 9  # bytes of an instant, an id, a double: one of type, eight of value
TEXT_BYTES = 24  # a value of a field as a key: categories, devices and product ids are shorter
# An exact sum as hexadecimal text and exponent: amounts with cents over five decimal powers.
EXACT_BYTES = 48

Entry = tuple[int, Any]
"""An entry of a window: its instant (epoch ms) and what it contributes, see `Function.takes`."""
Definition = Callable[[Sequence[Entry], int, Any], Any]
"""The value of (entries in the order of application, now, the parameter)."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A constant behind the selector: a duration (ms) or a number, `low` ≤ value ≤ `high`."""

    name: str
    kind: Literal["duration", "number"]
    example: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Kept:
    """What a user's state holds at most: how many entries, of how many bytes each.

    `needed`: as many as the definitions can tell apart, `points`: max_points of them, `half_lives`:
    one for each half-life with an event.
    """

    entries: Literal["one", "points", "needed", "half_lives"]
    bytes: int


@dataclass(frozen=True, slots=True)
class Function:
    """One aggregate.

    `field`: whether it is of a field of the events. `windowed`: whether it takes a window. `value`:
    the type it yields, `empty` what it is of no entries. `takes`: what an entry contributes:
    nothing of its own, its field where that is a number, the key of its field's value, its day, or
    its session. `motion`: how the value changes while nothing comes in or leaves: not at all, as an
    age, or fading. `compared`: what a comparison with constants needs of it: counts to tell apart,
    an age, bounds of a total, or its whole value. `overall` and `sliding` are its costs over
    windows that accumulate and that slide, `cell_bytes` the rest of a cell; `apart` says what two
    of its entries cannot share. `noun` and `missing` are its words (see `app.wording.phrases`).
    """

    name: str
    family: str
    field: Literal["none", "optional", "needed"]
    value: Type
    empty: bool | int | None
    takes: Literal["one", "number", "key", "day", "session"]
    overall: Kept
    sliding: Kept | None
    noun: str
    definition: Definition
    missing: str = ""
    compared: Literal["counts", "age", "total", "whole"] = "whole"
    motion: Literal["steps", "age", "fading"] = "steps"
    apart: Literal["", "day", "session"] = ""
    cell_bytes: int = 0
    parameter: Parameter | None = None

    @property
    def windowed(self) -> bool:
        """Whether it takes a window; what has none looks at everything."""
        return self.sliding is not None

    @property
    def usage(self) -> str:
        """How it is written, with an example."""
        selector, example = ("selector.field", "purchase.amount") if self.field == "needed" else ("selector", "click")
        parameter = f", {self.parameter.name}" if self.parameter is not None else ""
        given = f", {self.parameter.example}" if self.parameter is not None else ""
        if not self.windowed:
            example = "purchase" if self.parameter is None else example
            return f"{self.name}({selector}{parameter}), such as {self.name}({example}{given})"
        window = "last 30d" if self.field == "needed" else "last 7d"
        return f"{self.name}({selector}{parameter}, window), such as {self.name}({example}{given}, {window})"


# --- definitions --------------------------------------------------------------------------------


def _sum(entries: Sequence[Entry], _now: int, _parameter: Any) -> float | int | None:
    total = sum((Fraction(value) for _, value in entries), Fraction(0))
    if total.denominator == 1 and abs(total) < 2**63 and all(value % 1 == 0 for _, value in entries):
        return int(total)
    return _rounded(total)


def _mean(entries: Sequence[Entry], _now: int, _parameter: Any) -> float | None:
    return _rounded(sum((Fraction(value) for _, value in entries), Fraction(0)) / len(entries)) if entries else None


def _rounded(exact: Fraction) -> float | None:
    try:
        return float(exact)
    except OverflowError:
        return None


def _quantile(entries: Sequence[Entry], _now: int, share: Any) -> float | None:
    values = sorted(value for _, value in entries)
    if not values:
        return None
    position = Fraction(str(share)) * (len(values) - 1)
    below, above = values[math.floor(position)], values[math.ceil(position)]
    if below == above:
        return float(below) if isinstance(below, float) else int(below)
    return _rounded(Fraction(below) + (Fraction(above) - Fraction(below)) * (position - math.floor(position)))


def _distinct(entries: Sequence[Entry], _now: int, _parameter: Any) -> int:
    return len({value for _, value in entries})


def _mode(entries: Sequence[Entry], _now: int, _parameter: Any) -> Any:
    keys = [value for _, value in entries]
    return max(enumerate(keys), key=lambda at: (keys.count(at[1]), at[0]))[1] if keys else None


def _decay(entries: Sequence[Entry], now: int, half_life_ms: Any) -> float:
    return float(f"{sum(value * 2.0 ** (-(now - ts) / half_life_ms) for ts, value in entries):.11e}")


# --- the rows -----------------------------------------------------------------------------------

_POINT, _VALUE = WORD + 1, TEXT_BYTES + WORD

ROWS = (
    Function(
        "any", "exists", "none", Type.BOOL, False, "one", Kept("one", WORD), Kept("one", WORD),
        "{a}", lambda entries, now, _: bool(entries),
    ),
    Function(
        "count", "count", "none", Type.NUMBER, 0, "one", Kept("one", WORD), Kept("needed", _POINT),
        "{events}", lambda entries, now, _: len(entries), missing="{events}", compared="counts",
    ),
    Function(
        "days", "distinct", "none", Type.NUMBER, 0, "day", Kept("needed", _POINT), Kept("needed", 2 * WORD),
        "days with {many}", _distinct, missing="day{s} with {many}", compared="counts", apart="day",
    ),
    Function(
        "since", "instant", "none", Type.DURATION, None, "one", Kept("one", WORD), None,
        "time since the latest {one}", lambda entries, now, _: max((ts for ts, _ in entries), default=None),
        compared="age", motion="age",
    ),
    Function(
        "since_first", "instant", "none", Type.DURATION, None, "one", Kept("one", WORD), None,
        "time since the first {one}", lambda entries, now, _: min((ts for ts, _ in entries), default=None),
        compared="age", motion="age",
    ),
    Function(
        "session_count", "distinct", "none", Type.NUMBER, 0, "session", Kept("needed", _POINT),
        Kept("needed", 2 * WORD),
        "sessions with {many}", _distinct, missing="session{s} with {many}", compared="counts", apart="session",
    ),
    Function(
        "sum", "total", "needed", Type.NUMBER, 0, "number", Kept("one", WORD), Kept("points", 2 * WORD + 1),
        "total {field} of {many}", _sum, compared="total", cell_bytes=EXACT_BYTES,
    ),
    Function(
        "avg", "total", "needed", Type.NUMBER, None, "number", Kept("one", WORD), Kept("points", 2 * WORD + 1),
        "average {field} of {many}", _mean, compared="total", cell_bytes=EXACT_BYTES,
    ),
    Function(
        "min", "extreme", "needed", Type.NUMBER, None, "number", Kept("one", 2 * WORD), Kept("points", 2 * WORD),
        "smallest {field} of {many}", lambda entries, now, _: min((v for _, v in entries), default=None),
    ),
    Function(
        "max", "extreme", "needed", Type.NUMBER, None, "number", Kept("one", 2 * WORD), Kept("points", 2 * WORD),
        "largest {field} of {many}", lambda entries, now, _: max((v for _, v in entries), default=None),
    ),
    Function(
        "median", "quantile", "needed", Type.NUMBER, None, "number",
        Kept("points", 2 * WORD), Kept("points", 2 * WORD + 3),
        "median {field} of {many}", lambda entries, now, _: _quantile(entries, now, 0.5),
    ),
    Function(
        "quantile", "quantile", "needed", Type.NUMBER, None, "number",
        Kept("points", 2 * WORD), Kept("points", 2 * WORD + 3),
        "{field} at the {parameter} quantile of {many}", _quantile, parameter=Parameter("share", "number", "0.9", 0, 1),
    ),
    Function(
        "distinct", "distinct", "needed", Type.NUMBER, 0, "key", Kept("needed", TEXT_BYTES + 1), Kept("needed", _VALUE),
        "different {field} values of {many}", _distinct, missing="different {name} value{s} of {many}",
        compared="counts",
    ),
    Function(
        "top", "mode", "needed", Type.ANY, None, "key", Kept("points", _VALUE), Kept("points", _VALUE),
        "most frequent {field} of {many}", _mode,
    ),
    Function(
        "first", "first_last", "needed", Type.ANY, None, "key", Kept("one", _VALUE), Kept("points", _VALUE),
        "{field} of the first {one}", lambda entries, now, _: entries[0][1] if entries else None,
    ),
    Function(
        "last", "first_last", "needed", Type.ANY, None, "key", Kept("one", _VALUE), Kept("one", _VALUE),
        "{field} of the latest {one}", lambda entries, now, _: entries[-1][1] if entries else None,
    ),
    Function(
        "decay", "decay", "optional", Type.NUMBER, 0, "number", Kept("half_lives", WORD + EXACT_BYTES), None,
        "fading {of_field}{many} (half after {parameter})", _decay, motion="fading",
        parameter=Parameter("half-life", "duration", "3d", 1, float("inf")),
    ),
)  # fmt: skip

AGGREGATES = {row.name: row for row in ROWS}

Other = Literal["held", "consent", "segment", "score", "cluster", "bucket", "hour", "weekday", "date", "within_km"]

OTHERS: dict[Other, str] = {
    "held": "held(condition, duration), such as held(count(click, last 1d) > 3, 3d)",
    "consent": 'consent("name")',
    "segment": 'segment("name")',
    "score": 'score("name")',
    "cluster": 'cluster("name")',
    "bucket": 'bucket("name")',
    "hour": "hour()",
    "weekday": "weekday()",
    "date": "date()",
    "within_km": "within_km(selector, latitude, longitude, kilometres)",
}
"""Functions that aggregate nothing, and how each is written."""

FUNCTIONS = (*AGGREGATES, *OTHERS)
"""Every function's name, in the order in which people are shown them."""


def row_of(node: Aggregate) -> Function:
    """The row of an aggregate's function."""
    return AGGREGATES[node.fn]
