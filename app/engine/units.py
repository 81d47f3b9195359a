"""Units at work: a segment's two conditions and its dwell, the condition of a `held(…)`, or a group; and which of them a newborn user
needs asked."""

from __future__ import annotations

import json
from functools import lru_cache

from app.domain.changes import DefinitionRef
from app.domain.limits import NEVER
from app.engine.answers import Condition
from app.engine.state import UserState, new_state
from app.engine.values import key_value
from app.rules import ast
from app.rules.model import Group, Segment
from app.rules.plan import UnitSpec
from app.rules.walk import nodes

SEPARATOR = "\x1f"


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


@lru_cache(maxsize=65_536)
def instance_key(name: str, each: str | None) -> str:
    """The key of a unit's instance in stored state."""
    return name if each is None else f"{name}{SEPARATOR}{each}"


@lru_cache(maxsize=65_536)
def member_key(segment: str, each: str) -> str:
    """The member key of one value of a `for_each` segment: name, unit separator, the value as JSON."""
    return f"{segment}{SEPARATOR}{json.dumps(key_value(each), ensure_ascii=False)}"


def split_member_key(key: str) -> tuple[str, str | int | float | bool | None]:
    """(segment, value) of a member key."""
    name, found, value = key.partition(SEPARATOR)
    return name, json.loads(value) if found else None


def is_member(state: UserState, unit: Unit) -> bool:
    """Whether the user is in a segment, with any value where it is `for_each`; of a group's member: whether it is the current one."""
    if unit.grouped is not None:
        return state.groups.get(unit.grouped) == unit.name
    if not unit.each:
        return unit.name in state.members
    prefix = unit.name + SEPARATOR
    return any(key.startswith(prefix) for key in state.members)
