"""What a test does when something outside it is not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def absent(what: str) -> NoReturn:
    """Skips the test with a reason; in CI, where everything must be there, fails it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} (CI must have it)", pytrace=False)
    pytest.skip(what)


def shared_data(name: str) -> Path:
    """The path of a real shop log beside the repository."""
    path = DATA / name
    if not path.is_file():
        absent(f"the shop log {name} is not in ../shared/data")
    return path
