"""A brute-force oracle of the segment language: it keeps every event and evaluates each
definition as it is written.

It shares nothing with the engine but the parsed tree and the domain's vocabulary: no signals, no
timers, no plan, nothing incremental.

    run        canonical_run(…) → every change, and the memberships at the end
    moments    which moments a selector chooses
    values     what an expression is worth at an instant
    calendar   days, weeks, months, hours of a zone
    candidates when an answer could change with no event
"""

from tests.support.oracle.run import Answer, Run, canonical_run

__all__ = ["Answer", "Run", "canonical_run"]
