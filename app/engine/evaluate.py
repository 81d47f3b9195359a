"""Evaluating: which memberships change at one step, and when each unit must be evaluated again.

Out, a segment enters when `enter` holds, at the earliest `cooldown` after its last exit; in, it
leaves when `exit` holds, at the earliest `min_dwell` after its entry. A group's current segment is
the first listed that is in. Every unit that was evaluated is *armed* at the instant until which its
answer holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from app.domain.changes import ChangeKind
from app.domain.limits import NEVER
from app.domain.members import member_key, order
from app.engine.signals import Instance
from app.engine.state import UserState
from app.engine.units import Unit

_NO_VALUES: dict[str, bool] = {}


@dataclass(slots=True)
class Transition:
    """One change that a step made. A group moved from `before` to `after`; `by`: pushed out by the
    value of that key."""

    unit: Unit
    value_key: str | None
    change: ChangeKind
    before: str | None = None
    after: str | None = None
    by: str | None = None

    @property
    def order(self) -> tuple[str, str]:
        """Changes of one step stand in the order of segment or group name, then value."""
        return order(member_key(self.unit.name, self.value_key))


def evaluate(state: UserState, now: int, units: list[Unit], dirty: set[Instance]) -> list[Transition]:
    """Evaluate every instance in `dirty` and whatever depends on what changed; the transitions in
    the order of emission."""
    found = _Evaluation(state, now, units)
    found.run(dirty)
    if len(found.transitions) > 1:
        found.transitions.sort(key=lambda transition: transition.order)
    return found.transitions


def dependent_instances(state: UserState, unit: Unit, value_key: str | None) -> Iterable[Instance]:
    """The instances of a unit to evaluate when something that it reads has changed, for one value
    (None: for all)."""
    if not unit.each:
        return ((unit.index, None),)
    known = state.values.get(unit.owner, _NO_VALUES)
    if value_key is not None and value_key in known:
        return ((unit.index, value_key),)
    return [(unit.index, key) for key in known]


class _Evaluation:
    """One step's evaluation of one user."""

    __slots__ = ("now", "state", "transitions", "units")

    def __init__(self, state: UserState, now: int, units: list[Unit]) -> None:
        self.state = state
        self.now = now
        self.units = units
        self.transitions: list[Transition] = []

    def run(self, dirty: set[Instance]) -> None:
        units = self.units
        waiting = sorted(dirty) if len(dirty) > 1 else list(dirty)
        for i, (index, value_key) in enumerate(waiting):
            unit = units[index]
            if self._evaluate(unit, value_key) and unit.dependents:
                self._run_rest(set(waiting[i + 1 :]), unit, value_key)
                return

    def _run_rest(self, waiting: set[Instance], changed: Unit, value_key: str | None) -> None:
        """Go on where an answer that others read has changed: they are evaluated too, always after
        it."""
        self._add_dependents(changed, value_key, waiting)
        while waiting:
            instance = min(waiting)
            waiting.discard(instance)
            unit = self.units[instance[0]]
            if self._evaluate(unit, instance[1]):
                self._add_dependents(unit, instance[1], waiting)

    def _add_dependents(self, changed: Unit, value_key: str | None, waiting: set[Instance]) -> None:
        for index in changed.dependents:
            unit = self.units[index]
            waiting.update(dependent_instances(self.state, unit, value_key if unit.owner == changed.owner else None))

    def _evaluate(self, unit: Unit, value_key: str | None) -> bool:
        """Evaluate one instance; whether what others read of it changed."""
        match unit.kind:
            case "segment":
                return self._segment(unit, value_key)
            case "held":
                return self._held(unit, value_key)
            case "group":
                return self._group(unit)
            case _:
                assert_never(unit.kind)

    def _held(self, unit: Unit, value_key: str | None) -> bool:
        """Note since when the condition holds without a break."""
        held, key = self.state.held, member_key(unit.name, value_key)
        truth, until = unit.enter(self.state, self.now, value_key)
        arm(self.state, key, until)
        if truth is (key in held):
            return False
        if truth:
            held[key] = self.now
        else:
            del held[key]
        return True

    def _segment(self, unit: Unit, value_key: str | None) -> bool:
        state = self.state
        if value_key is not None and not state.values.get(unit.name, _NO_VALUES).get(value_key):
            return False  # the value was never in the domain, or has been pushed out of it
        key = member_key(unit.name, value_key)
        inside = state.members if unit.grouped is None else state.ranked
        since = inside.get(key)
        if since is None:
            return self._outside(unit, value_key, key, inside)
        return self._inside(unit, value_key, key, inside, since)

    def _outside(self, unit: Unit, value_key: str | None, key: str, inside: dict[str, int]) -> bool:
        """Out: enter, or wait until the condition or the cooldown lets in."""
        state, now = self.state, self.now
        truth, until = unit.enter(state, now, value_key)
        if not truth:
            if until < NEVER or key in state.dues:
                arm(state, key, until)
            return False
        ready = state.exits[key] + unit.cooldown_ms if key in state.exits else 0
        if now < ready:
            arm(state, key, min(until, ready))
            return False
        inside[key] = now
        state.exits.pop(key, None)
        arm(state, key, max(unit.exit(state, now, value_key)[1], now + unit.dwell_ms))
        if unit.grouped is None:
            self.transitions.append(Transition(unit, value_key, "entered"))
        return True

    def _inside(self, unit: Unit, value_key: str | None, key: str, inside: dict[str, int], since: int) -> bool:
        """In: leave, or wait until the condition or the dwell lets out."""
        state, now = self.state, self.now
        truth, until = unit.exit(state, now, value_key)
        free = since + unit.dwell_ms
        if not truth or now < free:
            arm(state, key, free if truth else max(until, free))
            return False
        del inside[key]
        if unit.cooldown_ms:
            state.exits[key] = now
        again = unit.enter(state, now, value_key)[1]
        arm(state, key, max(again, now + unit.cooldown_ms) if unit.cooldown_ms else again)
        if unit.grouped is None:
            self.transitions.append(Transition(unit, value_key, "exited"))
        return True

    def _group(self, unit: Unit) -> bool:
        """Publish the first listed segment that would be in as the group's current one."""
        assert unit.group is not None
        state = self.state
        before = state.groups.get(unit.name)
        after = next((name for name in unit.group.segments if name in state.ranked), None)
        if before == after:
            return False
        if before is not None:
            del state.members[before]
            del state.groups[unit.name]
        if after is not None:
            state.members[after] = self.now
            state.groups[unit.name] = after
        self.transitions.append(Transition(unit, None, "moved", before, after))
        return True


def arm(state: UserState, key: str, due: int) -> None:
    """Evaluate this instance again at `due`; keeps `state.due` the earliest of all."""
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
    arm(state, key, NEVER)
