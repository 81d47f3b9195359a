"""The command line's manners: quick help, one line an error, exit codes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer

from app import cli
from app.domain.errors import DefinitionError, InputError, Unreachable, UsageError

HEAVY = {"faust", "aiokafka", "confluent_kafka", "rocksdict", "fastapi", "pydantic", "httpx", "lark", "uvicorn"}


def _with(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> typer.Typer:
        app = typer.Typer(rich_markup_mode=None)
        app.callback()(lambda: None)
        app.command("verb")(command)
        return app

    monkeypatch.setattr(cli, "build", build)


def test_help_lists_the_commands_and_imports_nothing_heavy() -> None:
    script = (
        "import sys; from app.cli import run; code = run(['--help']); print(code, "
        "*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    code, *modules = done.stderr.split()
    assert code == "0"
    assert {"broker", "simulate", "send"} <= set(done.stdout.split())
    assert HEAVY & set(modules) == set()


def test_nothing_at_all_shows_the_help_as_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 2
    assert capsys.readouterr().err.startswith("Usage: hyperseg")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hyperseg 0.")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a.jsonl:3: not JSON\nsecond line"), 1),
        (DefinitionError("x"), 1),
        (UsageError("u"), 2),
        (Unreachable("b"), 3),
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def verb() -> None:
        raise error

    _with(verb, monkeypatch)
    assert cli.run(["verb"]) == code
    said = capsys.readouterr().err
    assert said.startswith("hyperseg: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("arguments", [["nope"], ["verb", "--nope"], ["verb", "--number", "x"]])
def test_usage_errors_end_with_2(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def verb(number: int = 0) -> None:
        raise AssertionError(number)

    _with(verb, monkeypatch)
    assert cli.run(arguments) == 2
    said = capsys.readouterr().err
    assert "see hyperseg --help" in said
    assert said.count("\n") == 1


def test_a_command_may_choose_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def verb() -> None:
        raise typer.Exit(1)

    _with(verb, monkeypatch)
    assert cli.run(["verb"]) == 1


def test_ctrl_c_says_nothing_and_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def verb() -> None:
        raise KeyboardInterrupt

    _with(verb, monkeypatch)
    assert cli.run(["verb"]) == 130
    assert capsys.readouterr().err == ""


def test_a_wrong_setting_is_a_usage_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSEG_PARTITION", "3")
    assert cli.run(["broker"]) == 2
    assert "HYPERSEG_PARTITION: no such setting; did you mean HYPERSEG_PARTITIONS?" in capsys.readouterr().err
