"""The real Kafka that `hyperseg broker` runs: it starts, keeps its data, stops, and topics come
as they should."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from app.broker.local import LocalKafka
from app.broker.topics import Shape, Topic, ensure_topics
from app.domain.errors import Unreachable, UsageError
from tests.support.kafka import consume, fresh, make_topics, produce

pytestmark = pytest.mark.kafka


async def test_topics_are_created_and_accepted_the_second_time(kafka: str) -> None:
    topics = [
        Topic(fresh("clicks")),
        Topic(fresh("log"), compacted=True),
        Topic(fresh("dead"), together=False, partitions=1),
    ]
    assert await ensure_topics(kafka, topics, Shape(partitions=3)) == 3
    assert await ensure_topics(kafka, topics, Shape(partitions=9)) == 3
    assert await _partitions(kafka, topics[2].name) == 1


async def test_what_exists_decides_the_number_of_partitions_of_what_does_not(kafka: str) -> None:
    here, lacking = fresh("clicks"), fresh("carts")
    await make_topics(kafka, [here], partitions=6)
    assert await ensure_topics(kafka, [Topic(here), Topic(lacking)], Shape(partitions=4)) == 6
    assert await _partitions(kafka, lacking) == 6


async def test_inputs_that_disagree_are_refused(kafka: str) -> None:
    first, second = fresh("clicks"), fresh("carts")
    await make_topics(kafka, [first], partitions=2)
    await make_topics(kafka, [second], partitions=3)
    with pytest.raises(UsageError, match=f"{second} has 3, {first} has 2"):
        await ensure_topics(kafka, [Topic(first), Topic(second)])


async def test_more_replicas_than_brokers_are_refused(kafka: str) -> None:
    with pytest.raises(UsageError, match="set replication to at most the number of brokers"):
        await ensure_topics(kafka, [Topic(fresh("clicks"))], Shape(4, replication=3))


async def test_two_workers_that_create_at_once_both_go_on(kafka: str) -> None:
    topics = [Topic(fresh("clicks")), Topic(fresh("carts"))]
    assert await asyncio.gather(*[ensure_topics(kafka, topics) for _ in range(3)]) == [4, 4, 4]


async def test_an_aborted_record_is_not_seen(kafka: str) -> None:
    topic = fresh("clicks")
    await make_topics(kafka, [topic])
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=fresh("tx"))
    await producer.start()
    try:
        for value, ends in ((b"no", producer.abort_transaction), (b"yes", producer.commit_transaction)):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, value, key=b"k")
            await ends()
    finally:
        await producer.stop()
    assert [record.value for record in await consume(kafka, topic)] == [b"yes"]
    assert [record.value for record in await consume(kafka, topic, "read_uncommitted")] == [b"no", b"yes"]


async def test_what_was_written_survives_a_stop_and_a_kill(own_kafka: LocalKafka) -> None:
    await make_topics(own_kafka.bootstrap, ["clicks"])
    await produce(own_kafka.bootstrap, "clicks", [(b"u1", b"1")])
    own_kafka.stop()
    assert own_kafka.pid is None
    own_kafka.start()
    await produce(own_kafka.bootstrap, "clicks", [(b"u1", b"2")])
    own_kafka.kill()
    own_kafka.start()
    assert [record.value for record in await consume(own_kafka.bootstrap, "clicks")] == [b"1", b"2"]


def test_a_port_that_is_taken_is_refused(kafka_server: LocalKafka, tmp_path: Path) -> None:
    port = int(kafka_server.bootstrap.rpartition(":")[2])
    second = LocalKafka(tmp_path, Path("~/.cache/hyperseg").expanduser(), port)
    with pytest.raises(UsageError, match=f"port {port}: something listens there already"):
        second.start()


def test_a_data_folder_that_is_no_kafkas_is_refused_with_what_kafka_says(
    kafka_server: LocalKafka, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\nnode.id=77\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\n")
    with pytest.raises(Unreachable, match=r"ended at once: .*node"):
        LocalKafka(tmp_path, Path("~/.cache/hyperseg").expanduser()).start()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_command_prints_its_address_and_leaves_no_process_behind(
    kafka_server: LocalKafka, tmp_path: Path, signum: signal.Signals
) -> None:
    command = [sys.executable, "-m", "app.cli", "broker", "--port", "0", "--dir", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline().startswith("kafka://127.0.0.1:")
            (child,) = _children(running.pid)
            running.send_signal(signum)
            code = running.wait(40)
        finally:
            running.kill()
    assert code == (-signal.SIGKILL if signum == signal.SIGKILL else 0)
    _await_end(child)


async def _partitions(bootstrap: str, topic: str) -> int:
    return await ensure_topics(bootstrap, [Topic(topic)])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _await_end(pid: int) -> None:
    import time

    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.1)
    assert os.getpid() != pid
