"""`hyperseg send` and `hyperseg simulate --to kafka`: what arrives, in which order, in which
partition."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.partitioner import DefaultPartitioner

from app import cli
from app.broker.publisher import Publisher
from app.domain.errors import InputError, Unreachable
from app.offline.eventfiles import read_lines
from tests.support.kafka import consume, fresh, make_topics
from tests.support.workers import TOPICS, until

PARTITIONS = list(range(4))


def _run(*arguments: str) -> int:
    """The command in a thread of its own: it runs an event loop, and so does the test."""
    code: list[int] = []
    thread = threading.Thread(target=lambda: code.append(cli.run(arguments)))
    thread.start()
    thread.join(60)
    return code[0]


def _partition(user: str) -> int:
    number: int = DefaultPartitioner()(user.encode(), PARTITIONS, PARTITIONS)
    return number


async def _records(bootstrap: str, prefix: str) -> dict[str, list[Any]]:
    return {topic: await consume(bootstrap, prefix + topic) for topic in ("clicks", "carts", "purchases")}


async def test_a_log_arrives_whole_in_order_and_in_the_partitions_of_java(
    embedded: str, shop_log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = Counter(TOPICS[orjson.loads(line)["type"]] for line in read_lines(shop_log))
    assert sent["clicks"] > 9_000
    assert await asyncio.to_thread(_run, "send", str(shop_log), "--broker", f"kafka://{embedded}") == 0
    assert f"sent {sent.total()} records" in capsys.readouterr().err
    arrived = await _records(embedded, "")
    assert {topic: len(records) for topic, records in arrived.items()} == {topic: sent[topic] for topic in arrived}
    for records in arrived.values():
        assert all(record.partition == _partition(record.key.decode()) for record in records)
        for partition in PARTITIONS:
            instants = [orjson.loads(record.value)["ts"] for record in records if record.partition == partition]
            assert instants == sorted(instants)
        assert all("type" not in orjson.loads(record.value) for record in records)


async def test_lines_without_a_topic_are_told_and_the_others_sent(
    embedded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "e.jsonl").write_text('{"type":"click","user_id":"a","ts":1700000000000}\n{"type":"clik"}\n')
    assert await asyncio.to_thread(_run, "send", str(tmp_path / "e.jsonl"), "--broker", f"kafka://{embedded}") == 1
    said = capsys.readouterr().err
    assert (
        "e.jsonl:2: unknown type 'clik'; did you mean \"click\"?; 1 such lines were not sent, all others were" in said
    )
    assert len(await consume(embedded, "clicks")) == 1


async def test_a_shop_is_sent_as_fast_as_it_goes(embedded: str) -> None:
    arguments = ["--users", "50", "--rate", "1", "--hours", "0.2", "--seed", "3", "--start", "1767600000000", "--fast"]
    assert (
        await asyncio.to_thread(_run, "simulate", *arguments, "--to", "kafka", "--broker", f"kafka://{embedded}") == 0
    )
    clicks = await consume(embedded, "clicks")
    assert 200 < len(clicks) < 2_000
    assert all(orjson.loads(record.value)["user_id"].encode() == record.key for record in clicks)


async def test_a_live_shop_goes_on_until_ctrl_c(embedded: str) -> None:
    command = [
        sys.executable,
        "-m",
        "app.cli",
        "simulate",
        "--rate",
        "50",
        "--to",
        "kafka",
        "--broker",
        f"kafka://{embedded}",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stderr is not None
            assert "Ctrl-C ends it" in running.stderr.readline()
            await until(lambda: _clicks(embedded, 20))
            running.send_signal(signal.SIGINT)
            _, said = await asyncio.to_thread(running.communicate, None, 20)
        finally:
            running.kill()
    assert running.returncode == 0
    assert " events: " in said
    assert len(await consume(embedded, "clicks")) < 2_000


async def _clicks(bootstrap: str, count: int) -> bool:
    return len(await consume(bootstrap, "clicks")) >= count


@pytest.mark.kafka
async def test_a_shop_with_duplicates_and_late_events_arrives_on_a_real_kafka(kafka: str, tmp_path: Path) -> None:
    prefix = fresh("send") + "."
    path = tmp_path / "shop.jsonl.zst"
    shop = ["--users", "100", "--rate", "2", "--hours", "0.25", "--duplicates", "0.05", "--late", "0.05"]
    assert await asyncio.to_thread(_run, "simulate", *shop, "--to", str(path)) == 0
    assert (
        await asyncio.to_thread(
            _run, "send", str(path), "--broker", f"kafka://{kafka}", "--set", f"topic_prefix={prefix}"
        )
        == 0
    )
    arrived = await _records(kafka, prefix)
    assert len(arrived["clicks"]) > 500
    for records in arrived.values():
        assert all(record.partition == _partition(record.key.decode()) for record in records)


async def test_a_record_larger_than_any_broker_takes_is_refused(embedded: str) -> None:
    await make_topics(embedded, ["clicks"])
    with pytest.raises(InputError, match="topic clicks: a record of 2000000 bytes"), Publisher(embedded) as publisher:
        publisher.put("clicks", b"k", b"x" * 2_000_000)


def test_a_broker_that_refuses_is_told(embedded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.broker.publisher._GIVE_UP_MS", 300)
    with pytest.raises(Unreachable, match="a record was not written"), Publisher("127.0.0.1:1") as publisher:
        publisher.put("clicks", b"k", b"x")
