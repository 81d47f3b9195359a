"""What must be true of the engine for any scenario. Each check raises AssertionError, so that
hypothesis and seeded runs share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from app.domain.changes import Change
from app.domain.events import Event
from app.domain.ids import change_id
from app.domain.members import order
from app.engine.engine import Engine
from app.rules.plan import compile_plan
from tests.properties.chance import Chance
from tests.properties.scenarios import USER, Scenario
from tests.support.facts import satisfied
from tests.support.oracle import Answer, canonical_run
from tests.support.oracle.run import accepted as accepted_events
from tests.support.oracle.run import spelled

Told = tuple[int, str, str, Any, str | None, str | None, str]


def engine_of(scenario: Scenario) -> Engine:
    return Engine(compile_plan(scenario.definitions, scenario.options), scenario.options)


def sorted_run(
    scenario: Scenario, engine: Engine, between: Callable[[Any], Any] = lambda state: state
) -> tuple[list[Change], Any]:
    """The changes of the events in their order, with the timers up to `until`; `between` is done to
    the state after each step."""
    state, changes = engine.new_state(USER), list[Change]()
    for event in scenario.in_order:
        changes += engine.apply(state, event, event.ts)
        state = between(state)
    changes += engine.fire(state, scenario.until)
    return changes, between(state)


def told(change: Change) -> Told:
    cause = {"timer": "timer", "bound": "bound"}.get(change.cause.kind) or str(change.cause.event_id)
    name = change.group if change.change == "moved" else change.segment
    return (change.at, change.change, str(name), change.value, change.from_, change.to, cause)


def expected(answer: Answer) -> Told:
    return (answer.at, answer.what, answer.name, answer.value, answer.from_, answer.to, answer.cause)


def members(state: Any) -> dict[str, int]:
    return {":".join(filter(None, order(key))): since for key, since in state.members.items()}


# --- in order -----------------------------------------------------------------------------------


def check_in_order(scenario: Scenario) -> None:
    """Over sorted events the engine gives the oracle's changes exactly, in order, with seq 1, 2, 3,
    …"""
    engine = engine_of(scenario)
    changes, state = sorted_run(scenario, engine)
    run = canonical_run(scenario.definitions, scenario.options, scenario.events, scenario.until)
    assert [told(change) for change in changes] == [expected(answer) for answer in run.changes]
    assert members(state) == run.members
    check_causes(changes)
    check_ids(changes, sorted_run(scenario, engine_of(scenario))[0])


def check_causes(changes: Sequence[Change]) -> None:
    for change in changes:
        assert not change.late
        if change.cause.kind == "timer":
            assert change.cause.due == change.at
        else:
            assert change.cause.ts == change.at
            assert (change.cause.kind == "profile") == (change.cause.stream == "profile")


def check_ids(changes: Sequence[Change], again: Sequence[Change]) -> None:
    """Ids are a function of (user, seq, definition), unique, and the same in another run."""
    assert [change.seq for change in changes] == list(range(1, len(changes) + 1))
    assert [change.change_id for change in changes] == [
        change_id(USER, change.seq, change.definition.digest) for change in changes
    ]
    assert len({change.change_id for change in changes}) == len(changes)
    assert list(changes) == list(again)


def check_crashes(scenario: Scenario) -> None:
    """The state written and read back after every step gives the same run and the same bytes."""
    engine = engine_of(scenario)
    whole = sorted_run(scenario, engine)

    def crash(state: Any) -> Any:
        raw = engine.encode(state)
        back = engine.decode(raw)
        assert engine.encode(back) == raw
        return back

    resumed = sorted_run(scenario, engine, crash)
    assert resumed[0] == whole[0]
    assert members(resumed[1]) == members(whole[1])


def check_cuts(scenario: Scenario, by: Chance) -> None:
    """Letting time pass in other pieces changes nothing."""
    engine = engine_of(scenario)
    whole, _ = sorted_run(scenario, engine)
    state, changes = engine.new_state(USER), list[Change]()
    events = scenario.in_order
    ends = [event.ts for event in events[1:]] + [scenario.until]
    for event, end in zip(events, ends, strict=True):
        changes += engine.apply(state, event, event.ts)
        for upto in sorted(by.whole(event.ts, end) for _ in range(by.whole(0, 3))):
            changes += engine.fire(state, upto)
    changes += engine.fire(state, scenario.until)
    assert changes == whole


def check_facts(scenario: Scenario) -> None:
    """A change can be re-derived from its facts alone."""
    check_facts_of(sorted_run(scenario, engine_of(scenario))[0])


def check_facts_of(changes: Sequence[Change]) -> None:
    for change in changes:
        assert change.facts
        for fact in change.facts:
            assert satisfied(fact) == fact_must_hold(change, fact.rule), (change, fact)


def fact_must_hold(change: Change, rule: str) -> bool:
    """Of an entry every fact does what its rule needs; of an exit those of `exit_when` do and those
    of `when` do not."""
    if rule == "max_per_user":
        return False
    if rule.removeprefix("from.") in ("min_dwell", "cooldown"):
        return True
    leaving = change.change == "exited" or rule.startswith("from.")
    return not leaving or rule.removeprefix("from.") == "exit_when"


# --- in any order -------------------------------------------------------------------------------


def check_any_order(scenario: Scenario) -> None:
    """After each arrival the memberships are those of the canonical run; what is emitted is the
    difference."""
    engine = engine_of(scenario)
    state, accepted, changes = engine.new_state(USER), list[Event](), list[Change]()
    before, clock, watermark, last = canonical_run(scenario.definitions, scenario.options, [], 0), 0, 0, (0, 0)
    for event in scenario.events:
        accepted.append(event)
        in_order = (event.ts, event.rank) >= last
        if in_order and event not in accepted_events(accepted, scenario.options):
            # A duplicate in its place is forgotten: no event that comes later makes it count.
            accepted.pop()
        newest = accepted_events(accepted, scenario.options)[-1]  # a duplicate moves no clock
        last, clock = max(last, (newest.ts, newest.rank)), max(clock, newest.ts)
        watermark = max(watermark, event.ts)
        given = engine.apply(state, event, watermark)
        after = canonical_run(scenario.definitions, scenario.options, accepted, clock)
        assert members(state) == after.members, event
        if in_order:
            assert [told(change) for change in given] == [
                expected(answer) for answer in after.changes[len(before.changes) :]
            ], event
        else:
            check_correction(given, event, clock)
        changes += given
        check_alternation(changes, after.members)
        before = after
        state = engine.decode(engine.encode(state))
    changes += engine.fire(state, scenario.until)
    end = canonical_run(scenario.definitions, scenario.options, accepted, scenario.until)
    assert members(state) == end.members
    assert [change.seq for change in changes] == list(range(1, len(changes) + 1))
    check_alternation(changes, end.members)
    check_facts_of(changes)


def check_correction(given: Sequence[Change], event: Event, clock: int) -> None:
    """What a late event corrects is said at the clock, in the order of names."""
    for change in given:
        assert (change.at, change.late) == (clock, event.ts < clock)
        assert change.cause.event_id == event.id
    names = [(change.group or change.segment or "", key(change)) for change in given]
    assert names == sorted(names)


def key(change: Change) -> str:
    return str(change.segment) if change.value is None else f"{change.segment}:{spelled(change.value)}"


def check_alternation(changes: Sequence[Change], end: dict[str, int]) -> None:
    """Entered and exited take turns for each member, a group moves from where it was; in the end
    what is in is what the state says."""
    inside: set[str] = set()
    current: dict[str, str | None] = {}
    for change in changes:
        if change.change == "moved":
            assert change.from_ == current.get(str(change.group)) != change.to
            current[str(change.group)] = change.to
        else:
            assert (key(change) in inside) == (change.change == "exited")
            inside ^= {key(change)}
    assert inside | {name for name in current.values() if name} == end.keys()
    assert all(earlier.at <= later.at for earlier, later in pairwise(changes))
