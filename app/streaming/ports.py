"""What the streaming path needs of the engine, as a protocol: the simulation and its faults run on
any engine that has it."""

from __future__ import annotations

from typing import Any, Protocol

from app.domain.changes import Change
from app.domain.events import Event


class StepPlan(Protocol):
    """The compiled definitions."""

    @property
    def digest(self) -> str: ...


class StepEngine(Protocol):
    """The pure step. All of it is synchronous and takes microseconds.

    Of a state streaming reads `user`, `clock`, `due` (the next instant at which something happens
    by itself, or limits.NEVER), `members` and `plan_digest`.
    """

    @property
    def plan(self) -> StepPlan: ...
    def new_state(self, user: str) -> Any: ...
    def apply(self, state: Any, event: Event, watermark: int) -> list[Change]: ...
    def fire(self, state: Any, upto: int) -> list[Change]: ...
    def migrate(self, state: Any) -> list[Change]: ...
    def encode(self, state: Any) -> bytes: ...
    def decode(self, raw: bytes) -> Any: ...
