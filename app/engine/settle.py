"""Bringing a user's state under other definitions than it was made with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.domain.changes import Cause, Change, ChangeKind, DefinitionRef, make_change
from app.domain.limits import NEVER
from app.domain.members import Value, name_of, order, split, value_of
from app.engine import state as states
from app.engine.judge import Instance, judge
from app.engine.state import Past, UserState

if TYPE_CHECKING:
    from app.engine.engine import Engine


def settle(engine: Engine, state: UserState) -> list[Change]:
    """Drop what the plan does not know, judge everything at the user's clock; changes have the cause `definition`."""
    if state.plan_digest == engine.plan.digest:
        return []
    changes = _leave_unknown(engine, state)
    _forget_unknown(engine, state)
    flips = judge(state, state.clock, engine.units, _everything(engine, state))
    changes += [engine.change(state, state.clock, flip, Cause("definition"), False) for flip in flips]
    state.plan_digest, state.core = engine.plan.digest, None
    state.past = Past([(state.clock, state.rank, 0, states.core_of(state))], []) if engine.options.reorder else None
    return changes


def _leave_unknown(engine: Engine, state: UserState) -> list[Change]:
    """Exits from segments that are no longer defined, or defined as something else (in a group, with or without values)."""
    changes: list[Change] = []
    cause = Cause("definition")
    for group, current in sorted(state.groups.items()):
        unit = engine.unit(group)
        if unit is None or unit.group is None or current not in unit.group.segments:
            del state.groups[group]
            state.members.pop(current, None)
            changes.append(_last_change(state, cause, DefinitionRef(group, 0, ""), "moved", group=group, from_=current))
    for key in sorted(state.members, key=order):
        name, value_key = split(key)
        unit = engine.unit(name)
        grouped = any(current == name for current in state.groups.values())
        if unit is None or unit.each is (value_key is None) or (unit.grouped is not None) is not grouped:
            if grouped and unit is not None:
                continue
            del state.members[key]
            changes.append(_last_change(state, cause, DefinitionRef(name, 0, ""), "exited", segment=name, value=value_of(key)))
    return changes


def _last_change(
    state: UserState,
    cause: Cause,
    ref: DefinitionRef,
    change: ChangeKind,
    *,
    segment: str | None = None,
    value: Value | None = None,
    group: str | None = None,
    from_: str | None = None,
) -> Change:
    state.seq += 1
    return make_change(
        state.user, state.seq, state.clock, False, ref, cause, [], change=change, segment=segment, value=value, group=group, from_=from_
    )


def _forget_unknown(engine: Engine, state: UserState) -> None:
    state.signals = {key: cell for key, cell in state.signals.items() if key in engine.signals}
    state.held = {key: at for key, at in state.held.items() if _known(engine, key)}
    state.ranked = {name: at for name, at in state.ranked.items() if (unit := engine.unit(name)) is not None and unit.grouped}
    state.exits = {key: at for key, at in state.exits.items() if _known(engine, key)}
    state.values = {name: values for name, values in state.values.items() if (unit := engine.unit(name)) is not None and unit.each}
    state.dues = {}
    state.due = NEVER


def _known(engine: Engine, key: str) -> bool:
    return engine.unit(name_of(key)) is not None


def _everything(engine: Engine, state: UserState) -> set[Instance]:
    due: set[Instance] = set()
    for unit in engine.units:
        if unit.each:
            due.update((unit.place, key) for key in state.values.get(unit.owner, ()))
        else:
            due.add((unit.place, None))
    return due
