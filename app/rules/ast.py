"""The tree of one expression.

Two nodes that mean the same text are equal and hash alike (positions do not count), so a node is its own key when signals are shared.
`pos` is (line, column) from 1 within the text that was parsed. Durations are integer milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Pos = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Node:
    """Base of all nodes."""

    pos: Pos = field(default=(1, 1), compare=False, repr=False, kw_only=True)


# --- values ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A number (int or float), a text or a boolean."""

    value: Any
    kind: str  # "number" | "text" | "bool"; keeps 1, 1.0 and true apart, which Python's equality does not


@dataclass(frozen=True, slots=True)
class Duration(Node):
    """A length of time in milliseconds."""

    ms: int


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    """A list of literals, for `in`."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Field(Node):
    """A field of the event a filter looks at; a dot reaches into nested objects."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Each(Node):
    """The value of `for_each` this membership is about."""


@dataclass(frozen=True, slots=True)
class Profile(Node):
    """`profile.x`: the user's current attribute."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Consent(Node):
    """`consent("marketing")`: true only when the user's profile says so."""

    name: str


# --- operators -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Not(Node):
    operand: Node


@dataclass(frozen=True, slots=True)
class And(Node):
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or(Node):
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """`op` is one of == != < <= > >=."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class In(Node):
    """`operand in [...]`; `not in` is `Not(In)` only where the operand is not null, see `negated`."""

    operand: Node
    items: ListOf
    negated: bool


@dataclass(frozen=True, slots=True)
class Between(Node):
    """`low <= operand <= high`."""

    operand: Node
    low: Node
    high: Node


@dataclass(frozen=True, slots=True)
class TextTest(Node):
    """`op` is contains, starts_with or ends_with. `contains` also looks for an element of a list field."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Matches(Node):
    """`operand matches "regex"`: true when the pattern is found anywhere in the text (RE2 syntax: linear time)."""

    operand: Node
    pattern: str


@dataclass(frozen=True, slots=True)
class IsNull(Node):
    operand: Node
    negated: bool


@dataclass(frozen=True, slots=True)
class Arith(Node):
    """`op` is one of + - * /."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Negate(Node):
    operand: Node


@dataclass(frozen=True, slots=True)
class WithinKm(Node):
    """A filter: the event's fields `lat`, `lon` are at most `km` from the point (great circle on a sphere of 6,371.0088 km)."""

    lat: float
    lon: float
    km: float


# --- selectors -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Events(Node):
    """Every event of `stream` (`*`: every behaviour stream) that satisfies `where`."""

    stream: str
    where: Node | None = None


@dataclass(frozen=True, slots=True)
class Chain(Node):
    """The moments at which distinct events of `steps`, in time order, complete a chain no longer than `within_ms`."""

    steps: tuple[Events, ...]
    on: tuple[str, ...] | None
    within_ms: int


@dataclass(frozen=True, slots=True)
class Absence(Node):
    """The moments `within_ms` after an event of `first` that no other event of `missing` followed in between."""

    first: Node
    missing: Node
    on: tuple[str, ...] | None
    within_ms: int


# --- windows ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Window(Node):
    """`kind`: ever · last (with `ms`) · today · this week · this month · session · range (with `start`, `end` as dates)."""

    kind: str = "ever"
    ms: int = 0
    start: str = ""
    end: str = ""


# --- functions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Aggregate(Node):
    """A function of a selector (and a field of its events) over a window.

    `fn`: any count days sum avg min max distinct top first last since since_first decay session_count.
    `half_life_ms` belongs to decay alone.
    """

    fn: str
    selector: Node
    field: tuple[str, ...] | None
    window: Window
    half_life_ms: int = 0


@dataclass(frozen=True, slots=True)
class Held(Node):
    """`held(condition, d)`: the condition has been true without a break for `ms`."""

    condition: Node
    ms: int


@dataclass(frozen=True, slots=True)
class SegmentRef(Node):
    """`segment("name")`: membership in another segment."""

    name: str


@dataclass(frozen=True, slots=True)
class Prediction(Node):
    """`score("model")` or `cluster("model")`; always null: this version has no models."""

    fn: str
    model: str


@dataclass(frozen=True, slots=True)
class Bucket(Node):
    """`bucket("salt")`: 0 ≤ integer < 100, fixed for the user."""

    salt: str


@dataclass(frozen=True, slots=True)
class Calendar(Node):
    """`fn`: hour (0–23) · weekday (1 Monday – 7 Sunday) · date ("2026-11-22"), of the instant in the configured zone."""

    fn: str


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
        case Aggregate(_, selector, _, _, _):
            return (selector,)
        case Chain(steps, _, _):
            return steps
        case Absence(first, missing, _, _):
            return (first, missing)
        case Events(_, where):
            return (where,) if where is not None else ()
        case _:
            return ()
