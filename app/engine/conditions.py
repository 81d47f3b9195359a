"""Trees → functions. A condition gives (truth, until): the answer holds from `now` until the instant `until` (excluded) if no event comes.

How such answers combine is in `answers`; what changes with every millisecond is solved in `continuous`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.domain import limits
from app.domain.ids import bucket
from app.domain.limits import NEVER
from app.domain.members import scalar_value
from app.engine.answers import (
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
from app.engine.calendar import Calendar
from app.engine.continuous import Form, Linear, combine, next_flip
from app.engine.filters import static_type
from app.engine.signals import Reading, Signal
from app.engine.state import UserState
from app.engine.values import comparer, is_number, text_test
from app.rules import ast
from app.rules.ast import Node
from app.rules.needs import COUNTING, MIRRORED, TOTALS
from app.rules.plan import held_name, signal_key
from app.rules.types import compile_regex
from app.rules.walk import nodes

FormReading = Callable[[UserState, int, str | None], tuple[Form | None, int]]

_ORDERS = (">=", ">", "<", "<=")
HORIZON_MS = limits.WINDOW_MS_MAX  # how far ahead a flip of since() or decay() is searched


class Compiler:
    """Compiles the trees of one plan. `signals` by key; `refs` gives, for a segment's name, the function that reads the membership."""

    def __init__(self, signals: dict[int, Signal], calendar: Calendar, membership: Callable[[str], Callable[[UserState], bool]]) -> None:
        self._signals = signals
        self._calendar = calendar
        self._membership = membership

    # --- conditions --------------------------------------------------------------------------------------------

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
                return lambda state, now, each: (value, NEVER)
            case ast.Aggregate(fn="any"):
                return self._signal(node, owner).bind_read()
            case ast.Held(_, ms):
                return held(held_name(node, owner), node, ms)
            case ast.SegmentRef(name):
                is_in = self._membership(name)
                return lambda state, now, each: (is_in(state), NEVER)
            case ast.Consent(name):
                return lambda state, now, each: ((found := state.consent.get(name)) is not None and found[1] is True, NEVER)
            case ast.Between(operand, low, high):
                return self.condition(ast.And((ast.Compare(">=", operand, low), ast.Compare("<=", operand, high))), owner)
            case _:
                return self._comparison(node, owner)

    def _comparison(self, node: Node, owner: str) -> Condition:
        found = self._plain_comparison(node, owner)
        if _reads_calendar_only(node):
            return stretched(found)
        return found

    def _plain_comparison(self, node: Node, owner: str) -> Condition:
        match node:
            case ast.Compare(op, left, right):
                return self._compare(op, left, right, owner)
            case ast.In(operand, items, negated):
                return self._membership_in(operand, items, negated, owner)
            case ast.TextTest(op, left, right):
                return test2(self.reading(left, owner), self.reading(right, owner), lambda a, b: text_test(op, a, b))
            case ast.Matches(operand, pattern):
                regex = compile_regex(pattern, node)
                return test1(self.reading(operand, owner), lambda v: type(v) is str and regex.search(v) is not None)
            case ast.IsNull(operand, negated):
                return test1(self.reading(operand, owner), lambda v: (v is None) is not negated)
            case _:
                return test1(self.reading(node, owner), lambda v: v is True)

    def _membership_in(self, operand: Node, items: ast.ListOf, negated: bool, owner: str) -> Condition:
        if _changes_always(operand):
            within = ast.Or(tuple(ast.Compare("==", operand, item) for item in items.items)) if items.items else ast.Literal(False, "bool")
            present = ast.IsNull(operand, True)
            return self.condition(ast.And((present, ast.Not(within))) if negated else within, owner)
        kind = static_type(operand)
        tests = [
            (comparer("==", kind, static_type(i)), i.value if isinstance(i, ast.Literal) else i.ms if isinstance(i, ast.Duration) else None)
            for i in items.items
        ]
        same_kind = [(comparer("==", static_type(i), static_type(i)), v) for i, (_, v) in zip(items.items, tests, strict=True)]

        def among(value: Any) -> bool:
            if any(test(value, v) for test, v in tests):
                return not negated
            return negated and any(test_kind(value, value) for test_kind, _ in same_kind)

        return test1(self.reading(operand, owner), among)

    def _compare(self, op: str, left: Node, right: Node, owner: str) -> Condition:
        if isinstance(right, ast.Aggregate) and isinstance(left, ast.Literal):
            op, left, right = MIRRORED[op], right, left
        if isinstance(left, ast.Aggregate) and left.fn in COUNTING and isinstance(right, ast.Literal) and is_number(right.value):
            return self._count_comparison(op, self._signal(left, owner), right.value)
        if _changes_always(left) or _changes_always(right):
            return self._continuous(op, left, right, owner)
        test = comparer(op, static_type(left), static_type(right))
        if isinstance(right, ast.Literal | ast.Duration):
            constant = right.value if isinstance(right, ast.Literal) else right.ms
            if isinstance(left, ast.Aggregate) and left.fn in TOTALS:
                limit = constant if op in _ORDERS and is_number(constant) else None
                ahead = self._signal(left, owner).bind_compare(lambda v: test(v, constant), limit)
                if ahead is not None:
                    return ahead
            if op in _ORDERS and _only_falls(left):
                return falling(self.reading(left, owner), lambda v: test(v, constant), op in (">=", ">"))
            return test1(self.reading(left, owner), lambda v: test(v, constant))
        return test2(self.reading(left, owner), self.reading(right, owner), test)

    def _count_comparison(self, op: str, signal: Signal, value: float) -> Condition:
        """A count against a constant, by the thresholds it crosses."""
        whole = value == int(value)
        floor = int(value // 1)
        above, reach = at_least(signal, floor + 1), at_least(signal, floor if whole else floor + 1)
        if op == ">=":
            return reach
        if op == ">":
            return above
        if op == "<":
            return negation(reach)
        if op == "<=":
            return negation(above)
        if not whole:
            return lambda state, now, each: (op == "!=", NEVER)
        equal = conjunction([reach, negation(above)])
        return equal if op == "==" else negation(equal)

    # --- values that change with every millisecond -------------------------------------------------------------

    def _continuous(self, op: str, left: Node, right: Node, owner: str) -> Condition:
        if isinstance(left, ast.Aggregate) and left.fn in ("since", "since_first") and isinstance(right, ast.Duration):
            return since_against(op, self._signal(left, owner), right.ms)
        if isinstance(right, ast.Aggregate) and right.fn in ("since", "since_first") and isinstance(left, ast.Duration):
            return since_against(MIRRORED[op], self._signal(right, owner), left.ms)
        test = comparer(op, static_type(left), static_type(right))
        form_left, form_right = self.form(left, owner), self.form(right, owner)

        def answer(state: UserState, now: int, each: str | None) -> Answer:
            a, until_a = form_left(state, now, each)
            b, until_b = form_right(state, now, each)
            until = min(until_a, until_b)
            if a is None or b is None:
                return False, until
            truth = test(a.at(0), b.at(0))
            flip, found = next_flip(op, test, a, b, truth, min(until - now, HORIZON_MS))
            if not found and until - now <= HORIZON_MS and flip >= until - now:
                return truth, until
            return truth, now + flip if found else now + flip + 1

        return answer

    def form(self, node: Node, owner: str) -> FormReading:
        """A numeric tree as a function of the time ahead."""
        if isinstance(node, ast.Aggregate) and node.fn in ("since", "since_first", "decay"):
            return self._leaf_form(node, owner)
        if isinstance(node, ast.Negate):
            return self.form(ast.Arith("-", ast.Literal(0, "number"), node.operand), owner)
        if isinstance(node, ast.Arith) and _changes_always(node):
            left, right = self.form(node.left, owner), self.form(node.right, owner)

            def combined(state: UserState, now: int, each: str | None) -> tuple[Form | None, int]:
                a, until_a = left(state, now, each)
                b, until_b = right(state, now, each)
                return (None if a is None or b is None else combine(node.op, a, b)), min(until_a, until_b)

            return combined
        read = self.reading(node, owner)

        def step(state: UserState, now: int, each: str | None) -> tuple[Form | None, int]:
            value, until = read(state, now, each)
            return (Linear(value) if is_number(value) else None), until

        return step

    def _leaf_form(self, node: ast.Aggregate, owner: str) -> FormReading:
        signal = self._signal(node, owner)
        if node.fn != "decay":

            def elapsed(state: UserState, now: int, each: str | None) -> tuple[Form | None, int]:
                at, until = signal.read(state, now, each)
                return (Linear(now - at, 1) if at is not None else None), until

            return elapsed
        raw = signal.store.keep.raw

        def faded(state: UserState, now: int, each: str | None) -> tuple[Form | None, int]:
            _, until = signal.read(state, now, each)
            cell = signal.cell(state, each)
            value = raw(cell[1] if signal.composite else cell, now) if cell is not None else 0.0
            if value is None:
                return None, until
            return Linear(0, 0, ((node.half_life_ms, value),) if value else ()), until

        return faded

    # --- values ------------------------------------------------------------------------------------------------

    def reading(self, node: Node, owner: str) -> Reading:
        """A value and until when it holds; for since() and decay() the value at `now`, whose `until` says nothing of its growth."""
        match node:
            case ast.Literal(value, _):
                return lambda state, now, each: (value, NEVER)
            case ast.Duration(ms):
                return lambda state, now, each: (ms, NEVER)
            case ast.Each():
                return lambda state, now, each: (scalar_value(each) if each else None, NEVER)
            case ast.Profile(path):
                return lambda state, now, each: (profile_value(state, path), NEVER)
            case ast.Prediction():
                return lambda state, now, each: (None, NEVER)
            case ast.Bucket(salt):
                return lambda state, now, each: (bucket(salt, state.user), NEVER)
            case ast.Calendar(fn):
                return lambda state, now, each: self._calendar.reading(fn, now)
            case ast.Negate(operand):
                inner = self.reading(operand, owner)
                return lambda state, now, each: negative(inner(state, now, each))
            case ast.Arith(op, left, right):
                return arithmetic(op, self.reading(left, owner), self.reading(right, owner), left, right)
            case ast.Aggregate():
                return self._aggregate_reading(node, owner)
            case _:
                return self.condition(node, owner)

    def _aggregate_reading(self, node: ast.Aggregate, owner: str) -> Reading:
        signal = self._signal(node, owner)
        if node.fn in ("since", "since_first"):

            def elapsed(state: UserState, now: int, each: str | None) -> tuple[Any, int]:
                at, until = signal.read(state, now, each)
                return (None if at is None else now - at), until

            return elapsed
        return signal.bind_read()

    def _signal(self, node: ast.Aggregate, owner: str) -> Signal:
        return self._signals[signal_key(node, owner)]


def profile_value(state: UserState, path: tuple[str, ...]) -> Any:
    """A profile attribute, None when it was never set, or removed."""
    found = state.attributes.get(path[0])
    value: Any = found[1] if found is not None else None
    for name in path[1:]:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _only_falls(node: Node) -> bool:
    """Whether the value can only fall while no event comes: counts of events and chains, their sums, and non-negative multiples."""
    match node:
        case ast.Aggregate(fn, selector, _, _, _):
            return fn in COUNTING and not any(isinstance(part, ast.Absence) for part in nodes(selector))
        case ast.Arith("+", left, right):
            return _only_falls(left) and _only_falls(right)
        case ast.Arith("*", ast.Literal(value, "number"), other) | ast.Arith("*", other, ast.Literal(value, "number")):
            return bool(value >= 0) and _only_falls(other)
        case ast.Literal(_, "number"):
            return True
        case _:
            return False


def _reads_calendar_only(node: Node) -> bool:
    found = list(nodes(node))
    return any(isinstance(n, ast.Calendar) for n in found) and not any(
        isinstance(n, ast.Aggregate | ast.Profile | ast.Consent | ast.Held | ast.SegmentRef | ast.Each | ast.Bucket | ast.Prediction)
        for n in found
    )


def _changes_always(node: Node) -> bool:
    """Whether the value changes with every millisecond."""
    if isinstance(node, ast.Aggregate):
        return node.fn in ("since", "since_first", "decay")
    return isinstance(node, ast.Arith | ast.Negate) and any(_changes_always(child) for child in ast.children(node))
