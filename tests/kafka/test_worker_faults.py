"""Brokers that go and come back, workers that are frozen while others take over, addresses where
nobody answers."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from app.broker.local import LocalKafka
from app.streaming.process import now_ms
from tests.support.kafka import produce
from tests.support.workers import ROOT, assert_same, by_id, cluster, replayed, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_the_broker_goes_and_comes_back(
    own_kafka: LocalKafka, simulated_log: Path, tmp_path: Path, kill: bool
) -> None:
    with cluster(own_kafka.bootstrap, tmp_path, commit_events=40, commit_interval="5ms") as made:
        await made.load(simulated_log)
        started = now_ms()
        worker = made.start()
        await until(lambda: made.has_changes(1_000), 60, worker.log)
        own_kafka.kill() if kill else own_kafka.stop()
        # Longer than a session, and than a worker stays ready without a word from its broker.
        await asyncio.sleep(14)
        assert worker.alive
        assert not await worker.ready()
        own_kafka.start()
        found = await made.quiet(timeout_s=120)
        assert worker.alive
    assert_same(by_id(found, started), replayed(simulated_log, made.segments, tmp_path / "replay.jsonl", started))


async def test_a_frozen_worker_wakes_up_as_a_zombie(kafka: str, shop_log: Path, tmp_path: Path) -> None:
    """It is stopped in the middle of its work, others take over, it wakes up with open
    transactions, and cannot commit one."""
    with cluster(kafka, tmp_path, commit_events=40, commit_interval="5ms") as made:
        await made.load(shop_log)
        started = now_ms()
        zombie = made.start("a")
        await until(lambda: made.has_changes(1_000), 60, zombie.log)
        zombie.signal(signal.SIGSTOP)
        other = made.start("b")
        before = len(await made.changes())
        await until(lambda: made.has_changes(before + 500), 60, made.logs)
        zombie.signal(signal.SIGCONT)
        found = await made.quiet(timeout_s=120)
        assert zombie.alive
        assert other.alive
    assert_same(by_id(found, started), replayed(shop_log, made.segments, tmp_path / "replay.jsonl", started))


async def test_timers_fire_in_silence_and_any_worker_knows_the_owner(kafka: str, tmp_path: Path) -> None:
    segments = tmp_path / "segments"
    segments.mkdir()
    (segments / "s.yaml").write_text('segments:\n  - {name: here, when: "any(click, last 3s)"}\n')
    with cluster(kafka, tmp_path) as made:
        made.segments = segments
        await made.create_topics()
        first, second = made.start("a"), made.start("b")
        await made.until_ready()
        ts = now_ms()
        users = [f"u{n}" for n in range(20)]
        await produce(
            kafka, made.topic("clicks"), [(u.encode(), orjson.dumps({"user_id": u, "ts": ts})) for u in users]
        )
        await until(lambda: made.has_changes(40), 20, made.logs)
        changes = await made.changes()
        assert sorted((c["user_id"], c["change"], c["at"]) for c in changes) == sorted(
            (u, change, at) for u in users for change, at in (("entered", ts), ("exited", ts + 3_000))
        )
        exits = [c["emitted_at"] - c["at"] for c in changes if c["change"] == "exited"]
        assert max(exits) < 3_000
        for user in users:
            answers = [await worker.get(f"/api/users/{user}") for worker in (first, second)]
            assert [answer.status_code for answer in answers] == [200, 200]
            assert answers[0].json()["seq"] == answers[1].json()["seq"] == 2
        status = (await first.get("/api/status")).json()
        assert sorted(p["partition"] for worker in status["workers"] for p in worker["partitions"]) == [0, 1, 2, 3]
        assert all(worker["partitions"] for worker in status["workers"])


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli", "worker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


def test_no_broker_at_the_start_is_one_line_and_three(tmp_path: Path) -> None:
    done = run_cli("--broker", "kafka://127.0.0.1:1", "--data-dir", str(tmp_path), "--web-port", "0")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "127.0.0.1:1" in done.stderr


def test_no_usable_definition_is_one_line_and_one(kafka: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text('segments:\n  - {name: wrong, when: "count(clik) > 1"}\n')
    done = run_cli(
        "--broker",
        f"kafka://{kafka}",
        "--segments",
        str(tmp_path),
        "--data-dir",
        str(tmp_path / "d"),
        "--web-port",
        "0",
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("hyperseg: ")
    assert "clik" in done.stderr
