"""Late events: giving the state that the right order would have given.

For as far back as a late event may come, a user's state keeps snapshots of itself and every event
since the oldest of them. When an event arrives that belongs before what was already applied, the
newest snapshot before its place is taken, the events since (with the late one in its place) are
applied again in order, in silence, and the memberships of the result are compared with the
published ones: the differences are the corrections. Nothing else in the engine has to know about
disorder; windows, chains, absences, dwell, cooldown and `held` are all as if the event had come in
time. (Optimistic execution with rollback: Jefferson, *Virtual Time*, 1985.)

Snapshots are taken at most once per lateness bound, so an event costs one encoding of the state per
hour and user, not one per event.
"""

from __future__ import annotations

from app.domain.changes import Cause, Change
from app.domain.errors import Refused
from app.domain.events import Event
from app.domain.members import split
from app.engine import state as states
from app.engine.evaluate import Transition
from app.engine.state import Past, UserState
from app.engine.step import TIMER_RANK, Stepper


class Rollback:
    """Keeps a user's recent past and replays it around late events."""

    def __init__(self, stepper: Stepper) -> None:
        options = stepper.machine.options
        self._stepper = stepper
        self._machine = stepper.machine
        self._lateness = options.allowed_lateness_ms
        self._events_max = options.reorder_events_max
        self._wanted = stepper.machine.plan.fields

    def remember(self, state: UserState, event: Event, watermark: int) -> None:
        """Note an event that is about to be applied in order. No event older than `watermark` less
        the allowed lateness will come any more."""
        past, horizon = state.past, watermark - self._lateness
        if past is None or state.clock < horizon:
            raw = states.core_of(state) if state.applied else b""
            state.past = Past([(state.clock, state.rank, 0, raw)], [self._reduced(event)])
            return
        full = len(past.events) - past.snapshots[-1][2] >= self._events_max
        if past.snapshots[-1][0] < horizon or full:
            past.snapshots.append((state.clock, state.rank, len(past.events), states.core_of(state)))
            self._forget(past, horizon, full)
        past.events.append(self._reduced(event))

    def _reduced(self, event: Event) -> Event:
        """The event with only the fields that a definition reads; whose it is the state knows."""
        wanted = self._wanted.get(event.stream)
        if wanted is None:
            return event
        fields = event.fields
        return Event(
            "",
            event.ts,
            event.stream,
            event.rank,
            event.id,
            event.has_id,
            {name: fields[name] for name in wanted if name in fields},
        )

    @staticmethod
    def _forget(past: Past, horizon: int, full: bool) -> None:
        """Drop what lies before the newest snapshot that every possible late event comes after;
        where events are too many, all before the newest one but one."""
        keep = max((i for i, snapshot in enumerate(past.snapshots) if snapshot[0] < horizon), default=0)
        if full:
            keep = max(keep, len(past.snapshots) - 2)
        gone = past.snapshots[keep][2]
        past.snapshots = [(clock, rank, applied - gone, raw) for clock, rank, applied, raw in past.snapshots[keep:]]
        del past.events[:gone]

    def late(self, state: UserState, event: Event) -> list[Change]:
        """Apply an event whose place is before the user's clock (or before an equal ts of a later
        stream)."""
        past = state.past
        snapshots = [s for s in past.snapshots if (s[0], s[1]) <= (event.ts, event.rank)] if past is not None else []
        if past is None or not snapshots:
            kept = len(past.events) if past else 0
            raise Refused(
                "too_late",
                f"ts {event.ts} is before the {kept} latest events of this user that are kept (reorder_events_max)",
            )
        first, events = snapshots[-1][2], past.events
        index = len(events)
        while index > first and (events[index - 1].ts, events[index - 1].rank) > (event.ts, event.rank):
            index -= 1
        events = [*events[:index], self._reduced(event), *events[index:]]
        raw = snapshots[-1][3]
        fresh = states.decode_core(raw) if raw else self._machine.new_state(state.user)
        self._replay(fresh, events[first:], state.clock)
        return self._publish(state, fresh, Past(snapshots, events), event)

    def _replay(self, fresh: UserState, events: list[Event], clock: int) -> None:
        stepper = self._stepper
        silent: list[Change] = []
        for event in events:
            if stepper.is_duplicate(fresh, event):
                continue
            if fresh.due <= event.ts:
                stepper.fire(fresh, event.ts, silent)
            stepper.step(fresh, event, silent)
        if fresh.due <= clock:
            stepper.fire(fresh, clock, silent)
        if fresh.clock < clock:
            fresh.clock, fresh.rank = clock, TIMER_RANK

    def _publish(self, state: UserState, fresh: UserState, past: Past, event: Event) -> list[Change]:
        transitions = self._difference(state, fresh)
        late = event.ts < state.clock
        fresh.seq, fresh.past, fresh.core = state.seq, past, None
        for name in UserState.__struct_fields__:
            setattr(state, name, getattr(fresh, name))
        cause = Cause("event" if event.stream in self._wanted else "profile", event.id, event.stream, event.ts)
        return [self._stepper.change(state, state.clock, transition, cause, late) for transition in transitions]

    def _difference(self, before: UserState, after: UserState) -> list[Transition]:
        """The transitions that lead from one state's published memberships to another's, in the
        order of emission."""
        by_name = self._machine.by_name
        found: list[Transition] = []
        for key in before.members.keys() ^ after.members.keys():
            name, value_key = split(key)
            unit = by_name.get(name)
            if unit is not None and unit.kind == "segment" and unit.grouped is None:
                found.append(Transition(unit, value_key, "entered" if key in after.members else "exited"))
        for group in self._machine.plan.groups:
            old, new = before.groups.get(group.name), after.groups.get(group.name)
            if old != new:
                found.append(Transition(by_name[group.name], None, "moved", old, new))
        return sorted(found, key=lambda transition: transition.order)
