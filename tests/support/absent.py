"""What a test does when something outside the repository is not there.

Two kinds of things can be missing. What the tests need (Java, Maven, Kafka, Chromium) `absent`
speaks of: CI must have it. What only adds runs (the real shop logs of ../shared/data)
`shared_data` speaks of: nobody must.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def absent(what: str) -> NoReturn:
    """Skips the test with a reason; in CI, where everything the tests need must be there, fails
    it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} (CI must have it)", pytrace=False)
    pytest.skip(what)


def shared_data(name: str) -> Path:
    """The path of a real shop log beside the repository; skips the test where it is not there,
    in CI too.

    Tests that call this are marked `shared_data`: they repeat, on real events, what another run
    shows everywhere.
    """
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"the real shop log {name} is not in ../shared/data; the simulated log is tested everywhere")
    return path
