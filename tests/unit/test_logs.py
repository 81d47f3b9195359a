"""Logs: text or JSON on stderr, at the level asked for, from structlog and the standard library
alike."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app.observability.logs import configure_logs, get_logger


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", as_json=True)
    get_logger("app.x").info("recovered", partition=3)
    logging.getLogger("other").warning("told by %s", "a library")
    get_logger("app.x").debug("not said")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["event"], first["partition"], first["level"], first["logger"]) == ("recovered", 3, "info", "app.x")
    assert (second["event"], second["level"]) == ("told by a library", "warning")
    assert first["timestamp"].endswith("Z")


def test_text_and_exceptions(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("warning")
    try:
        raise ValueError("bad")
    except ValueError:
        get_logger("app.x").exception("failed", record=7)
    said = capsys.readouterr().err
    assert "failed" in said
    assert "record=7" in said
    assert "ValueError: bad" in said


def test_chatty_libraries_are_heard_only_when_they_warn(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info")
    logging.getLogger("aiokafka.consumer").info("joined")
    logging.getLogger("aiokafka.consumer").warning("left")
    said = capsys.readouterr().err
    assert "left" in said
    assert "joined" not in said
