"""Units at work: a segment with its two conditions and its times, the condition of a `held(…)`, or
a group."""

from __future__ import annotations

from app.domain.changes import DefinitionRef
from app.domain.limits import NEVER
from app.domain.members import member_key
from app.engine.conditions.answers import Condition
from app.engine.state import UserState, new_state
from app.rules import ast
from app.rules.model import Group, Segment
from app.rules.plan import UnitKind, UnitSpec


def never(state: UserState, now: int, value_key: str | None) -> tuple[bool, int]:
    """The condition of what has none: a group."""
    return False, NEVER


class Unit:
    """One thing evaluated, at `index` in the order of evaluation.

    `enter` and `exit` are what takes it in and out: for a segment with `exit_when`, `when and not
    exit_when` and `exit_when`; for all else the condition and its contrary. `dependents` are the
    indices of units that read it.
    """

    def __init__(self, spec: UnitSpec, index: int, enter: Condition, exit_: Condition, ref: DefinitionRef) -> None:
        segment = spec.segment if spec.kind == "segment" else None
        self.name = spec.name
        self.kind: UnitKind = spec.kind
        self.index = index
        self.enter = enter
        self.exit = exit_
        self.segment: Segment | None = spec.segment
        self.group: Group | None = spec.group
        self.owner = spec.owner
        self.each = spec.each
        self.profile = spec.profile
        self.dwell_ms = segment.min_dwell_ms if segment else 0
        self.cooldown_ms = segment.cooldown_ms if segment else 0
        self.grouped = segment.group if segment else None
        """The group it is a member of."""
        self.ref = ref
        self.dependents: tuple[int, ...] = ()
        self.false_when_unknown = False
        """Of a `for_each` segment: a value is out for certain until something is known of it."""
        self.at_first_event = spec.kind != "group" and not spec.each and self._may_be_in_unknown(spec)
        """Whether a user of whom nothing is known yet may be in, or get in by time alone: then the
        first event evaluates it."""

    def _may_be_in_unknown(self, spec: UnitSpec) -> bool:
        if any(isinstance(node, ast.Bucket | ast.Calendar) for tree in spec.trees for node in ast.nodes(tree)):
            return True
        return self.enter(new_state("", ""), 0, None) != (False, NEVER)


def is_member(state: UserState, unit: Unit) -> bool:
    """Whether the user is in a segment, with any value where it is `for_each`; of a group's member:
    whether it is the current one."""
    if unit.grouped is not None:
        return state.groups.get(unit.grouped) == unit.name
    if not unit.each:
        return unit.name in state.members
    prefix = member_key(unit.name, "")
    return any(key.startswith(prefix) for key in state.members)
