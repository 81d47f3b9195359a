"""One partition under every fault: the changes are those of an undisturbed run, each once, in each
user's order."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.changes import Change
from app.domain.limits import HOUR_MS, MINUTE_MS
from app.domain.members import name_of
from app.domain.options import EngineOptions
from app.domain.streams import DEFAULT_STREAMS
from app.engine.engine import Engine
from app.rules.definitions import load_text
from app.rules.plan import compile_plan
from app.streaming.core import Poisoned
from app.streaming.ports import StepEngine
from app.streaming.watermark import Clock
from app.testing.faults import (
    COMMIT,
    CRASH,
    CRASH_BEFORE_STORE,
    DISK_LOST,
    REBALANCE,
    TORN,
    Advance,
    Duplicate,
    Item,
    Late,
    Raw,
    Switch,
    Unread,
)
from app.testing.partition import DEAD_LETTERS, Partition, WorkerOptions
from tests.support.fake_engine import FakeEngine, FakePlan

STREAMS = {stream.name: stream for stream in DEFAULT_STREAMS}
T0 = 1_760_000_000_000
WALL = WorkerOptions(clock=Clock(wall=True), now=T0)
SEGMENTS = """
segments:
  - {name: active, when: "count(click, last 1h) >= 2"}
  - {name: left_behind, when: "any(cart without purchase within 30m, last 1d)"}
  - {name: buyer, when: "any(purchase, last 2h)", min_dwell: 3h}
  - {name: likes, for_each: click.category, when: "count(click[category == each], last 1h) > 1"}
groups:
  - {name: stage, segments: [buyer, active]}
"""


def real_engine() -> Engine:
    options = EngineOptions()
    return Engine(compile_plan(load_text(SEGMENTS, options), options), options)


def record(stream: str, user: str, ts: int, event_id: str | None, **fields: Any) -> Raw:
    """An event as bytes under its user's key, as a producer sends it."""
    body = {"event_id": event_id, "user_id": user, "ts": ts, **fields}
    return Raw(STREAMS[stream].topic, orjson.dumps(body), user.encode())


def clicks(user: str, count: int, start: int = T0, name: str = "c") -> list[Raw]:
    return [record("click", user, start + n, f"{name}{n}") for n in range(count)]


def shop(seed: int, count: int = 300, users: int = 12) -> list[tuple[int, Raw]]:
    """A small shop in the order of time, several users, ties included: (ts, record).

    Most events have no id, so that none of them is counted once only because the engine knows its
    id.
    """
    rnd = random.Random(seed)
    ts, events = T0, []
    for number in range(count):
        ts += rnd.choice((0, 1_000, 60_000, 600_000))
        kind = rnd.choices(("click", "cart", "purchase", "profile"), (8, 2, 1, 1))[0]
        user = f"u{rnd.randrange(users)}"
        fields: dict[str, Any] = {}
        if kind == "click":
            fields["category"] = rnd.choice("ab")
        if kind == "profile":
            fields["attributes"] = {"age": rnd.randrange(18, 80)}
        events.append(
            (ts, STREAMS[kind].rank, record(kind, user, ts, rnd.choice((None, None, f"e{number}")), **fields))
        )
    # Of one instant, in the order of ties: a lower rank that comes later is a correction, rightly.
    return [(ts, event) for ts, _, event in sorted(events, key=lambda event: event[:2])]


def log_of(seed: int) -> list[Raw]:
    return [event for _, event in shop(seed)]


def undisturbed(engine: StepEngine, events: list[Raw], **worker: Any) -> Partition:
    """A partition that found a complete log."""
    partition = Partition(engine, worker=WorkerOptions(**worker))
    partition.send(*events)
    partition.feed()
    return partition


def by_user(changes: list[Change]) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(change.user_id, []).append(change)
    return found


def by_id(changes: list[Change]) -> dict[str, Change]:
    return {change.change_id: change for change in changes}


def members(partition: Partition) -> set[tuple[str, str]]:
    store = partition.store
    return {(key, user) for name in store.sizes() for key, user, _since in store.members(name_of(name), None, 1_000)}


def dead_letters(partition: Partition) -> list[tuple[bytes | None, bytes | None, dict[str, bytes]]]:
    """(key, value, headers) of the dead letters' topic."""
    return [(key, value, dict(headers)) for key, value, headers in partition.log.outputs[DEAD_LETTERS]]


def reasons(partition: Partition) -> list[bytes]:
    return [headers["reason"] for _, _, headers in dead_letters(partition)]


FAULTS = (CRASH, CRASH_BEFORE_STORE, REBALANCE, DISK_LOST, COMMIT)


@pytest.mark.parametrize("seed", range(8))
def test_faults_change_nothing(seed: int) -> None:
    """A log in the order of time, read live, fault after fault: the same changes as one that was
    complete before it was read."""
    rnd = random.Random(f"faults-{seed}")
    events = log_of(seed)
    expected = undisturbed(real_engine(), events).changes
    worker = WorkerOptions(commit_every=rnd.choice((1, 2, 3, 50)), cache_entries=rnd.choice((1, 4, 100)))
    items: list[Item] = []
    for event in events:
        items.append(event)
        if rnd.random() < 0.1:
            items.append(rnd.choice(FAULTS))
    disturbed = Partition(real_engine(), worker=worker)
    disturbed.feed(*items)
    assert len(disturbed.changes) == len(by_id(disturbed.changes))
    assert by_user(disturbed.changes) == by_user(expected)


@pytest.mark.parametrize("fetch", [1, 2, 7, 64, 0])
def test_a_complete_log_gives_the_same_however_it_is_fetched(fetch: int) -> None:
    events = log_of(99)
    expected = undisturbed(real_engine(), events).changes
    fetched = undisturbed(real_engine(), events, fetch=fetch, commit_every=2, cache_entries=3).changes
    assert by_user(fetched) == by_user(expected)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), order=st.randoms(use_true_random=False))
def test_disorder_ends_at_the_same_memberships(seed: int, order: random.Random) -> None:
    """Topics that run ahead of each other: corrections on the way, but the same members at the end,
    alternating, seq without a gap."""
    events = shop(seed, count=60, users=4)
    jumbled = sorted(events, key=lambda event: event[0] + order.randrange(0, 20 * MINUTE_MS))
    end = record("click", "nobody", events[-1][0] + 30 * MINUTE_MS, "end")
    straight = undisturbed(real_engine(), [*(event for _, event in events), end])
    disordered = Partition(real_engine())
    disordered.feed(*(event for _, event in jumbled), end)
    assert members(disordered) == members(straight)
    for changes in by_user(disordered.changes).values():
        assert [change.seq for change in changes] == list(range(1, len(changes) + 1))


def test_the_watermark_of_before_a_crash_still_holds() -> None:
    """What fell due while nobody ran fires once, in order, when somebody does."""
    partition = Partition(FakeEngine(), worker=WALL)
    assert [change.change for change in partition.feed(*clicks("u", 3))] == ["entered"]
    changes = partition.feed(Advance("5h"), CRASH)
    assert [(change.change, change.at) for change in changes] == [("exited", T0 + 2 + HOUR_MS)]
    assert partition.feed(CRASH, REBALANCE, Advance("1h")) == []


def test_silence_moves_the_clock_only_when_everything_is_read() -> None:
    partition = Partition(FakeEngine(), worker=WALL)
    partition.feed(*clicks("u", 3))
    assert partition.feed(Advance(HOUR_MS + 499)) == [], "the grace is half a second"
    assert [change.change for change in partition.feed(Advance(1))] == ["exited"]
    # Behind its end, a topic keeps time where it is.
    partition.feed(*clicks("u", 3, partition.now, "d"))
    assert partition.feed(Unread("carts", 1), Advance("5h"), CRASH) == []
    assert [change.change for change in partition.feed(Unread("carts", 0))] == ["exited"]


def test_late_duplicate_and_refused() -> None:
    first, old = record("click", "u", T0, "a"), record("click", "u", T0 - 2 * HOUR_MS, "old")
    partition = Partition(real_engine())
    partition.feed(first, Duplicate(first), Late(old))
    assert partition.store.sizes() == {}
    assert reasons(partition) == [b"too_late"]
    assert partition.refused == [("too_late", "7200000 ms behind the watermark, allowed_lateness is 3600000 ms", old)]


def test_future_events_are_refused_and_do_not_hold_up_others() -> None:
    partition = Partition(real_engine(), worker=WorkerOptions(clock=Clock(wall=True, max_future_ms=1_000), now=T0))
    partition.feed(record("cart", "v", T0 + HOUR_MS, "far"), record("click", "u", T0, "a"))
    assert reasons(partition) == [b"in_future"]
    assert partition.watermark == T0


def test_dead_letters_keep_every_byte() -> None:
    partition = Partition(real_engine())
    bad = [Raw("clicks", b"\xff\x00 no json", b"k"), Raw("carts", None, b"k2"), Raw("clicks", b'{"ts":1760000000000}')]
    partition.feed(*bad, CRASH)
    letters = dead_letters(partition)
    assert [(key, value) for key, value, _ in letters] == [
        (b"k", b"\xff\x00 no json"),
        (b"k2", None),
        (None, b'{"ts":1760000000000}'),
    ]
    assert letters[0][2]["topic"] == b"clicks"
    assert letters[2][2]["offset"] == b"1"
    assert [given for _, _, given in partition.refused] == bad


def test_a_record_the_engine_fails_on_is_set_aside() -> None:
    partition = Partition(FakeEngine(fail_on={"bad"}), worker=WorkerOptions(sets_aside=True))
    partition.feed(*(record("click", "u", T0, name) for name in ("1", "2", "bad", "3")))
    assert [change.change for change in partition.changes] == ["entered"]
    assert reasons(partition) == [b"internal"]


def test_a_failure_of_the_engine_is_raised_where_nobody_sets_it_aside() -> None:
    with pytest.raises(Poisoned, match=r"clicks@0 user 'u'") as raised:
        Partition(FakeEngine(fail_on={"bad"})).feed(record("click", "u", T0, "bad"))
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_a_user_whose_timers_fail_is_set_aside() -> None:
    """The timers of the others fire, and what comes of that user later is kept as dead letters."""
    partition = Partition(
        FakeEngine(fail_on={"timer of u"}), worker=WorkerOptions(clock=Clock(wall=True), now=T0, sets_aside=True)
    )
    partition.feed(*clicks("u", 3), *clicks("v", 3))
    assert [change.user_id for change in partition.feed(Advance("2h"))] == ["v"]
    assert partition.feed(record("click", "u", partition.now, "later")) == []
    assert reasons(partition) == [b"internal"]


def test_other_definitions_visit_every_user_once_even_through_a_crash() -> None:
    partition = Partition(FakeEngine())
    partition.feed(*(record("click", f"u{u}", T0 + n, f"{u}-{n}") for u in range(150) for n in range(3)))
    assert partition.store.sizes() == {"busy": 150}
    engine = FakeEngine(FakePlan("fake-2"))
    partition.inject(Switch(engine))
    partition.step()  # one slice of users, committed
    assert 0 < partition.store.sizes()["busy"] < 150
    partition.feed(CRASH_BEFORE_STORE, CRASH)
    exited = [change for change in partition.changes if change.cause.kind == "definition"]
    assert len(exited) == len({change.user_id for change in exited}) == 150
    assert len(engine.settled) == len(set(engine.settled)) == 150
    assert partition.store.meta.plan == "fake-2"
    assert partition.store.sizes() == {}


@pytest.mark.parametrize("seed", range(6))
def test_without_transactions_states_stay_exact(seed: int) -> None:
    """At least once: changes may repeat with equal ids, but no event counts twice."""
    rnd = random.Random(f"torn-{seed}")
    events = log_of(seed)
    expected = undisturbed(real_engine(), events)
    partition = Partition(real_engine(), worker=WorkerOptions(transactional=False))
    partition.feed(*events[:50])
    for start in range(50, len(events), 50):
        partition.send(*events[start : start + 50])
        partition.feed(rnd.choice((TORN, CRASH, CRASH_BEFORE_STORE, REBALANCE)))
    assert by_id(partition.changes) == by_id(expected.changes)
    assert members(partition) == members(expected)


def torn_partition() -> Partition:
    """A user is in the changelog, with three events that have no id, and no mark follows."""
    partition = Partition(FakeEngine(), worker=WorkerOptions(transactional=False, commit_every=100))
    partition.send(*(record("click", "u", T0, None) for _ in range(3)))
    partition.inject(TORN)
    assert (partition.state("u").count, partition.core.lag) == (3, 3)
    return partition


def test_events_in_a_state_are_not_counted_again() -> None:
    partition = torn_partition()
    assert partition.feed() == []
    partition.inject(CRASH)
    assert (partition.state("u").count, partition.core.lag) == (3, 0)
    partition.feed(record("click", "u", T0, None), record("cart", "u", T0, None))
    assert partition.state("u").count == 5


def test_a_state_keeps_what_it_says_of_its_events_until_they_are_read_again() -> None:
    """It is written once more before they are, because other definitions came."""
    partition = torn_partition()
    partition.inject(Switch(FakeEngine(FakePlan("fake-2"))))
    partition.step()
    partition.commit()
    partition.feed(CRASH)
    assert (partition.state("u").count, partition.core.lag) == (3, 0)


def test_a_transaction_is_never_torn() -> None:
    with pytest.raises(ValueError, match="transactional=False"):
        Partition(FakeEngine()).feed(TORN)


def test_erasing_a_user_leaves_nothing_behind() -> None:
    partition = Partition(FakeEngine())
    partition.feed(*clicks("u", 3))
    partition.core.forget("u")
    partition.commit()
    assert partition.store.get("u") is None
    assert partition.store.sizes() == {}
    assert partition.store.due(b"t", T0 * 2, 10) == []
    partition.feed(REBALANCE)
    assert partition.store.meta.users == 0


def test_users_idle_for_long_and_members_of_nothing_go() -> None:
    partition = Partition(FakeEngine(stays=True))
    partition.feed(*clicks("member", 3), *(record("click", f"o{n:03d}", T0, f"o{n}") for n in range(100)))
    partition.feed(record("click", "fresh", T0 + 10 * HOUR_MS, "late"))
    gone = sum(partition.core.expire_slice(5 * HOUR_MS) for _ in range(4))
    partition.commit()
    assert gone == 100
    assert partition.users() == ["fresh", "member"]
    partition.feed(REBALANCE)
    assert partition.store.meta.users == 2
