"""What a person asks about one user: where they are in, since when and why, what is known of them,
and what will flip by itself, when.

Everything here works on a copy of the state; the answers are those of `app.domain.views`, instants
in epoch ms.
"""

from __future__ import annotations

from typing import Any, Literal

from app.domain.limits import DAY_MS, NEVER
from app.domain.members import member_key, name_of, order, scalar_value, split, value_of
from app.domain.time import duration_text
from app.domain.views import Explanation, Membership, Part, SegmentView, SignalRow, Transition, UserView, Verdict
from app.engine.engine import Engine
from app.engine.explain.reasons import Junction, Negation, Reason
from app.engine.signals import Signal
from app.engine.state import UserState
from app.engine.units import Unit
from app.rules.text import text

AHEAD_STEPS_MAX = 256  # instants looked ahead for what flips by itself
AHEAD_MS = 400 * DAY_MS


def at_instant(engine: Engine, state: UserState, now: int) -> UserState:
    """A copy of the state as it is at `now` (or at the user's clock, if that is later) with no
    further event.
    """
    copy = engine.decode(engine.encode(state))
    engine.fire(copy, now)
    if copy.clock < now:
        copy.clock, copy.core = now, None
    return copy


def describe_user(engine: Engine, state: UserState, now: int) -> UserView:
    """Memberships with since-when and why, profile, every signal's value, the next timer and what
    flips next.
    """
    copy = at_instant(engine, state, now)
    ahead = flips_ahead(engine, copy)
    members = sorted(copy.members.items(), key=lambda row: order(row[0]))
    upcoming = [
        Transition(segment=name_of(key), value=value_of(key), in_=inside, flips_at=at)
        for key, (inside, at) in ahead.items()
    ]
    return UserView(
        user_id=copy.user,
        clock=state.clock,
        seq=state.seq,
        memberships=[_membership(engine, copy, key, since, ahead) for key, since in members],
        profile={name: value for name, (_, value) in copy.attributes.items() if value is not None},
        consent={name: value for name, (_, value) in copy.consent.items() if value is not None},
        signals=[row for signal in engine.signals.values() for row in _signal_rows(copy, signal)],
        next_timer=None if copy.due >= NEVER else copy.due,
        next=sorted(upcoming, key=lambda row: (row.flips_at, row.segment)),
    )


def flips_ahead(engine: Engine, state: UserState) -> dict[str, tuple[bool, int]]:
    """Member key → (is in now, when it flips with no further event), for those that flip within
    AHEAD_MS and AHEAD_STEPS_MAX instants.
    """
    copy = engine.decode(engine.encode(state))
    end = copy.clock + AHEAD_MS
    found: dict[str, tuple[bool, int]] = {}
    for _ in range(AHEAD_STEPS_MAX):
        if copy.due > end:
            break
        before = set(copy.members)
        due = copy.due
        engine.fire(copy, due)
        for key in before ^ set(copy.members):
            found.setdefault(key, (key in before, due))
    return found


def explain_segment(engine: Engine, state: UserState, name: str, now: int, value: Any = None) -> Explanation:
    """Why the user is in or out of one segment at `now`, part by part, and when that flips by
    itself. Raises KeyError for an unknown segment.
    """
    unit = engine.unit(name)
    if unit is None or unit.segment is None or unit.kind != "segment":
        raise KeyError(name)
    copy = at_instant(engine, state, now)
    keys = (
        [key for key in copy.values.get(name, {}) if value is None or scalar_value(key) == value]
        if unit.each
        else [None]
    )
    ahead = flips_ahead(engine, copy)
    answers = [_explained(engine, copy, unit, key, ahead) for key in keys]
    return Explanation(
        user_id=copy.user,
        segment=name,
        at=copy.clock,
        group=unit.grouped,
        definition=describe_segment(engine, name),
        answers=answers,
    )


def _explained(
    engine: Engine, state: UserState, unit: Unit, each: str | None, ahead: dict[str, tuple[bool, int]]
) -> Verdict:
    assert unit.segment is not None
    own = member_key(unit.name, each)
    since = state.members.get(own)
    rule: Literal["when", "exit_when"] = (
        "exit_when" if since is not None and unit.segment.exit_when is not None else "when"
    )
    flip = ahead.get(own)
    exited = state.exits.get(own)
    staying = since is not None and unit.dwell_ms and state.clock < since + unit.dwell_ms
    barred = exited is not None and state.clock < exited + unit.cooldown_ms
    return Verdict(
        value=None if each is None else scalar_value(each),
        in_=since is not None,
        since=since,
        flips_at=flip[1] if flip else None,
        min_dwell_until=since + unit.dwell_ms if since is not None and staying else None,
        cooldown_until=exited + unit.cooldown_ms if exited is not None and barred else None,
        rule=rule,
        why=engine.facts.standing(state, state.clock, unit, each),
        parts=part_tree(engine.facts.reason(unit, rule, alone=True), state, each),
    )


def part_tree(reason: Reason, state: UserState, each: str | None) -> Part:
    """The condition as a tree of parts, each with whether it holds and, at the leaves, its value
    and what it needs.
    """
    holds = reason.holds(state, state.clock, each)
    if isinstance(reason, Junction):
        op: Literal["and", "or"] = "and" if reason.op == "and" else "or"
        return Part(expr=reason.expr, holds=holds, op=op, parts=[part_tree(part, state, each) for part in reason.parts])
    if isinstance(reason, Negation):
        return Part(expr=reason.expr, holds=holds, op="not", parts=[part_tree(reason.part, state, each)])
    return Part(expr=reason.expr, holds=holds, fact=reason.facts(state, state.clock, each, holds, "when")[0])


def _membership(
    engine: Engine, state: UserState, key: str, since: int, ahead: dict[str, tuple[bool, int]]
) -> Membership:
    name, each = split(key)
    unit = engine.unit(name)
    return Membership(
        segment=name,
        value=value_of(key),
        group=unit.grouped if unit else None,
        since=since,
        facts=[] if unit is None else engine.facts.standing(state, state.clock, unit, each),
        flips_at=ahead[key][1] if key in ahead else None,
    )


def _signal_rows(state: UserState, signal: Signal) -> list[SignalRow]:
    if not signal.keyed:
        return [_signal_row(state, signal, None)] if signal.cell(state, None) is not None else []
    return [_signal_row(state, signal, key) for key in signal.values(state)]


def _signal_row(state: UserState, signal: Signal, each: str | None) -> SignalRow:
    value, until = signal.read(state, state.clock, each)
    if signal.row.motion == "age" and value is not None:
        value = state.clock - value
    return SignalRow(
        expr=signal.text,
        value=value,
        each=None if each is None else scalar_value(each),
        until=None if until >= NEVER else until,
        approximate=signal.approximate(state, each),
        or_more=signal.capped(value),
    )


def describe_segment(engine: Engine, name: str) -> SegmentView:
    """One definition as the API shows it. Raises KeyError for an unknown name."""
    unit = engine.unit(name)
    if unit is None or unit.segment is None or unit.kind != "segment":
        raise KeyError(name)
    segment = unit.segment
    return SegmentView(
        name=name,
        title=segment.title,
        description=segment.description,
        when=text(segment.when),
        exit_when=text(segment.exit_when) if segment.exit_when is not None else None,
        min_dwell=duration_text(segment.min_dwell_ms) if segment.min_dwell_ms else None,
        cooldown=duration_text(segment.cooldown_ms) if segment.cooldown_ms else None,
        for_each=".".join((segment.for_each[0], *segment.for_each[1])) if segment.for_each else None,
        max_per_user=segment.max_per_user if segment.for_each else None,
        group=unit.grouped,
        tags=list(segment.tags),
        owner=segment.owner,
        version=segment.version,
        digest=segment.digest,
        signals=sorted(engine.signals[key].text for key in engine.plan_signals(name)),
    )
