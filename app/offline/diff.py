"""Two sets of definitions over the same events: which definitions differ, and who would move."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from difflib import ndiff
from typing import Any

from app.domain.members import name_of
from app.domain.options import EngineOptions
from app.domain.time import duration_text
from app.offline.log import Log, Progress
from app.offline.replay import Result, replay
from app.rules.model import Segment
from app.rules.plan import Plan
from app.rules.text import text

_SAMPLE = 5


@dataclass(frozen=True, slots=True)
class Definition:
    """A segment or group that differs. `status`: added · removed · changed; `diff`: its canonical
    lines behind "+", "-" or " "."""

    name: str
    status: str
    diff: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """One segment's members at the end, under the old and the new definitions; `entered` and `left`
    count users, some of them named."""

    segment: str
    status: str
    before: int
    after: int
    entered: int
    left: int
    sample_entered: tuple[str, ...]
    sample_left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a change of definitions would do. `until` is the instant that is compared, epoch ms."""

    until: int
    events: int
    users: int
    definitions: tuple[Definition, ...]
    segments: tuple[Move, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def compare(
    old: Plan, new: Plan, options: EngineOptions, log: Log, until: int | None = None, progress: Progress | None = None
) -> Comparison:
    """Replay the log under both plans up to `until` (default: its largest ts) and compare."""
    before = replay(old, options, log, until, progress)
    after = replay(new, options, log, until, progress)
    definitions = definition_changes(old, new)
    return Comparison(after.until, after.events, after.users, definitions, _moves(old, new, before, after, definitions))


def definition_changes(old: Plan, new: Plan) -> tuple[Definition, ...]:
    """The segments and groups whose meaning differs, by name; titles and descriptions are no part
    of it."""
    before, after = _canonical(old), _canonical(new)
    found = []
    for name in sorted({*before, *after}):
        was, now = before.get(name, []), after.get(name, [])
        if was != now:
            status = "added" if not was else "removed" if not now else "changed"
            diff = tuple(f"{line[0]} {line[2:]}" for line in ndiff(was, now) if line[0] != "?")
            found.append(Definition(name, status, diff))
    return tuple(found)


def _canonical(plan: Plan) -> dict[str, list[str]]:
    found = {segment.name: canonical(segment) for segment in plan.segments}
    return found | {group.name: [f"segments: {', '.join(group.segments)}"] for group in plan.groups}


def canonical(segment: Segment) -> list[str]:
    """A segment's meaning, one key a line, spelled in one way only."""
    lines = [f"when: {text(segment.when)}"]
    if segment.exit_when is not None:
        lines.append(f"exit_when: {text(segment.exit_when)}")
    for key, ms in (("min_dwell", segment.min_dwell_ms), ("cooldown", segment.cooldown_ms)):
        if ms:
            lines.append(f"{key}: {duration_text(ms)}")
    if segment.for_each is not None:
        lines += [
            f"for_each: {'.'.join((segment.for_each[0], *segment.for_each[1]))}",
            f"max_per_user: {segment.max_per_user}",
        ]
    return lines + ([f"group: {segment.group}"] if segment.group else [])


def _moves(
    old: Plan, new: Plan, before: Result, after: Result, definitions: tuple[Definition, ...]
) -> tuple[Move, ...]:
    status = {definition.name: definition.status for definition in definitions}
    was, now = _members(old, before), _members(new, after)
    return tuple(
        _move(name, status.get(name, "same"), was.get(name, set()), now.get(name, set()))
        for name in sorted({*was, *now})
    )


def _members(plan: Plan, result: Result) -> dict[str, set[str]]:
    """Segment → users who are in, with any value."""
    found: dict[str, set[str]] = {segment.name: set() for segment in plan.segments}
    for key, users in result.members.items():
        found.setdefault(name_of(key), set()).update(users)
    return found


def _move(name: str, status: str, was: set[str], now: set[str]) -> Move:
    entered, left = sorted(now - was), sorted(was - now)
    return Move(
        name, status, len(was), len(now), len(entered), len(left), tuple(entered[:_SAMPLE]), tuple(left[:_SAMPLE])
    )
