"""Where the time of the hot path goes, without a broker: `python -m tests.benchmarks.hot_path
[EVENTS] [--profile]`.

One partition's core over a RocksDB in a temporary folder, fed with the reference load in chunks as
fetches bring them, cut every 5,000 events, its messages built. CPU time of this thread, µs an
event.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import orjson
from aiokafka.producer.message_accumulator import BatchBuilder

import app.streaming.outbox  # noqa: F401  # batches are compressed as the worker's producers compress them
from app.domain.decode import decode_event
from app.domain.options import EngineOptions
from app.engine.engine import Engine
from app.rules.definitions import load_folder
from app.rules.plan import compile_plan
from app.streaming import overrides, process
from app.streaming.core import PartitionCore, Start
from app.streaming.messages import Topics, Writer
from app.streaming.records import LaneUpdate
from app.streaming.watermark import Clock
from tables.meta import Meta
from tables.rocks import RocksKv, shared_cache
from tables.store import PartitionStore
from tests.benchmarks.load import TOPICS, Load, events

SEGMENTS = Path(__file__).with_name("segments")
CHUNK = 5_000
CUT = 5_000


class Record(NamedTuple):
    offset: int
    key: bytes
    value: bytes


def main() -> None:
    count = int(next((a for a in sys.argv[1:] if a.isdigit()), "100000"))
    options = EngineOptions()
    engine = Engine(compile_plan(load_folder(SEGMENTS, options), options), options)
    chunks = _chunks(count)
    spent: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder:
        store = PartitionStore(RocksKv(Path(folder) / "store", shared_cache()))
        topics = [s.topic for s in options.streams]
        start = Start(dict.fromkeys(topics, 0), dict.fromkeys(topics, 0), 0, 0, engine.plan.digest)
        core = PartitionCore(0, options.streams, engine, store, decode_event, Clock(wall=False), start, 50_000)
        writer = Writer(Topics("changes", "letters", "changelog", "hyperseg/bench", 4), 0, "log")
        process.calm_collector()
        overrides.install()  # batches are compressed as the worker's producers compress them
        profile = cProfile.Profile() if "--profile" in sys.argv else None
        if profile:
            profile.enable()
        for chunk in chunks:
            _work(core, store, writer, chunk, spent)
        if profile:
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(35)
        store.close()
    for name, seconds in spent.items():
        print(f"{name:<24} {seconds / count * 1e6:6.2f} µs/event")
    print(f"{'all':<24} {sum(spent.values()) / count * 1e6:6.2f} µs/event")


def _chunks(count: int) -> list[list[LaneUpdate]]:
    chunks, lanes, offsets = [], defaultdict(list), defaultdict(int)
    for number, event in enumerate(events(Load(count, users=25_000)), 1):
        topic = TOPICS[event["type"]]
        lanes[topic].append(Record(offsets[topic], event["user_id"].encode(), orjson.dumps(event)))
        offsets[topic] += 1
        if number % CHUNK == 0 or number == count:
            chunks.append([LaneUpdate(t, lanes[t], offsets[t], offsets[t], 0) for t in TOPICS.values()])
            lanes = defaultdict(list)
    return chunks


def _work(
    core: PartitionCore, store: PartitionStore, writer: Writer, chunk: list[LaneUpdate], spent: dict[str, float]
) -> None:
    began = time.thread_time()
    core.offer(chunk)
    while core.step(0):
        pass
    stepped = time.thread_time()
    batch = core.cut()
    captured = time.thread_time()
    outgoing = {**writer.outgoing(batch, 0), **writer.changelog(batch)}
    encoded = time.thread_time()
    for messages in outgoing.values():
        _build(messages)
    built = time.thread_time()
    store.apply(batch.writes, Meta())
    applied = time.thread_time()
    core.release(batch)
    released = time.thread_time()
    marks = (began, stepped, captured, encoded, built, applied, released)
    names = (
        "decode, merge, step",
        "capture (encode states)",
        "encode messages",
        "build record batches",
        "store write",
        "release",
    )
    for name, before, after in zip(names, marks, marks[1:], strict=False):
        spent[name] += after - before


def _build(messages: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]) -> None:
    builder = BatchBuilder(1 << 30, 3, is_transactional=1)
    for key, value, headers in messages:
        builder.append(timestamp=None, key=key, value=value, headers=headers)
    builder._set_producer_state(1, 1, 1)
    builder._build()


if __name__ == "__main__":
    main()
