"""A test driver for definitions: events in, changes out, synchronous, on a clock that moves only when told.

    from app.testing import CRASH, Driver, Duplicate

    driver = Driver.of_folder("segments")
    driver.feed({"type": "cart", "user_id": "u", "ts": "2026-11-02T10:00:00Z", "action": "add"})
    changes = driver.advance("24h")                       # nothing arrived for a day: [entered cart_abandoner]
    driver.feed(first, CRASH, second, Duplicate(second))  # faults are data

It behaves as one partition does: events of all users move one watermark, timers fire when the watermark passes them,
a record that does not fit is refused and never stops the rest (`refused`). There is no wall clock, so nothing
is refused for being in the future.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from app.domain.changes import Change, encode_change
from app.domain.decode import decode_fields, event_from
from app.domain.errors import Refused, nearest
from app.domain.events import Event
from app.domain.limits import NEVER
from app.domain.members import name_of, value_of
from app.domain.options import EngineOptions
from app.domain.views import Explanation, UserView
from app.engine.engine import Engine
from app.engine.state import UserState
from app.engine.views import describe_user, explain_segment
from app.rules.definitions import load_folder, load_text
from app.rules.model import Definitions
from app.rules.plan import Plan, compile_plan
from app.testing.notation import duration


@dataclass(frozen=True)
class _Fault:
    name: str


CRASH: Final = _Fault("crash")
"""The process ends and another continues from the stored bytes of every user."""
REBALANCE: Final = _Fault("rebalance")
"""The partition moves: another engine of the same definitions takes over the stored bytes."""


@dataclass(frozen=True)
class Duplicate:
    """A record delivered once more."""

    record: bytes | Mapping[str, Any] | Event


Record = bytes | Mapping[str, Any] | Event
Item = Record | Duplicate | _Fault


class Driver:
    """One partition under one plan. `changes` are all so far; `refused` the records that did not fit, as (reason, detail, record)."""

    def __init__(self, plan: Plan, options: EngineOptions | None = None) -> None:
        self.options = options or EngineOptions()
        self.plan = plan
        self.engine = Engine(plan, self.options)
        self.states: dict[str, UserState] = {}
        self.watermark = 0
        self.changes: list[Change] = []
        self.refused: list[tuple[str, str, Any]] = []
        self._streams = {stream.name: stream for stream in self.options.streams}
        self._timers: list[tuple[int, str]] = []  # a user may stand here more than once: what is no longer due is skipped
        self._fed = 0

    @classmethod
    def of_text(cls, text: str, options: EngineOptions | None = None) -> Driver:
        """Under the definitions in a YAML text. Raises DefinitionError for the first that is wrong."""
        options = options or EngineOptions()
        return cls(_plan(load_text(text, options), options), options)

    @classmethod
    def of_folder(cls, path: str | Path, options: EngineOptions | None = None) -> Driver:
        """Under the definitions of a folder. Raises DefinitionError for the first that is wrong, InputError where there are none."""
        options = options or EngineOptions()
        return cls(_plan(load_folder(path, options), options), options)

    # --- events and time ---------------------------------------------------------------------------------------

    def feed(self, *items: Item) -> list[Change]:
        """Feed records in this order of arrival, and faults between them; the changes they made.

        A record is a line of an event file (bytes, or the dict in it, with `type`), or an Event.
        """
        start = len(self.changes)
        for item in items:
            if isinstance(item, _Fault):
                self._restart(another=item is REBALANCE)
            else:
                self._take(item.record if isinstance(item, Duplicate) else item)
        return self.changes[start:]

    def advance(self, by: str | int = 0, *, to: int | None = None) -> list[Change]:
        """Let time pass: by a duration (`"24h"`, or milliseconds), or `to` an instant in epoch ms; the changes of the timers that fired."""
        start = len(self.changes)
        target = to if to is not None else self.watermark + (by if isinstance(by, int) else duration(by))
        self.watermark = max(self.watermark, target)
        self._fire()
        return self.changes[start:]

    def _take(self, record: Record) -> None:
        self._fed += 1
        try:
            event = record if isinstance(record, Event) else self._decoded(record)
            self._apply(event)
        except Refused as error:
            self.refused.append((error.reason, error.detail, record))

    def _decoded(self, record: bytes | Mapping[str, Any]) -> Event:
        fields = decode_fields(record if isinstance(record, bytes) else msgspec.json.encode(record))
        kind = fields.pop("type", None)
        stream = self._streams.get(kind) if isinstance(kind, str) else None
        if stream is None:
            hint = nearest(str(kind), self._streams)
            detail = f"type is {kind!r}, expected one of {', '.join(self._streams)}" + (f"; did you mean {hint}?" if hint else "")
            raise Refused("unknown_type", detail)
        return event_from(fields, stream, None, f"fed-{self._fed}")

    def _apply(self, event: Event) -> None:
        behind = self.watermark - event.ts
        if behind > self.options.allowed_lateness_ms:
            raise Refused("too_late", f"{behind} ms behind the watermark, allowed_lateness is {self.options.allowed_lateness_ms} ms")
        self.watermark = max(self.watermark, event.ts)
        state = self.states.get(event.user)
        if state is None:
            state = self.engine.new_state(event.user)
        self.changes += self.engine.apply(state, event, self.watermark)
        self.states[event.user] = state
        self._arm(state)
        self._fire()

    def _fire(self) -> None:
        """Every timer that the watermark has passed, by due time, then user."""
        while self._timers and self._timers[0][0] <= self.watermark:
            due, user = heapq.heappop(self._timers)
            state = self.states[user]
            if state.due == due:
                self.changes += self.engine.fire(state, due)
                self._arm(state)

    def _arm(self, state: UserState) -> None:
        if state.due < NEVER:
            heapq.heappush(self._timers, (state.due, state.user))

    def _restart(self, another: bool) -> None:
        stored = {user: self.engine.encode(state) for user, state in self.states.items()}
        if another:
            self.engine = Engine(self.plan, self.options)
        self.states = {user: self.engine.decode(raw) for user, raw in stored.items()}

    # --- answers -----------------------------------------------------------------------------------------------

    def members(self, user: str) -> dict[str, int]:
        """The user's memberships, `name` or `name:value` → since (epoch ms)."""
        state = self.states.get(user)
        return {} if state is None else {shown_key(key): since for key, since in state.members.items()}

    def describe(self, user: str) -> UserView:
        """Memberships, profile, signals and what flips next, as the read API gives it. Raises KeyError for an unknown user."""
        return describe_user(self.engine, self.states[user], self.watermark)

    def explain(self, user: str, segment: str, value: Any = None) -> Explanation:
        """Why the user is in a segment or not. Raises KeyError for an unknown user or segment."""
        return explain_segment(self.engine, self.states[user], segment, self.watermark, value)

    def lines(self) -> bytes:
        """All changes so far as JSON Lines; `emitted_at` is the instant of the change, so the same input gives the same bytes."""
        return b"".join(encode_change(change, change.at) + b"\n" for change in self.changes)


def shown_key(key: str) -> str:
    """A member key as people write it: `name` or `name:value`."""
    name, value = name_of(key), value_of(key)
    if value is None:
        return name
    return f"{name}:{value if isinstance(value, str) else msgspec.json.encode(value).decode()}"


def _plan(definitions: Definitions, options: EngineOptions) -> Plan:
    for error in definitions.errors:
        raise error
    return compile_plan(definitions, options)
