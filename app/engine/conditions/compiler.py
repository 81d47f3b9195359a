"""Trees → functions. A condition gives (truth, until): the answer holds from `now` until the
instant `until` (excluded) if no event comes.

How such answers combine is in `answers`; what changes with every millisecond is solved in
`crossings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard, assert_never

from app.domain import limits
from app.domain.ids import bucket
from app.domain.limits import NEVER
from app.domain.members import scalar_value
from app.engine.aggregates.decay import Decay
from app.engine.calendar import Calendar
from app.engine.conditions.answers import (
    Answer,
    Condition,
    arithmetic,
    at_least,
    conjunction,
    disjunction,
    falling,
    held,
    negation,
    negative,
    since_against,
    stretched,
    test1,
    test2,
)
from app.engine.conditions.crossings import Form, Linear, combine, next_crossing
from app.engine.predicates import between, constant, is_constant, predicate
from app.engine.signals import Reading, Signal
from app.engine.state import UserState
from app.engine.values import comparer, is_number
from app.rules import ast
from app.rules.ast import CompareOp, Node, Path, Type
from app.rules.demand import MIRRORED
from app.rules.functions import row_of
from app.rules.plan import held_name, signal_key
from app.rules.types import type_of

FormReading = Callable[[UserState, int, str | None], tuple[Form | None, int]]

_ORDERS = (">=", ">", "<", "<=")
HORIZON_MS = limits.WINDOW_MS_MAX  # how far ahead a crossing of since() or decay() is searched


class Compiler:
    """Compiles the trees of one plan. `signals` by key; `refs` gives, for a segment's name, the
    function that reads the membership."""

    def __init__(
        self,
        signals: Mapping[int, Signal],
        calendar: Calendar,
        membership: Callable[[str], Callable[[UserState], bool]],
    ) -> None:
        self._signals = signals
        self._calendar = calendar
        self._membership = membership

    # --- conditions ------------------------------------------------------------------------------

    def condition(self, node: Node, owner: str) -> Condition:
        """The condition of a tree that belongs to the segment `owner`."""
        match node:
            case ast.And(operands):
                return conjunction([self.condition(o, owner) for o in operands])
            case ast.Or(operands):
                return disjunction([self.condition(o, owner) for o in operands])
            case ast.Not(operand):
                return negation(self.condition(operand, owner))
            case ast.Literal(value, "bool"):
                return lambda state, now, value_key: (value, NEVER)
            case ast.Aggregate() if row_of(node).value is Type.BOOL:
                return self._signal(node, owner).bind_read()
            case ast.Held(_, ms):
                return held(held_name(node, owner), ms)
            case ast.SegmentRef(name):
                is_in = self._membership(name)
                return lambda state, now, value_key: (is_in(state), NEVER)
            case ast.Consent(name):
                return lambda state, now, value_key: (
                    (found := state.consent.get(name)) is not None and found[1] is True,
                    NEVER,
                )
            case ast.Between():
                return self.condition(between(node), owner)
            case ast.Compare() | ast.In() | ast.TextTest() | ast.Matches() | ast.IsNull():
                found = self._comparison(node, owner)
                return stretched(found) if _reads_calendar_only(node) else found
            case _:
                return test1(self.reading(node, owner), lambda v: v is True)

    def _comparison(
        self, node: ast.Compare | ast.In | ast.TextTest | ast.Matches | ast.IsNull, owner: str
    ) -> Condition:
        match node:
            case ast.Compare(op, ast.Literal() as left, ast.Aggregate() as right):
                return self._compare(ast.Compare(MIRRORED[op], right, left), owner)
            case ast.Compare():
                return self._compare(node, owner)
            case ast.In(operand, items, negated) if _moves(operand):
                return self._moving_in(operand, items, negated, owner)
            case _:
                return self._tested(node, owner)

    def _tested(self, node: ast.Compare | ast.In | ast.TextTest | ast.Matches | ast.IsNull, owner: str) -> Condition:
        operands, test = predicate(node)
        first, *rest = [self.reading(operand, owner) for operand in operands]
        return test2(first, rest[0], test) if rest else test1(first, test)

    def _moving_in(self, operand: Node, items: ast.ListOf, negated: bool, owner: str) -> Condition:
        """`in` for what changes with every millisecond: one comparison for each item."""
        within = (
            ast.Or(tuple(ast.Compare("==", operand, item) for item in items.items))
            if items.items
            else ast.Literal(False, "bool")
        )
        return self.condition(ast.And((ast.IsNull(operand, True), ast.Not(within))) if negated else within, owner)

    def _compare(self, node: ast.Compare, owner: str) -> Condition:
        op, left, right = node.op, node.left, node.right
        if (
            isinstance(left, ast.Aggregate)
            and row_of(left).compared == "counts"
            and isinstance(right, ast.Literal)
            and is_number(right.value)
        ):
            return self._count_comparison(op, self._signal(left, owner), right.value)
        if _moves(left) or _moves(right):
            return self._moving(op, left, right, owner)
        if not is_constant(right):
            return self._tested(node, owner)
        _, test = predicate(node)
        if isinstance(left, ast.Aggregate):
            against = constant(right)
            limit = against if op in _ORDERS and is_number(against) else None
            ahead = self._signal(left, owner).bind_compare(test, limit)
            if ahead is not None:
                return ahead
        if op in _ORDERS and _only_falls(left):
            return falling(self.reading(left, owner), test, op in (">=", ">"))
        return test1(self.reading(left, owner), test)

    def _count_comparison(self, op: CompareOp, signal: Signal, value: float) -> Condition:
        """A count against a constant, by the thresholds it crosses."""
        whole = value == int(value)
        floor = int(value // 1)
        above, reach = at_least(signal, floor + 1), at_least(signal, floor if whole else floor + 1)
        match op:
            case ">=":
                return reach
            case ">":
                return above
            case "<":
                return negation(reach)
            case "<=":
                return negation(above)
            case "==" | "!=":
                if not whole:
                    return lambda state, now, value_key: (op == "!=", NEVER)
                equal = conjunction([reach, negation(above)])
                return equal if op == "==" else negation(equal)
            case _:
                assert_never(op)

    # --- values that change with every millisecond -----------------------------------------------

    def _moving(self, op: CompareOp, left: Node, right: Node, owner: str) -> Condition:
        if _is_age(left) and isinstance(right, ast.Duration):
            return since_against(op, self._signal(left, owner), right.ms)
        if _is_age(right) and isinstance(left, ast.Duration):
            return since_against(MIRRORED[op], self._signal(right, owner), left.ms)
        test = comparer(op, type_of(left), type_of(right))
        form_left, form_right = self.form(left, owner), self.form(right, owner)

        def answer(state: UserState, now: int, value_key: str | None) -> Answer:
            a, until_a = form_left(state, now, value_key)
            b, until_b = form_right(state, now, value_key)
            until = min(until_a, until_b)
            if a is None or b is None:
                return False, until
            truth = test(a.at(0), b.at(0))
            ahead, found = next_crossing(op, test, a, b, truth, min(until - now, HORIZON_MS))
            if not found and until - now <= HORIZON_MS and ahead >= until - now:
                return truth, until
            return truth, now + ahead if found else now + ahead + 1

        return answer

    def form(self, node: Node, owner: str) -> FormReading:
        """A numeric tree as a function of the time ahead."""
        if isinstance(node, ast.Aggregate) and row_of(node).motion != "steps":
            return self._leaf_form(node, owner)
        if isinstance(node, ast.Negate):
            return self.form(ast.Arith("-", ast.Literal(0, "number"), node.operand), owner)
        if isinstance(node, ast.Arith) and _moves(node):
            left, right = self.form(node.left, owner), self.form(node.right, owner)

            def combined(state: UserState, now: int, value_key: str | None) -> tuple[Form | None, int]:
                a, until_a = left(state, now, value_key)
                b, until_b = right(state, now, value_key)
                return (None if a is None or b is None else combine(node.op, a, b)), min(until_a, until_b)

            return combined
        read = self.reading(node, owner)

        def step(state: UserState, now: int, value_key: str | None) -> tuple[Form | None, int]:
            value, until = read(state, now, value_key)
            return (Linear(value) if is_number(value) else None), until

        return step

    def _leaf_form(self, node: ast.Aggregate, owner: str) -> FormReading:
        signal = self._signal(node, owner)
        aggregate = signal.window.aggregate
        if not isinstance(aggregate, Decay):

            def elapsed(state: UserState, now: int, value_key: str | None) -> tuple[Form | None, int]:
                at, until = signal.read(state, now, value_key)
                return (Linear(now - at, 1) if at is not None else None), until

            return elapsed
        raw, half_life_ms = aggregate.raw, aggregate.half_life_ms

        def faded(state: UserState, now: int, value_key: str | None) -> tuple[Form | None, int]:
            _, until = signal.read(state, now, value_key)
            cell = signal.cell(state, value_key)
            value = raw(signal.kept(cell), now) if cell is not None else 0.0
            if value is None:
                return None, until
            return Linear(0, 0, ((half_life_ms, value),) if value else ()), until

        return faded

    # --- values ----------------------------------------------------------------------------------

    def reading(self, node: Node, owner: str) -> Reading:
        """A value and until when it holds; for since() and decay() the value at `now`, whose
        `until` says nothing of its growth."""
        match node:
            case ast.Literal(value, _):
                return lambda state, now, value_key: (value, NEVER)
            case ast.Duration(ms):
                return lambda state, now, value_key: (ms, NEVER)
            case ast.Each():
                return lambda state, now, value_key: (scalar_value(value_key) if value_key else None, NEVER)
            case ast.Profile(path):
                return lambda state, now, value_key: (profile_value(state, path), NEVER)
            case ast.Prediction():
                return lambda state, now, value_key: (None, NEVER)
            case ast.Bucket(salt):
                return lambda state, now, value_key: (bucket(salt, state.user), NEVER)
            case ast.Calendar(fn):
                return lambda state, now, value_key: self._calendar.reading(fn, now)
            case ast.Negate(operand):
                inner = self.reading(operand, owner)
                return lambda state, now, value_key: negative(inner(state, now, value_key))
            case ast.Arith(op, left, right):
                return arithmetic(op, self.reading(left, owner), self.reading(right, owner), left, right)
            case ast.Aggregate():
                return self._aggregate_reading(node, owner)
            case (
                ast.And() | ast.Or() | ast.Not() | ast.Held() | ast.SegmentRef() | ast.Consent()
                | ast.Between() | ast.Compare()
                | ast.In() | ast.TextTest() | ast.Matches() | ast.IsNull()
            ):  # fmt: skip
                return self.condition(node, owner)
            case ast.Field() | ast.WithinKm() | ast.ListOf() | ast.Events() | ast.Chain() | ast.Absence():
                # The types of the language see to it.
                raise TypeError(f"{type(node).__name__} has no value for a user")
            case _:
                assert_never(node)

    def _aggregate_reading(self, node: ast.Aggregate, owner: str) -> Reading:
        signal = self._signal(node, owner)
        if row_of(node).motion == "age":

            def elapsed(state: UserState, now: int, value_key: str | None) -> tuple[Any, int]:
                at, until = signal.read(state, now, value_key)
                return (None if at is None else now - at), until

            return elapsed
        return signal.bind_read()

    def _signal(self, node: ast.Aggregate, owner: str) -> Signal:
        return self._signals[signal_key(node, owner)]


def profile_value(state: UserState, path: Path) -> Any:
    """A profile attribute, None when it was never set, or removed."""
    found = state.attributes.get(path[0])
    value: Any = found[1] if found is not None else None
    for name in path[1:]:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _only_falls(node: Node) -> bool:
    """Whether the value can only fall while no event comes: counts of events and chains, their
    sums, and non-negative multiples."""
    match node:
        case ast.Aggregate(_, selector):
            return row_of(node).compared == "counts" and not any(
                isinstance(part, ast.Absence) for part in ast.nodes(selector)
            )
        case ast.Arith("+", left, right):
            return _only_falls(left) and _only_falls(right)
        case ast.Arith("*", ast.Literal(value, "number"), other) | ast.Arith("*", other, ast.Literal(value, "number")):
            return bool(value >= 0) and _only_falls(other)
        case ast.Literal(_, "number"):
            return True
        case _:
            return False  # nothing is promised of anything else


_OF_A_USER = (ast.Aggregate, ast.Profile, ast.Consent, ast.Held, ast.SegmentRef, ast.Each, ast.Bucket, ast.Prediction)


def _reads_calendar_only(node: Node) -> bool:
    parts = list(ast.nodes(node))
    return any(isinstance(part, ast.Calendar) for part in parts) and not any(
        isinstance(part, _OF_A_USER) for part in parts
    )


def _is_age(node: Node) -> TypeGuard[ast.Aggregate]:
    return isinstance(node, ast.Aggregate) and row_of(node).motion == "age"


def _moves(node: Node) -> bool:
    """Whether the value changes with every millisecond."""
    if isinstance(node, ast.Aggregate):
        return row_of(node).motion != "steps"
    return isinstance(node, ast.Arith | ast.Negate) and any(_moves(child) for child in ast.children(node))
