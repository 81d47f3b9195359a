"""The byte layouts and the store over them, on RocksDB and in memory."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import Unreachable
from app.domain.limits import NEVER
from tables import changelog, members, meta, timers, users
from tables.changelog import CommitMarker
from tables.kv import Kv, MemoryKv
from tables.meta import Meta
from tables.rocks import RocksKv, shared_cache
from tables.store import PartitionStore, write_for

names = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), min_size=1, max_size=8)
member_keys = st.builds(
    lambda s, v: s if v is None else f"{s}\x1f{v}",
    st.sampled_from(["a", "a_b", "b"]),
    st.none() | st.sampled_from(["1", "2"]),
)


@given(st.lists(st.tuples(st.integers(0, NEVER - 1), names)))
def test_timer_keys_sort_as_time_does(rows: list[tuple[int, str]]) -> None:
    keys = sorted(timers.key(due, user) for due, user in rows)
    assert [timers.parse(key) for key in keys] == sorted(rows, key=lambda row: (row[0], row[1].encode()))
    for due, user in rows:
        assert timers.bound(due) <= timers.key(due, user) < timers.behind(due, user) < timers.bound(due + 1)


@given(st.lists(st.tuples(member_keys, names), unique=True))
def test_member_keys_sort_by_member_key_then_user(rows: list[tuple[str, str]]) -> None:
    keys = sorted(members.key(*row) for row in rows)
    assert [members.parse(key) for key in keys] == sorted(rows, key=lambda row: (row[0].encode(), row[1].encode()))


@given(names, st.integers(0, NEVER), st.binary())
def test_user_rows_come_back(user: str, armed: int, raw: bytes) -> None:
    assert users.user_of(users.key(user)) == user
    assert users.decode(users.encode(armed, raw)) == (armed, raw)


@given(st.lists(st.integers(0, 2**63), max_size=5), st.binary())
def test_changelog_values_come_back(cut: list[int], raw: bytes) -> None:
    assert changelog.decode_value(changelog.encode_offsets(cut) + raw) == (tuple(cut), raw)


def test_changelog_records_of_another_version_are_not_misread() -> None:
    with pytest.raises(ValueError, match="run the version that wrote it"):
        changelog.decode_value(b"\x02\x00state")
    with pytest.raises(ValueError, match="newer version"):
        changelog.user_of(b"x")
    mark = CommitMarker("log", 5, "plan", ["clicks"], [7])
    assert changelog.decode_marker(changelog.encode_marker(mark)) == mark


@pytest.fixture(params=["memory", "rocks"])
def kv(request: pytest.FixtureRequest, tmp_path: Path) -> Kv:
    return MemoryKv() if request.param == "memory" else RocksKv(tmp_path / "store", shared_cache(1 << 20))


def put(
    store: PartitionStore,
    user: str,
    armed: int,
    old: dict[str, int],
    new: dict[str, int],
    before: int = NEVER,
    fresh: bool = True,
) -> None:
    store.apply(
        [write_for(user, f"state of {user}".encode(), before, armed, old, new, fresh)], Meta(reached=3, watermark=9)
    )


def test_a_commit_moves_everything_of_a_user(kv: Kv) -> None:
    store = PartitionStore(kv)
    put(store, "u", 100, {}, {"a": 5, "b\x1f1": 6})
    assert store.get("u") == (100, b"state of u")
    assert store.due(timers.bound(0), 100, 10) == [(100, "u")]
    assert store.sizes() == {"a": 1, "b\x1f1": 1}
    assert store.people() == {"": 1, "a": 1, "b": 1}
    assert store.meta == Meta(reached=3, watermark=9, users=1)
    put(store, "u", 50, {"a": 5, "b\x1f1": 6}, {"a": 7}, before=100, fresh=False)
    assert store.due(timers.bound(0), 1_000, 10) == [(50, "u")]
    assert store.members("a", None, 10) == [("a", "u", 7)]
    assert store.members("b", None, 10) == []
    assert store.sizes() == {"a": 1}
    assert store.people() == {"": 1, "a": 1}
    store.apply([write_for("u", None, 50, NEVER, {"a": 7}, {}, False)], Meta())
    assert (store.get("u"), store.sizes(), store.people(), store.meta.users) == (None, {}, {}, 0)
    assert store.first_due(timers.bound(0)) == NEVER


memberships = st.dictionaries(member_keys, st.integers(1, 9), max_size=4)


@given(
    st.lists(st.lists(st.tuples(st.sampled_from(["u", "v", "w"]), memberships), max_size=4), max_size=8), st.booleans()
)
def test_people_are_counted_once_whatever_values_they_are_in(
    commits: list[list[tuple[str, dict[str, int]]]], opened_again: bool
) -> None:
    """Against counting anew: after any commits, through a restart, people by segment are the users
    with a member key of it."""
    kv = MemoryKv()
    store = PartitionStore(kv)
    known: dict[str, dict[str, int]] = {}
    for commit in commits:
        latest = dict(commit)
        store.apply(
            [write_for(u, b"x", NEVER, NEVER, known.get(u, {}), new, u not in known) for u, new in latest.items()],
            Meta(),
        )
        known |= latest
        if opened_again:
            store = PartitionStore(kv)
    expected = Counter(name for keys in known.values() for name in {key.partition("\x1f")[0] for key in keys})
    anywhere = sum(1 for keys in known.values() if keys)
    assert store.people() == {**expected, **({"": anywhere} if anywhere else {})}
    assert store.sizes() == Counter(key for keys in known.values() for key in keys)


def test_members_are_paged_over_a_segment_and_its_values_only(kv: Kv) -> None:
    store = PartitionStore(kv)
    for user in ("u2", "u1", "ü"):
        put(store, user, NEVER, {}, {"a": 1, "a\x1f2": 2, "a_b": 3})
    rows = [("a", "u1", 1), ("a", "u2", 1), ("a", "ü", 1), ("a\x1f2", "u1", 2), ("a\x1f2", "u2", 2), ("a\x1f2", "ü", 2)]
    assert store.members("a", None, 10) == rows
    position, paged = None, []
    while page := store.members("a", position, 2):
        paged += page
        position = page[-1][:2]
    assert paged == rows
    assert store.members("a", ("a", "u1x"), 2) == rows[1:3]


def test_users_are_paged_in_the_order_of_their_bytes(kv: Kv) -> None:
    store = PartitionStore(kv)
    for user in ("b", "a", "ab"):
        put(store, user, NEVER, {}, {})
    assert [user for user, _ in store.page(None, 2)] == ["a", "ab"]
    assert [user for user, _ in store.page("ab", 2)] == ["b"]


def test_rocksdb_is_one_process_at_a_time_and_lets_go(tmp_path: Path) -> None:
    cache = shared_cache(1 << 20)
    store = PartitionStore(RocksKv(tmp_path / "store", cache))
    put(store, "u", 100, {}, {"a": 5})
    store.due(timers.bound(0), 1_000, 10)
    store.members("a", None, 10)
    with pytest.raises(Unreachable, match="another worker"):
        RocksKv(tmp_path / "store", cache)
    store.close()
    again = PartitionStore(RocksKv(tmp_path / "store", cache))
    assert again.sizes() == {"a": 1}
    assert again.people() == {"": 1, "a": 1}
    assert again.meta.users == 1
    again.wipe()
    assert (again.get("u"), again.meta, again.sizes(), again.people()) == (None, Meta(), {}, {})
    again.close()


# Layouts 1 and 2 did not write their number; another one may have rows that this one cannot read.
@pytest.mark.parametrize(
    "row", [b'{"reached":9,"users":2}', b'{"reached":9,"layout":2}', b'{"layout":4,"reached":{}}', b"[]", b"?"]
)
def test_a_store_of_another_layout_is_dropped(kv: Kv, row: bytes) -> None:
    store = PartitionStore(kv)
    put(store, "u", 100, {}, {"a": 5})
    kv.write([(meta.KEY, row)], [])
    again = PartitionStore(kv)
    assert (again.meta, again.get("u"), again.sizes(), again.people()) == (Meta(), None, {}, {})


def test_a_store_says_its_layout(kv: Kv) -> None:
    put(PartitionStore(kv), "u", 100, {}, {"a": 5})
    assert json.loads(kv.get(meta.KEY) or b"")["layout"] == meta.LAYOUT
    assert PartitionStore(kv).people() == {"": 1, "a": 1}
