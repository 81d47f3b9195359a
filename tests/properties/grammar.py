"""Random expressions over the whole language, typed, as text. Durations and thresholds are small so
that edges are hit.

A `Writer` holds what the expressions may name; its methods are the grammar's types. Durations are
whole multiples of its `unit`.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.rules.ast import Type
from app.rules.functions import ROWS, Function
from tests.properties.chance import Chance
from tests.support.rows import parameter_text

STREAMS = ("click", "cart", "purchase", "email")
TEXTS = ("a", "b", "ab")
NUMBERS = ("1", "2", "0", "2.5", "-1")
COMPARE = (">=", "<", "==", "!=", "<=", ">")
STEPPING = [row for row in ROWS if row.motion == "steps" and row.windowed]
PLAIN = [row for row in STEPPING if row.field == "none" and row.value is Type.NUMBER]
OF_FIELD = [row for row in STEPPING if row.field == "needed" and row.value is Type.NUMBER]
DYNAMIC = [row for row in STEPPING if row.field == "needed" and row.value is Type.ANY]
AGES = [row for row in ROWS if row.motion == "age"]


@dataclass
class Writer:
    """`unit_ms` is the scale of durations, `each` whether `each` may be used, `segments` what may
    be referred to, `range_` a window."""

    by: Chance
    unit_ms: int
    each: bool
    segments: tuple[str, ...]
    range_: tuple[str, str]
    days: tuple[str, ...]

    def __post_init__(self) -> None:
        self.pick, self.whole, self.chance = self.by.pick, self.by.whole, self.by.one_in

    def duration(self, most: int = 12) -> str:
        return f"{self.whole(1, most) * self.unit_ms}ms"

    # --- conditions ------------------------------------------------------------------------------

    def condition(self, depth: int) -> str:
        if depth > 0 and self.chance(2):
            return self.pick([self.both, self.either, self.negated, self.held, self.equal_conditions])(depth - 1)
        atoms = [
            self.any,
            self.any,
            self.numbers,
            self.numbers,
            self.durations,
            self.dynamic,
            self.dynamic,
            self.small,
            self.profile,
        ]
        if self.segments:
            atoms.append(self.reference)
        return self.pick(atoms)()

    def both(self, depth: int) -> str:
        return f"({self.condition(depth)}) and ({self.condition(depth)})"

    def either(self, depth: int) -> str:
        return f"({self.condition(depth)}) or ({self.condition(depth)})"

    def negated(self, depth: int) -> str:
        return f"not ({self.condition(depth)})"

    def held(self, depth: int) -> str:
        return f"held({self.condition(depth)}, {self.duration()})"

    def equal_conditions(self, depth: int) -> str:
        return f"({self.condition(0)}) {self.pick(('==', '!='))} ({self.condition(0)})"

    def reference(self) -> str:
        return f'segment("{self.pick(self.segments)}")'

    def any(self) -> str:
        return f"any({self.selector(2)}{self.window()})"

    def numbers(self) -> str:
        left = self.number(1)
        if self.chance(6):
            low = self.whole(-1, 2)
            return f"{left} between {low} and {low + self.whole(0, 2)}"
        if self.chance(6):
            return f"{left} {self.pick(('in', 'not in'))} [{self.whole(0, 1)}, {self.whole(2, 3)}]"
        if self.chance(8):
            return f"{left} is {self.pick(('null', 'not null'))}"
        return f"{left} {self.pick(COMPARE)} {self.number(0) if self.chance(5) else self.threshold()}"

    def threshold(self) -> str:
        return self.pick(("1", "2", "0", "3", "0.5", "0.25", "1.5", "-1"))

    def durations(self) -> str:
        left = self.age()
        if self.chance(6):
            low = self.whole(1, 6)
            return f"{left} between {low * self.unit_ms}ms and {(low + self.whole(0, 5)) * self.unit_ms}ms"
        if self.chance(8):
            return f"{left} is {self.pick(('null', 'not null'))}"
        return f"{left} {self.pick(COMPARE)} {self.age() if self.chance(4) else self.duration()}"

    def age(self) -> str:
        base = f"{self.pick(AGES).name}({self.selector(1)})"
        shape = self.whole(1, 8)
        if shape == 1:
            return f"{base} * {self.pick(('2', '0.5', '-1', '3'))}"
        if shape == 2:
            return f"({base} {self.pick('+-')} {self.duration()})"
        if shape == 3:
            return f"{base} / {self.pick(('2', '3', '0'))}"
        return base

    def dynamic(self) -> str:
        left = self.of_field(self.pick(DYNAMIC), self.selector(1), self.pick(("c", "c", "n", "ok", "o.k")))
        return (
            left
            + self.pick(
                [self.text_test, self.text_test, self.number_test, self.null_test, self.twin_test, self.nothing]
            )()
        )

    def text_test(self) -> str:
        word = self.pick(TEXTS)
        return self.pick(
            (
                f' == "{word}"', f' != "{word}"', f' in ["{word}", "b"]', f' not in ["{word}", "b"]',
                f' contains "{word}"',
                f' starts_with "{word}"', f' ends_with "{word}"', f' matches "^{word}"',
                f' >= "{word}"', f' between "a" and "{word}"',
            )
        )  # fmt: skip

    def number_test(self) -> str:
        return f" {self.pick(COMPARE)} {self.pick(NUMBERS)}"

    def null_test(self) -> str:
        return self.pick((" is null", " is not null"))

    def twin_test(self) -> str:
        if self.each and self.chance(2):
            return f" {self.pick(('==', '!='))} each"
        other = self.of_field(self.pick(DYNAMIC), self.selector(0), self.pick(("c", "n")))
        return f" {self.pick(('==', '!=', '<'))} {other}"

    def nothing(self) -> str:
        return ""

    def small(self) -> str:
        others = [
            f"hour() {self.pick(COMPARE)} {self.whole(0, 23)}",
            f"hour() in [0, 23, {self.whole(1, 22)}]",
            f"weekday() == {self.whole(1, 7)}",
            f'date() {self.pick(COMPARE)} "{self.pick(self.days)}"',
            f'bucket("{self.pick(TEXTS)}") < {self.whole(0, 100)}',
            'score("m") >= 0.5',
            'not (cluster("m") == 1)',
        ]
        if self.each:
            others += ['each != "a"', 'each in ["a", "ab"]', "each > 1", 'each == "b"']
        return self.pick(others)

    def profile(self) -> str:
        return self.pick(
            (
                "profile.age between 1 and 2", "profile.age > 1", 'profile.plan == "a"', 'profile.plan != "a"',
                "profile.vip",
                'consent("mail")', 'not consent("mail")', 'profile.plan starts_with "a"', 'profile.list contains "a"',
                "profile.age is null", "profile.age + 1 >= 2",
                f"profile.plan == last({self.dotted(self.selector(0))}.c)",
            )
        )  # fmt: skip

    # --- numbers ---------------------------------------------------------------------------------

    def number(self, depth: int) -> str:
        if depth > 0 and self.chance(4):
            return f"({self.number(0)} {self.pick('+-*/')} {self.number(0) if self.chance(2) else self.pick(NUMBERS)})"
        kind = self.whole(1, 8)
        if kind <= 3:
            return f"{self.pick(PLAIN).name}({self.selector(2)}{self.window()})"
        if kind <= 6:
            return self.of_field(self.pick(OF_FIELD), self.selector(1), self.pick(("n", "n", "n", "c", "o.k")))
        if kind == 7:
            field = f"{self.dotted(self.selector(1))}.n" if self.chance(2) else self.selector(1)
            return f"decay({field}, {self.duration()})"
        return f"since({self.selector(1)}) / {self.duration()}"

    def of_field(self, row: Function, selector: str, path: str) -> str:
        """A function of a field, with its parameter where it has one."""
        given = f", {parameter_text(row)}" if row.parameter is not None else ""
        return f"{row.name}({self.dotted(selector)}.{path}{given}{self.window()})"

    # --- selectors and windows -------------------------------------------------------------------

    def window(self) -> str:
        kind = self.whole(1, 10)
        if kind <= 5:
            return f", last {self.duration(20)}"
        if kind == 6:
            return ""
        if kind <= 8:
            return f", {self.pick(('session', 'session', 'ever', 'this week', 'this month'))}"
        return ", today" if kind == 9 else f', from "{self.range_[0]}" to "{self.range_[1]}"'

    def dotted(self, selector: str) -> str:
        """A selector as it stands before `.field`."""
        return f"({selector})" if " -> " in selector or " without " in selector else selector

    def selector(self, depth: int) -> str:
        kind = self.whole(1, 8) if depth > 0 else 1
        if kind <= 5:
            return self.events()
        return self.chain() if kind == 6 else self.absence(depth)

    def chain(self) -> str:
        steps = " -> ".join(self.events() for _ in range(self.pick((2, 2, 3))))
        return f"{steps}{self.on()} within {self.duration()}"

    def absence(self, depth: int) -> str:
        return f"{self.part(depth)} without {self.part(depth)}{self.on()} within {self.duration()}"

    def part(self, depth: int) -> str:
        inner = self.selector(depth - 1)
        return f"({inner})" if " within " in inner else inner

    def on(self) -> str:
        return f" on {self.pick(('c', 'n', 'o.k'))}" if self.chance(4) else ""

    def events(self) -> str:
        stream = self.pick((*STREAMS, "click", "cart", "*"))
        parts = ["c == each"] if self.each and self.chance(2) else []
        if self.chance(3):
            parts.append(self.filter())
        if self.chance(30):
            return f"within_km({stream}, 0, 0, 200)"
        return f"{stream}[{' and '.join(parts)}]" if parts else stream

    def filter(self) -> str:
        one = self.filter_atom()
        shape = self.whole(1, 6)
        if shape == 1:
            return f"not ({one})"
        return f"({one} or {self.filter_atom()})" if shape == 2 else one

    def filter_atom(self) -> str:
        return self.pick(
            (
                f"n {self.pick(COMPARE)} {self.pick(NUMBERS)}", "n between 1 and 2", "n in [1, 2]",
                "n not in [1, 2]", "n + 1 > 2",
                "2 / n >= 1", "-n < -1", f'c == "{self.pick(TEXTS)}"', 'c != "a"', 'c in ["a", "b"]', 'c contains "a"',
                'c starts_with "a"', 'c ends_with "b"', 'c matches "^a+$"', 'tags contains "a"', "tags contains 1",
                "ok",
                "ok == false", "n is null", "c is not null", "n == o.k", "o.k > 0", 'not (c == "a")', 'c >= "ab"',
            )
        )  # fmt: skip
