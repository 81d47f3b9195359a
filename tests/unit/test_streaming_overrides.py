"""One test for each internal of Faust and aiokafka that is overridden or reached into: it fails
when that internal changes.

The versions are pinned; whoever raises one runs these first, and reads the new source wherever
one fails.
"""

from __future__ import annotations

import ast
import inspect
import logging
import re
import subprocess
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from aiokafka.client import ConnectionGroup
from aiokafka.consumer import fetcher, group_coordinator, subscription_state
from aiokafka.producer import message_accumulator, sender, transaction_manager
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from faust.app import base as faust_app
from faust.assignor.partition_assignor import PartitionAssignor
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver

from app.streaming import outbox, overrides

ROOT = Path(__file__).resolve().parents[2]


def source(of: Any) -> str:
    return re.sub(r"\s+", " ", inspect.getsource(of))


@pytest.mark.parametrize(
    ("package", "pinned"),
    [("faust-streaming", "0.15.3"), ("aiokafka", "0.14.0"), ("mode-streaming", "0.7.1"), ("rocksdict", "0.3.29")],
)
def test_the_versions_that_were_read(package: str, pinned: str) -> None:
    assert version(package) == pinned


def test_faust_drains_what_getmany_yields_and_drops_offsets_below_the_last() -> None:
    text = source(faust_consumer.Consumer._drain_messages)
    assert "ait = cast(AsyncIterator, getmany(timeout=1.0))" in text
    assert "if r_offset is None or offset >= r_offset:" in text
    assert "acks_enabled = acks_enabled_for(message.topic)" in text


def test_faust_commits_only_what_new_offset_gives() -> None:
    assert "offset = self._new_offset(tp)" in source(faust_consumer.Consumer._filter_committable_offsets)
    assert inspect.iscoroutinefunction(faust_consumer.Consumer._add_gap)
    assert inspect.iscoroutinefunction(faust_consumer.Consumer.perform_seek)


def test_faust_seeks_and_resumes_in_one_place_when_there_are_no_tables() -> None:
    from faust.tables.recovery import Recovery

    text = source(Recovery._resume_streams)
    assert "consumer.perform_seek()" in text
    assert text.index("consumer.resume_flow()") > text.index("consumer.perform_seek()")


def test_faust_awaits_both_rebalance_signals() -> None:
    assert "await T(self.on_partitions_revoked.send)(revoked)" in source(faust_app.App._on_partitions_revoked)
    assert "await T(self.on_partitions_assigned.send)(assigned)" in source(faust_app.App._on_partitions_assigned)


def test_faust_makes_its_aiokafka_consumer_in_one_method_of_the_thread() -> None:
    text = source(driver.AIOKafkaConsumerThread._create_worker_consumer)
    assert "fetch_max_wait_ms=1500" in text
    assert "RoundRobinPartitionAssignor" in text
    assert "self._create_worker_consumer(transport)" in source(driver.AIOKafkaConsumerThread._create_consumer)
    assert "self._consumer = self._create_consumer(" in source(driver.AIOKafkaConsumerThread.on_start)
    assert "self._rebalance_listener = consumer.RebalanceListener(self)" in source(
        driver.AIOKafkaConsumerThread.__post_init__
    )


def test_the_assignor_gives_everyone_the_distribution_of_topics_without_tables() -> None:
    text = source(PartitionAssignor._perform_assignment)
    assert "external_topic_distribution = self._get_external_topic_distribution(assignments)" in text
    assert "self.external_topic_distribution = metadata.external_topic_distribution" in source(
        PartitionAssignor.on_assignment
    )
    assert "self._member_urls[client]" in source(PartitionAssignor._get_external_topic_distribution)


def test_the_fetcher_keeps_results_by_partition_until_they_are_taken() -> None:
    text = source(fetcher.Fetcher.fetched_records)
    assert "res_or_error = self._records[tp]" in text
    assert "self._notify(self._wait_consume_future)" in text
    assert "self._assignment = assignment" in source(fetcher.FetchResult.__init__)
    assert "self._partition_records = partition_records" in source(fetcher.FetchResult.__init__)
    assert "position != self._partition_records.next_fetch_offset" in source(fetcher.FetchResult.check_assignment)
    assert "consumer_record = self._consumer_record(tp, record)" in source(fetcher.PartitionRecords._unpack_records)
    assert "self._error = error" in source(fetcher.FetchError.__init__)


def test_a_fetch_answer_stamps_the_partition_and_a_paused_one_is_not_asked_for() -> None:
    text = source(fetcher.Fetcher._proc_fetch_request)
    assert "tp_state.highwater = highwater tp_state.lso = lso tp_state.timestamp = now_ms" in text
    assert "self._proc_fetch_request(assignment, node_id, request)" in source(fetcher.Fetcher._fetch_requests_routine)
    assert "elif tp_state.paused: resume_futures.append(tp_state.resume_fut)" in source(
        fetcher.Fetcher._get_actions_per_node
    )
    assert callable(subscription_state.SubscriptionState.fetch_context)


def test_connections_are_by_node_and_group_and_group_two_is_free() -> None:
    assert "conn_id = (node_id, group)" in source(aiokafka.client.AIOKafkaClient._get_conn)
    assert 2 not in [int(group) for group in ConnectionGroup]


def test_aiokafkas_own_heartbeat_drops_the_membership_so_that_we_send_ours() -> None:
    text = source(group_coordinator.GroupCoordinator._do_heartbeat)
    assert "HeartbeatRequest(self.group_id, self.generation, self.member_id)" in text
    assert "elif error_type is Errors.IllegalGenerationError:" in text
    assert text.count("self.reset_generation()") == 2
    assert "self.member_id = JoinGroupRequest.UNKNOWN_MEMBER_ID" in source(
        group_coordinator.GroupCoordinator.reset_generation
    )


def test_the_coordinators_task_says_whether_it_lives() -> None:
    assert "self._coordination_task = create_task(" in source(group_coordinator.GroupCoordinator)
    assert inspect.iscoroutinefunction(group_coordinator.GroupCoordinator.fetch_committed_offsets)


def test_producers_fail_everything_they_hold_when_told_to() -> None:
    assert "batch.failure(exception)" in source(message_accumulator.MessageAccumulator.fail_all)
    assert "self._transaction_waiter" in source(transaction_manager.TransactionManager.begin_transaction)
    assert "return BACKOFF_OVERRIDE" in source(sender)
    assert "self._message_accumulator = MessageAccumulator(" in source(aiokafka.AIOKafkaProducer.__init__)
    assert "self._txn_manager = TransactionManager(" in source(aiokafka.AIOKafkaProducer.__init__)


def test_a_consumer_holds_its_client_its_subscription_its_fetcher_and_its_coordinator() -> None:
    text = source(aiokafka.AIOKafkaConsumer)
    for made in (
        "_client = AIOKafkaClient(",
        "_subscription = SubscriptionState(",
        "_fetcher = Fetcher(",
        "_coordinator = GroupCoordinator(",
    ):
        assert f"self.{made}" in text, made
    assert callable(aiokafka.client.AIOKafkaClient.force_metadata_update)
    assert "self._fetch_task = create_task(" in source(fetcher.Fetcher.__init__)
    assert "self._isolation_level = " in source(fetcher.Fetcher.__init__)
    assert callable(fetcher.Fetcher._create_fetch_waiter)


def test_faust_holds_its_consumer_and_that_its_thread() -> None:
    assert "self._thread = self._new_consumer_thread()" in source(faust_consumer.ThreadDelegateConsumer)
    assert callable(driver.AIOKafkaConsumerThread._ensure_consumer)
    assert "self._consumer = self._new_consumer()" in source(faust_app.App)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patches, for one test."""
    module = sys.modules[DefaultRecordBatchBuilder.__module__]
    monkeypatch.setattr(module, "lz4_encode", module.lz4_encode)
    monkeypatch.setattr(sender, "BACKOFF_OVERRIDE", sender.BACKOFF_OVERRIDE)
    monkeypatch.setattr(logging.getLogger("aiokafka.producer.sender"), "level", logging.NOTSET)
    overrides.install()


@pytest.mark.usefixtures("installed")
def test_lz4_is_found_in_the_module_that_builds_batches_and_is_quick() -> None:
    module = sys.modules[DefaultRecordBatchBuilder.__module__]
    assert isinstance(module.lz4_encode, partial)
    assert module.lz4_encode.keywords == {"level": 1}
    builder = DefaultRecordBatchBuilder(2, 3, 0, -1, -1, 0, 1 << 20)
    builder.append(0, None, b"k", b"v" * 1_000, [])
    assert len(builder.build()) < 300
    assert sender.BACKOFF_OVERRIDE == 0.003
    assert outbox.BATCH_BYTES_MAX < 1_048_576


IMPORT_ALL = """
import importlib, logging, pkgutil, sys
import agents, app, tables
from aiokafka.codec import lz4_encode
from aiokafka.producer import sender
from aiokafka.record import default_records
for package in (agents, app, tables):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
assert "app.streaming.outbox" in sys.modules and "app.main" in sys.modules
assert sender.BACKOFF_OVERRIDE == 0.02, "the sender's pause"
assert default_records.lz4_encode is lz4_encode, "the compression"
assert logging.getLogger("aiokafka.producer.sender").level == logging.NOTSET, "the sender's log"
"""


def test_importing_the_product_patches_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def internals(file: Path) -> set[str]:
    """The private names of other objects that the file uses."""
    return {
        node.attr
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and re.match(r"_[a-z]", node.attr)
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }


REACHING = {
    file.stem: names
    for folder in ("app/streaming", "app/broker", "agents", "tables")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if (names := internals(file))
}


def test_the_list_of_files_that_reach_into_the_libraries_is_true() -> None:
    """In `overrides`, which says who uses internals, and for what."""
    listed = set(re.findall(r"`([a-z_]+)` \(", overrides.__doc__ or ""))
    assert listed == set(REACHING)


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, names in REACHING.items() for name in sorted(names)])
def test_each_internal_that_is_used_is_looked_at_here(file: str, name: str) -> None:
    assert re.search(rf"\b{name}\b", Path(__file__).read_text()), f"{file} uses {name}: say here what it relies on"
