"""Replay: the engine over event files, no broker. Backtest, size estimate and what-if are this.

Users do not depend on each other, so each user's events are replayed in turn and the changes sorted
at the end: (at, user, seq).
"""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace

from app.domain.changes import Change
from app.domain.options import EngineOptions
from app.engine.engine import Engine
from app.offline.log import STEP, Log, Progress
from app.rules.plan import Plan


@dataclass(slots=True)
class Result:
    """What a replay gives: changes in (at, user, seq) order, and who is in what at the end (member
    key → users)."""

    changes: list[Change]
    members: dict[str, list[str]]
    until: int
    users: int
    events: int


def replay(
    plan: Plan, options: EngineOptions, log: Log, until: int | None = None, progress: Progress | None = None
) -> Result:
    """Replay a log under a plan; timers fire up to `until` (default: the largest ts of the
    input)."""
    engine = Engine(plan, replace(options, reorder=False))
    end = log.last if until is None else until
    changes: list[Change] = []
    members: dict[str, list[str]] = {}
    collecting = gc.isenabled()
    # Nothing here makes cycles, and the collector would walk the whole log again and again.
    gc.disable()
    try:
        for done, (user, events) in enumerate(log.users.items()):
            state = engine.new_state(user)
            for event in events:
                changes += engine.apply(state, event, event.ts)
            while state.due <= end:
                changes += engine.fire(state, end)
            for key in state.members:
                members.setdefault(key, []).append(user)
            if progress is not None and done % STEP == 0:
                progress("replaying", done, len(log.users))
    finally:
        if collecting:
            gc.enable()
    changes.sort(key=lambda change: (change.at, change.user_id, change.seq))
    return Result(changes, members, end, len(log.users), log.count)
