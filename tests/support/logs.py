"""The shop logs that tests run on.

simulated_log   four months of a simulated shop, the same bytes on every machine, as its events
                reach a log: some sent twice, many late, so not sorted by time
shop_log        a test that takes this one runs on `simulated_log`, always, and once more on a
                real log where ../shared/data has it (that run is marked `shared_data`)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.simulate.noise import NoiseOptions, records
from app.simulate.run import to_file
from app.simulate.shop import ShopOptions, events
from tests.support.absent import shared_data

ROCKET = "retailrocket.jsonl.gz"
SEED = 7
# 2020-01-06: long ago on every clock, so that no worker takes an event for one from the future.
# Few events a day and many users: windows of days and weeks run out between visits, so that most
# changes are made by timers.
SHOP = ShopOptions(users=4_000, rate=0.0015, seed=SEED, start=1_578_268_800_000, hours=24 * 120)
DISORDER = NoiseOptions(duplicates=0.02, late=0.25)


def write_log(path: Path) -> Path:
    """Writes the simulated log as an event file; gives the path."""
    with path.open("wb") as out:
        to_file(records(events(SHOP), DISORDER, SEED), out)
    return path


def real(name: str, *values: Any) -> Any:
    """A parameter (the log's name, then `values`) of a test that runs on a real log, with the
    mark it needs."""
    return pytest.param(name, *values, marks=pytest.mark.shared_data)


@pytest.fixture(scope="session")
def simulated_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("simulated") / "shop.jsonl")


@pytest.fixture(params=["simulated", real(ROCKET)])
def shop_log(request: pytest.FixtureRequest, simulated_log: Path) -> Path:
    return simulated_log if request.param == "simulated" else shared_data(request.param)
