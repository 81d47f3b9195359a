"""One partition's work without its I/O: merge, admission, step, timers, and the batch that a commit
makes durable.

Synchronous; every call is one bounded slice, so that whoever drives it can let others run in
between. Wall-clock instants are arguments. The store is read here and written by the driver, after
the batch is in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from app.domain.changes import Change
from app.domain.errors import Refused
from app.domain.events import Event
from app.domain.streams import Stream
from app.streaming.cache import Cached, UserCache
from app.streaming.merge import Entry, Lane, merge
from app.streaming.ports import StepEngine
from app.streaming.records import Batch, DeadLetter, LaneUpdate
from app.streaming.sweeps import Sweeps
from app.streaming.wakeups import Wakeups
from app.streaming.watermark import Clock
from tables import changelog
from tables.store import PartitionStore, UserWrite

Decode = Callable[[bytes, Stream, bytes | None, str], Event]

# A few milliseconds of work: what heartbeats, HTTP and the other partitions wait for.
SLICE_RECORDS = 64
SLICE_TIMERS = 64
SLICE_STATES = 256


@dataclass(frozen=True, slots=True)
class Start:
    """Where a partition's work begins: by topic the first offset to process, and the watermark
    reached before."""

    offsets: dict[str, int]
    ends: dict[str, int]
    asof: int
    watermark: int
    plan: str


class Poisoned(Exception):
    """The engine failed in a way nobody foresaw: what is in memory is no longer trusted.

    It failed on the record of (topic, offset) or, with the topic "", on the timers of the user.
    """

    def __init__(self, topic: str, offset: int, user: str) -> None:
        self.topic = topic
        self.offset = offset
        self.user = user
        super().__init__(f"{topic}@{offset} user {user!r}")


@dataclass(slots=True)
class Poison:
    """What is set aside because the engine failed on it: records, as (topic, offset), and users,
    whose timers failed."""

    records: set[tuple[str, int]] = field(default_factory=set)
    users: set[str] = field(default_factory=set)

    def add(self, poisoned: Poisoned) -> None:
        """From the next epoch on, what failed is set aside."""
        if poisoned.topic:
            self.records.add((poisoned.topic, poisoned.offset))
        else:
            self.users.add(poisoned.user)


class PartitionCore:
    """See the module. `poison` is what to set aside.

    Without `transactional` commits every state carries the offsets it includes, so that it stays
    exact when input is read again.
    """

    def __init__(
        self,
        partition: int,
        streams: Sequence[Stream],
        engine: StepEngine,
        store: PartitionStore,
        decode: Decode,
        clock: Clock,
        start: Start,
        entries_max: int,
        transactional: bool = True,
        poison: Poison | None = None,
    ) -> None:
        self.partition = partition
        self.engine = engine
        self.store = store
        self.clock = clock
        self.watermark = start.watermark
        self.plan = start.plan
        self.lanes = [Lane(s, start.offsets[s.topic], start.ends[s.topic], start.asof) for s in streams]
        self.cache = UserCache(store, engine, entries_max)
        self.wakeups = Wakeups(store, self.cache)
        self.weight = 0
        self.events = 0
        self.caught_up = False  # at least once since the start
        self._by_topic = {lane.topic: lane for lane in self.lanes}
        self._by_rank = {lane.stream.rank: number for number, lane in enumerate(self.lanes)}
        self._decode = decode
        self._poison = poison or Poison()
        self._sets_aside = bool(self._poison.records or self._poison.users)
        self._transactional = transactional
        self._latest = 0
        self._number = 1
        self._changes: list[Change] = []
        self._dead_letters: list[DeadLetter] = []
        self._dirty: list[Cached] = []
        self._states: list[tuple[str, bytes | None]] = []
        self._writes: list[UserWrite] = []
        self._offsets = {lane.topic: lane.next_offset for lane in self.lanes}
        # By lane, as of before the slice that is being processed.
        self._processed = self._next_offsets()
        self._sweeps = Sweeps(store, self.cache, engine)

    # --- input -----------------------------------------------------------------------------------
    def offer(self, updates: Iterable[LaneUpdate]) -> None:
        """Takes what a fetch brought."""
        for update in updates:
            self._by_topic[update.topic].offer(update)

    @property
    def migrating(self) -> bool:
        """Whether users remain that were last evaluated under other definitions; until then no
        input is processed."""
        return self.plan != self.engine.plan.digest

    @property
    def drained(self) -> bool:
        """Whether everything known to be readable has been processed."""
        return all(lane.drained for lane in self.lanes)

    @property
    def lag(self) -> int:
        """Records not processed yet, as far as is known."""
        return sum(lane.lag for lane in self.lanes)

    # --- work ------------------------------------------------------------------------------------
    def step(self, now: int) -> bool:
        """One slice of what there is to do at the wall-clock instant `now`; False when there is
        nothing."""
        if self.migrating:
            self._migrate_slice()
            return True
        self._latest = self.clock.latest(now)
        self._processed = self._next_offsets()
        entries = merge(self.lanes, SLICE_RECORDS, self._admit)
        if entries:
            self._process(entries)
        self.watermark = max(self.watermark, self.clock.in_silence(self.lanes))
        self.caught_up = self.caught_up or (not entries and self.drained)
        fired = self._fire_slice()
        return bool(entries) or fired

    def _admit(self, record: Any, stream: Stream) -> tuple[int | None, Any]:
        try:
            raw = record.value
            if raw is None:
                raise Refused("not_json", "the record has no value")
            event = self._decode(raw, stream, record.key, f"{stream.topic}-{self.partition}-{record.offset}")
            if event.ts > self._latest:
                raise Refused(
                    "in_future",
                    f"ts {event.ts} is more than {self.clock.max_future_ms} ms ahead of this worker's clock",
                )
        except Refused as refused:
            return None, refused
        return event.ts, event

    def _process(self, entries: list[Entry]) -> None:
        engine, users = self.engine, self.cache.users
        apply, changes, number = engine.apply, self._changes, self._number
        arm, dirty, watermark = self.wakeups.arm, self._dirty, self.watermark
        self.weight += len(entries)
        self.events += len(entries)
        for entry in entries:
            event = entry[3]
            if (type(event) is not Event or self._sets_aside) and not self._wanted(entry):
                continue
            user = event.user
            cached = users.get(user) or self.cache.load(user)
            if cached.offsets and self._counted(cached, entry):
                continue
            state = cached.state
            ts = event.ts
            try:
                if ts < watermark:
                    self._make_way(cached, event, watermark)
                else:
                    watermark = ts
                found = apply(state, event, watermark)
            except Refused as refused:
                self._dead_letter(entry, refused)
                continue
            except Exception as error:
                raise Poisoned(self._lane(entry).topic, entry[2], user) from error
            if found:
                changes += found
            if cached.batch != number:
                cached.batch = number
                dirty.append(cached)
            cached.changed = True
            if state.due < cached.armed:
                arm(cached, state.due)
        self.watermark = watermark

    def _make_way(self, cached: Cached, event: Event, watermark: int) -> None:
        """Before an event behind the watermark: the user's timers that the watermark has passed
        fire, whatever the slicing was."""
        if event.ts < self.clock.earliest(watermark):
            behind, allowed = watermark - event.ts, self.clock.allowed_lateness_ms
            raise Refused("too_late", f"{behind} ms behind the watermark, allowed_lateness is {allowed} ms")
        if cached.state.due <= watermark:
            self._fire(cached, watermark)

    def _counted(self, cached: Cached, entry: Entry) -> bool:
        """Whether the event is in the user's state already: without transactions a crash leaves
        states ahead of the offsets."""
        included, number = cached.offsets, self._by_rank[entry[1]]
        if _passed(self._processed, included):
            cached.offsets = ()
            return False
        return number < len(included) and entry[2] < included[number]

    def _wanted(self, entry: Entry) -> bool:
        """The rare cases: refused when it was decoded, set aside after a failure, or in the user's
        state already."""
        item = entry[3]
        if type(item) is not Event:
            self._dead_letter(entry, item)
            return False
        lane = self._lane(entry)
        if (lane.topic, entry[2]) in self._poison.records or item.user in self._poison.users:
            self._dead_letter(
                entry,
                Refused("internal", "the engine failed on this record; please report it with the definitions in force"),
            )
            return False
        return True

    def _next_offsets(self) -> list[int]:
        return [lane.next_offset for lane in self.lanes]

    def _lane(self, entry: Entry) -> Lane:
        return self.lanes[self._by_rank[entry[1]]]

    def _dead_letter(self, entry: Entry, why: Refused) -> None:
        record = entry[4]
        self._dead_letters.append(
            DeadLetter(self._lane(entry).topic, entry[2], record.key, record.value, why.reason, why.detail)
        )

    def _fire_slice(self) -> bool:
        if self.wakeups.next > self.watermark:
            return False
        for cached in self.wakeups.due(self.watermark, SLICE_TIMERS):
            self._fire(cached, self.watermark)
        return True

    def _fire(self, cached: Cached, watermark: int) -> None:
        state = cached.state
        self._touch(cached)
        if state.due <= watermark and cached.user not in self._poison.users:
            try:
                self._changes += self.engine.fire(state, watermark)
            except Exception as error:
                raise Poisoned("", -1, cached.user) from error
            cached.changed = True
            self.weight += 1
            self.events += 1
        self.wakeups.arm(cached, state.due)

    def _migrate_slice(self) -> None:
        """Brings the next users under the definitions in force; after the last one the partition is
        under them."""
        for cached in self._sweeps.unmigrated():
            self._migrate(cached)
        if self._sweeps.migrated:
            self.plan = self.engine.plan.digest

    def _migrate(self, cached: Cached) -> None:
        self._changes += self.engine.migrate(cached.state)
        self._touch(cached)
        cached.changed = True
        self.weight += 1
        if cached.state.due < cached.armed:
            self.wakeups.arm(cached, cached.state.due)

    def _touch(self, cached: Cached) -> None:
        if cached.batch != self._number:
            cached.batch = self._number
            self._dirty.append(cached)

    def switch(self, engine: StepEngine) -> None:
        """From here on the definitions of `engine` hold: every user is brought under them before
        more input is processed."""
        assert not self._dirty, "switch between batches only"
        self.engine = engine
        self.cache.switch(engine)
        self._sweeps = Sweeps(self.store, self.cache, engine)

    def expire_slice(self, retention_ms: int) -> int:
        """Looks at the next users and forgets those idle for `retention_ms` whom nothing keeps;
        gives how many went.

        One slice a second visits every user of a partition in hours or days, which is soon enough.
        """
        idle = self._sweeps.idle(self.watermark - retention_ms, self._number)
        for user in idle:
            self.forget(user)
        return len(idle)

    def forget(self, user: str) -> None:
        """Removes the user's state with the next commit; what arrives later begins anew."""
        cached = self.cache.users.get(user) or self.cache.load(user)
        if not cached.new:
            self.cache.forget(cached)
            self._touch(cached)
            cached.changed = True
            self.weight += 1

    # --- commit ----------------------------------------------------------------------------------
    @property
    def pending(self) -> bool:
        """Whether there is anything a commit would make durable."""
        return bool(self._dirty or self._dead_letters) or any(
            lane.next_offset != self._offsets[lane.topic] for lane in self.lanes
        )

    @property
    def changes_pending(self) -> int:
        """Changes of the next batch, so far."""
        return len(self._changes)

    def encode_dirty(self) -> bool:
        """Encodes one slice of the dirty users for the next seal; False when none is left. No step
        may come between this and the seal."""
        dirty, at = self._dirty, len(self._writes)
        if at == len(dirty):
            return False
        offsets = self._next_offsets()
        stamp = changelog.NO_OFFSETS if self._transactional else changelog.encode_offsets(offsets)
        encode, states, writes = self.cache.encode, self._states, self._writes
        for cached in dirty[at : at + SLICE_STATES]:
            changed = cached.changed
            write = encode(
                cached,
                _furthest(offsets, cached.offsets)
                if cached.offsets and not _passed(offsets, cached.offsets)
                else stamp,
            )
            writes.append(write)
            if changed:
                states.append((cached.user, write.raw))
        return True

    def seal(self) -> Batch:
        """Everything since the last seal, as one batch. The next slices work on; the batch before
        must be released first."""
        while self.encode_dirty():
            pass
        self._offsets = {lane.topic: lane.next_offset for lane in self.lanes}
        users = [cached.user for cached in self._dirty]
        batch = Batch(
            self._number, self._changes, self._dead_letters, self._states, self._writes, self._offsets, self.watermark,
            "" if self.migrating else self.plan, self.weight, self.events, users,
        )  # fmt: skip
        self._number += 1
        self._changes, self._dead_letters, self._dirty, self._states, self._writes = [], [], [], [], []
        self.weight = self.events = 0
        return batch

    def release(self, batch: Batch) -> None:
        """The batch is in the log and in the store."""
        self.wakeups.written(batch.writes, batch.number)
        self.cache.release(batch.users, batch.number)


def _passed(offsets: Sequence[int], included: Sequence[int]) -> bool:
    """Whether everything in a state that includes so much lies before the offsets."""
    return all(offset >= at for offset, at in zip(offsets, included, strict=False))


def _furthest(offsets: Sequence[int], included: Sequence[int]) -> bytes:
    """The offsets of a state that is ahead of what is read again: it still has all that it had."""
    return changelog.encode_offsets([max(both) for both in zip_longest(offsets, included, fillvalue=0)])
