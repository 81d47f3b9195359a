"""Units at work: a segment's two conditions and its dwell, the condition of a `held(…)`, or a group; and which of them a newborn user
needs asked."""

from __future__ import annotations

from app.domain.changes import DefinitionRef
from app.domain.limits import NEVER
from app.domain.members import member_key
from app.engine.answers import Condition
from app.engine.state import UserState, new_state
from app.rules import ast
from app.rules.model import Group, Segment
from app.rules.plan import UnitSpec
from app.rules.walk import nodes


class Unit:
    """One thing judged; `place` is its position in the order of judging, `dependents` the places of units that read it."""

    def __init__(self, spec: UnitSpec, place: int, when: Condition | None, leave: Condition | None, ref: DefinitionRef) -> None:
        self.name = spec.name
        self.kind = spec.kind
        self.place = place
        self.when = when
        self.leave = leave
        self.segment: Segment | None = spec.segment
        self.group: Group | None = spec.group
        self.owner = spec.segment.name if spec.segment else ""
        self.each = spec.each
        self.profile = spec.profile
        self.dwell_ms = spec.segment.min_dwell_ms if spec.segment and spec.kind == "segment" else 0
        self.cooldown_ms = spec.segment.cooldown_ms if spec.segment and spec.kind == "segment" else 0
        self.grouped = spec.segment.group if spec.segment and spec.kind == "segment" else None
        self.simple = leave is None and not self.cooldown_ms
        """Whether getting in is a question of `when` alone."""
        self.ref = ref
        self.dependents: tuple[int, ...] = ()
        self.silent = False
        """Of a `for_each` segment: whether a value of which nothing is known cannot be in."""
        self.newborn = self.kind != "group" and not self.each and self._speaks_of_nothing(spec)

    def _speaks_of_nothing(self, spec: UnitSpec) -> bool:
        """Whether a user of whom nothing is known yet may be in (or get in by time alone): then the first event must ask."""
        if any(isinstance(node, ast.Bucket | ast.Calendar) for tree in spec.trees for node in nodes(tree)):
            return True
        assert self.when is not None
        return self.when(new_state("", ""), 0, None) != (False, NEVER)


def is_member(state: UserState, unit: Unit) -> bool:
    """Whether the user is in a segment, with any value where it is `for_each`; of a group's member: whether it is the current one."""
    if unit.grouped is not None:
        return state.groups.get(unit.grouped) == unit.name
    if not unit.each:
        return unit.name in state.members
    prefix = member_key(unit.name, "")
    return any(key.startswith(prefix) for key in state.members)
