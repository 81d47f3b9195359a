"""A partition without a broker: bytes in, changes out, synchronous, with faults as data.

    driver.feed([e1, e2, CRASH, e3, DUP(e2), LATE(e0), REBALANCE, Advance(3_600_000)])

`Log` is what survives everything: inputs, committed offsets, changelog, changes, dead letters; a commit appends to all of it at once, as
a transaction does. The store is a `Kv` that survives crashes with whatever it was given, and can be lost. The core is thrown away by
every fault and begins again as a partition task's session does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.domain.decode import decode_event
from app.domain.options import EngineOptions
from app.domain.streams import Stream
from app.streaming.core import PartitionCore, Poison, Poisoned, Start
from app.streaming.messages import Topics, Writer
from app.streaming.ports import StepEngine
from app.streaming.records import Batch, LaneUpdate
from app.streaming.recovery import LogRecord, Rebuilder
from app.streaming.watermark import Clock
from tables.kv import Kv, MemoryKv
from tables.meta import Meta
from tables.store import PartitionStore

CRASH = "crash"  # the process dies; what was not committed is gone
CRASH_BEFORE_STORE = "crash before store"  # it dies between the transaction and the store's write
TORN = "torn"  # without transactions: users are in the changelog, changes out, and it dies before the mark
REBALANCE = "rebalance"  # another worker, with another disk, goes on
DISK_LOST = "disk lost"
COMMIT = "commit"


@dataclass(frozen=True)
class DUP:
    """The same event once more, as a retrying producer sends it."""

    event: dict[str, Any]


@dataclass(frozen=True)
class LATE:
    """An event that was sent long after it happened."""

    event: dict[str, Any]


@dataclass(frozen=True)
class Advance:
    """The wall clock moves on, in silence."""

    ms: int


@dataclass(frozen=True)
class Raw:
    """Bytes as some producer sent them."""

    topic: str
    value: bytes | None
    key: bytes | None = None


class Record:
    """A record of an input topic."""

    __slots__ = ("key", "offset", "value")

    def __init__(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        self.offset = offset
        self.key = key
        self.value = value


@dataclass
class Log:
    """What a broker keeps."""

    inputs: dict[str, list[Record]] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    changelog: list[LogRecord] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    letters: list[tuple[bytes | None, bytes | None, dict[str, bytes]]] = field(default_factory=list)
    commits: int = 0

    def append(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        records = self.inputs.setdefault(topic, [])
        records.append(Record(len(records), key, value))


@dataclass
class Driver:
    """`fetch` is how many records of a topic a fetch brings (0: all there are); `commit_every` how many steps lie between commits."""

    engine: StepEngine
    options: EngineOptions = field(default_factory=EngineOptions)
    clock: Clock = field(default_factory=lambda: Clock(wall=False))
    log: Log = field(default_factory=Log)
    kv: Kv = field(default_factory=MemoryKv)
    now: int = 1_760_000_000_000
    fetch: int = 0
    commit_every: int = 1
    entries_max: int = 1_000
    transactional: bool = True

    def __post_init__(self) -> None:
        self.poison = Poison()
        self._topics = [stream.topic for stream in self.options.streams]
        self._by_name = {stream.name: stream for stream in self.options.streams}
        for topic in self._topics:
            self.log.inputs.setdefault(topic, [])
        self.begin()

    # ------------------------------------------------------------------------------------------ a session
    def begin(self) -> None:
        """What a task does before it works: bring the store up to the changelog, begin at the committed offsets."""
        self.store = PartitionStore(self.kv)
        if self.store.meta.reached > len(self.log.changelog):
            self.store.wipe()
        Rebuilder(self.store, self.engine).apply(self.log.changelog[self.store.meta.reached :], len(self.log.changelog))
        meta = self.store.meta
        known = self.log.offsets if self.transactional else meta.offsets
        offsets = {topic: known.get(topic, 0) for topic in self._topics}
        plan = meta.plan if meta.users else self.engine.plan.digest
        start = Start(offsets, self._ends(), self.now, meta.watermark, plan)
        self.core = PartitionCore(
            0, self.options.streams, self.engine, self.store, decode_event, self.clock, start, self.entries_max,
            self.transactional, self.poison,
        )  # fmt: skip
        self._read = dict(offsets)
        self._writer = Writer(Topics("changes", "letters", "changelog", "test", 1), 0, meta.log or "log")
        self._steps = 0

    def crash(self) -> None:
        self.begin()

    def rebalance(self) -> None:
        """Another worker: its disk knows nothing."""
        self.kv = MemoryKv()
        self.begin()

    def _ends(self) -> dict[str, int]:
        return {topic: len(self.log.inputs[topic]) for topic in self._topics}

    # ------------------------------------------------------------------------------------------------ work
    def feed(self, items: Iterable[Any], run: bool = True) -> list[dict[str, Any]]:
        """Appends events and suffers faults, in order; gives the changes this made. Without `run` the log is only filled."""
        before = len(self.log.changes)
        for item in items:
            self._feed(item)
            if run:
                self.run()
        return self.log.changes[before:]

    def _feed(self, item: Any) -> None:
        match item:
            case dict():
                self.send(item)
            case DUP(event) | LATE(event):
                self.send(event)
            case Raw(topic, value, key):
                self.log.append(topic, key, value)
            case Advance(ms):
                self.now += ms
            case "crash":
                self.crash()
            case "crash before store":
                self.run(store=False)
                self.crash()
            case "torn":
                self.run(torn=True)
                self.crash()
            case "rebalance" | "disk lost":
                self.rebalance()
            case "commit":
                self.commit()
            case _:
                raise TypeError(item)

    def send(self, event: dict[str, Any]) -> None:
        """Appends one event, in the form of event files, to its topic."""
        body = {key: value for key, value in event.items() if key != "type"}
        self.log.append(self._by_name[event["type"]].topic, event["user_id"].encode(), orjson.dumps(body))

    def run(self, store: bool = True, torn: bool = False) -> None:
        """Until nothing is left to do; commits every `commit_every` steps, and at the end."""
        while True:
            brought = self._fetch()
            busy = self._step()
            self._steps += busy
            if busy and self._steps % self.commit_every == 0:
                self.commit(store, torn)
            if not busy and not brought:
                break
        self.commit(store, torn)

    def _step(self) -> bool:
        try:
            return self.core.step(self.now)
        except Poisoned as poisoned:
            self.poison.add(poisoned)
            self.begin()
            return True

    def _fetch(self) -> bool:
        brought = False
        updates = []
        for topic in self._topics:
            records = self.log.inputs[topic]
            start = self._read[topic]
            end = min(len(records), start + self.fetch) if self.fetch else len(records)
            self._read[topic] = end
            brought = brought or end > start
            updates.append(LaneUpdate(topic, records[start:end], end, len(records), self.now))
        self.core.offer(updates)
        return brought

    def commit(self, store: bool = True, torn: bool = False) -> None:
        """One commit: everything at once."""
        if not self.core.pending:
            return
        batch = self.core.cut()
        self._append(batch, torn)
        if torn:
            return
        if store:
            self.store.apply(batch.writes, Meta(len(self.log.changelog), batch.watermark, "log", batch.plan, 0, batch.offsets))
        self.core.release(batch)

    def _append(self, batch: Batch, torn: bool) -> None:
        log = self.log
        outgoing = self._writer.outgoing(batch, self.now)
        for _key, value, _headers in outgoing.get(("changes", 0), []):
            log.changes.append({k: v for k, v in orjson.loads(value or b"").items() if k != "emitted_at"})
        log.letters += [(key, value, dict(headers)) for key, value, headers in outgoing.get(("letters", 0), [])]
        records = self._writer.changelog(batch)["changelog", 0]
        for key, value, _headers in records[:-1] if torn else records:
            log.changelog.append(LogRecord(len(log.changelog), key or b"", value))
        if not torn:
            log.offsets |= batch.offsets
            log.commits += 1


def streams(*names: str) -> tuple[Stream, ...]:
    """Streams of a test, their topics called like them."""
    return tuple(Stream(name, name, rank, behaviour=name != "profile") for rank, name in enumerate(names))


def ids(changes: Sequence[dict[str, Any]]) -> list[str]:
    """The change ids, in order."""
    return [change["change_id"] for change in changes]
