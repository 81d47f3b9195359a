"""Running a case: what was expected against what the engine did, line by line, with the reasons."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from app.domain.changes import Change
from app.domain.events import Event
from app.domain.members import name_of, value_of
from app.domain.time import offset_text
from app.rules.plan import Plan
from app.testing.cases import Case
from app.testing.driver import Driver
from app.testing.faults import Item
from app.testing.notation import DEFAULT_USER, Expected, Fire, spelled, spelled_member, told
from app.wording.words import fact_words

Line = tuple[str, str]
"""A line of a difference: its sign (" ", "-" expected, "+" got, "?" a reason) and its text."""


@dataclass(frozen=True)
class Outcome:
    """How one case went. `diff` is empty when it passed."""

    case: Case
    expected: tuple[str, ...]
    got: tuple[str, ...]
    diff: tuple[Line, ...]

    @property
    def passed(self) -> bool:
        return not self.diff


def run_case(plan: Plan, case: Case) -> Outcome:
    """Run one case under a plan that was made with the case's options."""
    driver = Driver(plan, case.options)
    drive(driver, case.steps, case.until)
    changes = sorted((change for change in driver.changes if _counts(case, change)), key=lambda change: change.user_id)
    expected = [spelled(change, case.base) for change in sorted(case.changes, key=lambda change: change.user)]
    got = [spelled(change, case.base) for change in told(changes)]
    diff = list(_difference(plan, case, expected, got, changes)) if expected != got else []
    diff += _refused(driver) + _members(driver, case)
    return Outcome(case, tuple(expected), tuple(got), tuple(diff))


def drive(driver: Driver, steps: Iterable[Event | Fire], until: int, *after_each: Item) -> None:
    """Feeds the steps of a case up to the instant `until`, then lets time come to it.

    `after_each` is fed behind every step.
    """
    for step in steps:
        if isinstance(step, Fire):
            driver.advance(to=min(step.upto, until))
        elif step.ts <= until:
            driver.feed(step)
        if after_each:
            driver.feed(*after_each)
    driver.advance(to=until)


def _counts(case: Case, change: Change) -> bool:
    return case.of is None or change.segment in case.of or change.group in case.of


def _refused(driver: Driver) -> list[Line]:
    return [("+", f"refused: {reason}: {detail}") for reason, detail, _ in driver.refused]


def _members(driver: Driver, case: Case) -> list[Line]:
    """Where the memberships at the end differ from those the case names."""
    if case.members is None:
        return []
    found = {}
    for user in driver.users():
        state = driver.state(user)
        for key, since in state.members.items():
            name, value = name_of(key), value_of(key)
            if case.of is None or name in case.of or any(state.groups.get(group) == name for group in case.of):
                found[user, name, None if value is None else json.dumps(value, ensure_ascii=False)] = since
    lines: list[Line] = []
    for member in sorted({*case.members, *found}, key=str):
        want, have = case.members.get(member), found.get(member)
        if want != have:
            lines += [("-", f"member {_member(member, want, case.base)}")] if want is not None else []
            lines += [("+", f"member {_member(member, have, case.base)}")] if have is not None else []
    return lines


def _member(member: tuple[str, str, str | None], since: int, base: int) -> str:
    user, name, value = member
    return f"{'' if user == DEFAULT_USER else user + '@'}{spelled_member(name, value)}: {offset_text(since - base)}"


# --- the difference -----------------------------------------------------------------------------


def _difference(plan: Plan, case: Case, expected: list[str], got: list[str], changes: list[Change]) -> Iterator[Line]:
    by_text = {spelled(change, case.base): change for change in case.changes}
    for _, a0, a1, b0, b1 in SequenceMatcher(a=expected, b=got, autojunk=False).get_opcodes():
        if expected[a0:a1] == got[b0:b1]:
            yield from ((" ", text) for text in got[b0:b1])
            continue
        for text in expected[a0:a1]:
            yield "-", text
            yield from (("?", reason) for reason in _why_not(plan, case, by_text[text]))
        for place in range(b0, b1):
            yield "+", got[place]
            yield from (("?", fact_words(fact, changes[place].value)) for fact in changes[place].facts)


def _why_not(plan: Plan, case: Case, missing: Expected) -> list[str]:
    """What the definition says at the instant of an entry or exit that was expected and did not
    come."""
    if missing.what == "moved":
        return []
    driver = Driver(plan, case.options)
    drive(driver, case.steps, missing.at)
    if not driver.knows(missing.user):
        return [f"nothing is known of the user {missing.user} then"]
    value = None if missing.value is None else json.loads(missing.value)
    answers = driver.explain(missing.user, missing.name, value).answers
    if not answers:
        return [f"the user has no value {value} then" if value is not None else "no value was seen by then"]
    inside = answers[0].in_
    state = "in" if inside else "not in"
    facts = [fact_words(fact, answers[0].value) for fact in answers[0].why]
    return [f"at that instant {state} {spelled_member(missing.name, missing.value)}: {'; '.join(facts)}"]
