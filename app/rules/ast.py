"""The tree of one expression.

Two nodes that mean the same text are equal and hash alike (positions do not count), so a node is
its own key when signals are shared. `pos` is (line, column) from 1 within the text that was parsed.
Durations are integer milliseconds.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, assert_never

Pos = tuple[int, int]
Path = tuple[str, ...]
"""A field by name; a dot of the text is a step into an object."""

LiteralKind = typing.Literal["number", "text", "bool"]
CompareOp = typing.Literal["==", "!=", "<", "<=", ">", ">="]
TextOp = typing.Literal["contains", "starts_with", "ends_with"]
ArithOp = typing.Literal["+", "-", "*", "/"]
WindowKind = typing.Literal["ever", "last", "today", "this week", "this month", "session", "range"]
PredictionFn = typing.Literal["score", "cluster"]
CalendarFn = typing.Literal["hour", "weekday", "date"]


class Type(Enum):
    """What an expression yields. A field, a profile attribute and a model's answer are ANY: used at
    the type of the other side."""

    BOOL = "a condition"
    NUMBER = "a number"
    TEXT = "a text"
    DURATION = "a duration"
    ANY = "a field's value"


@dataclass(frozen=True, slots=True)
class Base:
    """What every node has: where it stands in the text."""

    pos: Pos = field(default=(1, 1), compare=False, repr=False, kw_only=True)


# --- values -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Literal(Base):
    """A number (int or float), a text or a boolean."""

    value: Any
    kind: LiteralKind  # keeps 1, 1.0 and true apart, which Python's equality does not


@dataclass(frozen=True, slots=True)
class Duration(Base):
    """A length of time in milliseconds."""

    ms: int


@dataclass(frozen=True, slots=True)
class ListOf(Base):
    """A list of literals, for `in`."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Field(Base):
    """A field of the event a filter looks at; a dot reaches into nested objects."""

    path: Path


@dataclass(frozen=True, slots=True)
class Each(Base):
    """The value of `for_each` this membership is about."""


@dataclass(frozen=True, slots=True)
class Profile(Base):
    """`profile.x`: the user's current attribute."""

    path: Path


@dataclass(frozen=True, slots=True)
class Consent(Base):
    """`consent("marketing")`: true only when the user's profile says so."""

    name: str


# --- operators ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Not(Base):
    operand: Node


@dataclass(frozen=True, slots=True)
class And(Base):
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or(Base):
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Compare(Base):
    """`left op right`."""

    op: CompareOp
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class In(Base):
    """`operand in [...]`; `not in` is `Not(In)` only where the operand is not null, see
    `negated`."""

    operand: Node
    items: ListOf
    negated: bool


@dataclass(frozen=True, slots=True)
class Between(Base):
    """`low <= operand <= high`."""

    operand: Node
    low: Node
    high: Node


@dataclass(frozen=True, slots=True)
class TextTest(Base):
    """A text looked into. `contains` also looks for an element of a list field."""

    op: TextOp
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Matches(Base):
    """`operand matches "regex"`: true when the pattern is found anywhere in the text (RE2 syntax:
    linear time)."""

    operand: Node
    pattern: str


@dataclass(frozen=True, slots=True)
class IsNull(Base):
    operand: Node
    negated: bool


@dataclass(frozen=True, slots=True)
class Arith(Base):
    """A calculation; null where a side is no number, or on division by zero."""

    op: ArithOp
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Negate(Base):
    operand: Node


@dataclass(frozen=True, slots=True)
class WithinKm(Base):
    """A filter: the event's fields `lat`, `lon` are at most `km` from the point (great circle on a
    sphere of 6,371.0088 km)."""

    lat: float
    lon: float
    km: float


# --- selectors ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Events(Base):
    """Every event of `stream` (`*`: every behaviour stream) that satisfies `where`."""

    stream: str
    where: Node | None = None


@dataclass(frozen=True, slots=True)
class Chain(Base):
    """The moments at which distinct events of `steps`, in time order, complete a chain no longer
    than `within_ms`."""

    steps: tuple[Events, ...]
    on: Path | None
    within_ms: int


@dataclass(frozen=True, slots=True)
class Absence(Base):
    """The moments `within_ms` after an event of `first` that no other event of `missing` followed
    in between."""

    first: Selector
    missing: Selector
    on: Path | None
    within_ms: int


# --- windows ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Window(Base):
    """`last` has its length `ms`, `range` its `start` and `end` as dates or instants."""

    kind: WindowKind = "ever"
    ms: int = 0
    start: str = ""
    end: str = ""


# --- functions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Aggregate(Base):
    """A function of a selector (and a field of its events) over a window.

    `fn` is the name of a row of `app.rules.functions`; `parameter` the constant that the row asks
    for (a duration in ms, a number).
    """

    fn: str
    selector: Selector
    field: Path | None
    window: Window
    parameter: float | None = None


@dataclass(frozen=True, slots=True)
class Held(Base):
    """`held(condition, d)`: the condition has been true without a break for `ms`."""

    condition: Node
    ms: int


@dataclass(frozen=True, slots=True)
class SegmentRef(Base):
    """`segment("name")`: membership in another segment."""

    name: str


@dataclass(frozen=True, slots=True)
class Prediction(Base):
    """`score("model")` or `cluster("model")`; always null in this version, which has no models."""

    fn: PredictionFn
    model: str


@dataclass(frozen=True, slots=True)
class Bucket(Base):
    """`bucket("salt")`: 0 ≤ integer < 100, fixed for the user."""

    salt: str


@dataclass(frozen=True, slots=True)
class Calendar(Base):
    """`fn`: hour (0–23) · weekday (1 Monday – 7 Sunday) · date ("2026-11-22"), of the instant in
    the configured zone."""

    fn: CalendarFn


Node = (
    Literal | Duration | ListOf | Field | Each | Profile | Consent
    | Not | And | Or | Compare | In | Between | TextTest | Matches | IsNull | Arith | Negate | WithinKm
    | Events | Chain | Absence | Aggregate | Held | SegmentRef | Prediction | Bucket | Calendar
)  # fmt: skip
"""Every node but a window, which stands in an aggregate only. A `match` over it ends in
`assert_never`, so that a new one is missed nowhere."""

Selector = Events | Chain | Absence


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below `node`, selectors and filters included."""
    match node:
        case And(operands) | Or(operands):
            return operands
        case Compare(_, left, right) | Arith(_, left, right) | TextTest(_, left, right):
            return (left, right)
        case Between(operand, low, high):
            return (operand, low, high)
        case In(operand, items, _):
            return (operand, items)
        case ListOf(items):
            return items
        case Not(operand) | Negate(operand) | IsNull(operand, _) | Matches(operand, _):
            return (operand,)
        case Held(condition, _):
            return (condition,)
        case Aggregate(_, selector):
            return (selector,)
        case Chain(steps, _, _):
            return steps
        case Absence(first, missing, _, _):
            return (first, missing)
        case Events(_, where):
            return (where,) if where is not None else ()
        case (
            Literal() | Duration() | Field() | Each() | Profile() | Consent() | WithinKm() | SegmentRef() | Prediction()
            | Bucket() | Calendar()
        ):  # fmt: skip
            return ()
        case _:
            assert_never(node)


def nodes(node: Node) -> Iterator[Node]:
    """`node` and everything below it, parents first."""
    yield node
    for child in children(node):
        yield from nodes(child)


def uses_each(node: Node) -> bool:
    """Whether `each` occurs in `node`."""
    return any(isinstance(part, Each) for part in nodes(node))
