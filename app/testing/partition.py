"""A partition without a broker: records in, changes out, synchronous, with faults as data.

    partition = Partition(engine, options)
    partition.feed(e1, e2, CRASH, e3, Duplicate(e2), Late(e0), REBALANCE, Advance("1h"))

The core is the one that a worker runs; what is around it is simulated. `Log` is what survives
everything: inputs, committed offsets, changelog, changes, dead letters; a commit appends to all of
it at once, as a transaction does. The store survives crashes with whatever it was given, and can be
lost. The core is thrown away by every fault, and the next begins as a partition task's session
does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import msgspec

from app.domain.changes import Change
from app.domain.decode import decode_event, event_of_line
from app.domain.errors import Refused
from app.domain.events import Event
from app.domain.limits import NEVER
from app.domain.options import EngineOptions
from app.domain.streams import Stream
from app.streaming.core import PartitionCore, Poison, Poisoned, Start
from app.streaming.messages import Topics, Writer
from app.streaming.ports import StepEngine
from app.streaming.records import Batch, LaneUpdate, Message
from app.streaming.recovery import LogRecord, Rebuilder
from app.streaming.watermark import Clock
from app.testing.faults import Advance, Duplicate, Fault, Input, Item, Late, Raw, Record, Switch, Unread
from app.testing.notation import duration
from tables.changelog import decode_value
from tables.kv import Kv, MemoryKv
from tables.meta import Meta
from tables.store import PartitionStore

CHANGES, DEAD_LETTERS, CHANGELOG = "changes", "dead-letters", "changelog"
_TOPICS = Topics(CHANGES, DEAD_LETTERS, CHANGELOG, "test", 1)
_LOG_NAME = "log"
_FAULTS = (Fault, Advance, Unread, Switch)
_INPUTS = (bytes, Mapping, Event, Duplicate, Late, Raw)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How the simulated worker works.

    `clock`: how time passes (its allowed lateness is always that of the engine's options); None:
    only with events and as it is moved, no event being too far in the future. `now`: where the wall
    clock stands at first, epoch ms. `fetch`: records of a topic that a fetch brings (0: all there
    are). `commit_every`: slices of work between commits. `cache_entries`: decoded users that stay
    in memory. `sets_aside`: a record that the engine fails on becomes a dead letter, as in
    production; otherwise the failure is raised.
    """

    clock: Clock | None = None
    now: int = 0
    fetch: int = 0
    commit_every: int = 1
    cache_entries: int = 1_000
    transactional: bool = True
    sets_aside: bool = False


class InputRecord:
    """A record of an input topic; `given` is what the test fed, `value` the Event in it (or Raw's
    bytes)."""

    __slots__ = ("given", "key", "offset", "value")

    def __init__(self, offset: int, key: bytes | None, value: bytes | Event | None, given: Record | Raw) -> None:
        self.offset = offset
        self.key = key
        self.value = value
        self.given = given


@dataclass
class Log:
    """What a broker keeps.

    `outputs` are the records of the topics CHANGES and DEAD_LETTERS, `changes` those of the first
    before they were encoded. `offsets`: those of the group; commits without transactions leave them
    alone.
    """

    inputs: dict[str, list[InputRecord]]
    offsets: dict[str, int] = field(default_factory=dict)
    changelog: list[LogRecord] = field(default_factory=list)
    outputs: dict[str, list[Message]] = field(default_factory=lambda: {CHANGES: [], DEAD_LETTERS: []})
    changes: list[Change] = field(default_factory=list)


class Partition:
    """One partition under one engine.

    `changes` are all so far; `refused` the records that did not fit, as (reason, detail, what was
    fed). `core` and `store` are those of the present session, `now` is the wall clock.
    """

    def __init__(
        self, engine: StepEngine, options: EngineOptions | None = None, worker: WorkerOptions | None = None
    ) -> None:
        self.engine = engine
        self.options = options or EngineOptions()
        self.worker = worker or WorkerOptions()
        clock = self.worker.clock or Clock(grace_ms=0, max_future_ms=NEVER)
        self.clock = replace(clock, allowed_lateness_ms=self.options.allowed_lateness_ms)
        self.now = self.worker.now
        self.log = Log({stream.topic: [] for stream in self.options.streams})
        self.kv: Kv = MemoryKv()
        self.refused: list[tuple[str, str, Record | Raw]] = []
        self._streams = {stream.name: stream for stream in self.options.streams}
        self._unread = dict.fromkeys(self.log.inputs, 0)
        self._poison = Poison()
        self._lines = 0
        self._begin()

    # --- records, faults and time ----------------------------------------------------------------

    def feed(self, *items: Item) -> list[Change]:
        """Records in this order of arrival and faults between them, each worked on before the next.

        Everything is committed in the end. Gives the changes all this made. Raises TypeError for
        what cannot be fed, ValueError for a topic or stream that is not read.
        """
        start = len(self.log.changes)
        for item in items:
            if isinstance(item, _FAULTS):
                self.inject(item)
            else:
                self._take(item)
            self.run()
        if not items:
            self.run()
        self.commit()
        return self.log.changes[start:]

    def send(self, *records: Input) -> None:
        """Records that arrive and wait: the next `feed`, `run` or `step` merges them by time, as
        any backlog.

        Raises TypeError and ValueError as `feed` does.
        """
        for record in records:
            self._take(record)

    def run(self) -> None:
        """Until nothing is left to do; commits as `commit_every` says."""
        while self.step():
            pass

    def step(self) -> bool:
        """One fetch, one slice of work, a commit if one is due; False when there was nothing to
        do."""
        worked = self._work()
        if self._slices >= self.worker.commit_every:
            self.commit()
        return worked

    def inject(self, fault: Fault | Advance | Unread | Switch) -> None:
        """A fault by itself: the work after it begins with the next `feed`, `run` or `step`."""
        match fault:
            case Fault.CRASH:
                self._begin()
            case Fault.CRASH_BEFORE_STORE:
                self._end_in_commit(torn=False)
            case Fault.TORN:
                if self.worker.transactional:
                    raise ValueError("TORN: a transaction is never torn; give WorkerOptions(transactional=False)")
                self._end_in_commit(torn=True)
            case Fault.REBALANCE | Fault.DISK_LOST:
                self._move()
            case Fault.COMMIT:
                self.commit()
            case Advance(by):
                self.now = max(self.now, self.watermark) + (by if isinstance(by, int) else duration(by))
            case Unread(topic, count):
                self._unread[self._known(topic, self._unread)] = count
            case Switch(engine):
                self.commit()
                self.engine = engine
                self.core.switch(engine)
            case _:
                assert_never(fault)

    def commit(self) -> None:
        """One commit: everything at once, then the store."""
        if self.core.pending:
            self._commit()

    @property
    def watermark(self) -> int:
        """How far event time has come, epoch ms."""
        return self.core.watermark

    @property
    def changes(self) -> list[Change]:
        """All changes so far."""
        return self.log.changes

    def users(self) -> list[str]:
        """Whoever has a state, as of the last commit."""
        return [user for user, _ in self.store.page(None, self.store.meta.users)]

    def knows(self, user: str) -> bool:
        """Whether the user has a state."""
        return self.store.get(user) is not None

    def state(self, user: str) -> Any:
        """The user's state as of the last commit, decoded anew. Raises KeyError for an unknown
        user."""
        row = self.store.get(user)
        if row is None:
            raise KeyError(user)
        return self.engine.decode(decode_value(row.raw)[1])

    # --- what arrives ----------------------------------------------------------------------------

    def _take(self, item: Input) -> None:
        if not isinstance(item, _INPUTS):
            raise TypeError(f"an event is a line (bytes), a dict or an Event, found {item!r:.60}; spread a list with *")
        record = item.record if isinstance(item, Duplicate | Late) else item
        if isinstance(record, Raw):
            self._append(self._known(record.topic, self.log.inputs), record.key, record.value, record)
        else:
            self._take_record(record)

    def _take_record(self, record: Record) -> None:
        self._lines += 1
        try:
            event = record if isinstance(record, Event) else self._event(record)
        except Refused as refused:
            self.refused.append((refused.reason, refused.detail, record))
        else:
            stream = self._streams[self._known(event.stream, self._streams)]
            self._append(stream.topic, event.user.encode(), event, record)

    def _event(self, record: bytes | Mapping[str, Any]) -> Event:
        raw = record if isinstance(record, bytes) else msgspec.json.encode(record)
        return event_of_line(raw, self._streams, f"fed-{self._lines}")

    @staticmethod
    def _known(name: str, names: Iterable[str]) -> str:
        """The name of a stream or topic, if it is one of those there are."""
        if name not in names:
            raise ValueError(f"{name!r} is not read; expected one of {', '.join(names)}")
        return name

    def _append(self, topic: str, key: bytes | None, value: bytes | Event | None, given: Record | Raw) -> None:
        records = self.log.inputs[topic]
        records.append(InputRecord(len(records), key, value, given))

    # --- faults ----------------------------------------------------------------------------------

    def _move(self) -> None:
        """The partition is worked on with another disk."""
        self.kv = MemoryKv()
        self._begin()

    def _end_in_commit(self, torn: bool) -> None:
        while self._work():
            pass
        if self.core.pending:
            self._append_batch(self.core.cut(), torn)
        self._begin()

    # --- a session -------------------------------------------------------------------------------

    def _begin(self) -> None:
        """As a task begins: the store is brought up to the changelog, work goes on at the committed
        offsets."""
        log, engine = self.log, self.engine
        self.store = PartitionStore(self.kv)
        reached = self.store.meta.reached
        if reached < len(log.changelog):
            Rebuilder(self.store, engine).apply(log.changelog[reached:], len(log.changelog))
        meta = self.store.meta
        known = log.offsets if self.worker.transactional else meta.offsets
        offsets = {topic: known.get(topic, 0) for topic in log.inputs}
        ends = {topic: len(records) for topic, records in log.inputs.items()}
        start = Start(offsets, ends, self.now, meta.watermark, meta.plan if meta.users else engine.plan.digest)
        self.core = PartitionCore(
            0, self.options.streams, engine, self.store, _decoded, self.clock, start,
            self.worker.cache_entries, self.worker.transactional, self._poison,
        )  # fmt: skip
        self._offered = {topic: (offsets[topic], ends[topic], self.now) for topic in log.inputs}
        self._writer = Writer(_TOPICS, 0, _LOG_NAME)
        self._slices = 0

    # --- work ------------------------------------------------------------------------------------

    def _work(self) -> bool:
        brought = self._fetch()
        try:
            busy = self.core.step(self.now)
        except Poisoned as poisoned:
            if not self.worker.sets_aside:
                raise
            self._poison.add(poisoned)
            self._begin()
            return True
        self._slices += busy
        return busy or brought

    def _fetch(self) -> bool:
        """Offers what is new of each topic: records, its end, the instant at which it was asked
        for."""
        brought, fetch, updates = False, self.worker.fetch, []
        for topic, records in self.log.inputs.items():
            offered, count = self._offered[topic], len(records)
            start = offered[0]
            position = min(count, start + fetch) if fetch else count
            known = (position, count + self._unread[topic], self.now)
            if known != offered:
                self._offered[topic] = known
                updates.append(LaneUpdate(topic, records[start:position], *known))
                brought = brought or position > start
        if updates:
            self.core.offer(updates)
        return brought

    def _commit(self) -> None:
        batch = self.core.cut()
        self._append_batch(batch, torn=False)
        meta = Meta(len(self.log.changelog), batch.watermark, _LOG_NAME, batch.plan, 0, batch.offsets)
        self.store.apply(batch.writes, meta)
        self.core.release(batch)
        self._slices = 0

    def _append_batch(self, batch: Batch, torn: bool) -> None:
        log = self.log
        for (topic, _), messages in self._writer.outgoing(batch, self.now).items():
            log.outputs[topic] += messages
        log.changes += batch.changes
        for letter in batch.letters:
            self.refused.append((letter.reason, letter.detail, log.inputs[letter.topic][letter.offset].given))
        records = self._writer.changelog(batch)[CHANGELOG, 0]
        for key, value, _ in records[:-1] if torn else records:
            log.changelog.append(LogRecord(len(log.changelog), key or b"", value))
        # Otherwise the changelog's mark alone says how far the inputs are in.
        if self.worker.transactional:
            log.offsets |= batch.offsets


def _decoded(value: bytes | Event, stream: Stream, key: bytes | None, origin: str) -> Event:
    return value if isinstance(value, Event) else decode_event(value, stream, key, origin)
