"""Why: the conditions that decided a change, with their values at that instant.

The facts of an entry each satisfy their `needs`, those of an exit each fail theirs (or satisfy those of `exit_when`), and nobody needs
the history to check it.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.changes import Fact
from app.domain.members import member_key, scalar_value
from app.domain.time import duration_text
from app.engine.judge import Flip
from app.engine.reasons import Reason, ReasonCompiler
from app.engine.state import UserState
from app.engine.units import Unit
from app.rules import ast


class FactWriter:
    """Writes facts for the units of one plan; a rule is compiled when it is first asked for."""

    def __init__(self, compiler: ReasonCompiler) -> None:
        self._compiler = compiler
        self._reasons: dict[tuple[int, str, bool], Reason] = {}

    def reason(self, unit: Unit, rule: str, alone: bool = False) -> Reason:
        """A segment's rule as a tree of reasons: `when`, `exit_when` or `not exit_when`, the two last of a segment that has one. `alone`:
        each part is told for itself, whatever stands before it."""
        found = self._reasons.get((unit.place, rule, alone))
        if found is None:
            assert unit.segment is not None
            tree = unit.segment.when if rule == "when" else unit.segment.exit_when
            assert tree is not None
            if rule == "not exit_when":
                tree = ast.Not(tree)
            found = self._reasons[unit.place, rule, alone] = self._compiler.reason(tree, unit.owner, alone=alone)
        return found

    def of(self, state: UserState, at: int, flip: Flip, units: Mapping[str, Unit]) -> list[Fact]:
        """The facts behind one flip."""
        if flip.by is not None:
            return [self._pushed_out(flip.unit, flip.each)]
        if flip.change != "moved":
            return self._of_segment(state, at, flip.unit, flip.each, flip.change == "entered")
        facts: list[Fact] = []
        if flip.before is not None and flip.before not in state.ranked:
            facts += [_from(fact) for fact in self._of_segment(state, at, units[flip.before], None, False)]
        if flip.after is not None:
            facts += self._of_segment(state, at, units[flip.after], None, True)
        return facts

    def standing(self, state: UserState, at: int, unit: Unit, each: str | None) -> list[Fact]:
        """The facts that keep a user in (or out of) a segment at an instant, whether or not they were so when it was entered."""
        return self._told(state, at, unit, each, "when", self.reason(unit, "when").holds(state, at, each))

    def _of_segment(self, state: UserState, at: int, unit: Unit, each: str | None, entered: bool) -> list[Fact]:
        """Why the user is in (or out) now. A correction, and a move to a segment that had been entered before, tell what keeps it so."""
        if each is not None and not state.values.get(unit.name, {}).get(each):
            return [self._pushed_out(unit, each)]
        own = member_key(unit.name, each)
        if not entered:
            return self._why_out(state, at, unit, each, state.exits.get(own, at))
        since = (state.members if unit.grouped is None else state.ranked).get(own, at)
        return self._why_in(state, at, unit, each, since)

    def _why_in(self, state: UserState, at: int, unit: Unit, each: str | None, since: int) -> list[Fact]:
        assert unit.segment is not None
        if unit.dwell_ms and self._wants_out(state, at, unit, each):
            return [Fact("time since the entry", at - since, f"< {duration_text(unit.segment.min_dwell_ms)}", rule="min_dwell")]
        if unit.leave is None:
            return self._told(state, at, unit, each, "when", True)
        entering = since == at and self.reason(unit, "when").holds(state, at, each)
        facts = self._told(state, at, unit, each, "when", True) if entering else []
        return facts + self._told(state, at, unit, each, "not exit_when", True)

    def _why_out(self, state: UserState, at: int, unit: Unit, each: str | None, left: int) -> list[Fact]:
        assert unit.segment is not None
        if unit.leave is not None and self._wants_out(state, at, unit, each):
            return self._told(state, at, unit, each, "exit_when", True)
        if not self.reason(unit, "when").holds(state, at, each):
            return self._told(state, at, unit, each, "when", False)
        return [Fact("time since the exit", at - left, f"< {duration_text(unit.segment.cooldown_ms)}", rule="cooldown")]

    def _wants_out(self, state: UserState, at: int, unit: Unit, each: str | None) -> bool:
        if unit.leave is None:
            return not self.reason(unit, "when").holds(state, at, each)
        return self.reason(unit, "exit_when").holds(state, at, each)

    def _told(self, state: UserState, at: int, unit: Unit, each: str | None, rule: str, truth: bool) -> list[Fact]:
        return self.reason(unit, rule).facts(state, at, each, truth, rule.removeprefix("not "))

    def _pushed_out(self, unit: Unit, each: str | None) -> Fact:
        assert unit.segment is not None
        assert each is not None
        most = unit.segment.max_per_user
        return Fact(f"place of {scalar_value(each)} among the values by recency", most + 1, f"<= {most}", rule="max_per_user")


def _from(fact: Fact) -> Fact:
    """A fact about the segment that a group's move leaves."""
    fact.rule = f"from.{fact.rule}"
    return fact
