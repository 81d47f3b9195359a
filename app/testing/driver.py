"""A test driver for definitions: events in, changes out, synchronous, on a clock that moves only
when told.

    from app.testing import CRASH, Driver, Duplicate, Late

    driver = Driver.of_folder("segments")
    driver.feed({"type": "cart", "user_id": "u", "ts": "2026-11-02T10:00:00Z", "action": "add"})
    changes = driver.advance("24h")                       # a day of silence: [entered …]
    driver.feed(first, CRASH, second, Duplicate(second))  # faults are data
    print(driver.members("u"), driver.explain("u", "cart_abandoner"))

It is the partition that a worker runs, without the broker: events of all users move one
watermark, timers fire when the watermark passes them, a record that does not fit is refused and
never stops the rest (`refused`). Nothing is refused for being in the future, unless
`WorkerOptions` give it a `clock`. `app.testing.faults` has all that can be fed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from app.domain.changes import Change, encode_change
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
from app.testing.partition import Partition, WorkerOptions


class Driver(Partition):
    """One partition under one plan: `Partition` says how it is fed, this what a person asks of
    it."""

    engine: Engine

    def __init__(self, plan: Plan, options: EngineOptions | None = None, worker: WorkerOptions | None = None) -> None:
        options = options or EngineOptions()
        super().__init__(Engine(plan, options), options, worker)

    @classmethod
    def of_text(cls, text: str, options: EngineOptions | None = None, worker: WorkerOptions | None = None) -> Driver:
        """Under the definitions in a YAML text. Raises DefinitionError for the first that is
        wrong."""
        options = options or EngineOptions()
        return cls(_plan(load_text(text, options), options), options, worker)

    @classmethod
    def of_folder(
        cls, path: str | Path, options: EngineOptions | None = None, worker: WorkerOptions | None = None
    ) -> Driver:
        """Under the definitions of a folder.

        Raises DefinitionError for the first that is wrong, InputError where there are none.
        """
        options = options or EngineOptions()
        return cls(_plan(load_folder(path, options), options), options, worker)

    @property
    def plan(self) -> Plan:
        """The compiled definitions in force."""
        return self.engine.plan

    def advance(self, by: str | int = 0, *, to: int | None = None) -> list[Change]:
        """Let time pass in silence, by a duration (`"24h"`, or milliseconds) or `to` an instant
        (epoch ms).

        Gives the changes of the timers that fired. Raises ValueError where the worker was given a
        `clock` that moves with events only.
        """
        if not self.clock.wall:
            raise ValueError("advance: with Clock(wall=False) only events move time; feed a later event")
        target = to if to is not None else self.watermark + (by if isinstance(by, int) else duration(by))
        self.now = max(self.now, target + self.clock.grace_ms)
        return self.feed()

    # --- answers ---------------------------------------------------------------------------------

    def state(self, user: str) -> UserState:
        """The user's state as of the last commit, decoded anew. Raises KeyError for an unknown
        user."""
        state: UserState = super().state(user)
        return state

    def members(self, user: str) -> dict[str, int]:
        """The user's memberships, `name` or `name:value` → since (epoch ms)."""
        if not self.knows(user):
            return {}
        return {shown_key(key): since for key, since in self.state(user).members.items()}

    def describe(self, user: str) -> UserView:
        """Memberships, profile, signals and what flips next, as the read API gives it.

        Raises KeyError for an unknown user.
        """
        return describe_user(self.engine, self.state(user), self.watermark)

    def explain(self, user: str, segment: str, value: Any = None) -> Explanation:
        """Why the user is in a segment or not. Raises KeyError for an unknown user or segment."""
        return explain_segment(self.engine, self.state(user), segment, self.watermark, value)

    def lines(self) -> bytes:
        """All changes so far as JSON Lines.

        `emitted_at` is the instant of the change, so the same input gives the same bytes.
        """
        return b"".join(encode_change(change, change.at) + b"\n" for change in self.changes)

    def _move(self) -> None:
        self.engine = Engine(self.plan, self.options)
        super()._move()


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
