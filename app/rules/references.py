"""References between definitions: unknown names, groups' members, cycles."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from app.domain.errors import DefinitionError, nearest
from app.rules.ast import SegmentRef
from app.rules.cycles import cycles
from app.rules.model import Group, Segment

_COMPARISONS_MAX = 20_000  # of names with names, for hints: below a second, whatever is in a folder


def check_references(
    segments: Sequence[Segment], groups: Sequence[Group], broken: Collection[str]
) -> tuple[list[Segment], list[Group], list[DefinitionError]]:
    """What is left when every definition that refers to something that is not there (or to itself
    in a cycle) is refused.

    `broken` are names of definitions already refused: a reference to one of them says so.
    """
    hints = _Hints()
    kept, gone, errors = _without_unknown(segments, set(broken), hints)
    good_groups, group_errors = _checked_groups(groups, kept, gone, hints)
    errors.extend(group_errors)
    kept = _with_groups(kept, good_groups)
    cyclic = cycles(_prerequisites(kept, good_groups))
    if not cyclic:
        return kept, good_groups, errors
    in_cycle = [s for s in kept if s.name in cyclic]
    errors.extend(_cycle_error(s, cyclic[s.name]) for s in in_cycle)
    rest = [replace(s, group=None) for s in kept if s.name not in cyclic]
    left, left_groups, more = check_references(rest, good_groups, gone | set(cyclic))
    return left, left_groups, errors + more


class _Hints:
    """The nearest names, for as long as looking for them takes no time worth mentioning."""

    def __init__(self) -> None:
        self._left = _COMPARISONS_MAX

    def nearest(self, name: str, names: Collection[str]) -> str:
        """As `domain.errors.nearest`; empty once the names compared with are too many."""
        self._left -= len(names)
        return nearest(name, names) if self._left >= 0 else ""


def _without_unknown(
    segments: Sequence[Segment], gone: set[str], hints: _Hints
) -> tuple[list[Segment], set[str], list[DefinitionError]]:
    """The segments whose references, and those of what they refer to, lead somewhere; with the
    names that are gone and why."""
    errors: list[DefinitionError] = []
    names = {s.name for s in segments}
    users: dict[str, list[Segment]] = {}
    for segment in segments:
        for name in {ref.name for ref in segment.find(SegmentRef)}:
            users.setdefault(name, []).append(segment)
    place = {s.name: i for i, s in enumerate(segments)}
    off = {s.name for s in segments if not s.enabled}
    wave = {
        s.name: s for name, using in users.items() for s in using if name not in names or (s.enabled and name in off)
    }
    while wave:
        bad = sorted(wave.values(), key=lambda s: place[s.name])
        errors.extend(_lost_reference(s, names, off, gone, hints) for s in bad)
        names -= wave.keys()
        gone |= wave.keys()
        wave = {s.name: s for name in wave for s in users.get(name, ()) if s.name in names}
    return [s for s in segments if s.name in names], gone, errors


def _lost_reference(
    segment: Segment, names: Collection[str], off: Collection[str], gone: Collection[str], hints: _Hints
) -> DefinitionError:
    lost = [ref.name for ref in segment.find(SegmentRef) if ref.name not in names]
    name = lost[0] if lost else next(ref.name for ref in segment.find(SegmentRef) if ref.name in off)
    message = "the segment it refers to could not be loaded" if name in gone else "unknown segment"
    expected = "the name of a segment that is defined"
    if not lost:
        message, expected = "the segment it refers to is switched off", "one with enabled: true"
    return DefinitionError(
        f"segment {segment.name}: {message}",
        file=segment.file,
        line=segment.line,
        column=1,
        found=f'segment("{name}")',
        expected=expected,
        hint=hints.nearest(name, names) if lost else "",
        segment=segment.name,
    )


def _checked_groups(
    groups: Sequence[Group], segments: Sequence[Segment], gone: Collection[str], hints: _Hints
) -> tuple[list[Group], list[DefinitionError]]:
    by_name = {s.name: s for s in segments}
    taken: dict[str, str] = {}
    good: list[Group] = []
    errors: list[DefinitionError] = []
    for group in groups:
        problem = _group_problem(group, by_name, gone, taken, hints)
        if problem is not None:
            errors.append(problem)
            continue
        taken.update(dict.fromkeys(group.segments, group.name))
        good.append(group)
    return good, errors


def _group_problem(
    group: Group, by_name: Mapping[str, Segment], gone: Collection[str], taken: Mapping[str, str], hints: _Hints
) -> DefinitionError | None:
    def error(message: str, found: str, expected: str, hint: str = "") -> DefinitionError:
        return DefinitionError(
            f"group {group.name}: {message}",
            file=group.file,
            line=group.line,
            column=1,
            found=found,
            expected=expected,
            hint=hint,
            segment=group.name,
        )

    for name in group.segments:
        if name not in by_name:
            message = "a member could not be loaded" if name in gone else "unknown segment"
            return error(message, f'"{name}"', "names of segments that are defined", hints.nearest(name, by_name))
        if by_name[name].for_each is not None:
            return error("a member has for_each", f'"{name}"', "segments with one membership a user")
        if name in taken:
            return error(
                "a member belongs to another group", f'"{name}"', f"segments of no other group ({taken[name]} has it)"
            )
    return None


def _with_groups(segments: Sequence[Segment], groups: Sequence[Group]) -> list[Segment]:
    owner = {name: group.name for group in groups for name in group.segments}
    return [replace(s, group=owner.get(s.name)) for s in segments]


def _prerequisites(segments: Sequence[Segment], groups: Sequence[Group]) -> dict[str, set[str]]:
    """What must be judged before each segment: those it refers to, and for a group's member every
    member of that group."""
    members = {name: set(group.segments) for group in groups for name in group.segments}
    known = {s.name for s in segments}
    found: dict[str, set[str]] = {}
    for segment in segments:
        needed: set[str] = set()
        for ref in segment.find(SegmentRef):
            needed |= members.get(ref.name, {ref.name})
        found[segment.name] = needed & known
    return found


def _cycle_error(segment: Segment, path: list[str]) -> DefinitionError:
    return DefinitionError(
        f"segment {segment.name} refers to itself",
        file=segment.file,
        line=segment.line,
        column=1,
        found=" → ".join(path),
        expected="references that end somewhere",
        segment=segment.name,
    )
