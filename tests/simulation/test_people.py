"""How many people are in a segment: what the stores of all partitions count together, through
restores, is what a replay counts.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from app import cli
from app.domain.decode import decode_event
from app.domain.limits import NEVER
from app.domain.members import name_of
from app.domain.options import EngineOptions
from app.domain.views import LocalSizes
from app.engine.engine import Engine
from app.rules.definitions import load_text
from app.rules.plan import compile_plan
from app.streaming.recovery import LogRecord, Rebuilder
from app.web.fanout import Sizes, sum_sizes
from tables import changelog
from tables.members import ANY
from tables.meta import Meta
from tables.rocks import RocksKv, shared_cache
from tables.store import PartitionStore, write_for

T0 = 1_793_577_600_000
PARTITIONS = 3
DEFINITIONS = """
segments:
  - {name: active, when: "count(click, last 1h) >= 2"}
  - {name: likes, for_each: click.category, when: "count(click[category == each], last 6h) > 1"}
  - {name: fan, for_each: click.category, max_per_user: 2, when: "count(click[category == each], last 1d) > 2"}
  - {name: browsing, when: "any(click, last 1d)"}
  - {name: busy, when: "count(click, last 1d) >= 5"}
groups:
  - {name: stage, segments: [busy, browsing]}
"""


class Kept:
    """One partition's users as a worker keeps them: states, a store written at each commit, and the
    changelog.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.store = PartitionStore(RocksKv(folder, shared_cache(1 << 20)))
        self.log: list[LogRecord] = []
        self._states: dict[str, Any] = {}
        self._members: dict[str, dict[str, int]] = {}
        self._dirty: set[str] = set()

    def apply(self, event: dict[str, Any]) -> None:
        streams = {stream.name: stream for stream in self.engine.options.streams}
        decoded = decode_event(orjson.dumps(event), streams[event["type"]], None, event["event_id"])
        state = self._states.setdefault(decoded.user, self.engine.new_state(decoded.user))
        self.engine.apply(state, decoded, decoded.ts)
        self._dirty.add(decoded.user)

    def fire(self, upto: int) -> None:
        for user, state in self._states.items():
            while state.due <= upto:
                self.engine.fire(state, upto)
                self._dirty.add(user)

    def commit(self) -> None:
        writes = []
        for user in sorted(self._dirty):
            state, old = self._states[user], self._members.get(user)
            raw = changelog.NO_CUT + self.engine.encode(state)
            writes.append(write_for(user, raw, NEVER, NEVER, old or {}, state.members, old is None))
            self._members[user] = dict(state.members)
            self.log.append(LogRecord(len(self.log), changelog.user_key(user), raw))
        self.store.apply(writes, Meta(reached=len(self.log)))
        self._dirty.clear()

    def restored(self, folder: Path, rnd: random.Random) -> PartitionStore:
        """Another worker's store, made from the changelog alone."""
        store = PartitionStore(RocksKv(folder, shared_cache(1 << 20)))
        rebuilder, start = Rebuilder(store, self.engine), 0
        while start < len(self.log):
            end = min(len(self.log), start + rnd.randrange(1, 40))
            rebuilder.apply(self.log[start:end], end)
            start = end
        return store


def events(rnd: random.Random) -> list[dict[str, Any]]:
    ts, found = T0, []
    for number in range(600):
        ts += rnd.choice((0, 1_000, 60_000, 900_000))
        event = {
            "type": "click",
            "event_id": f"e{number}",
            "user_id": f"u{rnd.randrange(25)}",
            "ts": ts,
            "category": rnd.choice("abcd"),
        }
        found.append(event)
    return found


def together(stores: list[PartitionStore]) -> Sizes:
    """The cluster's sizes, a worker for each partition."""
    parts = [
        LocalSizes(
            sizes=dict(store.sizes()),
            people={name: count for name, count in store.people().items() if name != ANY},
            in_segments=store.people().get(ANY, 0),
            known=store.meta.users,
            partitions=[partition],
            partitions_total=PARTITIONS,
        )
        for partition, store in enumerate(stores)
    ]
    return sum_sizes(parts, [], PARTITIONS)


@pytest.mark.parametrize("seed", range(4))
def test_the_stores_count_the_people_that_a_replay_counts(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rnd = random.Random(f"people-{seed}")
    options = EngineOptions()
    engine = Engine(compile_plan(load_text(DEFINITIONS, options), options), options)
    partitions = [Kept(engine, tmp_path / f"kept-{number}") for number in range(PARTITIONS)]
    made = events(rnd)
    for event in made:
        partition = partitions[int(event["user_id"][1:]) % PARTITIONS]
        partition.apply(event)
        if rnd.random() < 0.05:
            partition.fire(event["ts"])
            partition.commit()
    for partition in partitions:
        partition.fire(made[-1]["ts"])
        partition.commit()
    sizes = together([partition.store for partition in partitions])
    (tmp_path / "d.yaml").write_text(DEFINITIONS)
    (tmp_path / "e.jsonl").write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in made))
    assert cli.run(["replay", str(tmp_path / "e.jsonl"), "--segments", str(tmp_path / "d.yaml"), "--summary"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line and not line.startswith(" ")][2:]
    said = {row[0]: int(row[3].replace(",", "")) for row in rows}
    assert {name: sizes.people.get(name, 0) for name in said} == said
    assert sum(said.values()) > 0
    assert sizes.memberships["likes"] > sizes.people["likes"], "several values a person, or nothing is tested"
    people = {user: state.members for partition in partitions for user, state in partition._states.items()}
    assert (sizes.known, sizes.in_segments) == (len(people), sum(1 for members in people.values() if members))
    assert sizes.people == {
        name: count for name in said if (count := sum(1 for keys in people.values() if name in map(name_of, keys)))
    }
    restored = [partition.restored(tmp_path / f"restored-{number}", rnd) for number, partition in enumerate(partitions)]
    assert together(restored) == sizes
