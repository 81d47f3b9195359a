"""A tiny engine with the real one's interface: counts events, `enters` at the third, exits one hour
later by timer (or `stays`)."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from app.domain.changes import Cause, Change, ChangeKind, DefinitionRef, make_change
from app.domain.events import Event
from app.domain.limits import HOUR_MS, NEVER

SEGMENT = "busy"
ENTER_AT = 3


@dataclass
class FakePlan:
    digest: str = "fake-1"


class FakeState(msgspec.Struct):
    user: str
    plan_digest: str
    clock: int = 0
    seq: int = 0
    due: int = NEVER
    count: int = 0
    members: dict[str, int] = {}
    ids: list[str] = []


@dataclass
class FakeEngine:
    """`fail_on`: ids of events, and "timer of USER". `settled`: whom `settle` was called for."""

    plan: FakePlan = field(default_factory=FakePlan)
    fail_on: set[str] = field(default_factory=set)
    stays: bool = False
    settled: list[str] = field(default_factory=list)

    def new_state(self, user: str) -> FakeState:
        return FakeState(user, self.plan.digest)

    def apply(self, state: FakeState, event: Event, watermark: int) -> list[Change]:
        if event.id in self.fail_on:
            raise ZeroDivisionError(event.id)
        found = self._fire(state, event.ts)
        if event.has_id and event.id in state.ids:
            return found
        if event.has_id:
            state.ids.append(event.id)
        late = event.ts < state.clock
        state.clock = max(state.clock, event.ts)
        state.count += 1
        if state.count >= ENTER_AT and SEGMENT not in state.members:
            state.members[SEGMENT] = state.clock
            state.due = NEVER if self.stays else state.clock + HOUR_MS
            found.append(
                self._change(state, "entered", state.clock, late, Cause("event", event.id, event.stream, event.ts))
            )
        return found

    def fire(self, state: FakeState, upto: int) -> list[Change]:
        if f"timer of {state.user}" in self.fail_on:
            raise ZeroDivisionError(state.user)
        return self._fire(state, upto)

    def _fire(self, state: FakeState, upto: int) -> list[Change]:
        if state.due > upto:
            return []
        at, state.due = state.due, NEVER
        state.clock = max(state.clock, at)
        state.count = 0
        state.members.pop(SEGMENT, None)
        return [self._change(state, "exited", at, False, Cause("timer", due=at))]

    def migrate(self, state: FakeState) -> list[Change]:
        state.plan_digest = self.plan.digest
        self.settled.append(state.user)
        if SEGMENT not in state.members:
            return []
        state.due = NEVER
        state.members.pop(SEGMENT)
        return [self._change(state, "exited", state.clock, False, Cause("definition"))]

    def encode(self, state: FakeState) -> bytes:
        return msgspec.json.encode(state)

    def decode(self, raw: bytes) -> FakeState:
        return msgspec.json.decode(raw, type=FakeState)

    def _change(self, state: FakeState, change: ChangeKind, at: int, late: bool, cause: Cause) -> Change:
        state.seq += 1
        ref = DefinitionRef(SEGMENT, 1, self.plan.digest)
        return make_change(state.user, state.seq, at, late, ref, cause, [], segment=SEGMENT, change=change)
