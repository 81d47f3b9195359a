"""A worker on the embedded broker: what the demo and whoever has no Java runs on."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from app.streaming.process import now_ms
from tests.support.kafka import produce
from tests.support.workers import Cluster, cluster, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_events_become_changes_and_a_restart_goes_on(embedded: str, tmp_path: Path, guarantee: str) -> None:
    segments = tmp_path / "segments"
    segments.mkdir()
    (segments / "s.yaml").write_text('segments:\n  - {name: often, when: "count(click, last 1h) >= 2"}\n')
    with cluster(embedded, tmp_path, guarantee=guarantee) as made:
        made.segments = segments
        worker = made.start("a")
        await made.until_ready()
        await clicks(made, "one")
        await until(lambda: entered(made, 0), 30, worker.log)
        assert worker.terminate() == 0
        again = made.start("a")
        await clicks(made, "two")
        await until(lambda: entered(made, 10), 60, again.log)
        changes = await made.changes()
    assert sorted(change["user_id"] for change in changes) == sorted(f"u{n}" for n in range(10))


async def clicks(made: Cluster, round_: str) -> None:
    """One click of each of ten users; the second round makes them members. In the first a user
    of its own becomes one."""
    events = [{"user_id": f"u{n}", "event_id": f"{round_}-{n}", "ts": now_ms()} for n in range(10)]
    await produce(made.bootstrap, made.topic("clicks"), [(e["user_id"].encode(), orjson.dumps(e)) for e in events])


async def entered(made: Cluster, count: int) -> bool:
    if count:
        return len(await made.changes()) >= count
    status = [await process.get("/api/status?local=true") for process in made.running if process.alive]
    return all(
        sum(p["users"] or 0 for w in answer.json()["workers"] for p in w["partitions"]) == 10 for answer in status
    )
