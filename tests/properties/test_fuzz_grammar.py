"""Texts that people and machines get wrong: the parser answers with a tree or with an error that
points into the text, quickly, always.

HYPERSEG_FUZZ=1000000 tries a million texts; a failure names its seed.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable

import pytest

from app.domain import limits
from app.domain.errors import DefinitionError
from app.domain.events import Event
from app.domain.options import EngineOptions
from app.engine.engine import Engine
from app.rules.ast import Node
from app.rules.definitions import Definitions, load_text
from app.rules.parser import parse
from app.rules.plan import compile_plan
from app.rules.text import text as spelled
from app.rules.types import Scope, check_condition
from tests.properties.chance import Seeded
from tests.properties.grammar import STREAMS, Writer

ROUNDS = int(os.environ.get("HYPERSEG_FUZZ", "20000"))
SHARES = 8  # so that several workers can take part
# Of processor time for one text: one of thousands of names takes about one, more where the machine
# is shared.
SECONDS_MAX = 20.0
OPTIONS = EngineOptions()
WORDS = """and or not in is null between within without matches contains last first on from to this each ( )
[ ] , . -> == != < >= + - * /
`a b` ` " "a" "\\u00e9" "\\x" 7d 0d 999999w 1.5h 0.3ms 1 -1 1e400 1e-400 0x1 01 1. .5
true click profile profile.x any(click) count( held(
within_km( segment("a") score( weekday() é # % $ && || = ! ~ ; '"""
PIECES = (*WORDS.split(), "9" * 400, "\u0000", "\ud800", "\u2028", "\U0001f600", "\t", "\n", "\r")


def writer(seed: int) -> Writer:
    return Writer(Seeded(seed), 3_600_000, seed % 2 == 0, ("a", "b"), ("2026-01-01", "2026-02-01"), ("2026-01-01",))


def mutated(text: str, other: str, by: Seeded) -> str:
    """`text` with a few pieces dropped, doubled, swapped, replaced, put between, or the end of
    another text."""
    for _ in range(by.whole(1, 4)):
        words = re.findall(r"\s+|\w+|[^\w\s]", text) or [""]
        i, j = by.whole(0, len(words) - 1), by.whole(0, len(words) - 1)
        kind = by.whole(1, 7)
        if kind == 1:
            del words[i : i + by.whole(1, 3)]
        elif kind == 2:
            words[i:i] = words[j : j + by.whole(1, 6)]
        elif kind == 3:
            words[i], words[j] = words[j], words[i]
        elif kind == 4:
            words[i] = by.pick(PIECES)
        elif kind == 5:
            words.insert(i, f" {by.pick(PIECES)} ")
        elif kind == 6:
            return "".join(words[:i]) + other[by.whole(0, len(other)) :]
        else:
            words[i] = words[i][: len(words[i]) // 2] + chr(by.whole(1, 0x2FF))
        text = "".join(words)
    return text


def soup(by: Seeded) -> str:
    """Words of the language in no order."""
    return " ".join(by.pick(PIECES) for _ in range(by.whole(1, 30)))


def candidate(seed: int) -> str:
    by = Seeded(seed)
    kind = by.whole(1, 10)
    if kind == 1:
        return soup(by)
    one = writer(seed).condition(by.whole(0, 3))
    return one if kind <= 3 else mutated(one, writer(seed + 1).condition(1), by)


YAML_BREAK = r"\r\n|[\n\r\x85\u2028\u2029]"


def points_inside(error: DefinitionError, text: str, line_break: str = "\n") -> bool:
    lines = re.split(line_break, text)
    return 1 <= error.line <= len(lines) and 1 <= error.column <= len(lines[error.line - 1]) + 1


def loaded(text: str, each: bool = True) -> Node | None:
    """The tree when the text is right; None when it is refused, properly."""
    try:
        tree = parse(text)
        check_condition(tree, Scope(STREAMS, ("a", "b"), each))
        return tree
    except DefinitionError as refusal:
        error = refusal
    assert points_inside(error, text), (error.line, error.column, str(error))
    assert error.message
    return None


def examine(text: str) -> bool:
    """Whether the text is an expression; raises AssertionError when the language breaks a promise
    about it."""
    start = time.process_time()
    tree = loaded(text)
    if tree is not None:
        canonical = spelled(tree)
        assert parse(canonical) == tree, canonical
        assert spelled(parse(canonical)) == canonical
    assert time.process_time() - start < SECONDS_MAX
    return tree is not None


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.timeout(120 + ROUNDS // 50)
def test_random_and_mutated_expressions(share: int) -> None:
    right = 0
    for seed in range(share, ROUNDS, SHARES):
        text = candidate(seed)
        try:
            right += examine(text)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {text!r}: {error!r}") from error
    assert right > ROUNDS / SHARES / 10, "the fuzz must also write what is right"


@pytest.mark.parametrize("seed", range(300))
def test_mutated_files(seed: int) -> None:
    """A file of definitions with a few wrong places: every error says where in the file, what is
    left can be compiled."""
    by = Seeded(seed)
    items = [f"  - name: s{i}\n    when: {writer(seed + i).condition(1)}\n    min_dwell: 1h\n" for i in range(3)]
    good = "segments:\n" + "".join(items) + "groups:\n  - name: g\n    segments: [s0, s1]\n"
    text = mutated(good, good, by)
    found = load_text(text, OPTIONS)
    for error in found.errors:
        assert points_inside(error, text, YAML_BREAK), str(error)
    if not found.errors:
        compile_plan(found, OPTIONS)


# --- what must be refused quickly ---------------------------------------------------------------


def refused(text: str) -> DefinitionError:
    start = time.process_time()
    with pytest.raises(DefinitionError) as caught:
        check_condition(parse(text), Scope(STREAMS))
    assert time.process_time() - start < SECONDS_MAX
    assert points_inside(caught.value, text)
    return caught.value


DEEP: dict[str, Callable[[int], str]] = {
    "brackets": lambda n: "(" * n + "any(click)" + ")" * n,
    "open brackets": lambda n: "(" * n,
    "not": lambda n: "not " * n + "any(click)",
    "minus": lambda n: "count(click) > " + "-" * n + "1",
    "filters": lambda n: "any(click" + "[a == 1]" * n + ")",
    "members": lambda n: "last(click" + ".a" * n + ") == 1",
    "held": lambda n: "held(" * n + "any(click)" + ", 1h)" * n,
    "absences": lambda n: "any(" + "(" * n + "click" + " without click within 1h)" * n + ")",
    "sums": lambda n: "1" + " + 1" * n + " > 2",
    "nested sums": lambda n: "1 > " + "(1 + " * n + "1" + ")" * n,
    "terms": lambda n: "1" + " * 1" * n + " > 2",
    "or": lambda n: " or ".join(["any(click)"] * n),
    "chain": lambda n: "any(" + " -> ".join(["click"] * n) + " within 1h)",
    "list": lambda n: f'bucket("a") in [{", ".join(["1"] * n)}]',
    "arguments": lambda n: f"count({', '.join(['click'] * n)}) > 1",
    "dots": lambda n: "any(click) and " + "." * n,
    "text": lambda n: 'date() == "' + "x" * n + '"',
    "escapes": lambda n: 'date() == "' + "\\u00e9" * n + '"',
    "blanks": lambda n: " " * n + "any(click)",
    "lines": lambda n: "\n" * n + "any(clic)",
    "digits": lambda n: "count(click) > " + "9" * n,
    "duration": lambda n: "since(click) > " + "9" * n + "d",
}


@pytest.mark.parametrize("size", [10, 99, 100, 101, 250, 999, 1_001, 2_100, 8_000, 1_000_000])
@pytest.mark.parametrize("shape", DEEP)
def test_depth_and_size_are_bounded(shape: str, size: int) -> None:
    """Right or refused, never a crash: whatever nests or repeats, as often as it likes."""
    examine(DEEP[shape](size))


def test_what_is_at_the_bounds_can_be_evaluated() -> None:
    """A tree as deep as trees may be goes through plan, engine and facts."""
    found = 0
    for shape in DEEP.values():
        for size in range(limits.EXPRESSION_DEPTH_MAX + 2, 1, -7):
            text = shape(size)
            tree = loaded(text, each=False)
            if tree is None:
                continue
            definitions = load_text(json.dumps({"segments": [{"name": "s", "when": text}]}), OPTIONS)
            assert not definitions.errors, str(definitions.errors[0])
            engine = Engine(compile_plan(definitions, OPTIONS), OPTIONS)
            state = engine.new_state("u")
            engine.apply(state, Event("u", 1_793_577_600_000, "click", 1, "e", True, {"a": 1}), 0)
            engine.fire(state, 1_793_577_600_000 + limits.DAY_MS)
            found += 1
            break
    assert found > len(DEEP) // 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("any(click, last 733d)", "the duration is out of range"),
        ("since(click) > 105w", "the duration is out of range"),
        ("any(click, last 0s)", "the duration is out of range"),
        ("held(any(click), 800d)", "the duration is out of range"),
        ("any(cart -> click within 9999999w)", "the duration is out of range"),
        ("decay(click, 1000d) > 1", "the duration is out of range"),
        ("since(click) > 0.1ms", "expected a whole number of milliseconds"),
        ('last(click.x) matches "(?=a)"', "the pattern cannot be used"),
        ('last(click.x) matches "(a)\\\\1"', "the pattern cannot be used"),
        ('last(click.x) matches "(((((a{1000}){1000}){1000}){1000}){1000})"', "the pattern cannot be used"),
        (f'last(click.x) matches "{"a" * 1_001}"', "the pattern is too long"),
        ("count(click) > 1e301", "the number is too large"),
        ('any(click, from "2026-02-01" to "2026-01-01")', "the window is empty"),
        ('any(click, from "2026-02-31" to "2027-01-01")', "unknown date"),
    ],
)
def test_out_of_bounds(text: str, said: str) -> None:
    assert said in str(refused(text))


@pytest.mark.parametrize("window", ["732d", "104w", "1ms", "17568h"])
def test_two_years_are_within_bounds(window: str) -> None:
    assert examine(f"any(click, last {window})")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)*b", "(.*)*x", "^(([a-z])+.)+[A-Z]([a-z])+$", "(x+x+)+y"])
def test_a_pattern_cannot_hang_a_worker(pattern: str) -> None:
    definitions = load_text(
        json.dumps({"segments": [{"name": "s", "when": f'any(click[x matches "{pattern}"])'}]}), OPTIONS
    )
    assert not definitions.errors
    engine = Engine(compile_plan(definitions, OPTIONS), OPTIONS)
    start = time.process_time()
    for i, long in enumerate(("a" * 4_000 + "!", "x" * 4_000 + "!")):
        engine.apply(engine.new_state("u"), Event("u", 1_793_577_600_000, "click", 1, f"e{i}", True, {"x": long}), 0)
    assert time.process_time() - start < SECONDS_MAX


# --- files --------------------------------------------------------------------------------------


def load(text: str) -> Definitions:
    start = time.process_time()
    found = load_text(text, OPTIONS)
    assert time.process_time() - start < 2 * SECONDS_MAX
    for error in found.errors:
        assert points_inside(error, text), str(error)
    return found


BOMBS = {
    "laughs": "a: &a [x, x]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)),
    "an alias": "segments: &s\n  - {name: a, when: any(click)}\ngroups: *s\n",
    "itself": "segments: &s [*s]\n",
    "merge": "segments:\n  - &a {name: a, when: any(click)}\n  - {<<: *a, name: b}\n",
    "depth": "segments: " + "[" * 100_000,
    "closed depth": "segments: " + "[" * 5_000 + "]" * 5_000,
    "mappings": "segments: " + "{a: " * 5_000,
    "objects": "segments: !!python/object/apply:os.system ['true']\n",
    "a tag": "segments: !!set {a, b}\n",
    "nodes": "segments: [" + "a, " * 500_000 + "]",
    "two documents": "segments: []\n---\nsegments: []\n",
    "a tab": "segments:\n\t- name: a\n",
    "nothing closes": 'segments: [{name: a, when: "any(click',
    "control characters": "segments: [\x01]\n",
    "large": "#" * (limits.DEFINITION_FILE_BYTES_MAX + 1),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_one_error(bomb: str) -> None:
    found = load(BOMBS[bomb])
    assert found.errors
    assert found.segments == ()


def test_the_bomb_beside_good_definitions_leaves_them() -> None:
    found = load(
        "segments:\n  - {name: a, when: any(click)}\n  - [[[[x]]]]\n  - {name: b, when: any(cart)}\n  - 3\n  - ~\n"
    )
    assert [segment.name for segment in found.segments] == ["a", "b"]
    assert len(found.errors) == 3


def test_names_that_are_taken() -> None:
    found = load(
        "segments:\n  - {name: a, when: any(click)}\n  - {name: a, when: any(cart)}\ngroups:\n  - {name: a, "
        "segments: [a]}\n"
    )
    assert [(error.line, error.message) for error in found.errors] == [
        (3, "the name is taken"),
        (5, "the name is taken"),
    ]
    assert [segment.source for segment in found.segments] == ["any(click)"]


@pytest.mark.parametrize("length", [1, 2, 3, 50, 400])
def test_circles(length: int) -> None:
    items = "".join(f"  - {{name: s{i}, when: 'segment(\"s{(i + 1) % length}\")'}}\n" for i in range(length))
    found = load(f"segments:\n{items}  - {{name: good, when: any(click)}}\n")
    assert [segment.name for segment in found.segments] == ["good"]
    assert len(found.errors) == length
    assert all("refers to itself" in error.message for error in found.errors)


def test_a_long_line_of_references_is_no_circle() -> None:
    items = "".join(f"  - {{name: s{i}, when: 'segment(\"s{i + 1}\")'}}\n" for i in range(2_000))
    found = load(f"segments:\n{items}  - {{name: s2000, when: any(click)}}\n")
    assert not found.errors
    engine = Engine(compile_plan(found, OPTIONS), OPTIONS)
    state = engine.new_state("u")
    assert len(engine.apply(state, Event("u", 1_793_577_600_000, "click", 1, "e", True, {}), 0)) == 2_001


def test_a_long_line_that_leads_nowhere() -> None:
    found = load("segments:\n" + "".join(f"  - {{name: s{i}, when: 'segment(\"s{i + 1}\")'}}\n" for i in range(1_000)))
    assert not found.segments
    assert len(found.errors) == 1_000
    assert found.errors[0].found == 'segment("s1000")'


def test_many_names_that_nobody_has() -> None:
    """Looking for the nearest of two thousand names two thousand times would take minutes."""
    found = load(
        "segments:\n" + "".join(f"  - {{name: s{i}, when: 'segment(\"t{i}\") and any(click)'}}\n" for i in range(2_000))
    )
    assert len(found.errors) == 2_000
    assert sum(bool(error.hint) for error in found.errors) <= 20


def test_a_knot_of_circles() -> None:
    """Each of 120 segments refers to every seventh: all are refused, each with a way round that is
    short enough to read."""
    refs = {i: " or ".join(f'segment("s{(i + j) % 120}")' for j in range(1, 120, 7)) for i in range(120)}
    found = load("segments:\n" + "".join(f"  - {{name: s{i}, when: '{text}'}}\n" for i, text in refs.items()))
    assert len(found.errors) == 120
    assert all(
        len(error.found) < 100 and error.found.split(" → ")[0] == error.found.split(" → ")[-1] for error in found.errors
    )


def test_many_definitions() -> None:
    found = load("segments:\n" + "".join(f"  - {{name: s{i}, when: any(clik)}}\n" for i in range(2_000)))
    assert len(found.errors) == 2_000
    assert all(error.hint == '"click"' for error in found.errors)
