"""Shop logs under all packs: the changes are the same, byte for byte, whether users are replayed
one by one or share partitions.

A simulated log always; the real ones where ../shared/data has them. The large log is cut to its
first 40,000 lines (to fewer for all but one number of partitions) unless HYPERSEG_WHOLE_LOGS is
set.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest

from app.domain.changes import Change, encode_change
from app.domain.events import Event
from app.domain.limits import DAY_MS
from app.domain.options import EngineOptions
from app.offline.log import Log, read_log
from app.offline.replay import replay
from app.rules.definitions import load_texts
from app.rules.plan import Plan, compile_plan
from app.testing import Driver, WorkerOptions
from tests.support.absent import shared_data
from tests.support.logs import real, write_log

PACKS = Path(__file__).resolve().parents[2] / "segments" / "packs"
OPTIONS = EngineOptions()
BUSY = WorkerOptions(fetch=1_000, commit_every=100, cache_entries=500)
WHOLE = bool(os.environ.get("HYPERSEG_WHOLE_LOGS"))
SIMULATED, OTTO, ROCKET, RETAIL = "simulated", "otto.jsonl.gz", "retailrocket.jsonl.gz", "online_retail.jsonl.gz"
WHOLE_LINES = {SIMULATED: 17_857, OTTO: 862, ROCKET: 9_385, RETAIL: 406_829}
CHANGES_MIN = {SIMULATED: 14_000, OTTO: 300, ROCKET: 10_000, RETAIL: 2_000}


def run(name: str, partitions: int, lines: int) -> Any:
    """A run of a log's first lines; of a real log with its mark."""
    return pytest.param(name, partitions, lines) if name == SIMULATED else real(name, partitions, lines)


RUNS = [
    run(name, partitions, lines)
    for name, lines in WHOLE_LINES.items()
    for partitions in (1, 2, 7)
    if WHOLE or name != RETAIL
]
RUNS += [] if WHOLE else [run(RETAIL, 1, 6_000), run(RETAIL, 2, 6_000), run(RETAIL, 7, 40_000)]
DISORDERED = [pytest.param(SIMULATED), real(ROCKET), *([real(OTTO)] if WHOLE else [])]


@cache
def plan() -> Plan:
    files = [path for path in sorted(PACKS.glob("*/*.yaml")) if ".test." not in path.name]
    return compile_plan(load_texts([(path.name, path.read_text(encoding="utf-8")) for path in files], OPTIONS), OPTIONS)


@cache
def cut_of(name: str, lines: int, folder: Path) -> Path:
    """An event file of the log's first lines, as they lie."""
    cut = folder / f"{lines}-{name.removesuffix('.gz')}"
    if name == SIMULATED:
        return write_log(cut)
    with gzip.open(shared_data(name)) as whole, cut.open("wb") as file:
        file.writelines(islice(whole, lines))
    return cut


@cache
def log_of(name: str, lines: int, folder: Path) -> Log:
    """The log's first lines, in the order of time."""
    log = read_log([str(cut_of(name, lines, folder))], OPTIONS.streams)
    assert not log.refused
    assert log.count == lines
    return log


@cache
def replayed(name: str, lines: int, folder: Path) -> tuple[str, int]:
    changes = replay(plan(), OPTIONS, log_of(name, lines, folder)).changes
    return digest(changes), len(changes)


def digest(changes: Iterable[Change]) -> str:
    """Of all change lines in the order of replay, `emitted_at` aside."""
    found = blake2b(digest_size=16)
    for change in sorted(changes, key=lambda change: (change.at, change.user_id, change.seq)):
        found.update(encode_change(change, 0) + b"\n")
    return found.hexdigest()


def in_time(log: Log) -> Iterator[Event]:
    """Every user's events, merged; a user's own stay in their order."""
    yield from sorted(chain.from_iterable(log.users.values()), key=lambda event: (event.ts, event.rank))


@pytest.fixture(scope="session")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.mark.slow
@pytest.mark.timeout(3_600 if WHOLE else 600)
@pytest.mark.parametrize(("name", "partitions", "lines"), RUNS)
def test_partitions_change_nothing(name: str, partitions: int, lines: int, cuts: Path) -> None:
    log = log_of(name, lines, cuts)
    drivers = [Driver(plan(), OPTIONS, BUSY) for _ in range(partitions)]
    for event in in_time(log):
        drivers[zlib.crc32(event.user.encode()) % partitions].send(event)
    for driver in drivers:
        driver.advance(to=log.last)
    changes = [change for driver in drivers for change in driver.changes]
    expected, count = replayed(name, lines, cuts)
    assert len(changes) == count
    assert digest(changes) == expected
    assert count >= CHANGES_MIN[name], "a log that hardly changes anything shows little"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", DISORDERED)
def test_a_log_in_its_own_disorder_ends_alike(name: str, cuts: Path) -> None:
    """These logs are not sorted by time. Fed as they lie, many events are late; in the end
    everybody is where the right order puts them."""
    lines = WHOLE_LINES[name]
    log = log_of(name, lines, cuts)
    options = replace(OPTIONS, allowed_lateness_ms=400 * DAY_MS, reorder_events_max=10_000)
    driver = Driver(plan(), options, BUSY)
    driver.feed(*cut_of(name, lines, cuts).read_bytes().splitlines())
    driver.advance(to=log.last)
    members: dict[str, list[str]] = {}
    for user in driver.users():
        for key in driver.state(user).members:
            members.setdefault(key, []).append(user)
    assert driver.refused == []
    assert any(change.late for change in driver.changes)
    expected = replay(plan(), OPTIONS, log).members
    assert {key: sorted(users) for key, users in members.items()} == {
        key: sorted(users) for key, users in expected.items()
    }
