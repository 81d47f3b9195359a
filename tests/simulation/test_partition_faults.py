"""One partition under every fault: the changes are those of an undisturbed run, each once, in each user's order."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.limits import HOUR_MS, MINUTE_MS
from app.domain.members import name_of
from app.domain.options import EngineOptions
from app.engine.engine import Engine
from app.rules.definitions import load_text
from app.rules.plan import compile_plan
from app.streaming.watermark import Clock
from tests.support.driver import CRASH, CRASH_BEFORE_STORE, DUP, LATE, REBALANCE, TORN, Advance, Driver, Raw, ids
from tests.support.fake_engine import FakeEngine, FakePlan

RANKS = {"profile": 0, "click": 1, "cart": 2, "purchase": 3}
T0 = 1_760_000_000_000
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


def shop(seed: int, count: int = 300, users: int = 12) -> list[dict[str, Any]]:
    """A small shop in the order of time, several users, ties included."""
    rnd = random.Random(seed)
    ts, events = T0, []
    for number in range(count):
        ts += rnd.choice((0, 1_000, 60_000, 600_000))
        kind = rnd.choices(("click", "cart", "purchase", "profile"), (8, 2, 1, 1))[0]
        event: dict[str, Any] = {"type": kind, "event_id": f"e{number}", "user_id": f"u{rnd.randrange(users)}", "ts": ts}
        if kind == "click":
            event["category"] = rnd.choice("ab")
        if kind == "profile":
            event["attributes"] = {"age": rnd.randrange(18, 80)}
        events.append(event)
    # Of one instant, in the order of ties: a lower rank that comes later is a correction, rightly.
    return sorted(events, key=lambda event: (event["ts"], RANKS[event["type"]]))


def undisturbed(engine: Any, events: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    driver = Driver(engine, **options)
    driver.feed(events, run=False)
    driver.run()
    return driver.log.changes


def by_user(changes: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for change in changes:
        found.setdefault(change["user_id"], []).append(change)
    return found


FAULTS = (CRASH, CRASH_BEFORE_STORE, REBALANCE)


@pytest.mark.parametrize("seed", range(8))
def test_faults_change_nothing(seed: int) -> None:
    """A log in the order of time, read live, fault after fault: the same changes as one that was complete before it was read."""
    rnd = random.Random(f"faults-{seed}")
    events = shop(seed)
    expected = undisturbed(real_engine(), events)
    driver = Driver(real_engine(), commit_every=rnd.choice((1, 2, 3)), entries_max=rnd.choice((1, 4, 100)))
    items: list[Any] = []
    for event in events:
        items.append(event)
        if rnd.random() < 0.1:
            items.append(rnd.choice(FAULTS))
    driver.feed(items)
    assert len(ids(driver.log.changes)) == len(set(ids(driver.log.changes)))
    assert by_user(driver.log.changes) == by_user(expected)


@pytest.mark.parametrize("fetch", [1, 2, 7, 64, 0])
def test_a_complete_log_gives_the_same_however_it_is_fetched(fetch: int) -> None:
    events = shop(99)
    expected = undisturbed(real_engine(), events)
    assert by_user(undisturbed(real_engine(), events, fetch=fetch, commit_every=2, entries_max=3)) == by_user(expected)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), order=st.randoms(use_true_random=False))
def test_disorder_ends_at_the_same_memberships(seed: int, order: random.Random) -> None:
    """Topics that run ahead of each other: corrections on the way, but the same members at the end, alternating, seq without a gap."""
    events = shop(seed, count=60, users=4)
    jumbled = sorted(events, key=lambda e: e["ts"] + order.randrange(0, 20 * MINUTE_MS))
    straight, driver = Driver(real_engine()), Driver(real_engine())
    end = {"type": "click", "event_id": "end", "user_id": "nobody", "ts": events[-1]["ts"] + 30 * MINUTE_MS}
    straight.feed([*events, end], run=False)
    straight.run()
    driver.feed([*jumbled, end])
    assert members(driver) == members(straight)
    for changes in by_user(driver.log.changes).values():
        assert [c["seq"] for c in changes] == list(range(1, len(changes) + 1))


def members(driver: Driver) -> dict[tuple[str, str], int]:
    rows = {}
    for key in driver.store.sizes():
        for member_key, user, _since in driver.store.members(name_of(key), None, 1_000):
            rows[member_key, user] = 1
    return rows


def test_the_watermark_of_before_a_crash_still_holds() -> None:
    """What fell due while nobody ran fires once, in order, when somebody does."""
    clock = Clock(wall=True)
    driver = Driver(FakeEngine(), clock=clock, now=T0)
    clicks = [{"type": "click", "event_id": f"c{n}", "user_id": "u", "ts": T0 + n} for n in range(3)]
    assert [c["change"] for c in driver.feed(clicks)] == ["entered"]
    driver.now += 5 * HOUR_MS
    changes = driver.feed([CRASH])
    assert [(c["change"], c["at"]) for c in changes] == [("exited", T0 + 2 + HOUR_MS)]
    assert driver.feed([CRASH, REBALANCE, Advance(HOUR_MS)]) == []


def test_silence_moves_the_clock_only_when_everything_is_read() -> None:
    driver = Driver(FakeEngine(), clock=Clock(wall=True), now=T0)
    driver.feed([{"type": "click", "event_id": f"c{n}", "user_id": "u", "ts": T0 + n} for n in range(3)])
    assert driver.feed([Advance(HOUR_MS + 502)])[0]["change"] == "exited"
    # Behind its end, a topic keeps time where it is.
    driver.feed([{"type": "click", "event_id": f"d{n}", "user_id": "u", "ts": driver.now + n} for n in range(3)])
    driver.core.lanes[1].end = 99
    driver.now += 5 * HOUR_MS
    driver.core.step(driver.now)
    assert not driver.core.changes_pending


def test_late_duplicate_and_refused() -> None:
    first = {"type": "click", "event_id": "a", "user_id": "u", "ts": T0}
    old = {"type": "click", "event_id": "old", "user_id": "u", "ts": T0 - 2 * HOUR_MS}
    driver = Driver(real_engine())
    driver.feed([first, DUP(first), LATE(old)])
    assert driver.store.sizes() == {}
    reasons = [headers["reason"] for _, _, headers in driver.log.letters]
    assert reasons == [b"too_late"]


def test_future_events_are_refused_and_do_not_hold_up_others() -> None:
    driver = Driver(real_engine(), clock=Clock(wall=True, max_future_ms=1_000), now=T0)
    far = {"type": "cart", "event_id": "far", "user_id": "v", "ts": T0 + HOUR_MS}
    driver.feed([far, {"type": "click", "event_id": "a", "user_id": "u", "ts": T0}])
    assert [headers["reason"] for _, _, headers in driver.log.letters] == [b"in_future"]
    assert driver.core.watermark == T0


def test_dead_letters_keep_every_byte() -> None:
    driver = Driver(real_engine())
    bad = [Raw("clicks", b"\xff\x00 no json", b"k"), Raw("carts", None, b"k2"), Raw("clicks", b'{"ts":1760000000000}')]
    driver.feed([*bad, CRASH])
    assert [(key, value) for key, value, _ in driver.log.letters] == [
        (b"k", b"\xff\x00 no json"),
        (b"k2", None),
        (None, b'{"ts":1760000000000}'),
    ]
    assert driver.log.letters[0][2]["topic"] == b"clicks"
    assert driver.log.letters[2][2]["offset"] == b"1"


def test_a_record_the_engine_fails_on_is_set_aside() -> None:
    engine = FakeEngine(fail_on={"bad"})
    driver = Driver(engine)
    driver.feed([{"type": "click", "event_id": n, "user_id": "u", "ts": T0} for n in ("1", "2", "bad", "3")])
    assert [c["change"] for c in driver.log.changes] == ["entered"]
    assert [headers["reason"] for _, _, headers in driver.log.letters] == [b"internal"]


def test_other_definitions_visit_every_user_once_even_through_a_crash() -> None:
    driver = Driver(FakeEngine())
    driver.feed([{"type": "click", "event_id": f"{u}-{n}", "user_id": f"u{u}", "ts": T0 + n} for u in range(150) for n in range(3)])
    assert driver.store.sizes() == {"busy": 150}
    driver.engine = FakeEngine(FakePlan("fake-2"))
    driver.begin()
    driver.core.step(driver.now)  # one slice of users, committed
    driver.commit()
    driver.feed([CRASH_BEFORE_STORE, CRASH])
    exited = [c for c in driver.log.changes if c["cause"]["kind"] == "definition"]
    assert len(exited) == len({c["user_id"] for c in exited}) == 150
    assert driver.store.meta.plan == "fake-2"
    assert driver.store.sizes() == {}


@pytest.mark.parametrize("seed", range(6))
def test_without_transactions_states_stay_exact(seed: int) -> None:
    """At least once: changes may repeat with equal ids, but no event counts twice."""
    rnd = random.Random(f"torn-{seed}")
    events = shop(seed)
    expected = undisturbed(real_engine(), events)
    driver = Driver(real_engine(), transactional=False)
    driver.feed(events[:50])
    for start in range(50, len(events), 50):
        driver.feed(events[start : start + 50], run=False)
        driver.feed([rnd.choice((TORN, CRASH, CRASH_BEFORE_STORE, REBALANCE))])
    driver.run()
    assert {c["change_id"]: c for c in driver.log.changes} == {c["change_id"]: c for c in expected}
    final = Driver(real_engine())
    final.feed(events, run=False)
    final.run()
    assert members(driver) == members(final)


def test_erasing_a_user_leaves_nothing_behind() -> None:
    driver = Driver(FakeEngine())
    driver.feed([{"type": "click", "event_id": f"c{n}", "user_id": "u", "ts": T0 + n} for n in range(3)])
    driver.core.forget("u")
    driver.commit()
    assert driver.store.get("u") is None
    assert driver.store.sizes() == {}
    assert driver.store.due(b"t", T0 * 2, 10) == []
    driver.feed([REBALANCE])
    assert driver.store.meta.users == 0


def test_users_idle_for_long_and_members_of_nothing_go() -> None:
    driver = Driver(FakeEngine())
    driver.feed([{"type": "click", "event_id": f"m{n}", "user_id": "member", "ts": T0 + n} for n in range(3)])
    driver.feed([{"type": "click", "event_id": f"o{n}", "user_id": f"o{n:03d}", "ts": T0} for n in range(100)])
    driver.engine.fire = lambda state, upto: []  # so that the member stays one
    driver.feed([{"type": "click", "event_id": "late", "user_id": "fresh", "ts": T0 + 10 * HOUR_MS}])
    gone = sum(driver.core.expire_slice(5 * HOUR_MS) for _ in range(4))
    driver.commit()
    assert gone == 100
    assert [user for user, _ in driver.store.page(None, 10)] == ["fresh", "member"]
    driver.feed([REBALANCE])
    assert driver.store.meta.users == 2
