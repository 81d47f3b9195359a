"""Judging: which memberships change at one step, and when each unit must be asked again.

Out, a segment enters when `when` holds and `exit_when` does not, at the earliest `cooldown` after its last exit; in, it leaves when
`exit_when` (by default: not `when`) holds, at the earliest `min_dwell` after its entry. A group's current segment is the first listed
that is in.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.changes import ChangeKind
from app.domain.limits import NEVER
from app.domain.members import member_key, order
from app.engine.state import UserState
from app.engine.units import Unit

_NONE: dict[str, bool] = {}

Instance = tuple[int, str | None]
"""A unit's place and, for a `for_each` unit, the value's key. One place has values or none, so instances sort."""


@dataclass(slots=True)
class Flip:
    """One change that a step made: `entered`, `exited` or `moved`. `bound`: pushed out by the value named `by`."""

    unit: Unit
    each: str | None
    change: ChangeKind
    before: str | None = None
    after: str | None = None
    by: str | None = None

    @property
    def order(self) -> tuple[str, str]:
        """Changes of one step stand in the order of segment or group name, then value."""
        return order(member_key(self.unit.name, self.each))


def judge(state: UserState, now: int, units: list[Unit], due: set[Instance]) -> list[Flip]:
    """Ask every instance in `due` and whatever depends on what changed; the flips in the order of emission."""
    flips: list[Flip] = []
    waiting = sorted(due) if len(due) > 1 else list(due)
    for i, (place, each) in enumerate(waiting):
        unit = units[place]
        if _ASK[unit.kind](state, now, unit, each, flips) and unit.dependents:
            _judge_rest(state, now, units, set(waiting[i + 1 :]), unit, each, flips)
            break
    if len(flips) > 1:
        flips.sort(key=lambda flip: flip.order)
    return flips


def _judge_rest(
    state: UserState, now: int, units: list[Unit], waiting: set[Instance], changed: Unit, each: str | None, flips: list[Flip]
) -> None:
    """Go on where an answer that others read has changed: they are asked too, always after it."""
    for place in changed.dependents:
        _add_instances(state, units[place], each if units[place].owner == changed.owner else None, waiting)
    while waiting:
        instance = min(waiting)
        waiting.discard(instance)
        unit = units[instance[0]]
        if _ASK[unit.kind](state, now, unit, instance[1], flips):
            for place in unit.dependents:
                _add_instances(state, units[place], instance[1] if units[place].owner == unit.owner else None, waiting)


def _add_instances(state: UserState, unit: Unit, each: str | None, waiting: set[Instance]) -> None:
    if not unit.each:
        waiting.add((unit.place, None))
        return
    known = state.values.get(unit.owner, {})
    waiting.update((unit.place, key) for key in ([each] if each is not None and each in known else known))


def _ask_held(state: UserState, now: int, unit: Unit, each: str | None, flips: list[Flip]) -> bool:
    assert unit.when is not None
    key = member_key(unit.name, each)
    truth, until = unit.when(state, now, each)
    _arm(state, key, until)
    if truth is (key in state.held):
        return False
    if truth:
        state.held[key] = now
    else:
        del state.held[key]
    return True


def _ask_segment(state: UserState, now: int, unit: Unit, each: str | None, flips: list[Flip]) -> bool:
    """Ask one instance of a segment; True when what others read of it changed."""
    if each is not None and not state.values.get(unit.name, _NONE).get(each):
        return False  # the value was never in the domain, or has been pushed out of it
    key = member_key(unit.name, each)
    inside = state.members if unit.grouped is None else state.ranked
    since = inside.get(key)
    if since is not None:
        return _ask_inside(state, now, unit, each, key, inside, since, flips)
    if unit.simple:
        assert unit.when is not None
        truth, until = unit.when(state, now, each)
        if not truth:
            if until < NEVER or key in state.dues:
                _arm(state, key, until)
            return False
    return _ask_outside(state, now, unit, each, key, inside, flips)


def _ask_outside(state: UserState, now: int, unit: Unit, each: str | None, key: str, inside: dict[str, int], flips: list[Flip]) -> bool:
    truth, until = _wants_in(state, now, unit, each)
    ready = state.exits[key] + unit.cooldown_ms if key in state.exits else 0
    if not truth or now < ready:
        _arm(state, key, until if not truth else min(until, ready))
        return False
    inside[key] = now
    state.exits.pop(key, None)
    _arm(state, key, max(_leaves(state, now, unit, each)[1], now + unit.dwell_ms))
    if unit.grouped is None:
        flips.append(Flip(unit, each, "entered"))
    return True


def _ask_inside(
    state: UserState, now: int, unit: Unit, each: str | None, key: str, inside: dict[str, int], since: int, flips: list[Flip]
) -> bool:
    truth, until = _leaves(state, now, unit, each)
    free = since + unit.dwell_ms
    if not truth or now < free:
        _arm(state, key, max(until, free) if not truth else free)
        return False
    del inside[key]
    if unit.cooldown_ms:
        state.exits[key] = now
    _arm(
        state,
        key,
        max(_wants_in(state, now, unit, each)[1], now + unit.cooldown_ms) if unit.cooldown_ms else _wants_in(state, now, unit, each)[1],
    )
    if unit.grouped is None:
        flips.append(Flip(unit, each, "exited"))
    return True


def _leaves(state: UserState, now: int, unit: Unit, each: str | None) -> tuple[bool, int]:
    if unit.leave is not None:
        return unit.leave(state, now, each)
    assert unit.when is not None
    truth, until = unit.when(state, now, each)
    return not truth, until


def _wants_in(state: UserState, now: int, unit: Unit, each: str | None) -> tuple[bool, int]:
    assert unit.when is not None
    truth, until = unit.when(state, now, each)
    if unit.leave is None:
        return truth, until
    if not truth and until >= NEVER:
        return False, NEVER
    out, until_out = unit.leave(state, now, each)
    if truth and not out:
        return True, min(until, until_out)
    return False, max(0 if truth else until, until_out if out else 0)


def _ask_group(state: UserState, now: int, unit: Unit, each: str | None, flips: list[Flip]) -> bool:
    assert unit.group is not None
    before = state.groups.get(unit.name)
    after = next((name for name in unit.group.segments if name in state.ranked), None)
    if before == after:
        return False
    if before is not None:
        del state.members[before]
        del state.groups[unit.name]
    if after is not None:
        state.members[after] = now
        state.groups[unit.name] = after
    flips.append(Flip(unit, None, "moved", before, after))
    return True


def _arm(state: UserState, key: str, due: int) -> None:
    """Ask this instance again at `due`; keeps `state.due` the earliest of all."""
    dues = state.dues
    if due >= NEVER:
        before = dues.pop(key, NEVER)
    else:
        before = dues.get(key, NEVER)
        if before == due:
            return
        dues[key] = due
    if due < state.due:
        state.due = due
    elif before == state.due:
        state.due = min(dues.values(), default=NEVER)


def disarm(state: UserState, key: str) -> None:
    """Forget an instance's timer."""
    _arm(state, key, NEVER)


_ASK = {"segment": _ask_segment, "held": _ask_held, "group": _ask_group}
