"""How answers are made of answers: (truth, until) of a whole from those of its parts, and of values
from those of operands.

`until` may be early, never late: whoever is woken by it evaluates again. That makes it composable:
a conjunction that is false stays false at least as long as any one of its false parts does, and
while it is true at least as long as the first part that may change. Functions take (state, now,
value_key), `value_key` being the key of the `for_each` value or None.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, assert_never

from app.domain.limits import NEVER
from app.domain.members import member_key
from app.engine.signals import Reading, Signal
from app.engine.state import UserState
from app.engine.values import calculate, is_number
from app.rules import ast
from app.rules.ast import ArithOp, CompareOp, Node

Answer = tuple[bool, int]
Condition = Callable[[UserState, int, str | None], Answer]

# Hours looked ahead for another answer of hour(), weekday(), date(): over two weeks; then it is
# evaluated again.
CALENDAR_STEPS_MAX = 400


def negative(found: tuple[Any, int]) -> tuple[Any, int]:
    """The number with its sign turned; null stays null."""
    return (-found[0] if is_number(found[0]) else None), found[1]


def arithmetic(op: ArithOp, a: Reading, b: Reading, left: Node, right: Node) -> Reading:
    """left op right; whole numbers, which counts are, take the short way."""
    exact = _EXACT.get(op)
    if exact is None:
        return lambda state, now, value_key: _calculated(op, a(state, now, value_key), b(state, now, value_key))
    if isinstance(left, ast.Literal):
        return _scaled(op, exact, left.value, b)

    def both(state: UserState, now: int, value_key: str | None) -> tuple[Any, int]:
        x, until_x = a(state, now, value_key)
        y, until_y = b(state, now, value_key)
        until = min(until_y, until_x)
        if type(x) is int and type(y) is int and -_SMALL < x < _SMALL and -_SMALL < y < _SMALL:
            return exact(x, y), until
        return calculate(op, x, y), until

    return both


def _scaled(op: ArithOp, exact: Callable[[Any, Any], Any], constant: Any, read: Reading) -> Reading:
    """`arithmetic` with a constant on the left."""
    if type(constant) is not int or abs(constant) >= _SMALL:
        return lambda state, now, value_key: _calculated(op, (constant, NEVER), read(state, now, value_key))

    def scaled(state: UserState, now: int, value_key: str | None) -> tuple[Any, int]:
        value, until = read(state, now, value_key)
        small = type(value) is int and -_SMALL < value < _SMALL
        return (exact(constant, value) if small else calculate(op, constant, value)), until

    return scaled


_EXACT: dict[ArithOp, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_SMALL = 1 << 31  # sums and products of such numbers stay within 64 bits


def _calculated(op: ArithOp, a: tuple[Any, int], b: tuple[Any, int]) -> tuple[Any, int]:
    return calculate(op, a[0], b[0]), min(a[1], b[1])


def conjunction(parts: list[Condition]) -> Condition:
    """True when all parts are; false until the last of its false parts may change."""

    def every(state: UserState, now: int, value_key: str | None) -> Answer:
        until = NEVER
        false_until = -1
        for part in parts:
            truth, end = part(state, now, value_key)
            if truth:
                if end < until:
                    until = end
            elif end >= NEVER:
                return False, NEVER
            elif end > false_until:
                false_until = end
        return (True, until) if false_until < 0 else (False, false_until)

    return every


def disjunction(parts: list[Condition]) -> Condition:
    """False when all parts are; true until the last of its true parts may change."""

    def some(state: UserState, now: int, value_key: str | None) -> Answer:
        until = NEVER
        true_until = -1
        for part in parts:
            truth, end = part(state, now, value_key)
            if not truth:
                if end < until:
                    until = end
            elif end >= NEVER:
                return True, NEVER
            elif end > true_until:
                true_until = end
        return (False, until) if true_until < 0 else (True, true_until)

    return some


def negation(part: Condition) -> Condition:
    """The contrary."""

    def opposite(state: UserState, now: int, value_key: str | None) -> Answer:
        truth, until = part(state, now, value_key)
        return not truth, until

    return opposite


def test1(read: Reading, test: Callable[[Any], bool]) -> Condition:
    """A test of one value."""

    def answer(state: UserState, now: int, value_key: str | None) -> Answer:
        value, until = read(state, now, value_key)
        return test(value), until

    return answer


def test2(left: Reading, right: Reading, test: Callable[[Any, Any], bool]) -> Condition:
    """A test of two values."""

    def answer(state: UserState, now: int, value_key: str | None) -> Answer:
        a, until_a = left(state, now, value_key)
        b, until_b = right(state, now, value_key)
        return test(a, b), min(until_a, until_b)

    return answer


def at_least(signal: Signal, k: int) -> Condition:
    """Whether a counting signal has reached k."""
    if k <= 0:
        return lambda state, now, value_key: (True, NEVER)
    return signal.bind_at_least(k)


def held(name: str, ms: int) -> Condition:
    """Whether what is noted under `name` has been so for `ms`."""

    def answer(state: UserState, now: int, value_key: str | None) -> Answer:
        since = state.held.get(member_key(name, value_key))
        if since is None:
            since = state.held.get(name)
        if since is None:
            return False, NEVER
        return (True, NEVER) if now - since >= ms else (False, since + ms)

    return answer


def since_against(op: CompareOp, signal: Signal, ms: int) -> Condition:
    """since(S) op d, solved: the entry's age passes d at its instant + d."""
    read = signal.bind_read()

    def answer(state: UserState, now: int, value_key: str | None) -> Answer:
        at, until = read(state, now, value_key)
        if at is None:
            return False, until
        age = now - at
        match op:
            case ">=" | "<":
                return (age >= ms) is (op == ">="), until if age >= ms else min(until, at + ms)
            case ">" | "<=":
                return (age > ms) is (op == ">"), until if age > ms else min(until, at + ms + 1)
            case "==" | "!=":
                crossing = at + ms if age < ms else at + ms + 1 if age == ms else NEVER
                return (age == ms) is (op == "=="), min(until, crossing)
            case _:
                assert_never(op)

    return answer


def stretched(part: Condition) -> Condition:
    """A condition that depends on the calendar alone, with `until` moved to where it really
    changes; the answer is the same for every user, so it is remembered."""
    memo: dict[str | None, tuple[int, bool, int]] = {}

    def answer(state: UserState, now: int, value_key: str | None) -> Answer:
        known = memo.get(None)
        if known is not None and known[0] <= now < known[2]:
            return known[1], known[2]
        truth, until = part(state, now, value_key)
        for _ in range(CALENDAR_STEPS_MAX):
            if until >= NEVER:
                break
            again, end = part(state, until, value_key)
            if again is not truth:
                break
            until = end
        memo[None] = (now, truth, until)
        return truth, until

    return answer


def falling(read: Reading, test: Callable[[Any], bool], above: bool) -> Condition:
    """A comparison of what only falls while no event comes: once it is below, only an event can
    change that."""

    def answer(state: UserState, now: int, value_key: str | None) -> Answer:
        value, until = read(state, now, value_key)
        truth = test(value)
        return truth, until if truth is above else NEVER

    return answer
