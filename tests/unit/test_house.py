"""The repository lints itself: what ruff, mypy and the import contracts do not see."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support import settings_page

ROOT = Path(__file__).resolve().parents[2]
LINES_MAX = 600  # a parser may be long; past this no file owns one thing
LINES_USUAL = 300  # what nine files of ten stay under
PROSE_MAX = 100
ENVIRONMENT = {"app/settings/settings.py"}
THIS = Path(__file__).relative_to(ROOT).as_posix()


def _tracked() -> list[str]:
    """Every file of the repository, as git knows it; every file there is where this is no
    checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    hidden = (".venv", ".git", "__pycache__", "data")
    return [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*")
        if path.is_file() and not set(hidden) & set(path.parts)
    ]


TRACKED = _tracked()
SOURCES = [name for name in TRACKED if name.endswith(".py") and name.split("/")[0] in ("app", "agents", "tables")]
TEXTS = [
    name
    for name in TRACKED
    if Path(name).suffix in {".py", ".md", ".toml", ".yaml", ".yml", ".html", ".css", ".lark", ".json", ""}
]


def _text(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_file_owns_one_thing_and_says_which(name: str) -> None:
    text = _text(name)
    assert text.count("\n") <= LINES_MAX
    assert not text or ast.get_docstring(ast.parse(text)), "the file's first line says what it owns"


def test_most_files_are_short() -> None:
    long = [name for name in SOURCES if _text(name).count("\n") > LINES_USUAL]
    assert len(long) <= len(SOURCES) / 10, long


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in ENVIRONMENT])
def test_only_the_settings_read_the_environment(name: str) -> None:
    assert not re.search(r"os\.environ|getenv|environb", _text(name))


def _room(name: str) -> str:
    """What stands in a layer: a package or module right below app, agents and tables as a whole."""
    parts = name.removesuffix(".py").split("/")
    return ".".join(parts[:2]) if parts[0] == "app" else parts[0]


def test_every_package_stands_in_one_layer_and_every_layer_is_there() -> None:
    contracts = tomllib.loads(_text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    placed = [name.strip() for layer in layers for name in re.split(r"[|:]", layer)]
    assert sorted(placed) == sorted({_room(name) for name in SOURCES if name != "app/__init__.py"})


@pytest.mark.parametrize("name", [name for name in TRACKED if name.endswith(".md")])
def test_prose_stands_at_a_hundred_columns(name: str) -> None:
    """Code, tables, links and generated pages are as long as they are."""
    code, long = False, []
    for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1):
        code ^= line.lstrip().startswith("```")
        if len(line) > PROSE_MAX and not code and not line.startswith(("|", "<")) and " " in line[:PROSE_MAX].strip():
            long.append(number)
    assert not long, f"{name}: lines {long}"


def test_nothing_is_left_for_later() -> None:
    left = [
        name
        for name in TRACKED
        if name.endswith((".py", ".md")) and name != THIS and re.search(r"\b(TODO|FIXME|XXX|HACK)\b", _text(name))
    ]
    assert left == []


def test_no_machine_and_no_registry_is_named() -> None:
    """Paths of one machine work nowhere else; the lock alone names where packages come from, and
    only the default."""
    foreign = re.compile(
        r"(?<![\w.:/$}])/(work|root|home/\w+)/|pypi\.org|pythonhosted|repo1?\.maven|registry\.npmjs|deb\.debian"
    )
    named = [name for name in TEXTS if name != THIS and foreign.search(_text(name))]
    assert named == []
    hosts = set(re.findall(r"https://([^/\"]+)", _text("uv.lock")))
    assert {host.split(".", 1)[-1] if host.startswith("files") else host for host in hosts} == {
        "pypi.org",
        "pythonhosted.org",
    }


def test_the_readme_begins_with_what_to_run() -> None:
    first, second = _text("README.md").splitlines()[:2]
    assert first.strip().startswith("make run")
    assert second.strip().startswith("make test")


def test_make_has_every_target_and_ci_calls_them() -> None:
    makefile = _text("Makefile")
    for target in ("run", "test", "lint", "bench", "mutants", "clean"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    ci = _text(".ci/run")
    assert "make test" in ci
    assert "make lint" in ci
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_the_version_is_in_the_changelog_and_the_lock() -> None:
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    assert f"## {project['version']}" in _text("CHANGELOG.md")
    locked = {package["name"]: package for package in tomllib.loads(_text("uv.lock"))["package"]}
    assert locked["hyperseg"]["version"] == project["version"]


def test_the_stream_stack_is_pinned_exactly() -> None:
    dependencies = tomllib.loads(_text("pyproject.toml"))["project"]["dependencies"]
    assert {"faust-streaming==0.15.3", "aiokafka==0.14.0", "mode-streaming==0.7.1", "rocksdict==0.3.29"} <= set(
        dependencies
    )


def test_what_is_said_to_be_used_elsewhere_is_there() -> None:
    """The names that vulture leaves alone: one that is gone from the product would hide the next of
    its name."""
    names = tomllib.loads(_text("pyproject.toml"))["tool"]["vulture"]["ignore_names"]
    sources = "\n".join(_text(name) for name in SOURCES)
    assert [name for name in names if not re.search(rf"\b{re.escape(name)}\b", sources)] == []
    assert len(names) == len(set(names))


def test_every_setting_is_documented() -> None:
    assert settings_page.PAGE.read_text() == settings_page.page(), "run: python -m tests.support.settings_page"
