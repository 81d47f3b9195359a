"""What the pages say of the rest of the repository is there: commands, links, metrics, log events,
guards."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
import yaml

from app import cli
from tests.mutants.mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")
FOLDERS = re.compile(
    r"(?<![\w/])(?:app|agents|tables|tests|docs|segments|docker|\.ci|\.github)(?:/[\w.-]*\w)+"
)  # paths in the prose of a page
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES = sorted([*TOP, *DOCS.rglob("*.md")])


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# --- commands -----------------------------------------------------------------------------------


def command_lines() -> Iterator[tuple[str, str]]:
    """(page, command line) of every `hyperseg VERB …` in a code block or between backticks."""
    for page in PAGES:
        blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL)
        lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]
        lines += re.findall(r"`(hyperseg [^`]+)`", text(page))
        for line in lines:
            yield from ((named(page), found.strip()) for found in re.findall(r"\bhyperseg [a-z][^|;&]*", line))


COMMANDS = sorted(set(command_lines()))


def flags(words: list[str]) -> set[str]:
    """The flags of a command, found as the shell's words lead to it."""
    command = typer.main.get_command(cli.build())
    for word in words:
        below = getattr(command, "commands", None)
        if below is None:
            break
        assert word in below, f"there is no command {word}"
        command = below[word]
    return {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_command_that_is_shown_exists_with_its_flags(page: str, line: str) -> None:
    words = line.split()[1:]
    known = flags(words) | {"--help"}
    assert [word for word in words if word.startswith("--") and word.partition("=")[0] not in known] == []


def test_commands_are_found_in_the_pages() -> None:
    shown = {line.split()[1] for _, line in COMMANDS}
    assert shown >= {"check", "test", "replay", "explain", "simulate", "send", "broker", "worker"}


# --- links --------------------------------------------------------------------------------------


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in LINK.findall(text(page)):
            if "://" not in target:
                yield page, target


@pytest.mark.parametrize(("page", "target"), sorted({(named(page), target) for page, target in links()}))
def test_a_link_leads_somewhere(page: str, target: str) -> None:
    assert ((ROOT / page).parent / target).exists()


@pytest.mark.parametrize("page", [*TOP, *sorted((DOCS / "decisions").glob("*.md"))], ids=named)
def test_every_path_that_is_named_exists(page: Path) -> None:
    found = FOLDERS.findall(LINK.sub("", text(page)))
    assert [path for path in found if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", sorted(path for path in DOCS.rglob("*.md") if path != DOCS / "README.md"), ids=named)
def test_the_index_lists_every_page(page: Path) -> None:
    assert f"]({page.relative_to(DOCS).as_posix()})" in text(DOCS / "README.md")


@pytest.mark.parametrize("page", sorted((DOCS / "decisions").glob("*.md")), ids=named)
def test_a_decision_says_why_and_what_would_change_it(page: Path) -> None:
    headings = re.findall(r"^## (.*)$", text(page), re.MULTILINE)
    assert headings == ["Context", "Decision", "Measured", "Consequences", "What would change our mind"]
    assert re.match(r"\d{4}-[a-z0-9-]+\.md", page.name)


def test_each_version_says_what_must_be_rebuilt() -> None:
    versions = re.split(r"^## ", text(ROOT / "CHANGELOG.md"), flags=re.MULTILINE)[1:]
    assert versions
    for version in versions:
        assert re.match(r"\d+\.\d+\.\d+ \((unreleased|\d{4}-\d\d-\d\d)\)\n", version)
        headings = re.findall(r"^### (.*)$", version, re.MULTILINE)
        assert headings[-1] == "State and topics"
        assert set(headings) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "State and topics"}


# --- metrics and log events ---------------------------------------------------------------------


class Metric(NamedTuple):
    """As Prometheus shows it: a counter's name ends in _total."""

    name: str
    kind: str
    labels: tuple[str, ...]


class LogEvent(NamedTuple):
    """As the log shows it; of a text that is put together, what stands before the first part that
    changes."""

    level: str
    event: str


KINDS = {
    "Counter": "counter", "Gauge": "gauge", "Histogram": "histogram", "Summary": "summary",
    "CounterMetricFamily": "counter", "GaugeMetricFamily": "gauge",
}  # fmt: skip
LEVELS = ("info", "warning", "error", "exception", "critical")


def calls() -> Iterator[ast.Call]:
    for top in ("app", "agents", "tables"):
        for path in sorted((ROOT / top).rglob("*.py")):
            yield from (node for node in ast.walk(ast.parse(text(path))) if isinstance(node, ast.Call))


def declared_metrics() -> Iterator[Metric]:
    """Every metric that the code makes: a call of a class of prometheus_client whose name begins
    with hyperseg_."""
    for call in calls():
        kind = KINDS.get(call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", ""))
        if kind is None or not call.args or not isinstance(call.args[0], ast.Constant):
            continue
        name = str(call.args[0].value)
        if name.startswith("hyperseg_"):
            given = [*call.args[2:3], *(word.value for word in call.keywords if word.arg in ("labelnames", "labels"))]
            labels = [str(item.value) for item in getattr(given[0], "elts", [])] if given else []
            shown = f"{name.removesuffix('_total')}_total" if kind == "counter" else name
            yield Metric(shown, kind, tuple(labels))


def declared_events() -> Iterator[LogEvent]:
    """Every line from info up that a logger of the code is given, whatever it calls its logger."""
    for call in calls():
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in LEVELS or not call.args:
            continue
        of = call.func.value
        logger = of.id if isinstance(of, ast.Name) else getattr(of, "attr", "")
        if logger.lstrip("_") in ("log", "logger") and isinstance(call.args[0], ast.Constant):
            yield LogEvent("error" if call.func.attr == "exception" else call.func.attr, str(call.args[0].value))


def rows(heading: str, page: Path = DOCS / "observability.md") -> list[list[str]]:
    """The cells of the table below a heading of the page, its head left out."""
    section = text(page).split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    body = [line for line in lines if not re.match(r"\|[-| ]+\|$", line)][1:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in body]


def test_each_metric_stands_on_the_page_and_each_of_the_page_exists() -> None:
    shown = [Metric(row[0].strip("`"), row[1], tuple(re.findall(r"`(\w+)`", row[2]))) for row in rows("Metrics")]
    assert sorted(shown) == sorted(declared_metrics())
    assert len(shown) >= 14


def test_each_log_event_stands_on_the_page_and_each_of_the_page_exists() -> None:
    shown = {LogEvent(row[0], row[1].strip("`")) for row in rows("Log events")}
    assert shown == set(declared_events())
    assert len(shown) >= 20


# --- what guards what ---------------------------------------------------------------------------


def test_the_table_of_guards_says_where_mistakes_are_planted() -> None:
    """A row names files or folders; each mistake lies in a row that says so, and each row that says
    so has one."""
    table = rows("What guards what", DOCS / "architecture.md")
    planted = [(re.findall(r"`([^`]+)`", row[0]), row[3] == "yes") for row in table]
    covered = {place for places, yes in planted if yes for place in places}
    files = {Path(mutation.file) for mutation in MUTATIONS}
    assert {str(file) for file in files if not {file.as_posix(), *map(Path.as_posix, file.parents)} & covered} == set()
    struck = {place for place in covered if any(file.is_relative_to(place) for file in files)}
    assert [places for places, yes in planted if yes and not struck & set(places)] == []
    assert len(planted) >= 20


# --- what others run ----------------------------------------------------------------------------


def test_the_hosted_gate_is_the_gate() -> None:
    workflow = yaml.safe_load(text(ROOT / ".github/workflows/ci.yml"))
    assert any(step.get("run") == ".ci/run" for job in workflow["jobs"].values() for step in job["steps"])


def test_before_a_commit_runs_what_make_lint_runs() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", text(ROOT / "Makefile"), re.MULTILINE)
    assert recipe is not None
    linted = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]
    (repository,) = yaml.safe_load(text(ROOT / ".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local", "nothing is fetched"
    assert [hook["entry"] for hook in repository["hooks"]] == linted


def test_make_help_names_every_target() -> None:
    makefile = text(ROOT / "Makefile")
    (declared,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    targets = set(declared.split()) - {"help", "system"}
    assert targets - set(re.findall(r"\bmake (\w+)", makefile.partition("\nSHELL")[0])) == set()
