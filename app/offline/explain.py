"""Why a user is in a segment or not, for a person at a terminal: from event files, or as a running worker answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.text import Text

from app.domain.errors import InputError, nearest
from app.domain.options import EngineOptions
from app.engine.engine import Engine
from app.engine.views import explain_segment
from app.offline.log import read_log
from app.rules.plan import Plan
from app.wording.distance import distance, negated
from app.wording.phrases import duration_words
from app.wording.words import fact_words, member_name

_SUGGESTED_AMONG = 100_000  # users; finding the nearest of more would take seconds
Instants = Callable[[int], str]


def from_files(plan: Plan, options: EngineOptions, files: Iterable[str], user: str, segment: str | None, at: int | None) -> dict[str, Any]:
    """The explanation from event files, at an instant (default: the largest ts of the files). Raises InputError."""
    names = _names(plan, segment)
    log = read_log(files, options.streams, at)
    events = log.users.get(user)
    if events is None:
        hint = nearest(user, log.users) if len(log.users) <= _SUGGESTED_AMONG else ""
        raise InputError(
            f"user {user}: none of {log.count} events is theirs; {f'did you mean {hint}?' if hint else 'mend the name or --at'}"
        )
    engine = Engine(plan, options)
    state = engine.new_state(user)
    for event in events:
        engine.apply(state, event, event.ts)
    now = log.last if at is None else at
    return annotated({"user_id": user, "at": now, "segments": [explain_segment(engine, state, name, now) for name in names]})


def _names(plan: Plan, segment: str | None) -> list[str]:
    known = [s.name for s in plan.segments]
    if segment is None:
        return known
    if segment not in known:
        hint = nearest(segment, known)
        raise InputError(f"segment {segment}: not defined; {f'did you mean {hint}?' if hint else 'expected one of ' + ', '.join(known)}")
    return [segment]


def annotated(answer: dict[str, Any]) -> dict[str, Any]:
    """The explanation with each part in `words` and, where it fails, its `distance`; one segment's becomes a list of one."""
    found: dict[str, Any] = (
        answer if "segments" in answer else {"user_id": answer.get("user_id"), "at": answer.get("at"), "segments": [answer]}
    )
    for segment in found["segments"]:
        for one in segment["answers"]:
            one["words"] = [fact_words(fact, one["value"]) for fact in one["why"]]
            _annotate(one["parts"], True, one["value"])
    return found


def _annotate(part: dict[str, Any], wanted: bool, each: Any) -> None:
    """`wanted`: what the part must be for the whole to hold."""
    for inner in part.get("parts", ()):
        _annotate(inner, wanted is not (part["op"] == "not"), each)
    if "fact" in part:
        fact = part["fact"] if wanted else {**part["fact"], "needs": negated(part["fact"]["needs"])}
        part["fits"] = part["holds"] is wanted
        part["words"] = fact_words(fact, each)
        part["distance"] = "" if part["fits"] else distance(fact, each)


# --- on a terminal -------------------------------------------------------------------------------------------------


def render(answer: dict[str, Any], instants: Instants) -> Iterator[Text]:
    """The lines to print. `instants` spells epoch milliseconds."""
    at = answer.get("at") or next((segment["at"] for segment in answer["segments"]), None)
    yield Text(f"{answer['user_id']}{f' at {instants(at)}' if at is not None else ''}", "bold")
    for segment in answer["segments"]:
        yield Text()
        if not segment["answers"]:
            nothing = f": not in; no value of {segment['definition']['for_each']} was seen"
            yield Text.assemble(("✘ ", "red"), (segment["segment"], "bold"), nothing)
        for one in segment["answers"]:
            yield from _one(segment, one, instants)


def _one(segment: dict[str, Any], one: dict[str, Any], instants: Instants) -> Iterator[Text]:
    name, now = member_name(segment["segment"], one["value"]), segment["at"]
    if one["in"]:
        yield Text.assemble(("✔ ", "green"), (name, "bold"), f": in since {instants(one['since'])}", _flip(one, now, "leaves", instants))
        yield from (Text(f"    {words}") for words in one["words"])
        if one["min_dwell_until"] is not None:
            yield Text(f"    stays at least until {instants(one['min_dwell_until'])} (min_dwell)")
        return
    yield Text.assemble(("✘ ", "red"), (name, "bold"), ": not in", _flip(one, now, "enters", instants))
    yield from _parts(one["parts"], 1)
    if one["cooldown_until"] is not None:
        yield Text(f"    cannot come back before {instants(one['cooldown_until'])} (cooldown)", "yellow")
    elif one["parts"]["holds"]:
        yield Text(f"    {_held_back(segment)}", "yellow")


def _held_back(segment: dict[str, Any]) -> str:
    """Why somebody for whom `when` holds is not in."""
    if segment["group"] is not None:
        return f"its condition holds, and another segment of the group {segment['group']} comes first"
    return "its condition holds, and so does that of leaving it (exit_when)"


def _flip(one: dict[str, Any], now: int, verb: str, instants: Instants) -> Text:
    flips = one["flips_at"]
    if flips is None:
        return Text("")
    return Text(f"; {verb} by itself in {duration_words(flips - now)}, at {instants(flips)}", "cyan")


def _parts(part: dict[str, Any], depth: int) -> Iterator[Text]:
    """The condition part by part: what holds, what fails and how far it is."""
    space = "    " * depth
    if "fact" in part:
        mark = ("✔ ", "green") if part["fits"] else ("✘ ", "red")
        yield Text.assemble(space, mark, part["words"], (f": {part['distance']}" if part["distance"] else "", "yellow"))
        return
    inner = part["parts"]
    if part["op"] == "not" and "fact" in inner[0]:
        yield from _parts(inner[0], depth)
        return
    yield Text(f"{space}{ {'and': 'all of', 'or': 'one of', 'not': 'not'}[part['op']] }")
    for one in inner:
        yield from _parts(one, depth + 1)
