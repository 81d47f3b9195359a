"""Drives the engine through a golden case and tells what it changed in the words of the case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from app.domain.changes import Change
from app.domain.events import Event
from app.engine.engine import Engine
from app.testing import notation
from app.testing.notation import Expected, Fire

Step = Event | Fire
Resume = Callable[[Engine, Any], Any]


def same_state(engine: Engine, state: Any) -> Any:
    return state


def resumed(engine: Engine, state: Any) -> Any:
    """The state as a worker finds it after a crash."""
    return engine.decode(engine.encode(state))


class Partition:
    """One partition's users, its watermark, and all their changes."""

    def __init__(self, engine: Engine, resume: Resume = same_state) -> None:
        self.engine, self.resume = engine, resume
        self.states: dict[str, Any] = {}
        self.watermark = 0
        self.changes: list[Change] = []

    def run(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self.fire(step.upto) if isinstance(step, Fire) else self.apply(step)

    def apply(self, event: Event) -> None:
        state = self.states.get(event.user)
        state = self.engine.new_state(event.user) if state is None else state
        self.watermark = max(self.watermark, event.ts)
        self.changes += self.engine.apply(state, event, self.watermark)
        self.states[event.user] = self.resume(self.engine, state)

    def fire(self, upto: int) -> None:
        self.watermark = max(self.watermark, upto)
        for user, state in self.states.items():
            if state.due <= upto:
                self.changes += self.engine.fire(state, upto)
            self.states[user] = self.resume(self.engine, state)

    def members(self) -> dict[str, dict[str, int]]:
        return {user: dict(state.members) for user, state in self.states.items()}


def told(changes: Sequence[Change], user: str, as_user: str) -> list[Expected]:
    """One user's changes in the notation's terms."""
    return [replace(change, user=as_user) for change in notation.told(change for change in changes if change.user_id == user)]
