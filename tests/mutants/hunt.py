"""The quick selection of the suite that looks for a mutant: every golden case, the laws of merged
entries, then scenarios of a fixed seed. Prints what failed first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from tests.engine import test_laws as laws
from tests.golden import test_golden as golden
from tests.properties import test_seeds as seeds
from tests.properties.chance import Seeded
from tests.properties.scenarios import QUARTER_MS, make_scenario

SCENARIOS = 300
Check = tuple[str, Callable[[], None]]


def checks() -> Iterator[Check]:
    """The quickest to fail first."""
    for test in (golden.test_case, golden.test_another_order_of_arrival, golden.test_crash_after_every_step):
        for case in golden.RUNNING:
            yield case.name, lambda test=test, case=case: test(case)
    for row in laws.QUANTILES:
        for form in (laws.overall, laws.sliding):
            yield (
                f"law: merged entries of {row.name}",
                lambda row=row, form=form: laws.test_merged_entries_of_a_quantile_count_as_many_as_they_were(row, form),
            )
        yield f"law: order of {row.name}", lambda row=row: laws.test_merged_neighbours_of_a_quantile_stay_in_order(row)
    for number in range(seeds.FIXED, seeds.FIXED + SCENARIOS):
        yield f"scenario {number}", lambda number=number: scenario(number)


def scenario(number: int) -> None:
    made = make_scenario(Seeded(number), QUARTER_MS if number % 2 else 1, seeds.MOST_EVENTS)
    if not made.definitions.errors:
        seeds.check_all(made, number)


def main() -> int:
    for name, check in checks():
        try:
            check()
        except Exception as error:
            kind = type(error).__name__
            print(name if kind == "AssertionError" else f"{name} ({kind})")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
