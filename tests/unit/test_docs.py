"""The pages are true: every example of the definitions' page runs, every construct of the language
has one, and what is named exists.

Blocks of docs/segments.md, by what stands behind the fence: `yaml` definitions that load · `yaml
test` a case · `json change` the first change of the case before · `yaml wrong` and a `text` block
with its error · `yaml cases` definitions and a test file of theirs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import yaml
from lark import Token

from app.domain import limits
from app.domain.changes import Change
from app.domain.options import EngineOptions
from app.rules import definitions as loading
from app.rules import parser
from app.rules.ast import Window, nodes
from app.rules.definitions import load_text
from app.rules.model import Definitions
from app.rules.plan import Plan, compile_plan
from app.testing import Driver
from app.testing.cases import OwnCase, read_own, read_text
from app.testing.running import drive, run_case

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "segments.md"
OPTIONS = EngineOptions()
WINDOWS = {"ever", "last", "today", "this week", "this month", "session", "range"}
COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}
TEXT_OPERATORS = {"contains", "starts_with", "ends_with"}
UNITS = {"ms", "s", "m", "h", "d", "w"}


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, what stands behind the fence, its text."""

    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"line-{self.line}"


def blocks(page: Path = PAGE) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w[^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(text.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in found]


BLOCKS = blocks()
TESTS = [block for block in BLOCKS if block.kind == "yaml test"]


def following(kind: str, after: str) -> list[tuple[Block, Block]]:
    """Blocks of a kind, each with the one of `after` that stands before it."""
    return [
        (BLOCKS[i - 1], block) for i, block in enumerate(BLOCKS) if block.kind == kind and BLOCKS[i - 1].kind == after
    ]


def case_of(block: Block) -> OwnCase:
    return read_own(block.text, str(block), OPTIONS)[0]


def plan_of(case: OwnCase) -> Plan:
    return compile_plan(loaded(case.definitions, case.options), case.options)


def loaded(text: str, options: EngineOptions = OPTIONS) -> Definitions:
    found = load_text(text, options, PAGE.name)
    assert [str(error) for error in found.errors] == []
    return found


@pytest.mark.parametrize("block", TESTS, ids=str)
def test_example(block: Block) -> None:
    case = case_of(block)
    assert run_case(plan_of(case), case).diff == ()


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind == "yaml"], ids=str)
def test_definitions_load(block: Block) -> None:
    assert loaded(block.text).segments


@pytest.mark.parametrize(("before", "block"), following("json change", "yaml test"), ids=str)
def test_the_change_is_as_shown(before: Block, block: Block) -> None:
    case = case_of(before)
    driver = Driver(plan_of(case), case.options)
    drive(driver, case.steps, case.until)
    change = msgspec.to_builtins(driver.changes[0])
    shown = json.loads(block.text)
    assert {**change, "emitted_at": shown["emitted_at"]} == shown
    assert list(shown) == [field.encode_name for field in msgspec.structs.fields(Change)], (
        "in the order in which it is written"
    )


@pytest.mark.parametrize(("before", "block"), following("text", "yaml wrong"), ids=str)
def test_the_error_is_as_shown(before: Block, block: Block) -> None:
    errors = load_text(before.text, OPTIONS, "segments/mine.yaml").errors
    assert " ".join(str(errors[0]).split()) == " ".join(block.text.split())


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind == "yaml cases"], ids=str)
def test_a_test_file_runs(block: Block) -> None:
    definitions, _, cases = block.text.partition("\n---\n")
    for case in read_text(cases, PAGE.name, OPTIONS):
        assert run_case(compile_plan(loaded(definitions), case.options), case).diff == ()


def test_every_block_is_of_a_known_kind() -> None:
    assert {block.kind for block in BLOCKS} == {"yaml", "yaml test", "json change", "yaml wrong", "text", "yaml cases"}
    assert len(following("json change", "yaml test")) == 1
    assert len(following("text", "yaml wrong")) == sum(block.kind == "text" for block in BLOCKS)


# --- every construct has an example that runs ---------------------------------------------------


def examples() -> Iterator[str]:
    """The conditions of the cases."""
    for block in TESTS:
        for segment in yaml.safe_load(case_of(block).definitions)["segments"]:
            yield from (segment[key] for key in ("when", "exit_when") if key in segment)


EXAMPLES = list(examples())


def test_every_function_has_an_example() -> None:
    called = {name for text in EXAMPLES for name in re.findall(r"(\w+)\(", text)}
    assert set(parser.FUNCTIONS) - called == set()
    assert any("profile." in text for text in EXAMPLES)


def test_every_rule_of_the_grammar_has_an_example() -> None:
    grammar = parser._lark()
    named = {rule.alias or rule.origin.name for rule in grammar.rules}
    rules = {name for name in named if not name.startswith("_")} - {"start"}
    seen = {str(tree.data) for text in EXAMPLES for tree in grammar.parse(text).iter_subtrees()}
    assert rules - seen == set()


def test_every_operator_and_unit_has_an_example() -> None:
    tokens = {
        (token.type, str(token)) for text in EXAMPLES for token in parser._lark().parse(text).scan_values(is_token)
    }
    assert {text for kind, text in tokens if kind == "COMPARE"} == COMPARISONS
    assert {text for kind, text in tokens if kind == "TEXT_OP"} == TEXT_OPERATORS
    written = PAGE.read_text(encoding="utf-8")
    assert all(re.search(rf"`\d+{unit}`", written) for unit in UNITS)


def is_token(part: object) -> bool:
    return isinstance(part, Token)


def test_every_window_has_an_example() -> None:
    kinds = {
        node.window.kind
        for text in EXAMPLES
        for node in nodes(parser.parse(text))
        if isinstance(getattr(node, "window", None), Window)
    }
    assert kinds == WINDOWS


def test_every_key_is_explained() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert [key for key in loading._SEGMENT_KEYS if f"`{key}`" not in written] == []
    used = {key for block in BLOCKS if block.kind.startswith("yaml") for key in re.findall(r"(\w+):", block.text)}
    assert {*loading._SEGMENT_KEYS, *loading._GROUP_KEYS, "segments", "groups"} - used == set()


def test_every_limit_is_as_shown() -> None:
    shown = re.findall(r"`([A-Z_]+_MAX|MAX_POINTS)` ([\d,]+)", PAGE.read_text(encoding="utf-8"))
    assert len(shown) >= 10
    assert {name: getattr(limits, name) for name, _ in shown} == {
        name: int(number.replace(",", "")) for name, number in shown
    }


# --- the other pages ----------------------------------------------------------------------------


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_every_path_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"\b(?:app|agents|tables|tests|segments/packs)(?:/[\w.]*\w)+", text) + re.findall(
        r"\]\((\w[\w/.]*\.md)\)", text
    )
    assert [name for name in named if not (ROOT / name).exists() and not (page.parent / name).exists()] == []


def test_every_package_has_its_line() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = [path for top in ("app", "agents", "tables") for path in (ROOT / top).glob("**/__init__.py")]
    packages = {path.parent.relative_to(ROOT).as_posix() for path in files} - {"app"}
    assert [name for name in sorted(packages) if f"`{name}`" not in text] == []


def test_every_pack_has_its_line() -> None:
    text = (ROOT / "docs" / "packs.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "segments" / "packs").iterdir() if f"| `{path.name}` |" not in text] == []
