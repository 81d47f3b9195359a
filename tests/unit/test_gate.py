"""What a run of the tests promises, whatever starts it and whatever lies beside the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import absent
from tests.support.logs import write_log

ROOT = Path(__file__).resolve().parents[2]


def pytest_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest with the repository's settings."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        str(ROOT / "pyproject.toml"),
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=100, check=False)


@pytest.mark.slow
def test_a_test_that_hangs_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import asyncio, subprocess, pytest\n"
        "@pytest.mark.timeout(1)\ndef test_waits(): subprocess.run(['sleep', '60'])\n"
        "@pytest.mark.timeout(1)\nasync def test_awaits(): await asyncio.sleep(60)\n"
        "@pytest.mark.parametrize('n', range(6))\ndef test_goes_on(n): pass\n"
    )
    done = pytest_run("-n", "2", "--dist", "loadgroup", "--rootdir", str(tmp_path), str(tmp_path))
    assert "2 failed, 6 passed" in done.stdout, done.stdout
    assert done.stdout.count("Timeout") >= 2


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["kafka", "browser", "xdist_group('demo')"])
def test_tests_that_must_not_run_side_by_side_run_in_one_worker(tmp_path: Path, mark: str) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_collection_modifyitems\n")
    for name in "ab":
        (tmp_path / f"test_{name}.py").write_text(
            "import os, pathlib, time, pytest\n"
            f"@pytest.mark.{mark}\n@pytest.mark.parametrize('n', range(4))\n"
            "def test_it(n):\n    time.sleep(0.1)\n"
            f"    (pathlib.Path({str(tmp_path)!r}) / os.environ['PYTEST_XDIST_WORKER']).touch()\n"
        )
    done = pytest_run("-n", "2", "--dist", "loadgroup", "--rootdir", str(tmp_path), str(tmp_path))
    assert "8 passed" in done.stdout, done.stdout
    assert len(list(tmp_path.glob("gw*"))) == 1


def test_tests_of_ctrl_c_work_in_a_run_that_was_started_to_ignore_it() -> None:
    script = (
        "import signal, subprocess, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); import tests.conftest;"
        "sleeper = subprocess.Popen(['sleep', '60']); sleeper.send_signal(signal.SIGINT); "
        "sys.exit(sleeper.wait(20) != -signal.SIGINT)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60, check=False).returncode == 0


def test_what_the_tests_need_must_be_there_in_ci_and_what_only_adds_runs_need_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(absent, "DATA", tmp_path)
    for ci, outcome in (("true", pytest.fail.Exception), ("", pytest.skip.Exception)):
        monkeypatch.setitem(os.environ, "CI", ci)
        with pytest.raises(outcome, match="java is not on PATH"):
            absent.absent("java is not on PATH")
        with pytest.raises(pytest.skip.Exception, match=r"not in \.\./shared/data"):
            absent.shared_data("shop.jsonl.gz")
    (tmp_path / "shop.jsonl.gz").touch()
    assert absent.shared_data("shop.jsonl.gz") == tmp_path / "shop.jsonl.gz"


def test_nothing_is_skipped_but_for_what_is_not_there() -> None:
    skipping = re.compile(r"pytest\.skip\(|mark\.skip|importorskip|unittest\.skip")
    found = {path.name for path in (ROOT / "tests").rglob("*.py") if skipping.search(path.read_text(encoding="utf-8"))}
    assert found - {Path(__file__).name} == {"absent.py"}


def test_the_simulated_log_is_the_same_everywhere(simulated_log: Path, tmp_path: Path) -> None:
    assert simulated_log.read_bytes() == write_log(tmp_path / "again.jsonl").read_bytes()
    assert len(simulated_log.read_bytes().splitlines()) == 17_857
