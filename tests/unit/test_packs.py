"""The definitions that come with hyperseg: all packs load beside each other, and every case written for them comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.domain.events import Event
from app.domain.options import EngineOptions
from app.engine.engine import Engine
from app.rules.definitions import Definitions, load_folder, load_texts
from app.rules.plan import compile_plan
from app.testing import notation
from app.testing.notation import Expected, Fire, spelled
from tests.golden.driver import Partition, told

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "segments"
PACKS = sorted(path for path in (SHOP / "packs").iterdir() if path.is_dir())
FOLDERS = [SHOP, *PACKS]
OPTIONS = EngineOptions()
PREFIX = {  # of the names in a pack, where it is not the pack's name
    "cart_and_browse_abandonment": "abandon",
    "price_sensitivity": "price",
    "category_affinity": "affinity",
    "win_back": "winback",
    "b2b_trial_activation": "trial",
}
RFM = (
    "champions loyal_customers potential_loyalists new_customers promising need_attention about_to_sleep at_risk cannot_lose_them"
    " hibernating lost"
)


@dataclass(frozen=True)
class Case:
    """A case of a `*.test.yaml`. `of` names the segments and groups whose changes are compared; empty: all."""

    folder: Path
    name: str
    of: frozenset[str]
    steps: tuple[Event | Fire, ...]
    until: int
    changes: tuple[Expected, ...]


def cases() -> Iterator[Case]:
    base = notation.instant(notation.BASE, 0)
    for folder in FOLDERS:
        for path in sorted(folder.glob("*.test.yaml")):
            for raw in yaml.safe_load(path.read_text(encoding="utf-8"))["cases"]:
                yield _case(folder, path, raw, base)


def _case(folder: Path, path: Path, raw: dict[str, Any], base: int) -> Case:
    assert raw.keys() <= {"case", "of", "steps", "until", "changes"}, f"{path.name}: {raw['case']}"
    return Case(
        folder,
        f"{path.stem}: {raw['case']}",
        frozenset(raw.get("of", ())),
        tuple(notation.step(str(text), base, OPTIONS, i) for i, text in enumerate(raw["steps"])),
        notation.instant(str(raw["until"]), base),
        tuple(notation.change(text, base) for text in raw["changes"]),
    )


CASES = list(cases())
ENGINES: dict[Path, Engine] = {}


def by_name(case: Case) -> str:
    return case.name


def loaded(folder: Path) -> Definitions:
    definitions = load_folder(folder, OPTIONS)
    assert not definitions.errors, [str(error) for error in definitions.errors]
    return definitions


def engine_of(folder: Path) -> Engine:
    if folder not in ENGINES:
        ENGINES[folder] = Engine(compile_plan(loaded(folder), OPTIONS), OPTIONS)
    return ENGINES[folder]


def together() -> Definitions:
    files = [path for folder in FOLDERS for path in sorted(folder.glob("*.yaml")) if ".test." not in path.name]
    return load_texts([(path.name, path.read_text(encoding="utf-8")) for path in files], OPTIONS)


@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_case(case: Case) -> None:
    base = notation.instant(notation.BASE, 0)
    run = Partition(engine_of(case.folder))
    run.run([*case.steps, Fire(case.until)])
    for user in {step.user for step in case.steps if isinstance(step, Event)}:
        found = [spelled(change, base) for change in told(run.changes, user, user) if not case.of or change.name in case.of]
        assert found == [spelled(change, base) for change in case.changes if change.user == user]
    assert case.of <= {unit.name for unit in engine_of(case.folder).units}, "a name in `of` is not defined"


def test_all_packs_and_the_shop_load_together() -> None:
    definitions = together()
    assert [str(error) for error in definitions.errors] == []
    assert sum(len(loaded(folder).segments) for folder in FOLDERS) == len(definitions.segments)
    compile_plan(definitions, OPTIONS)


def test_the_packs_are_those_expected() -> None:
    assert {path.name for path in PACKS} == {"rfm", "lifecycle", "engagement", "vip", *PREFIX}
    assert {f"rfm_{name}" for name in RFM.split()} <= {segment.name for segment in loaded(SHOP / "packs/rfm").segments}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_everything_is_described_and_tested(folder: Path) -> None:
    definitions = loaded(folder)
    for item in (*definitions.segments, *definitions.groups):
        assert item.title, item.name
        assert item.description.endswith("."), item.name
        assert folder == SHOP or PREFIX.get(folder.name, folder.name) in item.name, "a pack's names say which pack"
    changes = [change for case in CASES if case.folder == folder for change in case.changes]
    told_of = {name for change in changes for name in (change.name, change.from_, change.to)}
    named = {name for case in CASES if case.folder == folder for name in case.of}
    assert {segment.name for segment in definitions.segments} <= told_of | named
    assert {group.name for group in definitions.groups} <= told_of
