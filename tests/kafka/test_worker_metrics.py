"""What a worker says of itself to Prometheus, on a real broker, compared with what is so."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest

from app.streaming.process import now_ms
from tests.support.kafka import produce
from tests.support.metrics import Samples, declared, scraped, total
from tests.support.workers import Process, cluster, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(180)]
EVENTS, BAD = 40_000, 7


async def read(worker: Process) -> dict[str, Samples]:
    return scraped((await worker.get("/metrics")).text)


async def test_lag_watermark_and_what_is_refused_are_the_truth(kafka: str, tmp_path: Path) -> None:
    """A worker that begins with work before it says how much is left, and in the silence
    afterwards that time passes."""
    segments = tmp_path / "segments"
    segments.mkdir()
    (segments / "a.yaml").write_text(
        "segments:\n  - {name: busy, when: 'count(click, last 1h) >= 3'}\n  - {name: wrong, when: 'cuont(click) > 3'}\n"
    )
    with cluster(kafka, tmp_path) as made:
        made.segments = segments
        await made.create_topics()
        began = now_ms()
        records = [
            (
                b"u%d" % (n % 997),
                orjson.dumps({"user_id": f"u{n % 997}", "event_id": f"e{n}", "ts": began - 1_000 + n // 100}),
            )
            for n in range(EVENTS)
        ]
        await produce(made.bootstrap, made.topic("clicks"), [*records, *[(b"u", b"{no json")] * BAD])
        worker = made.start()
        lags = [lag async for lag in _until_read(worker)]
        assert max(lags) > 0
        found = await read(worker)
        assert declared() - set(found) == set()
        assert {name for name in found if name.startswith("hyperseg_")} <= declared()
        assert total(found["hyperseg_dead_letters"]) == BAD
        assert total(found["hyperseg_changes"]) == 997
        assert total(found["hyperseg_definitions"]) == 1
        assert total(found["hyperseg_definitions_refused"]) == 1
        assert [value for _, value in found["hyperseg_partition_restarts"].items()] == [1.0] * 4
        started = re.sub(
            r"\x1b\[[0-9;]*m", "", next(line for line in worker.log().splitlines() if "worker started" in line)
        )
        assert {"segments=1", "groups=0", "refused=1"} <= set(started.split())
        await _time_passes_in_silence(worker)


async def _until_read(worker: Process) -> AsyncIterator[float]:
    """The lags that were said until all is committed; each is what was not processed yet at that
    moment."""
    await until(lambda: _at_work(worker), 60, worker.log)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = await read(worker)
        lag, events, letters = (total(found[f"hyperseg_{name}"]) for name in ("lag_records", "events", "dead_letters"))
        # What is committed was processed before; a partition that is not at work yet says
        # nothing of itself.
        assert events + letters + lag <= EVENTS + BAD
        yield lag
        if events == EVENTS and letters == BAD:
            assert lag == 0
            return
        await asyncio.sleep(0.02)
    raise AssertionError(worker.log())


async def _at_work(worker: Process) -> bool:
    try:
        return bool((await read(worker))["hyperseg_lag_records"])
    except httpx.TransportError:
        return False


async def _time_passes_in_silence(worker: Process) -> None:
    """Nobody sends anything: every watermark stays close behind the clock, though it is far from
    the last event."""
    await asyncio.sleep(3)
    before = total((await read(worker))["hyperseg_commit_seconds"], "_count")
    await asyncio.sleep(3)
    found = await read(worker)
    assert total(found["hyperseg_commit_seconds"], "_count") == before
    behind = [now_ms() / 1000 - watermark for watermark in found["hyperseg_watermark_seconds"].values()]
    assert len(behind) == 4
    assert max(behind) < 3
