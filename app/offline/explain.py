"""Why a user is in a segment or not, for a person at a terminal: from event files, or as a running
worker answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from msgspec import UNSET
from rich.text import Text

from app.domain.errors import InputError, nearest
from app.domain.options import EngineOptions
from app.domain.views import Explanation, Explanations, Part, Verdict
from app.engine.engine import Engine
from app.engine.views import explain_segment
from app.offline.log import read_log
from app.rules.plan import Plan
from app.wording.distance import distance, negated
from app.wording.phrases import duration_words
from app.wording.words import fact_words, member_name

_SUGGESTED_AMONG = 100_000  # users; finding the nearest of more would take seconds
Instants = Callable[[int], str]


def from_files(
    plan: Plan, options: EngineOptions, files: Iterable[str], user: str, segment: str | None, at: int | None
) -> Explanations:
    """The explanation from event files, at an instant (default: the largest ts of the files).

    Raises InputError.
    """
    names = _names(plan, segment)
    log = read_log(files, options.streams, at)
    events = log.users.get(user)
    if events is None:
        hint = nearest(user, log.users) if len(log.users) <= _SUGGESTED_AMONG else ""
        raise InputError(
            f"user {user}: none of {log.count} events is theirs; "
            f"{f'did you mean {hint}?' if hint else 'mend the name or --at'}"
        )
    engine = Engine(plan, options)
    state = engine.new_state(user)
    for event in events:
        engine.apply(state, event, event.ts)
    now = log.last if at is None else at
    return annotated(
        Explanations(user_id=user, at=now, segments=[explain_segment(engine, state, name, now) for name in names])
    )


def _names(plan: Plan, segment: str | None) -> list[str]:
    known = [s.name for s in plan.segments]
    if segment is None:
        return known
    if segment not in known:
        hint = nearest(segment, known)
        raise InputError(
            f"segment {segment}: not defined; "
            f"{f'did you mean {hint}?' if hint else 'expected one of ' + ', '.join(known)}"
        )
    return [segment]


def annotated(answer: Explanation | Explanations) -> Explanations:
    """The explanation with each part in `words` and, where it fails, its `distance`; one segment's
    becomes a list of one.
    """
    found = (
        answer
        if isinstance(answer, Explanations)
        else Explanations(user_id=answer.user_id, at=answer.at, segments=[answer])
    )
    return msgspec.structs.replace(found, segments=[_segment(segment) for segment in found.segments])


def _segment(segment: Explanation) -> Explanation:
    return msgspec.structs.replace(segment, answers=[_verdict(one) for one in segment.answers])


def _verdict(one: Verdict) -> Verdict:
    words = [fact_words(fact, one.value) for fact in one.why]
    return msgspec.structs.replace(one, words=words, parts=_part(one.parts, True, one.value))


def _part(part: Part, wanted: bool, each: Any) -> Part:
    """`wanted`: what the part must be for the whole to hold."""
    if part.parts is not UNSET:
        inner = [_part(below, wanted is not (part.op == "not"), each) for below in part.parts]
        return msgspec.structs.replace(part, parts=inner)
    assert part.fact is not UNSET, part
    fact = part.fact if wanted else msgspec.structs.replace(part.fact, needs=negated(part.fact.needs))
    fits = part.holds is wanted
    return msgspec.structs.replace(
        part, fits=fits, words=fact_words(fact, each), distance="" if fits else distance(fact, each)
    )


# --- on a terminal ------------------------------------------------------------------------------


def render(answer: Explanations, instants: Instants) -> Iterator[Text]:
    """The lines to print of an annotated answer. `instants` spells epoch milliseconds."""
    at = next((segment.at for segment in answer.segments), None) if answer.at is UNSET else answer.at
    yield Text(f"{answer.user_id}{f' at {instants(at)}' if at is not None else ''}", "bold")
    for segment in answer.segments:
        yield Text()
        if not segment.answers:
            nothing = f": not in; no value of {segment.definition.for_each} was seen"
            yield Text.assemble(("✘ ", "red"), (segment.segment, "bold"), nothing)
        for one in segment.answers:
            yield from _one(segment, one, instants)


def _one(segment: Explanation, one: Verdict, instants: Instants) -> Iterator[Text]:
    name, now = member_name(segment.segment, one.value), segment.at
    if one.since is not None:
        yield Text.assemble(
            ("✔ ", "green"), (name, "bold"), f": in since {instants(one.since)}", _flip(one, now, "leaves", instants)
        )
        yield from (Text(f"    {words}") for words in one.words or ())
        if one.min_dwell_until is not None:
            yield Text(f"    stays at least until {instants(one.min_dwell_until)} (min_dwell)")
        return
    yield Text.assemble(("✘ ", "red"), (name, "bold"), ": not in", _flip(one, now, "enters", instants))
    yield from _parts(one.parts, 1)
    if one.cooldown_until is not None:
        yield Text(f"    cannot come back before {instants(one.cooldown_until)} (cooldown)", "yellow")
    elif one.parts.holds:
        yield Text(f"    {_held_back(segment)}", "yellow")


def _held_back(segment: Explanation) -> str:
    """Why somebody for whom `when` holds is not in."""
    if segment.group is not None:
        return f"its condition holds, and another segment of the group {segment.group} comes first"
    return "its condition holds, and so does that of leaving it (exit_when)"


def _flip(one: Verdict, now: int, verb: str, instants: Instants) -> Text:
    flips = one.flips_at
    if flips is None:
        return Text("")
    return Text(f"; {verb} by itself in {duration_words(flips - now)}, at {instants(flips)}", "cyan")


def _parts(part: Part, depth: int) -> Iterator[Text]:
    """The condition part by part: what holds, what fails and how far it is."""
    space = "    " * depth
    if part.parts is UNSET or part.op is UNSET:
        mark = ("✔ ", "green") if part.fits else ("✘ ", "red")
        yield Text.assemble(space, mark, part.words or "", (f": {part.distance}" if part.distance else "", "yellow"))
        return
    if part.op == "not" and part.parts[0].fact is not UNSET:
        yield from _parts(part.parts[0], depth)
        return
    yield Text(f"{space}{ {'and': 'all of', 'or': 'one of', 'not': 'not'}[part.op] }")
    for below in part.parts:
        yield from _parts(below, depth + 1)
