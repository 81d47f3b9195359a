"""Trees → functions. A condition gives (truth, until): the answer holds from `now` until the instant `until` (excluded) if no event comes.

`until` may be early, never late: whoever is woken by it asks again. That makes it composable: a conjunction that is false stays false at
least as long as any one of its false parts does, and while it is true at least as long as the first part that may change. Functions take
(state, now, each), `each` being the key of the `for_each` value or None.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from app.domain import limits
from app.domain.ids import bucket
from app.domain.limits import NEVER
from app.engine.calendar import Calendar
from app.engine.continuous import Form, Linear, combine, next_flip
from app.engine.filters import static_type
from app.engine.signals import Signal
from app.engine.state import UserState
from app.engine.values import calculate, comparer, is_number, key_value, text_test
from app.rules import ast
from app.rules.ast import Node
from app.rules.needs import COUNTING, MIRRORED
from app.rules.plan import held_name, signal_key
from app.rules.types import compile_regex
from app.rules.walk import nodes

Answer = tuple[bool, int]
Condition = Callable[[UserState, int, str | None], Answer]
Reading = Callable[[UserState, int, str | None], tuple[Any, int]]
FormReading = Callable[[UserState, int, str | None], tuple[Form | None, int]]

_ORDERS = (">=", ">", "<", "<=")
CALENDAR_STEPS_MAX = 400  # hours looked ahead for a flip of hour(), weekday(), date(): over two weeks; then it is asked again
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
                return _conjunction([self.condition(o, owner) for o in operands])
            case ast.Or(operands):
                return _disjunction([self.condition(o, owner) for o in operands])
            case ast.Not(operand):
                return _negation(self.condition(operand, owner))
            case ast.Literal(value, "bool"):
                return lambda state, now, each: (value, NEVER)
            case ast.Aggregate(fn="any"):
                return self._signal(node, owner).bind_read()
            case ast.Held(_, ms):
                return _held(held_name(node, owner), node, ms)
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
            return _stretched(found)
        return found

    def _plain_comparison(self, node: Node, owner: str) -> Condition:
        match node:
            case ast.Compare(op, left, right):
                return self._compare(op, left, right, owner)
            case ast.In(operand, items, negated):
                return self._membership_in(operand, items, negated, owner)
            case ast.TextTest(op, left, right):
                return _test2(self.reading(left, owner), self.reading(right, owner), lambda a, b: text_test(op, a, b))
            case ast.Matches(operand, pattern):
                regex: Any = compile_regex(pattern, node)
                return _test1(self.reading(operand, owner), lambda v: type(v) is str and regex.search(v) is not None)
            case ast.IsNull(operand, negated):
                return _test1(self.reading(operand, owner), lambda v: (v is None) is not negated)
            case _:
                return _test1(self.reading(node, owner), lambda v: v is True)

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

        return _test1(self.reading(operand, owner), among)

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
            if isinstance(left, ast.Aggregate) and left.fn in ("sum", "avg"):
                limit = constant if op in _ORDERS and is_number(constant) else None
                return self._signal(left, owner).bind_compare(lambda v: test(v, constant), limit)
            if op in _ORDERS and _only_falls(left):
                return _falling(self.reading(left, owner), lambda v: test(v, constant), op in (">=", ">"))
            return _test1(self.reading(left, owner), lambda v: test(v, constant))
        return _test2(self.reading(left, owner), self.reading(right, owner), test)

    def _count_comparison(self, op: str, signal: Signal, value: float) -> Condition:
        """A count against a constant, by the thresholds it crosses."""
        whole = value == int(value)
        floor = int(value // 1)
        above, reach = _at_least(signal, floor + 1), _at_least(signal, floor if whole else floor + 1)
        if op == ">=":
            return reach
        if op == ">":
            return above
        if op == "<":
            return _negation(reach)
        if op == "<=":
            return _negation(above)
        if not whole:
            return lambda state, now, each: (op == "!=", NEVER)
        equal = _conjunction([reach, _negation(above)])
        return equal if op == "==" else _negation(equal)

    # --- values that change with every millisecond -------------------------------------------------------------

    def _continuous(self, op: str, left: Node, right: Node, owner: str) -> Condition:
        if isinstance(left, ast.Aggregate) and left.fn in ("since", "since_first") and isinstance(right, ast.Duration):
            return _since_against(op, self._signal(left, owner), right.ms)
        if isinstance(right, ast.Aggregate) and right.fn in ("since", "since_first") and isinstance(left, ast.Duration):
            return _since_against(MIRRORED[op], self._signal(right, owner), left.ms)
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
                both = a is not None and b is not None
                return (combine(node.op, a, b) if both else None), min(until_a, until_b)  # type: ignore[arg-type]

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
                return lambda state, now, each: (key_value(each) if each else None, NEVER)
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
                return lambda state, now, each: _negated(inner(state, now, each))
            case ast.Arith(op, left, right):
                return _arithmetic(op, self.reading(left, owner), self.reading(right, owner), left, right)
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


def _negated(found: tuple[Any, int]) -> tuple[Any, int]:
    return (-found[0] if is_number(found[0]) else None), found[1]


def _arithmetic(op: str, a: Reading, b: Reading, left: Node, right: Node) -> Reading:
    """left op right; whole numbers, which counts are, take the short way."""
    exact = _EXACT.get(op)
    if exact is None:
        return lambda state, now, each: _calculated(op, a(state, now, each), b(state, now, each))
    if isinstance(left, ast.Literal):
        constant = left.value

        def scaled(state: UserState, now: int, each: str | None) -> tuple[Any, int]:
            value, until = b(state, now, each)
            return (exact(constant, value) if type(value) is int and -_SMALL < value < _SMALL else calculate(op, constant, value)), until

        return (
            scaled
            if type(constant) is int and abs(constant) < _SMALL
            else lambda state, now, each: _calculated(op, (constant, NEVER), b(state, now, each))
        )

    def both(state: UserState, now: int, each: str | None) -> tuple[Any, int]:
        x, until_x = a(state, now, each)
        y, until_y = b(state, now, each)
        until = min(until_y, until_x)
        if type(x) is int and type(y) is int and -_SMALL < x < _SMALL and -_SMALL < y < _SMALL:
            return exact(x, y), until
        return calculate(op, x, y), until

    return both


_EXACT: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_SMALL = 1 << 31  # sums and products of such numbers stay within 64 bits


def _calculated(op: str, a: tuple[Any, int], b: tuple[Any, int]) -> tuple[Any, int]:
    return calculate(op, a[0], b[0]), min(a[1], b[1])


def _conjunction(parts: list[Condition]) -> Condition:
    def every(state: UserState, now: int, each: str | None) -> Answer:
        until = NEVER
        false_until = -1
        for part in parts:
            truth, end = part(state, now, each)
            if truth:
                if end < until:
                    until = end
            elif end >= NEVER:
                return False, NEVER
            elif end > false_until:
                false_until = end
        return (True, until) if false_until < 0 else (False, false_until)

    return every


def _disjunction(parts: list[Condition]) -> Condition:
    def some(state: UserState, now: int, each: str | None) -> Answer:
        until = NEVER
        true_until = -1
        for part in parts:
            truth, end = part(state, now, each)
            if not truth:
                if end < until:
                    until = end
            elif end >= NEVER:
                return True, NEVER
            elif end > true_until:
                true_until = end
        return (False, until) if true_until < 0 else (True, true_until)

    return some


def _negation(part: Condition) -> Condition:
    def opposite(state: UserState, now: int, each: str | None) -> Answer:
        truth, until = part(state, now, each)
        return not truth, until

    return opposite


def _test1(read: Reading, test: Callable[[Any], bool]) -> Condition:
    def answer(state: UserState, now: int, each: str | None) -> Answer:
        value, until = read(state, now, each)
        return test(value), until

    return answer


def _test2(left: Reading, right: Reading, test: Callable[[Any, Any], bool]) -> Condition:
    def answer(state: UserState, now: int, each: str | None) -> Answer:
        a, until_a = left(state, now, each)
        b, until_b = right(state, now, each)
        return test(a, b), min(until_a, until_b)

    return answer


def _at_least(signal: Signal, k: int) -> Condition:
    if k <= 0:
        return lambda state, now, each: (True, NEVER)
    return signal.bind_at_least(k)


def _held(name: str, node: ast.Held, ms: int) -> Condition:
    def answer(state: UserState, now: int, each: str | None) -> Answer:
        since = state.held.get(name if each is None else f"{name}\x1f{each}")
        if since is None:
            since = state.held.get(name)
        if since is None:
            return False, NEVER
        return (True, NEVER) if now - since >= ms else (False, since + ms)

    return answer


def _since_against(op: str, signal: Signal, ms: int) -> Condition:
    """since(S) op d, solved: the entry's age passes d at its instant + d."""
    read = signal.bind_read()

    def answer(state: UserState, now: int, each: str | None) -> Answer:
        at, until = read(state, now, each)
        if at is None:
            return False, until
        age = now - at
        if op in (">=", "<"):
            return (age >= ms) is (op == ">="), until if age >= ms else min(until, at + ms)
        if op in (">", "<="):
            return (age > ms) is (op == ">"), until if age > ms else min(until, at + ms + 1)
        flip = at + ms if age < ms else at + ms + 1 if age == ms else NEVER
        return (age == ms) is (op == "=="), min(until, flip)

    return answer


def _stretched(part: Condition) -> Condition:
    """A condition that depends on the calendar alone, with `until` moved to where it really flips; the answer is the same for every user,
    so it is remembered."""
    memo: dict[str | None, tuple[int, bool, int]] = {}

    def answer(state: UserState, now: int, each: str | None) -> Answer:
        known = memo.get(None)
        if known is not None and known[0] <= now < known[2]:
            return known[1], known[2]
        truth, until = part(state, now, each)
        for _ in range(CALENDAR_STEPS_MAX):
            if until >= NEVER:
                break
            again, end = part(state, until, each)
            if again is not truth:
                break
            until = end
        memo[None] = (now, truth, until)
        return truth, until

    return answer


def _falling(read: Reading, test: Callable[[Any], bool], above: bool) -> Condition:
    """A comparison of what only falls while no event comes: once it is below, only an event can change that."""

    def answer(state: UserState, now: int, each: str | None) -> Answer:
        value, until = read(state, now, each)
        truth = test(value)
        return truth, until if truth is above else NEVER

    return answer


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
