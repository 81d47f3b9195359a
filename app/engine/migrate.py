"""Bringing a user's state under other definitions than it was made with."""

from __future__ import annotations

from app.domain.changes import Cause, Change, ChangeKind, DefinitionRef, make_change
from app.domain.limits import NEVER
from app.domain.members import Value, name_of, order, split, value_of
from app.engine import state as states
from app.engine.build import Machine
from app.engine.evaluate import dependent_instances, evaluate
from app.engine.signals import Instance
from app.engine.state import Past, UserState
from app.engine.step import Stepper


def migrate(stepper: Stepper, state: UserState) -> list[Change]:
    """Drop what the plan does not know, evaluate everything at the user's clock; changes have the
    cause `definition`."""
    machine = stepper.machine
    if state.plan_digest == machine.plan.digest:
        return []
    changes = _leave_unknown(machine, state)
    _forget_unknown(machine, state)
    transitions = evaluate(state, state.clock, machine.units, _everything(machine, state))
    changes += [
        stepper.change(state, state.clock, transition, Cause("definition"), False) for transition in transitions
    ]
    state.plan_digest, state.core = machine.plan.digest, None
    state.past = Past([(state.clock, state.rank, 0, states.core_of(state))], []) if machine.options.reorder else None
    return changes


def _leave_unknown(machine: Machine, state: UserState) -> list[Change]:
    """Exits from segments that are no longer defined, or defined as something else (in a group,
    with or without values)."""
    changes: list[Change] = []
    cause = Cause("definition")
    for group, current in sorted(state.groups.items()):
        unit = machine.by_name.get(group)
        if unit is None or unit.group is None or current not in unit.group.segments:
            del state.groups[group]
            state.members.pop(current, None)
            changes.append(_last_change(state, cause, DefinitionRef(group, 0, ""), "moved", group=group, from_=current))
    for key in sorted(state.members, key=order):
        name, value_key = split(key)
        unit = machine.by_name.get(name)
        grouped = any(current == name for current in state.groups.values())
        if unit is None or unit.each is (value_key is None) or (unit.grouped is not None) is not grouped:
            if grouped and unit is not None:
                continue
            del state.members[key]
            changes.append(
                _last_change(state, cause, DefinitionRef(name, 0, ""), "exited", segment=name, value=value_of(key))
            )
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
        state.user,
        state.seq,
        state.clock,
        False,
        ref,
        cause,
        [],
        change=change,
        segment=segment,
        value=value,
        group=group,
        from_=from_,
    )


def _forget_unknown(machine: Machine, state: UserState) -> None:
    state.signals = {key: cell for key, cell in state.signals.items() if key in machine.signals}
    state.held = {key: at for key, at in state.held.items() if _known(machine, key)}
    state.ranked = {
        name: at
        for name, at in state.ranked.items()
        if (unit := machine.by_name.get(name)) is not None and unit.grouped
    }
    state.exits = {key: at for key, at in state.exits.items() if _known(machine, key)}
    state.values = {
        name: values
        for name, values in state.values.items()
        if (unit := machine.by_name.get(name)) is not None and unit.each
    }
    state.dues = {}
    state.due = NEVER


def _known(machine: Machine, key: str) -> bool:
    return machine.by_name.get(name_of(key)) is not None


def _everything(machine: Machine, state: UserState) -> set[Instance]:
    return {instance for unit in machine.units for instance in dependent_instances(state, unit, None)}
