"""All test files of a folder against its definitions."""

from __future__ import annotations

from pathlib import Path

from app.domain.options import EngineOptions
from app.rules.definitions import load_folder
from app.rules.plan import Plan, compile_plan
from app.testing.cases import check_names, find_files, read_file
from app.testing.running import Outcome, run_case


def run_suite(path: str | Path, options: EngineOptions) -> list[Outcome]:
    """Run every case of a folder (or of one test file in it), in the order written.

    Raises InputError: no tests, a case that cannot be read (CaseError), a definition that is wrong
    (DefinitionError).
    """
    files = find_files(path)
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    plans: dict[EngineOptions, Plan] = {}
    outcomes = []
    for file in files:
        for case in read_file(file, options):
            plan = plans.get(case.options) or plans.setdefault(case.options, _plan(folder, case.options))
            check_names(case, [s.name for s in plan.segments], [g.name for g in plan.groups])
            outcomes.append(run_case(plan, case))
    return outcomes


def _plan(folder: Path, options: EngineOptions) -> Plan:
    definitions = load_folder(folder, options)
    for error in definitions.errors:
        raise error
    return compile_plan(definitions, options)
