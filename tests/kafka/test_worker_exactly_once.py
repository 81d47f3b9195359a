"""The promise, compared: whatever happens to workers, the changes are those of `hyperseg
replay`, each once."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from app.streaming.process import now_ms
from tests.support.workers import Cluster, assert_same, by_id, cluster, replayed, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]


async def die_three_times(made: Cluster, changes: int, disk: Path, disk_lost_in: int) -> None:
    """The only worker is killed each time it has made so many changes more; in one round its
    disk goes too."""
    for round_ in range(3):
        worker = made.start("a")
        await until(lambda n=round_: made.has_changes(changes * (n + 1)), 60, worker.log)
        worker.kill()
        if round_ == disk_lost_in:
            shutil.rmtree(disk)


async def test_a_worker_is_killed_in_the_middle_of_its_work(kafka: str, shop_log: Path, tmp_path: Path) -> None:
    # Small commits make the middle long enough to die in.
    with cluster(kafka, tmp_path, commit_events=40, commit_interval="5ms") as made:
        await made.load(shop_log)
        started = now_ms()
        made.start("a")
        victim = made.start("b")
        await until(lambda: made.has_changes(1_500), 60, made.logs)
        victim.kill()
        await asyncio.sleep(1)
        made.start("b")
        found = await made.quiet()
    assert_same(by_id(found, started), replayed(shop_log, made.segments, tmp_path / "replay.jsonl", started))
    seqs: dict[str, int] = {}
    # Within a partition in the order of the log: each user's changes without a gap.
    for change in found:
        assert change["seq"] == seqs.get(change["user_id"], 0) + 1
        seqs[change["user_id"]] = change["seq"]


async def test_everybody_dies_and_the_disk_is_lost(kafka: str, shop_log: Path, tmp_path: Path) -> None:
    with cluster(kafka, tmp_path, commit_events=40, commit_interval="5ms") as made:
        await made.load(shop_log)
        started = now_ms()
        await die_three_times(made, 1_000, tmp_path / "a", disk_lost_in=1)
        made.start("a")
        found = await made.quiet()
    assert_same(by_id(found, started), replayed(shop_log, made.segments, tmp_path / "replay.jsonl", started))


async def test_sigterm_loses_nothing_and_is_quick(kafka: str, shop_log: Path, tmp_path: Path) -> None:
    with cluster(kafka, tmp_path, commit_events=40, commit_interval="5ms") as made:
        await made.load(shop_log)
        started = now_ms()
        worker = made.start("a")
        await until(lambda: made.has_changes(1_000), 60, worker.log)
        began = time.monotonic()
        assert worker.terminate() == 0
        assert time.monotonic() - began < 15
        made.start("a")
        found = await made.quiet()
    assert_same(by_id(found, started), replayed(shop_log, made.segments, tmp_path / "replay.jsonl", started))


async def test_at_least_once_may_repeat_but_never_differs(kafka: str, shop_log: Path, tmp_path: Path) -> None:
    with cluster(kafka, tmp_path, guarantee="at_least_once", commit_events=40, commit_interval="5ms") as made:
        await made.load(shop_log)
        started = now_ms()
        await die_three_times(made, 1_500, tmp_path / "a", disk_lost_in=0)
        made.start("a")
        found = await made.quiet()
    once = {change["change_id"]: change for change in found}
    for change in found:
        assert {**change, "emitted_at": 0} == {**once[change["change_id"]], "emitted_at": 0}
    assert_same(
        by_id(list(once.values()), started), replayed(shop_log, made.segments, tmp_path / "replay.jsonl", started)
    )
