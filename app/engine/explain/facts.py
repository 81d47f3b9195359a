"""Why: the conditions that decided a change, with their values at that instant.

The facts of an entry each satisfy their `needs`, those of an exit each fail theirs (or satisfy
those of `exit_when`), and nobody needs the history to check it.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.changes import Fact
from app.domain.members import member_key, scalar_value
from app.domain.time import duration_text
from app.engine.evaluate import Transition
from app.engine.explain.reasons import Reason, ReasonCompiler
from app.engine.state import UserState
from app.engine.units import Unit
from app.rules import ast


class FactWriter:
    """Writes facts for the units of one plan; a rule is compiled when it is first asked for."""

    def __init__(self, compiler: ReasonCompiler) -> None:
        self._compiler = compiler
        self._reasons: dict[tuple[int, str, bool], Reason] = {}

    def reason(self, unit: Unit, rule: str, alone: bool = False) -> Reason:
        """A segment's rule as a tree of reasons: `when`, `exit_when` or `not exit_when`, the two
        last of a segment that has one. `alone`: each part is told for itself, whatever stands
        before it."""
        found = self._reasons.get((unit.index, rule, alone))
        if found is None:
            assert unit.segment is not None
            tree = unit.segment.when if rule == "when" else unit.segment.exit_when
            assert tree is not None
            if rule == "not exit_when":
                tree = ast.Not(tree)
            found = self._reasons[unit.index, rule, alone] = self._compiler.reason(tree, unit.owner, alone=alone)
        return found

    def of(self, state: UserState, at: int, transition: Transition, units: Mapping[str, Unit]) -> list[Fact]:
        """The facts behind one transition."""
        if transition.by is not None:
            return [self._evicted(transition.unit, transition.value_key)]
        if transition.change != "moved":
            return self._of_segment(state, at, transition.unit, transition.value_key, transition.change == "entered")
        facts: list[Fact] = []
        if transition.before is not None and transition.before not in state.ranked:
            facts += [_from(fact) for fact in self._of_segment(state, at, units[transition.before], None, False)]
        if transition.after is not None:
            facts += self._of_segment(state, at, units[transition.after], None, True)
        return facts

    def standing(self, state: UserState, at: int, unit: Unit, value_key: str | None) -> list[Fact]:
        """The facts that keep a user in (or out of) a segment at an instant, whether or not they
        were so when it was entered."""
        return self._told(state, at, unit, value_key, "when", self.reason(unit, "when").holds(state, at, value_key))

    def _of_segment(self, state: UserState, at: int, unit: Unit, value_key: str | None, entered: bool) -> list[Fact]:
        """Why the user is in (or out) now. A correction, and a move to a segment that had been
        entered before, tell what keeps it so."""
        if value_key is not None and not state.values.get(unit.name, {}).get(value_key):
            return [self._evicted(unit, value_key)]
        own = member_key(unit.name, value_key)
        if not entered:
            return self._why_out(state, at, unit, value_key, state.exits.get(own, at))
        since = (state.members if unit.grouped is None else state.ranked).get(own, at)
        return self._why_in(state, at, unit, value_key, since)

    def _why_in(self, state: UserState, at: int, unit: Unit, value_key: str | None, since: int) -> list[Fact]:
        assert unit.segment is not None
        if unit.dwell_ms and self._wants_out(state, at, unit, value_key):
            return [
                Fact(
                    "time since the entry",
                    at - since,
                    f"< {duration_text(unit.segment.min_dwell_ms)}",
                    rule="min_dwell",
                )
            ]
        if unit.segment.exit_when is None:
            return self._told(state, at, unit, value_key, "when", True)
        entering = since == at and self.reason(unit, "when").holds(state, at, value_key)
        facts = self._told(state, at, unit, value_key, "when", True) if entering else []
        return facts + self._told(state, at, unit, value_key, "not exit_when", True)

    def _why_out(self, state: UserState, at: int, unit: Unit, value_key: str | None, left: int) -> list[Fact]:
        assert unit.segment is not None
        if unit.segment.exit_when is not None and self._wants_out(state, at, unit, value_key):
            return self._told(state, at, unit, value_key, "exit_when", True)
        if not self.reason(unit, "when").holds(state, at, value_key):
            return self._told(state, at, unit, value_key, "when", False)
        return [Fact("time since the exit", at - left, f"< {duration_text(unit.segment.cooldown_ms)}", rule="cooldown")]

    def _wants_out(self, state: UserState, at: int, unit: Unit, value_key: str | None) -> bool:
        assert unit.segment is not None
        if unit.segment.exit_when is None:
            return not self.reason(unit, "when").holds(state, at, value_key)
        return self.reason(unit, "exit_when").holds(state, at, value_key)

    def _told(self, state: UserState, at: int, unit: Unit, value_key: str | None, rule: str, truth: bool) -> list[Fact]:
        return self.reason(unit, rule).facts(state, at, value_key, truth, rule.removeprefix("not "))

    def _evicted(self, unit: Unit, value_key: str | None) -> Fact:
        assert unit.segment is not None
        assert value_key is not None
        most = unit.segment.max_per_user
        return Fact(
            f"place of {scalar_value(value_key)} among the values by recency",
            most + 1,
            f"<= {most}",
            rule="max_per_user",
        )


def _from(fact: Fact) -> Fact:
    """A fact about the segment that a group's move leaves."""
    fact.rule = f"from.{fact.rule}"
    return fact
